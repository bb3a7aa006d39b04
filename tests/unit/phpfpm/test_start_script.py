"""The php-fpm that a start script becomes."""

from __future__ import annotations

import time

import pytest

from fpm_listener.phpfpm import start_script

FPM = "/usr/sbin/php-fpm8.2 -F -y /etc/php-fpm.conf"


def find(text: str, command: str = "/start.sh", **more: str) -> start_script.StartScript | None:
    """Return what is found behind a command; text: of /start.sh; more: other scripts, by name."""
    files = {"/start.sh": text, **{f"/{name}.sh": other for name, other in more.items()}}
    return start_script.find(
        command, files.get, {"BIN": "/usr/sbin/php-fpm8.3", "OPTIONS": "-F -R"}
    )


def config(found: start_script.StartScript | None) -> tuple[str | None, bool]:
    """Return the configuration of the php-fpm that is found, and whether the script becomes it."""
    assert found is not None
    assert found.invocation is not None, found.fault
    return found.invocation.config, found.execs


@pytest.mark.parametrize(
    ("text", "execs"),
    [
        (f"#!/bin/sh\nset -e\nexec {FPM}\n", True),
        (f"#!/usr/bin/env bash\nmkdir -p /run/php\nexec gosu www-data {FPM}", True),
        (f"#!/bin/sh\nif [ x ]; then\n  exec {FPM}\nfi\n", True),
        (f"#!/bin/sh\n{FPM}\n", False),
        (f"#!/bin/sh\ncat > /etc/x <<'EOF'\nit's a text\nEOF\nexec {FPM}\n", True),
        (f"#!/usr/bin/with-contenv sh\n# it's a comment\nexec {FPM}", True),
        (f"#!/bin/sh\nexec /other.sh {FPM}", True),
    ],
)
def test_php_fpm_in_a_script(text: str, execs: bool) -> None:  # noqa: FBT001 - a test's
    """With exec the script becomes php-fpm; without it its shell stays."""
    other = '#!/bin/sh\nexec "$@"\n'
    assert config(find(text, other=other)) == ("/etc/php-fpm.conf", execs)


@pytest.mark.parametrize(
    "command",
    [
        "/bin/sh /start.sh",
        "bash -e /start.sh",
        "gosu www-data /start.sh",
        "tini -- /start.sh -x",
        "sh -c 'exec /start.sh'",
        "/usr/bin/env A=b /start.sh",
    ],
)
def test_ways_to_run_a_script(command: str) -> None:
    """The script is found behind shells, wrappers and options."""
    assert config(find(f"#!/bin/sh\nexec {FPM}\n", command)) == ("/etc/php-fpm.conf", True)


def test_arguments_and_variables() -> None:
    """The arguments of the script and the variables of the environment are known."""
    found = find('#!/bin/sh\nexec "$@"\n', f"/start.sh {FPM}")
    assert config(found) == ("/etc/php-fpm.conf", True)
    found = find('#!/bin/sh\nexec "$BIN" -F -y /a\n')
    assert config(found) == ("/a", True)
    found = find("#!/bin/sh\nexec php-fpm $OPTIONS -y ${BIN}.conf\n")
    assert config(found) == ("/usr/sbin/php-fpm8.3.conf", True)
    assert found is not None
    assert found.invocation is not None
    assert (found.invocation.foreground, found.invocation.allow_root) == (True, True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("#!/bin/sh\nexec nginx\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\nphp-fpm -D\nexec nginx\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\nphp-fpm -F &\nwait\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\nphp-fpm -F &\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\nphp-fpm -t\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\nexec /start.sh\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\nexec php-fpm -y $CONF\n", "the value of $CONF is not known"),
        ("#!/bin/sh\nexec php-fpm $FLAGS\n", "the value of $FLAGS is not known"),
        ("#!/bin/sh\nPV=8\nexec php-fpm${PV:-8.2}\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\n. /env\nexec php-fpm${PV:-8.2}\n", "no command in it becomes php-fpm"),
        ("#!/bin/sh\nread -r C\nexec php-fpm -y ${C:-/a}", "the value of ${C:-/a} is not known"),
        ("#!/usr/bin/python3\nimport os\n", "it is not a script of a shell"),
        ("#!/bin/sh\nexec php-fpm -F 'open\n", "no command in it becomes php-fpm"),
        (f"#!/bin/sh\n{' ' * 70000}\nexec php-fpm\n", "no command in it becomes php-fpm"),
    ],
)
def test_no_guess(text: str, fault: str) -> None:
    """What is not certain is unknown, with a reason."""
    found = find(text)

    assert found is not None
    assert (found.path, found.invocation, found.fault) == ("/start.sh", None, fault)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a <<EOF >b\nx\nEOF\nc", "a  >b\nc"),
        ("a <<-'E' <<\"F\"\nx\n\tE \ny\nF\nc", "a  \nc"),
        ("a <<EOF\nx\nEOFX\nc", "a <<EOF\nx\nEOFX\nc"),
        ("a <<<EOF\nx\nEOF\nc", "a <<<EOF\nx\nEOF\nc"),
        ("EOF\na <<EOF\nx", "EOF\na <<EOF\nx"),
    ],
)
def test_the_input_in_a_script(text: str, plain: str) -> None:
    """It is removed. Without its end word nothing is."""
    assert start_script.without_heredocs(text) == plain


@pytest.mark.parametrize("piece", ["<<EOFTEXT\n", "<<A ", "<<A\nA\n", "<<'a", "<<<b\n", "<< "])
def test_the_costs_of_a_script(piece: str) -> None:
    """They grow with its length only."""

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        started_s = time.process_time()  # of this process: other processes do not count
        start_script.without_heredocs(text)
        return time.process_time() - started_s

    short_s = min(seconds(8000) for _ in range(5))
    assert min(seconds(64000) for _ in range(5)) < 32 * short_s  # quadratic: 64


@pytest.mark.parametrize("command", ["/usr/bin/nginx -c /etc/nginx.conf", "sh -c", "'open", ""])
def test_no_script(command: str) -> None:
    """Another program, or words that supervisor cannot split."""
    found = find("x", command)
    assert found is None or found.invocation is None


@pytest.mark.parametrize(
    ("text", "ambiguous"),
    [
        (f'case "$1" in\n app) exec {FPM} ;;\n queue) exec php artisan queue:work ;;\nesac', True),
        (f'if [ "$ROLE" = queue ]; then exec php artisan; fi\nexec {FPM}\n', True),
        (f"if [ x ]; then exec {FPM} -O; else exec {FPM}; fi\n", False),
        (f'exec 2>&1\n[ "$1" ] && shift\nexec {FPM}\n', False),
        (f'if [ "$1" = app ]; then exec {FPM}; fi\nexec "$@"\n', True),
        (f'if [ "$1" = app ]; then exec {FPM}; fi\nshift\nexec "$@"\n', True),
    ],
)
def test_a_script_with_two_programs(text: str, ambiguous: bool) -> None:  # noqa: FBT001 - a test's
    """A script that also becomes another program is no proof of php-fpm."""
    found = find(f"#!/bin/sh\n{text}", "/start.sh queue")
    assert config(found) == ("/etc/php-fpm.conf", True)
    assert found is not None
    assert found.ambiguous is ambiguous


def test_changed_arguments() -> None:
    """`shift` and `set` change the arguments: they are not known."""
    text = f'#!/bin/sh\n[ "$1" = php-fpm ] && shift\nexec {FPM} "$@"\n'
    found = find(text, "/start.sh php-fpm")
    assert config(found) == ("/etc/php-fpm.conf", True)
    assert found is not None
    assert found.invocation is not None
    assert found.invocation.refused == ""
    for changed, command in (
        (text, "/start.sh php-fpm -y /b"),
        (f'#!/bin/sh\nset -- -y /b "$@"\nexec {FPM} "$@"\n', "/start.sh"),
    ):
        unknown = find(changed, command)
        assert unknown is not None
        assert (unknown.invocation, unknown.fault) == (None, "the value of $@ is not known")
    found = find('#!/bin/sh\nset -eo pipefail\nexec "$@"\n', f"/start.sh {FPM}")
    assert config(found) == ("/etc/php-fpm.conf", True)


@pytest.mark.parametrize(
    ("command", "execs", "without_exec"),
    [
        ("/bin/bash -c /start.sh", True, ("/start.sh", "php-fpm")),
        ("/bin/sh -c /start.sh", False, ("the command", "/start.sh")),
        ("/bin/bash -c '/start.sh; true'", None, ()),
    ],
)
def test_a_script_in_a_command(
    command: str,
    execs: bool | None,  # noqa: FBT001 - a test's
    without_exec: tuple[str, ...],
) -> None:
    """Bash executes a single command without a child; dash stays, and the script has its exec."""
    found = find(f"#!/bin/sh\nexec {FPM}\n", command)
    assert found is not None
    if execs is None:
        assert found.invocation is None
    else:
        assert config(found) == ("/etc/php-fpm.conf", execs)
        assert (found.path, found.runs) == without_exec


def test_default_values() -> None:
    """A variable that nothing sets has its default value."""
    text = "#!/bin/sh\nset -e\nexec php-fpm${PV:-8.2} -F -y ${BIN:-/none}.conf\n"
    found = find(text)
    assert config(found) == ("/usr/sbin/php-fpm8.3.conf", True)
    assert found is not None
    assert found.invocation is not None
    assert found.invocation.binary == "php-fpm8.2"


def test_a_command_with_many_options_and_values() -> None:
    """It takes linear time: exponential and quadratic time would be minutes."""
    assert not start_script.INIT.search("systemctl " + "--a " * 200)
    assert not start_script.INIT.search("service " + "php" * 20_000)
    assert not start_script.INIT.search("'" * 100_000)
    text = "".join(f"echo ${{A{number}:-b}}\n" for number in range(3_000))
    assert find(f"#!/bin/sh\n{text}exec {FPM}\n") is not None


@pytest.mark.parametrize(
    ("command", "starts"),
    [
        ("/usr/sbin/service php8.2-fpm start", True),
        ("systemctl --now -q restart php-fpm", True),
        ('sh -c "/etc/init.d/php-fpm start"', True),
        ("rc-service myphp restart", True),
        ("xservice php start", False),
        ("systemctl stop php-fpm", False),
    ],
)
def test_a_command_of_an_init_system(command: str, *, starts: bool) -> None:
    """Its directory and its options do not matter."""
    assert bool(start_script.INIT.search(command)) is starts
