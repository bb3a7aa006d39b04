"""A supervised command is recognised as php-fpm when it becomes php-fpm, and only then."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.phpfpm.command_line import FpmInvocation, find
from fpm_listener.phpfpm.config import Layout
from fpm_listener.phpfpm.config_files import config_candidates, layouts

RECIPE = (
    'bash -c "sleep 1 && exec /usr/sbin/php-fpm --fpm-config /etc/php-fpm.conf '
    '--pid /var/run/php-fpm/php-fpm.pid 2>&1"'
)


@pytest.mark.parametrize(
    ("command", "binary"),
    [
        ("php-fpm -F", "php-fpm"),
        ("/usr/sbin/php-fpm8.2 -F", "/usr/sbin/php-fpm8.2"),
        ("php-fpm83 --nodaemonize", "php-fpm83"),
        ("php-fpm74", "php-fpm74"),
        ("php-fpm7", "php-fpm7"),
        ("php5-fpm", "php5-fpm"),
        ("/usr/bin/php8.1-fpm", "/usr/bin/php8.1-fpm"),
        ("/usr/local/sbin/php-fpm", "/usr/local/sbin/php-fpm"),
        ("/opt/remi/php81/root/usr/sbin/php-fpm -F", "/opt/remi/php81/root/usr/sbin/php-fpm"),
        ("'/opt/my php/sbin/php-fpm' -F", "/opt/my php/sbin/php-fpm"),
    ],
)
def test_php_fpm_itself(command: str, binary: str) -> None:
    """It has a number in its name or not, and stands in any folder."""
    found = find(command)
    assert found is not None
    assert found.binary == binary


@pytest.mark.parametrize(
    "before",
    [
        "env",
        "env -i APP=1 B=2",
        "env -u APP --chdir /x",
        "APP=1",
        "exec -a name",
        "nice",
        "nice -n 10",
        "nice -10",
        "/usr/bin/nice --adjustment=5",
        "ionice -c2 -n 7",
        "setpriv --reuid=33 --regid 33 --clear-groups",
        "setpriv --no-new-privs --",
        "tini --",
        "/sbin/tini -s -g -e 143 --",
        "dumb-init -c --rewrite 15:3",
        "timeout -k 5 --signal QUIT 1d",
        "taskset -c 0,1",
        "chrt --sched-runtime 5000 -d 0",
        "chpst -u www-data:www-data -o 4096 -P",
        "chpst -/ /srv -n 5",
        "prlimit --nofile=65536:65536",
        "prlimit -n4096 --core=0",
        "numactl --interleave=all",
        "numactl --cpunodebind 0 --membind 0",
        "numactl -N 0 -m 0 --",
        "softlimit -m 500000000",
        "setuidgid www-data",
        "/sbin/setuser www-data",
        "cgexec -g memory:php",
        "doas -u www-data",
        "chrt -f 50",
        "chroot /srv",
        "gosu www-data",
        "su-exec www-data:www-data",
        "sudo -E -u www-data --",
        "runuser -u www-data --",
        "pidproxy /run/php-fpm.pid",
        "stdbuf -oL -e 0",
        "docker-php-entrypoint",
        "nohup setsid -w busybox env",
        "fpm-listener guard --",
        "/opt/bin/fpm-listener guard --wait 30 --orphans quit --hold --config=/x.conf --",
        "python3 -u -m fpm_listener guard",
        "/usr/bin/python3.11 /usr/bin/fpm-listener guard --wait 5",
        "/usr/local/bin/fpm-listener.pyz guard --",
        "python3 /opt/fpm-listener-0.1.0.pyz guard --hold --",
    ],
)
def test_behind_a_wrapper(before: str) -> None:
    """Its options and their values, its operands and assignments are passed over."""
    found = find(f"{before} php-fpm -F -y /a.conf")
    assert found is not None
    assert (found.binary, found.config, found.foreground) == ("php-fpm", "/a.conf", True)


@pytest.mark.parametrize(
    "text",
    [
        "php-fpm -F",
        " php-fpm -F",
        "exec php-fpm -F",
        "sleep 2; php-fpm -F",
        "sleep 1 && exec php-fpm -F 2>&1",
        "sleep 1 || true; A=1 B='2 3' php-fpm -F",
        "rm -f /x.sock&&php-fpm -F",
        "php-fpm -F 2>&1 | cat",
        "php-fpm -F >/dev/null 2>>/var/log/x",
        "php-fpm >/x -F < /dev/null &",
        "2>/dev/null php-fpm -F &>> /x",
        "cd /x\nphp-fpm -F",
        "php-fpm \\\n  -F",
        "php-fpm -F # not for long; php-fpm -D",
        "while true; do php-fpm -F; done",
        "if [ -e /x ]; then { php-fpm -F; }; fi",
        "if (test -e /x) ; then php-fpm -F; fi",
        "! php-fpm -t || exit 1; exec php-fpm -F",
        "php-fpm -t && exec nice -n 5 php-fpm -F",
        "which php-fpm && command php-fpm -F",
        "echo php-fpm; pkill php-fpm; . /etc/env && exec php-fpm -F",
        'echo "it is $(date) \\" ${A:-x y}" `id`; php-fpm "-"\'F\'',
        "sh -c 'php-fpm -F'",
    ],
)
def test_in_a_shell(text: str) -> None:
    """The one simple command that serves is found; what the shell eats is not php-fpm's."""
    quoted = "'" + text.replace("'", "'\\''") + "'"
    for shell in ("bash -c", "/bin/sh -euc", "bash -o pipefail --login -lc", "busybox ash -c"):
        found = find(f"{shell} {quoted}")
        assert found is not None, shell
        assert (found.binary, found.arguments) == ("php-fpm", ("-F",)), shell


def test_the_recipe_of_2015() -> None:
    """It is read to the last option."""
    assert find(RECIPE) == FpmInvocation(
        binary="/usr/sbin/php-fpm",
        arguments=(
            *("--fpm-config", "/etc/php-fpm.conf"),
            *("--pid", "/var/run/php-fpm/php-fpm.pid"),
        ),
        config="/etc/php-fpm.conf",
        pid_file="/var/run/php-fpm/php-fpm.pid",
    )


def test_a_shell_that_executes_its_arguments() -> None:
    """`"$@"` stands for the words after the shell's own name."""
    found = find("""sh -c 'sleep 1; exec "$@"' sh php-fpm -F""")
    assert found is not None
    assert found.arguments == ("-F",)


def test_another_user_s_shell() -> None:
    """What su and runuser hand to a shell is looked into."""
    for command in ("su -s /bin/sh www-data -c 'exec php-fpm -F'", "runuser x -c 'php-fpm -F'"):
        assert find(command) is not None
    assert find("su www-data") is None


@pytest.mark.parametrize(
    "command",
    [
        "",
        "nginx -g 'daemon off;'",
        "php-fpm-exporter --port 9253",
        "php-fpm_exporter server",
        "/usr/bin/php-fpm.sh",
        "php -S 0.0.0.0:80",
        "tail -f /var/log/php-fpm.log",
        "tail -F /var/log/php-fpm",
        "service php-fpm start",
        "sudo service php-fpm start",
        "timeout 5 systemctl restart php-fpm",
        "nice my-wrapper php-fpm",
        "env NAME=php-fpm nginx",
        "gosu php-fpm nginx",
        "timeout php-fpm",
        "php artisan php-fpm",
        "bash /start-php-fpm.sh",
        "bash php-fpm -c",
        "bash -c",
        "bash -c 'pkill php-fpm; nginx'",
        "bash -c 'service php8.2-fpm start'",
        "bash -c 'command -v php-fpm'",
        "bash -c 'nginx > php-fpm'",
        "bash -c '# php-fpm -F'",
        "bash -c 'case $1 in php-fpm) nginx;; esac'",
        "bash -c 'for i in php-fpm; do echo $i; done'",
        "fpm-listener listen --config /etc/supervisord.d/php-fpm.conf",
        "fpm-listener check php-fpm",
        "fpm-listener php-fpm",
        "python3 -m fpm_listener listen php-fpm",
        "python3 -c 'import php-fpm'",
        "python3 run.py php-fpm",
        "bash -c 'echo \"php-fpm",
        "bash -c 'php-fpm -F \"'",
        "'unfinished",
    ],
)
def test_a_command_that_is_another_program(command: str) -> None:
    """Its name alone makes no php-fpm, and malformed quoting makes nothing."""
    assert find(command) is None


def test_short_and_long_options() -> None:
    """They stand apart, glued to their value with = or without, or together."""
    for command in (
        "php-fpm -F -O -R -y /a.conf -p /p -g /g.pid",
        "php-fpm -FOR -y/a.conf -p=/p -g /g.pid",
        "php-fpm -FROy /a.conf -p /p -g/g.pid --",
        "php-fpm --nodaemonize -O --allow-to-run-as-root --fpm-config /a.conf --prefix=/p -g/g.pid",
        "php-fpm -FR --force-stderr --fpm-config=/a.conf --prefix /p --pid /g.pid",
    ):
        found = find(command)
        assert found is not None
        assert (found.config, found.prefix, found.pid_file) == ("/a.conf", "/p", "/g.pid")
        assert (found.foreground, found.force_stderr, found.allow_root) == (True, True, True)
        assert not found.test_only


def test_nothing_said() -> None:
    """All is as configured."""
    assert find("php-fpm") == FpmInvocation(binary="php-fpm")


def test_an_option_given_twice() -> None:
    """php-fpm takes the last one."""
    found = find("php-fpm -y /a -D -y /b -F")
    assert found is not None
    assert (found.config, found.foreground) == ("/b", True)
    found = find("php-fpm -F --daemonize")
    assert found is not None
    assert found.foreground is False


def test_a_value_that_looks_like_an_option() -> None:
    """-d and -c take a value; what is in it is no option."""
    arguments = ("-d", "-F", "-c", "-y", "-n", "-dO")
    assert find("php-fpm " + " ".join(arguments)) == FpmInvocation(
        binary="php-fpm", arguments=arguments, php_ini="-y"
    )


@pytest.mark.parametrize("stop", ["word", "-", "--", "-z", "-Fz", "--foo", "--pid=", "2>&1"])
def test_options_end(stop: str) -> None:
    """php-fpm reads none behind a word that it does not know, and refuses to start."""
    found = find(f"php-fpm {stop} -F -y /a")
    assert found is not None
    assert (found.foreground, found.config) == (None, None)
    assert found.arguments == (stop, "-F", "-y", "/a")


@pytest.mark.parametrize(
    "option", ["-t", "-tt", "-v", "-i", "-m", "-h", "-?", "-Ft", "--test", "--version", "--usage"]
)
def test_a_php_fpm_that_ends_at_once(option: str) -> None:
    """It is php-fpm, but none that serves."""
    found = find(f"php-fpm {option} -y /a.conf")
    assert found is not None
    assert found.test_only


@pytest.mark.parametrize(
    ("binary", "version"),
    [
        ("/usr/sbin/php-fpm8.2", (8, 2)),
        ("php8.3-fpm", (8, 3)),
        ("php-fpm83", (8, 3)),
        ("php-fpm7", (7,)),
        ("php-fpm85", (8, 5)),
        ("php-fpm810", (8, 10)),
        ("/opt/php8.2/php-fpm", ()),
        ("/usr/bin/busybox", ()),
    ],
)
def test_the_version_in_a_name(binary: str, version: tuple[int, ...]) -> None:
    """Debian writes a point, Alpine none; often there is no number."""
    assert FpmInvocation(binary=binary).version == version


REMI = "/opt/remi/php81/root/usr"


@pytest.mark.parametrize(
    ("binary", "config", "prefix", "state"),
    [
        ("/usr/sbin/php-fpm8.2", "/etc/php/8.2/fpm/php-fpm.conf", "/usr", "/var"),
        ("php8.2-fpm", "/etc/php/8.2/fpm/php-fpm.conf", "/usr", "/var"),
        ("/usr/sbin/php-fpm8.5", "/etc/php/8.5/fpm/php-fpm.conf", "/usr", "/var"),
        ("/usr/sbin/php-fpm85", "/etc/php85/php-fpm.conf", "/usr", "/var"),
        ("/usr/sbin/php5-fpm", "/etc/php5/fpm/php-fpm.conf", "/usr", "/var"),
        ("php-fpm83", "/etc/php83/php-fpm.conf", "/usr", "/var"),
        ("/usr/sbin/php-fpm7", "/etc/php7/php-fpm.conf", "/usr", "/var"),
        (f"{REMI}/sbin/php-fpm", "/etc/opt/remi/php81/php-fpm.conf", REMI, "/var/opt/remi/php81"),
        (
            "/usr/local/sbin/php-fpm",
            "/usr/local/etc/php-fpm.conf",
            "/usr/local",
            "/usr/local/var",
        ),
        ("/opt/php/sbin/php-fpm", "/opt/php/etc/php-fpm.conf", "/opt/php", "/opt/php/var"),
        ("/usr/sbin/php-fpm", "/etc/php-fpm.conf", "/usr", "/var"),
    ],
)
def test_where_a_build_has_its_files(binary: str, config: str, prefix: str, state: str) -> None:
    """Each distribution has its place."""
    first = layouts(FpmInvocation(binary=binary))[0]
    assert first == Layout(config=config, prefix=prefix, localstatedir=state)


def test_a_name_that_tells_nothing() -> None:
    """`php-fpm` alone can be the official image's or Red Hat's; each place stands once."""
    image, red_hat = "/usr/local/etc/php-fpm.conf", "/etc/php-fpm.conf"
    assert config_candidates(FpmInvocation(binary="php-fpm")) == (image, red_hat)
    assert config_candidates(FpmInvocation(binary="/usr/sbin/php-fpm")) == (red_hat, image)


def test_a_configuration_that_is_named() -> None:
    """-y names it; -p alone moves the folder `etc` of the build, and all that is relative."""
    assert config_candidates(FpmInvocation(binary="php-fpm", config="/x", prefix="/p")) == ("/x",)
    moved = FpmInvocation(binary="php-fpm8.2", prefix="/p")
    assert config_candidates(moved) == ("/p/etc/php-fpm.conf",)
    assert layouts(moved)[0].localstatedir == "/p"


@given(st.text(st.sampled_from("php-fm8. '\"\\;&|()<>${}`=ybash -c\n#") | st.characters()))
def test_any_command(command: str) -> None:
    """Nothing that stands in a command raises."""
    find(command)
    find("bash -c " + command)
    find("bash -c '" + command.replace("'", "") + "'")
    find("php-fpm " + command)
