"""The doctor's rules on what supervisord needs to execute a program."""

# ruff: noqa: E501 - one mistake is one row

from __future__ import annotations

import pytest

from fpm_listener.doctor.checked_config import Unknown
from fpm_listener.doctor.running_facts import Running
from fpm_listener.phpfpm.start_script import StartScript
from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import (
    COMMAND,
    Case,
    Changes,
    checkup,
    command,
    found,
    gone,
    program_line,
    verify,
)

P = "program:php-fpm"
AT = "[program:php-fpm]"


def not_in_path(name: str) -> FakeHost:
    """Return a host without this program."""
    folders = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
    return gone(*(f"{folder}/{name}" for folder in folders))


OTHER = (("[program:php-fpm]", "[program:other]\ncommand=other -x\n[program:php-fpm]"),)
# fmt: off
CASES = [
    Case("FPM023", command("php-fpm83 -F"), (), f"{AT} command=", "php-fpm83 is in no directory of PATH", {}, "Install it, or write its full path", not_in_path("php-fpm83")),
    Case("FPM023", command("/usr/bin/env A=b php-fpm83 -F"), what="php-fpm83 is in no directory of PATH", machine=not_in_path("php-fpm83")),
    Case("FPM023", command("sh -c 'exec php8.1-fpm -F'"), what="php8.1-fpm is in no directory of PATH", machine=not_in_path("php8.1-fpm")),
    Case("FPM023", command("gosu www-data php-fpm -F"), what="gosu is in no directory of PATH", fix="Install the program", machine=not_in_path("gosu")),
    Case("FPM023", command("exec php-fpm -F"), what="exec is a command of the shell", fix="/bin/sh -c", machine=not_in_path("exec")),
    Case("FPM023", OTHER, (), "[program:other] command=other -x", "other is in no directory of PATH", fix="Install the program", machine=not_in_path("other")),
    Case("FPM028", command("/usr/sbin/php-fpm8.2 --nodaemon -y /etc/php-fpm.conf"), (), f"{AT} command=", "refuses '--nodaemon'", {}),
    Case("FPM028", command("/usr/sbin/php-fpm8.2 -Fx"), what="refuses '-Fx'"),
    Case("FPM028", command("/usr/sbin/php-fpm8.2 -F start"), what="refuses 'start'"),
    Case("FPM028", command("/usr/sbin/php-fpm8.2 -F -y"), what="refuses '-y'"),
    Case("FPM028", command("/usr/sbin/php-fpm8.2 -F --fpm-config= -R"), what="refuses '--fpm-config='"),
    Case("FPM028", command("/usr/sbin/php-fpm8.2 -F -- x"), what="refuses 'x'"),
    Case("FPM028", command("sh -c 'exec php-fpm --foreground'"), what="refuses '--foreground'"),
    Case("FPM029", command("mkdir -p /run/php && php-fpm -F"), (), f"{AT} command=", "&& is an operator", {}, "exec", why="arguments of mkdir"),
    Case("FPM029", command(f"{COMMAND} > /dev/null"), what="> is an operator"),
    Case("FPM029", command(f"{COMMAND} 2>&1"), what="2>&1 is an operator"),
    Case("FPM029", command("cat /x | other"), what="| is an operator"),
    Case("FPM029", command("cat /x || other"), what="|| is an operator"),
    Case("FPM029", command(f"{COMMAND} &"), what="& is an operator"),
    Case("FPM029", command("sleep 1; php-fpm -F"), what="; is an operator", why="arguments of sleep"),
    Case("FPM029", command(f"{COMMAND}; nginx"), what="; is an operator"),
    Case("FPM029", command("php-fpm -F -y $CONF"), what="$CONF is a variable", fix="%(ENV_NAME)s"),
    Case("FPM029", command("/bin/sh -c mkdir -p /run/php && exec php-fpm -F"), what="the command after -c needs quotes", fix="double quotes", why="only the first word"),
    Case("FPM029", command("bash -c 'exec php-fpm -F' > /dev/null"), what="> is an operator"),
    Case("FPM030", program_line("directory=/srv/app"), (), f"{AT} directory=/srv/app", "/srv/app does not exist", {}, "install -d /srv/app", gone("/srv/app")),
    Case("FPM031", program_line("user=web"), (), f"{AT} user=web", "user web may not read /etc/php-fpm.conf", {}, machine=FakeHost(unreadable=frozenset({"/etc/php-fpm.conf"}))),
    Case("FPM032", program_line("stdout_logfile=/dev/stdout"), (), f"{AT} stdout_logfile=", "stdout_logfile is /dev/stdout", {(P, "stdout_logfile_maxbytes"): "0"}, "stdout_logfile_maxbytes=0"),
    Case("FPM032", program_line("stdout_logfile=/dev/fd/1"), what="stdout_logfile is /dev/fd/1"),
    Case("FPM032", (*program_line("stderr_logfile_maxbytes=1000"), ("/var/log/php-fpm.stderr.log", "/dev/stderr")), what="stderr_logfile is /dev/stderr", why="does not send the line to the"),
    Case("FPM032", program_line("stdout_logfile=/proc/1/fd/1"), what="stdout_logfile is /proc/1/fd/1"),
    Case("FPM032", (*program_line("stdout_logfile=/dev/stderr"), ("/var/log/php-fpm.stderr.log", "NONE")), what="/dev/stderr"),
    Case("FPM033", program_line("user=no-such-name"), (), f"{AT} user=no-such-name", "user is no-such-name, and there is no such user", {}, "useradd no-such-name"),
    Case("FPM033", (("[supervisord]", "[supervisord]\nuser=no-such-name"),), (), "[supervisord] user=no-such-name"),
    Case("FPM033", program_line("user=54321"), what="user is 54321", fix="a user that exists", machine=FakeHost(unknown=frozenset({"54321"}))),
    Case("FPM034", program_line("user=web"), (), "[global] error_log=", "user web may not write /var/log/php-fpm.log", {}, "chown web /var/log/php-fpm.log", machine=FakeHost(unwritable=frozenset({"/var/log/php-fpm.log"}))),
    Case("FPM034", program_line("user=web"), (("listen = 127.0.0.1:9000", "listen = /run/w.sock"),), "[www] listen=", "may not write /run/w.sock", machine=FakeHost(unwritable=frozenset({"/run/w.sock"}))),
    Case("FPM034", program_line("user=web"), (("pm = ", "access.log = /log/a\npm = "),), "[www] access.log=", "may not write /log/a", machine=FakeHost(unwritable=frozenset({"/log/a"}))),
    Case("FPM034", program_line("user=web"), (("pm = ", "slowlog = /log/s\nrequest_slowlog_timeout = 5s\npm = "),), "[www] slowlog=", "may not write /log/s", machine=FakeHost(unwritable=frozenset({"/log/s"}))),
    Case("FPM034", (*program_line("user=web"), *command(f"{COMMAND} -O")), (), "[global] error_log=", "may not write /var/log/php-fpm.log", machine=FakeHost(unwritable=frozenset({"/var/log/php-fpm.log"}))),
    Case("FPM061", command(f"{COMMAND} -O"), (), "[global] error_log=", "/var/log does not exist", machine=gone("/var/log")),
    Case("FPM082", command(f"{COMMAND} -p /none"), (), f"{AT} command=", "-p: /none is not an existing directory", machine=gone("/none")),
    Case("FPM034", program_line("user=web"), (), "[global] pid=", fix="install -d -o web", machine=FakeHost(unwritable=frozenset({"/run/php-fpm.pid"}))),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.what[:30]}" for case in CASES])
def test_a_mistake(case: Case) -> None:
    """The rule points at the line, says what is wrong, and changes what makes it go away."""
    verify(case)


@pytest.mark.parametrize(
    ("rule", "supervisord", "machine"),
    [
        ("FPM023", (), FakeHost()),
        (
            "FPM023",
            command("php-fpm83 -F"),
            gone("/usr/local/sbin/php-fpm83", "/usr/bin/php-fpm83"),
        ),
        ("FPM023", command("bin/php-fpm -F"), gone("bin/php-fpm")),
        ("FPM023", command("chroot /srv/jail /opt/php-fpm -F"), gone("/opt/php-fpm")),
        ("FPM023", command("sh -c 'exec chroot /srv /opt/php-fpm -F'"), gone("/opt/php-fpm")),
        ("FPM029", command("curl http://x/a;b"), FakeHost()),
        ("FPM029", command("nginx -g 'daemon off; user x;'"), FakeHost()),
        ("FPM029", command(r"find / -exec rm {} \; -quit"), FakeHost()),
        ("FPM030", program_line("directory=app"), gone("app")),
        ("FPM030", program_line("directory=/srv/app"), FakeHost()),
        ("FPM031", (), FakeHost(unreadable=frozenset({"/etc/php-fpm.conf"}))),
        ("FPM031", program_line("user=web"), FakeHost()),
        ("FPM033", program_line("user=www-data"), FakeHost()),
        (
            "FPM033",
            program_line("user=%(ENV_NAME)s"),
            FakeHost(unknown=frozenset({"%(ENV_NAME)s"})),
        ),
        ("FPM033", program_line("user=33"), FakeHost()),
        ("FPM034", (), FakeHost(unwritable=frozenset({"/var/log/php-fpm.log"}))),
        ("FPM034", program_line("user=web"), FakeHost()),
        ("FPM032", program_line("stdout_logfile=/dev/null"), FakeHost()),
        (
            "FPM032",
            program_line("stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0"),
            FakeHost(),
        ),
        (
            "FPM032",
            (("/var/log/php-fpm.stderr.log", "/dev/stderr"), *program_line("redirect_stderr=true")),
            FakeHost(),
        ),
    ],
)
def test_no_mistake(rule: str, supervisord: Changes, machine: FakeHost) -> None:
    """Where it works, the rule is silent."""
    assert found(rule, checkup(supervisord, machine=machine)) == []


def test_a_program_that_was_not_examined() -> None:
    """It is a finding, with the reason; a shell operator in its command is the better finding."""
    of = checkup()
    (process,) = [one for one in of.processes if one.kind == "program"]
    (one,) = found("FPM027", of._replace(unknown=(Unknown(process, "/x: it is not a script"),)))
    assert one.what == "check does not know how this command starts php-fpm: /x: it is not a script"

    of = checkup(command("a && b"))
    (process,) = [one for one in of.processes if one.kind == "program"]
    assert found("FPM027", of._replace(unknown=(Unknown(process, "x"),))) == []


@pytest.mark.parametrize(("execs", "count"), [(True, 0), (False, 1)])
def test_php_fpm_behind_a_script(execs: bool, count: int) -> None:  # noqa: FBT001 - a test's
    """Without exec the shell of the script stays."""
    of = checkup()
    script = StartScript("/start.sh", execs=execs)
    of = of._replace(fpms=(of.fpms[0]._replace(script=script),))

    assert [one.what for one in found("FPM002", of)] == [
        "/start.sh runs php-fpm without exec"
    ] * count


def test_the_log_of_supervisord_on_a_pipe() -> None:
    """Without logfile_maxbytes=0 supervisord does not start."""
    known = {"logfile": "/dev/stdout", "logfile_maxbytes": 50 << 20}
    (one,) = found("FPM032", checkup(known=known))
    assert one.what == "logfile is /dev/stdout, and logfile_maxbytes is not 0"
    assert "supervisord does not start" in one.why
    assert one.edits == {("supervisord", "logfile_maxbytes"): "0"}

    assert found("FPM032", checkup(known=known | {"logfile_maxbytes": 0})) == []
    assert found("FPM032", checkup(known=known | {"logfile": "/var/log/s.log"})) == []


@pytest.mark.parametrize("uid", [33, None])
def test_a_php_fpm_without_root(uid: int | None) -> None:
    """php-fpm ignores user and group, and may open the stderr that supervisord has made as it."""
    of = checkup(
        program_line(f"user={33 if uid else 'NONE'}"),
        (
            ("user = www-data", "user = root\ngroup = no-such-name"),
            ("/var/log/php-fpm.log", "/dev/stderr"),
        ),
    )
    (fpm,) = of.fpms
    settings = {**fpm.process.settings, "user": uid, "supervisord_uid": uid}
    process = fpm.process._replace(section=fpm.program._replace(values=settings))
    of = of._replace(fpms=(fpm._replace(process=process),))

    assert found("FPM025", of) == []
    assert len(found("FPM049", of)) == (uid is None)
    assert len(found("FPM050", of)) == (uid is None)


def test_a_container_whose_supervisord_runs() -> None:
    """It was started with -n, or something else keeps the container alive."""
    machine, known = FakeHost(container=True), {"nodaemon": False}

    assert found("FPM103", checkup(machine=machine, known=known))
    assert found("FPM103", checkup(machine=machine, known=known, running=Running(1))) == []


@pytest.mark.parametrize(("is_known", "rules"), [(False, ["FPM067"]), (True, ["FPM043", "FPM067"])])
def test_a_variable_of_another_environment(is_known: bool, rules: list[str]) -> None:  # noqa: FBT001 - a test's
    """What depends on a variable that only this shell does not have is no finding."""
    change = (("listen = 127.0.0.1:9000", "listen = 127.0.0.1:${PORT}"),)
    of = checkup((), change, is_environment_known=is_known)

    assert [rule for rule in ("FPM043", "FPM067") if found(rule, of)] == rules


def test_a_configuration_that_was_not_read() -> None:
    """Its values are defaults only, so no rule uses them."""
    of = checkup((("-F -y", "-y"), ("stopwaitsecs=20", "stopwaitsecs=1")))
    (fpm,) = of.fpms
    of = of._replace(fpms=(fpm._replace(conf=fpm.conf._replace(files=(), options={}, pools=())),))

    for rule in ("FPM003", "FPM012", "FPM013", "FPM051", "FPM061", "FPM063"):
        assert found(rule, of) == []
