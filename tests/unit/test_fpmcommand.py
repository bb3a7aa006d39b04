"""A supervised command is recognised as php-fpm when it becomes php-fpm, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.core.fpmcommand import FpmInvocation, find, layouts


@pytest.mark.parametrize(
    ("command", "binary"),
    [
        ("php-fpm -F", "php-fpm"),
        ("/usr/sbin/php-fpm8.2 -F", "/usr/sbin/php-fpm8.2"),
        ("php-fpm83 --nodaemonize", "php-fpm83"),
        ("/usr/bin/php8.1-fpm", "/usr/bin/php8.1-fpm"),
        ("/opt/remi/php81/root/usr/sbin/php-fpm -F", "/opt/remi/php81/root/usr/sbin/php-fpm"),
        ("'/opt/my php/sbin/php-fpm' -F", "/opt/my php/sbin/php-fpm"),
        ("env APP=1 php-fpm -F", "php-fpm"),
        ("APP=1 php-fpm -F", "php-fpm"),
        ("nice -n 10 /usr/sbin/php-fpm -F", "/usr/sbin/php-fpm"),
        ("sudo -u www-data php-fpm -F", "php-fpm"),
        ("fpm-listener guard -- php-fpm -F", "php-fpm"),
        ("python3 -m fpm_listener guard -- php-fpm -F", "php-fpm"),
        ("bash -c 'exec php-fpm -F'", "php-fpm"),
        ("sh -c 'sleep 2; php-fpm -F'", "php-fpm"),
        ("sh -c 'rm -f /x.sock&&php-fpm -F'", "php-fpm"),
        ("bash -lc 'A=1 php-fpm -F 2>&1 | cat'", "php-fpm"),
        ("bash -c 'while true; do php-fpm -F; done'", "php-fpm"),
        ("bash -c 'if (test -e /x) ; then php-fpm -F; fi'", "php-fpm"),
        ("bash -c 'cd /x\nphp-fpm -F'", "php-fpm"),
    ],
)
def test_a_command_that_becomes_php_fpm(command: str, binary: str) -> None:
    """Alone, behind a wrapper, or in a shell."""
    found = find(command)
    assert found is not None
    assert found.binary == binary


@pytest.mark.parametrize(
    "command",
    [
        "",
        "nginx -g 'daemon off;'",
        "php-fpm-exporter --port 9253",
        "php-fpm_exporter server",
        "tail -f /var/log/php-fpm.log",
        "tail -F /var/log/php-fpm",
        "service php-fpm start",
        "sudo service php-fpm start",
        "timeout 5 systemctl restart php-fpm",
        "bash -c 'pkill php-fpm; nginx'",
        "bash /start-php-fpm.sh",
        "bash -c 'service php8.2-fpm start'",
        "bash -c 'echo \"php-fpm",
        "fpm-listener listen --program php-fpm",
        "python3 -m fpm_listener listen php-fpm",
        "php artisan php-fpm",
        "'unfinished",
    ],
)
def test_a_command_that_is_another_program(command: str) -> None:
    """Its name alone makes no php-fpm."""
    assert find(command) is None


def test_short_options() -> None:
    """They stand apart, glued to their value, or together."""
    for command in (
        "php-fpm -F -O -y /a.conf -p /p -g /g.pid",
        "php-fpm -FO -y/a.conf -p=/p -g /g.pid",
        "php-fpm -FOy /a.conf -p /p -g/g.pid",
        "php-fpm --nodaemonize --force-stderr --fpm-config /a.conf --prefix=/p --pid /g.pid",
    ):
        found = find(command)
        assert found is not None
        assert (found.config, found.prefix, found.pid_file) == ("/a.conf", "/p", "/g.pid")
        assert (found.foreground, found.force_stderr, found.test_only) == (True, True, False)


def test_an_option_given_twice() -> None:
    """php-fpm takes the last one."""
    found = find("php-fpm -y /a -D -y /b -F")
    assert found is not None
    assert (found.config, found.foreground) == ("/b", True)
    found = find("php-fpm -F -D")
    assert found is not None
    assert found.foreground is False


def test_a_value_that_looks_like_an_option() -> None:
    """-d and -c take a value; what is in it is no option."""
    found = find("php-fpm -d -F -c -y -R")
    assert found == FpmInvocation(binary="php-fpm", arguments=("-d", "-F", "-c", "-y", "-R"))


@pytest.mark.parametrize("option", ["-t", "-tt", "-v", "-i", "-m", "-h", "--test", "--version"])
def test_a_php_fpm_that_ends_at_once(option: str) -> None:
    """It is php-fpm, but none that serves."""
    found = find(f"php-fpm {option} -y /a.conf")
    assert found is not None
    assert found.test_only


def test_a_redirection_of_the_shell() -> None:
    """What follows it is not php-fpm's."""
    found = find("sh -c 'php-fpm -F > /y -y /z'")
    assert found is not None
    assert (found.foreground, found.config) == (True, None)


@pytest.mark.parametrize(
    ("binary", "config", "prefix"),
    [
        ("/usr/sbin/php-fpm8.2", "/etc/php/8.2/fpm/php-fpm.conf", "/usr"),
        ("php8.2-fpm", "/etc/php/8.2/fpm/php-fpm.conf", "/usr"),
        ("php-fpm83", "/etc/php83/php-fpm.conf", "/usr"),
        ("/opt/remi/php81/root/usr/sbin/php-fpm", "/etc/opt/remi/php81/php-fpm.conf", None),
        ("/usr/local/sbin/php-fpm", "/usr/local/etc/php-fpm.conf", "/usr/local"),
        ("/opt/php/sbin/php-fpm", "/opt/php/etc/php-fpm.conf", "/opt/php"),
        ("/usr/sbin/php-fpm", "/etc/php-fpm.conf", "/usr"),
    ],
)
def test_where_a_build_has_its_files(binary: str, config: str, prefix: str | None) -> None:
    """Each distribution has its place."""
    first = layouts(FpmInvocation(binary=binary))[0]
    assert first.config == config
    assert prefix is None or first.prefix == prefix


def test_a_name_that_tells_nothing() -> None:
    """`php-fpm` alone can be Red Hat's or the official image's; each place stands once."""
    configs = [layout.config for layout in layouts(FpmInvocation(binary="php-fpm"))]
    assert configs == ["/etc/php-fpm.conf", "/usr/local/etc/php-fpm.conf"]


@given(st.text(st.sampled_from("php-fm8. '\"\\;&|()<>$=ybash -c\n#")))
def test_any_command(command: str) -> None:
    """Nothing that stands in a command raises."""
    find(command)
    find("bash -c " + command)
