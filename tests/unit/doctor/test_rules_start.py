"""The doctor's rules on how supervisord starts, watches and stops a php-fpm."""

# ruff: noqa: E501 - one mistake is one row

from __future__ import annotations

import pytest

from fpm_listener.doctor.rules import examine
from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import (
    COMMAND,
    GUARDED,
    TEXTS,
    Case,
    Changes,
    checkup,
    command,
    found,
    program_line,
    verify,
)

P = "program:php-fpm"
AT = "[program:php-fpm]"
PLAIN = f"command={COMMAND}"
DAEMON = "/usr/sbin/php-fpm8.2 -y /etc/php-fpm.conf"


def key(name: str, value: str, old: str | None = None) -> Changes:
    """Return the program with one key added or changed."""
    if old is not None:
        return ((f"{name}={old}\n", f"{name}={value}\n"),)
    return program_line(f"{name}={value}")


OWNER = ("[www]\n", "[www]\nlisten.owner = web\n")
SOCKET = ("listen = 127.0.0.1:9000", "listen = /run/w.sock")
GUARD = {(P, "command"): f"/opt/bin/fpm-listener guard --hold -- {COMMAND}"}
# fmt: off
CASES = [
    Case(
        "FPM001",
        command(f'sh -c "sleep 1 && exec {COMMAND}"'),
        (),
        f"{AT} command=",
        "sleep runs before",
        GUARD,
    ),
    Case(
        "FPM001",
        command(f"bash -c 'wait-for db; {COMMAND}'"),
        (),
        f"{AT} command=",
        "wait-for runs before",
        {},
    ),
    Case(
        "FPM001", command(f"bash -c 'wait-for-it.sh db; {COMMAND}'"), what="wait-for-it.sh runs before"
    ),
    Case(
        "FPM002",
        command(f'sh -c "{COMMAND}"'),
        (),
        f"{AT} command=",
        "/bin/sh is dash on Debian",
        GUARD,
    ),
    Case(
        "FPM002",
        command(f'/bin/dash -c "{COMMAND}"'),
        what="dash -c runs php-fpm without exec (dash stays)",
    ),
    Case("FPM002", command(f'bash -c "{COMMAND} 2>&1"'), what="bash 5.1 and later", edits={}),
    Case("FPM002", command(f'zsh -c "{COMMAND}"'), what="zsh may stay"),
    Case("FPM002", command(f'bash -eo pipefail -c "true; {COMMAND}"'), what="bash 5.1 and later"),
    Case("FPM002", command(f'bash --login -c "true; {COMMAND}"'), what="bash 5.1 and later"),
    Case("FPM002", command(f'/usr/bin/env A=b sh -c "true; {COMMAND}"'), what="dash stays"),
    Case(
        "FPM002",
        command(f'sh -c "{DAEMON}"') + key("stopasgroup", "true"),
        edits=GUARD | {(P, "stopasgroup"): None},
    ),
    Case(
        "FPM002",
        command(f'sh -c "{COMMAND}"') + key("startsecs", "2", "3"),
        edits=GUARD | {(P, "startsecs"): "3"},
    ),
    Case(
        "FPM003",
        command(DAEMON),
        (),
        "[global]",
        "daemonize = yes (the default), and no -F",
        {(P, "command"): COMMAND},
    ),
    Case(
        "FPM003",
        command(DAEMON),
        (("[global]\n", "[global]\ndaemonize = yes\n"),),
        "[global] daemonize=yes",
        "no -F",
    ),
    Case(
        "FPM003",
        command(f"{COMMAND} -D"),
        (),
        f"{AT} command=",
        "-D on the command line",
        {(P, "command"): COMMAND.replace(" -F", " -F -F")},
    ),
    Case(
        "FPM003",
        command("/usr/sbin/php-fpm8.2 --daemonize -y /etc/php-fpm.conf"),
        (),
        f"{AT} command=",
        "-D on",
        {(P, "command"): COMMAND},
    ),
    Case("FPM003", command(f'sh -c "{DAEMON}"'), (), "[global]", "no -F", GUARD),
    Case("FPM003", command(f'bash -c "{DAEMON} 2>&1"'), edits={}),
    Case(
        "FPM004", command("service php8.2-fpm start"), (), f"{AT} command=service", "an init script"
    ),
    Case("FPM004", command("service php8.2-fpm restart"), what="an init script"),
    Case("FPM004", command("/etc/init.d/php8.2-fpm start"), what="an init script"),
    Case("FPM004", command("/usr/sbin/service php-fpm restart"), what="an init script"),
    Case("FPM004", command("systemctl start php8.2-fpm.service"), what="an init script"),
    Case("FPM004", command("systemctl --no-block restart php-fpm"), what="an init script"),
    Case("FPM004", command("rc-service php-fpm83 start"), what="an init script"),
    Case("FPM004", command("bash -c '/etc/init.d/php-fpm start'"), what="an init script"),
    Case(
        "FPM005",
        key("startsecs", "1", "3"),
        (),
        f"{AT} startsecs=1",
        "startsecs is 1",
        {(P, "startsecs"): "3"},
        "startsecs=3",
    ),
    Case(
        "FPM005",
        key("startsecs", "0", "3"),
        (),
        f"{AT} startsecs=0",
        "startsecs is 0",
        {(P, "startsecs"): "3"},
    ),
    Case("FPM005", (("startsecs=3\n", ""),), (), AT, "startsecs is 1"),
    Case(
        "FPM006",
        command(GUARDED.replace("--hold", "--wait 3s")),
        (),
        f"{AT} startsecs=3",
        "startsecs is 3, and the guard may wait 3 s",
        {(P, "startsecs"): "5"},
        "startsecs=5",
    ),
    Case(
        "FPM006",
        command(GUARDED.replace("--hold", "--wait=10s")),
        what="wait 10 s",
        edits={(P, "startsecs"): "12"},
    ),
    Case(
        "FPM006",
        key("startsecs", "2", "3"),
        what="startsecs is 2, and the guard may wait 2 s",
        edits={(P, "startsecs"): "4"},
    ),
    Case(
        "FPM007",
        key("startretries", "4", "10"),
        (),
        f"{AT} startretries=4",
        "startretries is 4",
        {(P, "startretries"): "10"},
        "startretries=10",
    ),
    Case(
        "FPM008",
        key("exitcodes", "0,70", "0"),
        (),
        f"{AT} exitcodes=0,70",
        "exitcodes is 0,70",
        {(P, "exitcodes"): "0"},
        "exitcodes=0",
    ),
    Case("FPM008", key("exitcodes", "78,0,75", "0"), what="exitcodes is 78,0,75"),
    Case(
        "FPM009",
        (("autorestart=true\nexitcodes", "autorestart=unexpected\nexitcodes"),),
        (),
        f"{AT} autorestart=unexpected",
        "autorestart is unexpected",
        {(P, "autorestart"): "true"},
        "autorestart=true",
    ),
    Case(
        "FPM009",
        (("autorestart=true\nexitcodes", "autorestart=false\nexitcodes"),),
        what="autorestart is false",
    ),
    Case(
        "FPM010",
        key("stopsignal", "TERM", "QUIT"),
        (),
        f"{AT} stopsignal=TERM",
        "stopsignal is TERM",
        {(P, "stopsignal"): "QUIT"},
    ),
    Case("FPM010", key("stopsignal", "INT", "QUIT"), what="stopsignal is INT"),
    Case(
        "FPM010",
        key("stopsignal", "TERM", "QUIT") + key("stopwaitsecs", "12", "20"),
        (("process_control_timeout = 10s\n", ""),),
        edits={
            (P, "stopsignal"): "QUIT",
            ("global", "process_control_timeout"): "10s",
            (P, "stopwaitsecs"): "20",
        },
    ),
    Case(
        "FPM010",
        key("stopsignal", "TERM", "QUIT"),
        (("process_control_timeout = 10s\n", "process_control_timeout = 30s\n"),),
        edits={(P, "stopsignal"): "QUIT", (P, "stopwaitsecs"): "35"},
    ),
    Case(
        "FPM011",
        key("stopsignal", "USR2", "QUIT"),
        (),
        f"{AT} stopsignal=USR2",
        "stopsignal is USR2",
        {(P, "stopsignal"): "QUIT"},
        "stopsignal=QUIT",
    ),
    Case("FPM011", key("stopsignal", "HUP", "QUIT"), what="stopsignal is HUP"),
    Case(
        "FPM012",
        (),
        (("process_control_timeout = 10s\n", ""),),
        "[global]",
        "process_control_timeout is 0",
        {("global", "process_control_timeout"): "10s"},
    ),
    Case(
        "FPM012",
        key("stopwaitsecs", "10", "20"),
        (("process_control_timeout = 10s\n", ""),),
        edits={("global", "process_control_timeout"): "10s", (P, "stopwaitsecs"): "20"},
    ),
    Case("FPM012", key("stopwaitsecs", "13", "20"), (("process_control_timeout = 10s\n", ""),), edits={("global", "process_control_timeout"): "10s"}),
    Case("FPM012", (), (("process_control_timeout = 10s", "process_control_timeout = 0"),), "[global] process_control_timeout=0"),
    Case(
        "FPM013",
        key("stopwaitsecs", "12", "20"),
        (),
        f"{AT} stopwaitsecs=12",
        "stopwaitsecs is 12, and process_control_timeout is 10 s",
        {(P, "stopwaitsecs"): "20"},
        "stopwaitsecs=20",
    ),
    Case(
        "FPM013",
        (),
        (("timeout = 10s\n", "timeout = 40s\n"),),
        what="process_control_timeout is 40 s",
        edits={(P, "stopwaitsecs"): "45"},
        fix="stopwaitsecs=45",
    ),
    Case(
        "FPM014",
        key("killasgroup", "false", "true"),
        (),
        f"{AT} killasgroup=false",
        "killasgroup is false",
        {(P, "killasgroup"): "true"},
        "killasgroup=true",
    ),
    Case(
        "FPM015",
        key("stopasgroup", "true") + key("stopsignal", "TERM", "QUIT"),
        (),
        f"{AT} stopasgroup=true",
        "stopasgroup is true",
        {(P, "stopasgroup"): None},
        "stopasgroup=false",
    ),
    Case(
        "FPM016",
        key("numprocs", "2"),
        (),
        f"{AT} numprocs=2",
        "numprocs is 2",
        {(P, "numprocs"): "1"},
        "numprocs=1",
    ),
    Case(
        "FPM017",
        command("/usr/sbin/php-fpm8.2 -F -c /etc/fpm/php-fpm.conf"),
        (),
        f"{AT} command=",
        "-c /etc/fpm/php-fpm.conf",
        fix="-y /etc/fpm/php-fpm.conf",
    ),
    Case("FPM018", command(f"{COMMAND} -R"), (), f"{AT} command=", "-R lets"),
    Case(
        "FPM019",
        key("redirect_stderr", "true"),
        (),
        f"{AT} redirect_stderr=true",
        "redirect_stderr is true, and stdout_events_enabled is false",
        {(P, "stdout_events_enabled"): "true"},
        "stdout_events_enabled=true in",
    ),
    Case(
        "FPM020",
        (
            (
                "stderr_logfile=/var/log/php-fpm.stderr.log\nstderr_events_enabled=true\n",
                "stderr_logfile=NONE\n",
            ),
        ),
        spot=f"{AT} stderr_logfile=NONE",
        what="not logged, and not sent",
        edits={(P, "stderr_events_enabled"): "true", (P, "stderr_logfile"): None},
    ),
    Case(
        "FPM021",
        key("stderr_events_enabled", "false", "true"),
        (("/var/log/php-fpm.log", "/proc/self/fd/2"),),
        f"{AT} stderr_events_enabled=false",
        "error_log is stderr",
        {(P, "stderr_events_enabled"): "true"},
        "stderr_events_enabled=true",
    ),
    Case(
        "FPM022",
        command(COMMAND) + key("environment", "FPM_SOCKETS=x"),
        (),
        f"{AT} environment=FPM_SOCKETS=x",
        "FPM_SOCKETS is set",
        fix="Remove FPM_SOCKETS",
    ),
    Case(
        "FPM022",
        command(COMMAND) + key("environment", "A=b FPM_SOCKETS_1=x"),
        what="FPM_SOCKETS_1 is set",
    ),
    Case(
        "FPM023",
        (),
        (),
        f"{AT} command=",
        "/usr/sbin/php-fpm8.2 does not exist",
        machine=FakeHost(missing=frozenset({"/usr/sbin/php-fpm8.2"})),
    ),
    Case(
        "FPM024",
        command(f"{COMMAND} ; exec other"),
        (),
        f"{AT} command={COMMAND}",
        "; after a blank",
        fix="write `a; b` (no blank before ;)",
    ),
    Case("FPM024", command(f"{COMMAND} # A=b other"), what="# after a blank"),
    Case("FPM024", command("/bin/x ; php-fpm -F"), what="; after a blank"),
    Case("FPM024", command('sh -c "sleep 1 ; the rest"'), what="; after a blank"),
    Case("FPM024", command("/bin/x ; /usr/bin/y"), what="; after a blank"),
    Case(
        "FPM025",
        key("user", "web"),
        (SOCKET, ("[www]\n", "[www]\nlisten.owner = web\n")),
        "[www] listen.owner=web",
        "listen.owner is set, and the program runs as user web",
        fix="Remove listen.owner, or remove user= from [program:php-fpm]",
    ),
    Case(
        "FPM025",
        key("user", "web"),
        (SOCKET, ("[www]\n", "[www]\nlisten.group = web\n")),
        what="listen.group is set",
    ),
    Case(
        "FPM025",
        key("user", "web"),
        (("[www]\n", "[www]\nchroot = /srv\n"),),
        what="chroot is set",
        why="ignores the setting",
    ),
    Case(
        "FPM025",
        key("user", "web"),
        (("/var/log/php-fpm.log", "/dev/stderr"),),
        "[global] error_log=/dev/stderr",
        "error_log is stderr",
    ),
    Case(
        "FPM025",
        key("user", "web"),
        (("/var/log/php-fpm.log", "/proc/1/fd/2"),),
        "[global] error_log=/proc/1/fd/2",
        "error_log is stderr",
    ),
    Case(
        "FPM025",
        command(f"gosu www-data {COMMAND}"),
        (("/var/log/php-fpm.log", "/dev/stderr"),),
        what="the program runs as user nobody (33)",
        fix="start php-fpm as root: the command changes the user",
    ),
    Case(
        "FPM026",
        (("[program:php-fpm]", "[fcgi-program:php-fpm]\nsocket=tcp://127.0.0.1:9000"),),
        (),
        "[fcgi-program:php-fpm] socket=tcp://127.0.0.1:9000",
        "get their socket",
        fix="[program:php-fpm]",
    ),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.what[:30]}" for case in CASES])
def test_a_mistake(case: Case) -> None:
    """The rule points at the line, says what is wrong, and changes what makes it go away."""
    verify(case)


def test_a_sound_configuration() -> None:
    """No rule finds anything, not even a hint."""
    assert examine(checkup(), TEXTS) == []


@pytest.mark.parametrize(
    ("rule", "supervisord", "fpm"),
    [
        ("FPM001", command(f"{GUARDED} # sleep 1"), ()),
        ("FPM001", command("/opt/sleep/php-fpm8.2 -F"), ()),
        ("FPM002", command(f'sh -c "exec {COMMAND}"'), ()),
        ("FPM002", command(f'sh -c "cd /srv; exec {COMMAND}"'), ()),
        ("FPM002", command(f"sh -e {COMMAND}"), ()),
        ("FPM002", command(f'/usr/bin/env sh -c "exec {COMMAND}"'), ()),
        ("FPM003", command(DAEMON), (("[global]\n", "[global]\ndaemonize = no\n"),)),
        ("FPM004", command("/usr/bin/php-fpm-service start"), ()),
        (
            "FPM004",
            (("[program:php-fpm]", "[eventlistener:x]"), *command("service php-fpm start")),
            (),
        ),
        ("FPM005", key("startsecs", "2", "3"), ()),
        ("FPM006", command(COMMAND) + key("startsecs", "2", "3"), ()),
        ("FPM006", command(GUARDED.replace("--hold", "--wait 2.9s")), ()),
        ("FPM006", command(GUARDED.replace("--hold", "--wait soon")), ()),
        (
            "FPM006",
            command(GUARDED.replace("--hold", "--wait 5s")) + key("startsecs", "1", "3"),
            (),
        ),
        ("FPM007", key("startretries", "5", "10"), ()),
        ("FPM008", key("exitcodes", "0,2,71,76,79", "0"), ()),
        ("FPM010", key("stopsignal", "KILL", "QUIT"), ()),
        ("FPM011", key("stopsignal", "KILL", "QUIT"), ()),
        ("FPM011", key("stopsignal", "TERM", "QUIT"), ()),
        ("FPM011", key("stopsignal", "INT", "QUIT"), ()),
        ("FPM012", key("stopsignal", "TERM", "QUIT"), (("process_control_timeout = 10s\n", ""),)),
        ("FPM013", key("stopwaitsecs", "13", "20"), ()),
        ("FPM015", command(f'sh -c "{COMMAND}"') + key("stopasgroup", "true"), ()),
        ("FPM015", key("stopasgroup", "true"), ()),
        ("FPM016", key("numprocs", "1"), ()),
        ("FPM017", command("/usr/sbin/php-fpm8.2 -F -c /etc/fpm/php.ini"), ()),
        ("FPM017", command("/usr/sbin/php-fpm8.2 -F -c /etc/php.conf"), ()),
        ("FPM017", command("/usr/sbin/php-fpm8.2 -F -c /etc/php-fpm/php.conf"), ()),
        ("FPM019", key("redirect_stderr", "true\nstdout_events_enabled=true"), ()),
        ("FPM020", key("stderr_events_enabled", "false", "true"), ()),
        ("FPM020", (("stderr_logfile=/var/log/php-fpm.stderr.log", "stderr_logfile=NONE"),), ()),
        (
            "FPM020",
            (("stderr_logfile=/var/log/php-fpm.stderr.log", "stderr_logfile=/dev/null"),),
            (),
        ),
        (
            "FPM020",
            (
                ("stderr_logfile=/var/log/php-fpm.stderr.log", "stderr_logfile=NONE"),
                ("stderr_events_enabled=true", "redirect_stderr=true"),
            ),
            (),
        ),
        ("FPM021", key("stderr_events_enabled", "false", "true"), ()),
        ("FPM021", (), (("/var/log/php-fpm.log", "/proc/self/fd/2"),)),
        (
            "FPM021",
            (("stderr_events_enabled=true", "redirect_stderr=true"),),
            (("/var/log/php-fpm.log", "/proc/self/fd/2"),),
        ),
        ("FPM022", key("environment", "FPM_SOCKETS=x"), ()),
        ("FPM022", command(COMMAND) + key("environment", "MY_FPM_SOCKETS=x"), ()),
        ("FPM024", command(f"{COMMAND} -d a=;b"), ()),
        (
            "FPM024",
            command(f"{COMMAND}   ; the program (relative uses PATH, can take args)"),
            (),
        ),
        ("FPM024", command(f"{COMMAND} # the best"), ()),
        ("FPM024", command(f"{COMMAND} ; php-fpm"), ()),
        ("FPM024", command(f"{COMMAND} ; php-fpm -F keeps it in the foreground"), ()),
        ("FPM002", command('bash -c "exec gosu www-data php8.2-fpm -F"'), ()),
        ("FPM002", command('bash -c "exec env A=b php-fpm -F"'), ()),
        ("FPM002", command('sh -c "cd /srv && A=b exec /usr/sbin/php8.2-fpm -F"'), ()),
        ("FPM002", command("bash -c 'php-fpm -F'"), ()),
        ("FPM003", command("/usr/sbin/php-fpm8.2 --daemonize=no -F"), ()),
        ("FPM004", command("/opt/start-php-fpm.sh"), ()),
        ("FPM004", command("/usr/local/bin/php-fpm.sh"), ()),
        ("FPM004", command("tail -f /var/log/service php-fpm"), ()),
        ("FPM013", key("stopwaitsecs", "2", "20") + key("stopsignal", "TERM", "QUIT"), ()),
        ("FPM013", key("stopwaitsecs", "2", "20") + key("stopsignal", "INT", "QUIT"), ()),
        ("FPM025", key("user", "web"), (("listen = ", "listen.mode = 0660\nlisten = "),)),
        ("FPM025", key("user", "web"), (("[www]\n", "[www]\nlisten.owner = web\n"),)),
        (
            "FPM025",
            command(f"gosu root {COMMAND}"),
            (("/var/log/php-fpm.log", "/dev/stderr"),),
        ),
        (
            "FPM025",
            command(f"gosu nobody-here {COMMAND}"),
            (("/var/log/php-fpm.log", "/dev/stderr"),),
        ),
        ("FPM025", key("user", "web"), (("/var/log/php-fpm.log", "/dev/shm/log"),)),
        ("FPM028", command(f"{COMMAND} --"), ()),
        ("FPM028", command(f"{COMMAND}; nginx"), ()),
        ("FPM028", command("php-fpm -Fy/etc/php-fpm.conf --nodaemonize=1"), ()),
        ("FPM029", command("sh -c 'mkdir -p /run/php && exec php-fpm -F'"), ()),
        ("FPM029", command("php-fpm -F -d 'a=b & c'"), ()),
        ("FPM029", command('nginx -g "daemon off;"'), ()),
        (
            "FPM025",
            (),
            (("[www]\n", "[www]\nlisten.owner = web\n"), ("/var/log/php-fpm.log", "/dev/stderr")),
        ),
    ],
)
def test_no_mistake(rule: str, supervisord: Changes, fpm: Changes) -> None:
    """At the boundary, and where something else makes it harmless, the rule is silent."""
    assert found(rule, checkup(supervisord, fpm)) == []


def test_a_section_without_a_command() -> None:
    """A process whose section is not in the files has no line to point at."""
    other = ("[program:php-fpm]", "[program:x]\ncommand=/bin/x\n[program:php-fpm]")
    of = checkup((*command(f"{COMMAND} ; exec other"), other))
    process = of.processes[1]
    place = process.section.place._replace(lines={})
    bare = process._replace(section=process.section._replace(place=place))
    broken = of._replace(processes=(bare, of.processes[2]))

    assert len(found("FPM024", broken)) == 1


@pytest.mark.parametrize(
    ("globs", "count"), [((), 1), (("*",), 0), (("php-fpm",), 0), (("worker:*",), 1)]
)
def test_few_retries_end_the_container(globs: tuple[str, ...], count: int) -> None:
    """With `on_fatal = shutdown`, the site does not stay down: the container starts again."""
    of = checkup(key("startretries", "3", "10"), healed=globs)

    assert len(found("FPM007", of)) == count


def test_a_program_as_root() -> None:
    """User 0 may do what only root can do."""
    owner = (SOCKET, ("[www]\n", "[www]\nlisten.owner = web\n"))
    of = checkup(key("user", "web"), owner)
    process = of.fpms[0].process
    as_root = process.section._replace(values={**process.settings, "user": 0})
    process = process._replace(section=as_root)
    root = of._replace(fpms=(of.fpms[0]._replace(process=process),))

    assert found("FPM025", of)
    assert found("FPM025", root) == []


def test_a_binary_that_path_finds() -> None:
    """A name without a folder is searched in PATH: there is no finding."""
    missing = FakeHost(missing=frozenset({"php-fpm8.2"}))

    assert found("FPM023", checkup(command("php-fpm8.2 -F"), machine=missing)) == []


def test_a_listener_without_a_program() -> None:
    """`python -m fpm_listener` has no path that supervisord could execute."""
    of = checkup(command(f'sh -c "{COMMAND}"'), machine=FakeHost(ours=""))

    assert [one.edits for one in found("FPM002", of)] == [{}]


@pytest.mark.parametrize(
    ("line", "fix"),
    [("user=web\n", "remove user= from [supervisord]"), ("", "start supervisord as root")],
)
def test_a_user_of_supervisord(line: str, fix: str) -> None:
    """The program has no user of its own."""
    of = checkup((("[supervisord]\n", f"[supervisord]\n{line}"),), (SOCKET, OWNER))
    (fpm,) = of.fpms
    values = {**fpm.process.settings, "supervisord_uid": 33}
    process = fpm.process._replace(section=fpm.program._replace(values=values))
    (one,) = found("FPM025", of._replace(fpms=(fpm._replace(process=process),)))

    assert one.fix == f"Remove listen.owner, or {fix}"
    assert one.what == "listen.owner is set, and the program runs as user nobody (33)"
