"""The doctor's rules on supervisord, on its listeners, and on what it has loaded."""

# ruff: noqa: E501 - one mistake is one row

from __future__ import annotations

from typing import Any

import pytest

from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.doctor.rules import examine
from fpm_listener.doctor.running_facts import Running
from fpm_listener.doctor.unknown_keys import PROGRAM_KEYS
from fpm_listener.supervisor.process import Loaded
from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import (
    CONF,
    GUARDED,
    TEXTS,
    Case,
    Changes,
    checkup,
    found,
    gone,
    program_line,
    verify,
)

L = "eventlistener:fpm-listener"
AT = f"[{L}]"
EVENTS = "PROCESS_STATE,PROCESS_LOG,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE"
OURS = "command=/usr/bin/fpm-listener listen"
INET = {
    "family": "inet",
    "host": "127.0.0.1",
    "port": 9001,
    "password": True,
    "hashed": False,
    "section": "inet_http_server",
}
SECOND = (
    "[program:php-fpm]",
    "[eventlistener:x]\ncommand=/bin/x\nevents=TICK_60\nbuffer_size=256\npriority=-50\nautorestart=true\nstartretries=100\n[program:php-fpm]",
)


def change(old: str, new: str) -> Changes:
    """Return one change of supervisord's file."""
    return ((old, new),)


# fmt: off
CASES = [
    Case("FPM104", change("fpm-listener listen", "other listen"), (), "[program:php-fpm] command=", "no fpm-listener watches", fix="fpm-listener init"),
    Case("FPM104", change(OURS, "command=/usr/bin/fpm-listener help"), what="no fpm-listener watches"),
    Case("FPM105", change("buffer_size=1024", "buffer_size=255"), (), f"{AT} buffer_size=255", "buffer_size is 255", {(L, "buffer_size"): "1024"}, "buffer_size=1024"),
    Case("FPM106", (SECOND,), (), "[eventlistener:x] priority=-50", "priority -50 is also that of eventlistener:fpm-listener"),
    Case("FPM107", change("autorestart=true\nstartretries=1", "autorestart=unexpected\nstartretries=1"), (), f"{AT} autorestart=unexpected", "autorestart is unexpected", {(L, "autorestart"): "true"}, "autorestart=true"),
    Case("FPM107", change("startretries=1000000", "startretries=99"), (), f"{AT} startretries=99", "startretries is 99", {(L, "startretries"): "1000000"}, "startretries=1000000"),
    Case("FPM109", change("events=PROCESS_STATE,", "events=TICK_60,"), (), f"{AT} events=TICK_60,PROCESS_LOG_STDERR", "events does not contain PROCESS_STATE: PROCESS_LOG_STDERR, TICK_60", {(L, "events"): EVENTS}, f"events={EVENTS}"),
    Case("FPM109", change("stderr_events_enabled=true", "redirect_stderr=true"), (), f"{AT} events=PROCESS_STATE,PROCESS_LOG_STDERR", "events does not contain PROCESS_LOG_STDOUT", {(L, "events"): EVENTS}, f"events={EVENTS}"),
    Case("FPM109", change("events=PROCESS_STATE,PROCESS_LOG_STDERR", "events=PROCESS_STATE,TICK_60"), (), f"{AT} events=PROCESS_STATE,TICK_60", "events does not contain PROCESS_LOG_STDERR", {(L, "events"): f"{EVENTS},TICK_60"}, f"events={EVENTS},TICK_60"),
    Case("FPM110", change("priority=-50", "priority=-50\nstderr_events_enabled=true"), (), f"{AT} stderr_events_enabled=true", "stderr_events_enabled is true", {(L, "stderr_events_enabled"): "false"}, "stderr_events_enabled=false"),
    Case("FPM112", program_line("username=www-data"), (), "[program:php-fpm] username=www-data", "'username' is not a key"),
    Case("FPM112", change("[program:php-fpm]\n", "[fcgi-program:php-fpm]\nnonsense=1\n"), (), "[fcgi-program:php-fpm] nonsense=1", "'nonsense' is not a key"),
    Case("FPM112", change("priority=-50", "priority=-50\nprioriti=1"), (), f"{AT} prioriti=1", "'prioriti' is not a key"),
    Case("FPM112", change("nodaemon=true", "nodaemon=true\nstdout_logfile=/dev/stdout"), (), "[supervisord] stdout_logfile=/dev/stdout", "'stdout_logfile' is not a key of [supervisord]"),
    Case("FPM112", change("file=/run/supervisor.sock", "file=/run/supervisor.sock\nnodaemon=true"), (), "[unix_http_server] nodaemon=true", "not a key of [unix_http_server]", fix="Move it into [supervisord]"),
    Case("FPM112", change("[supervisord]", "[inet_http_server]\nport=127.0.0.1:9001\nfile=/x\n[supervisord]"), what="'file' is not a key of [inet_http_server]"),
    Case("FPM112", change("[supervisord]", "[group:web]\nprogram=a\n[supervisord]"), what="'program' is not a key of [group:x]"),
    Case("FPM112", change("[supervisord]", "[supervisorctl]\nfile=/x\n[supervisord]"), what="'file' is not a key of [supervisorctl]"),
    Case("FPM112", change("[supervisord]", "[include]\nfile=/x\n[supervisord]"), what="'file' is not a key of [include]"),
    Case("FPM123", change("[program:php-fpm]", "[programs:web]\ncommand=x\n[program:php-fpm]"), (), "[programs:web]", "[programs:web] is not a section", fix="[program:web]"),
    Case("FPM123", change("[program:php-fpm]", "[supervisor]\nnodaemon=true\n[program:php-fpm]"), (), "[supervisor]", fix="[supervisord]"),
    Case("FPM123", change("[program:php-fpm]", "[web]\ncommand=x\n[program:php-fpm]"), (), "[web]", fix="[program:web]"),
    Case("FPM123", change("[program:php-fpm]", "[Program:web]\n[program:php-fpm]"), fix="[program:web]"),
    Case("FPM123", change("[program:php-fpm]", "[eventlisteners:x]\ncommand=x\n[program:php-fpm]"), fix="[eventlistener:x]"),
    Case("FPM113", change("nodaemon=true", "nodaemon=true\npidfile=/gone/s.pid"), (), "[supervisord] pidfile=/gone/s.pid", "/gone does not exist", machine=gone("/gone")),
    Case("FPM113", change("/run/supervisor.sock", "/gone/s.sock"), (), "[unix_http_server] file=/gone/s.sock", "/gone does not exist", machine=gone("/gone")),
    Case("FPM113", change("nodaemon=true", "nodaemon=true\nchildlogdir=/gone"), (), "[supervisord] childlogdir=/gone", "/gone does not exist", machine=gone("/gone")),
    Case("FPM113", change("/var/log/php-fpm.stderr.log", "/gone/a.log"), (), "[program:php-fpm] stderr_logfile=/gone/a.log", "/gone does not exist", fix="install -d /gone", machine=gone("/gone")),
    Case("FPM113", program_line("stdout_logfile=/a.log"), (), "[program:php-fpm] stdout_logfile=/a.log", "/ does not exist", fix="install -d /", machine=gone("/")),
    Case("FPM114", change(GUARDED, "bin/php-fpm8.2 -F"), (), "[program:php-fpm] command=bin/php-fpm8.2", "bin/php-fpm8.2 is a relative path"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.what[:30]}" for case in CASES])
def test_a_mistake(case: Case) -> None:
    """The rule points at the line, says what is wrong, and changes what makes it go away."""
    verify(case)


@pytest.mark.parametrize(
    ("rule", "supervisord", "machine"),
    [
        ("FPM104", change(OURS, "command=python -m fpm_listener listen"), FakeHost()),
        ("FPM105", change("buffer_size=1024", "buffer_size=256"), FakeHost()),
        ("FPM105", change("buffer_size=1024\n", ""), FakeHost()),
        ("FPM105", program_line("buffer_size=1"), FakeHost()),
        (
            "FPM106",
            (SECOND, ("priority=-50\nautorestart", "priority=-51\nautorestart")),
            FakeHost(),
        ),
        ("FPM106", program_line("priority=-50"), FakeHost()),
        ("FPM107", change("startretries=1000000", "startretries=100"), FakeHost()),
        ("FPM107", change("startretries=10\n", "startretries=9\n"), FakeHost()),
        ("FPM109", change("events=PROCESS_STATE,", "events=EVENT,"), FakeHost()),
        ("FPM109", change("events=PROCESS_STATE,PROCESS_LOG_STDERR\n", ""), FakeHost()),
        (
            "FPM109",
            change("events=PROCESS_STATE,PROCESS_LOG_STDERR\n", "events=EVENT\n"),
            FakeHost(),
        ),
        (
            "FPM109",
            change("PROCESS_LOG_STDERR\n", "TICK_60\n")
            + change("stderr_events_enabled=true", "stderr_events_enabled=false"),
            FakeHost(),
        ),
        ("FPM110", (), FakeHost()),
        (
            "FPM112",
            change("nodaemon=true", "nodaemon=true\nsilent=true\nchildlogdir=/tmp"),
            FakeHost(),
        ),
        (
            "FPM112",
            change("[supervisord]", "[rpcinterface:x]\nanything=1\n[supervisord]"),
            FakeHost(),
        ),
        ("FPM112", change("[supervisord]", "[unknown]\nanything=1\n[supervisord]"), FakeHost()),
        (
            "FPM123",
            change("[supervisord]", "[fpm-listener:receiver:ops]\n[other]\n[supervisord]"),
            FakeHost(),
        ),
        (
            "FPM123",
            change("[supervisord]", "[include]\n[supervisorctl]\n[supervisord]"),
            FakeHost(),
        ),
        (
            "FPM123",
            change("[supervisord]", "[inet_http_server:two]\n[unix_http_server:x]\n[supervisord]"),
            FakeHost(),
        ),
        ("FPM113", program_line("stdout_logfile=NONE"), gone("")),
        ("FPM113", program_line("stdout_logfile=log/a.log"), gone("log")),
        ("FPM113", (), gone("/")),
        ("FPM114", change(GUARDED, "php-fpm8.2 -F -d a=b/c"), FakeHost()),
        ("FPM114", change(GUARDED, ""), FakeHost()),
    ],
)
def test_no_mistake(rule: str, supervisord: Changes, machine: FakeHost) -> None:
    """At the boundary, and where something else makes it harmless, the rule is silent."""
    assert found(rule, checkup(supervisord, machine=machine)) == []


def test_supervisor_knows_these() -> None:
    """The keys are those of supervisor 4.2.5 and 4.3.0."""
    assert {
        "command",
        "process_name",
        "numprocs",
        "numprocs_start",
        "priority",
        "autostart",
        "autorestart",
        "startsecs",
        "startretries",
        "exitcodes",
        "stopsignal",
        "stopwaitsecs",
        "stopasgroup",
        "killasgroup",
        "user",
        "redirect_stderr",
        "environment",
        "directory",
        "umask",
        "serverurl",
        "buffer_size",
        "events",
        "result_handler",
        "socket",
        "socket_backlog",
        "socket_owner",
        "socket_mode",
        "stdout_logfile",
        "stdout_logfile_maxbytes",
        "stdout_logfile_backups",
        "stdout_capture_maxbytes",
        "stdout_events_enabled",
        "stdout_syslog",
        "stderr_logfile",
        "stderr_logfile_maxbytes",
        "stderr_logfile_backups",
        "stderr_capture_maxbytes",
        "stderr_events_enabled",
        "stderr_syslog",
    } == PROGRAM_KEYS


# -- supervisord's own servers ---------------------------------------------------------------------


@pytest.mark.parametrize("servers", [None, ()])
def test_no_server(servers: object) -> None:
    """Without one nobody can ask supervisord, and both sections would help."""
    (one,) = found(
        "FPM101",
        checkup(
            change("[unix_http_server]\nfile=/run/supervisor.sock\n", ""),
            known={"servers": servers},
        ),
    )

    assert one.spot == f"{CONF} [unix_http_server]"
    assert one.edits == {
        ("unix_http_server", "file"): "/run/supervisor.sock",
        ("unix_http_server", "chmod"): "0700",
        (
            "rpcinterface:supervisor",
            "supervisor.rpcinterface_factory",
        ): "supervisor.rpcinterface:make_main_rpcinterface",
    }


@pytest.mark.parametrize(
    ("known", "running"), [({"uid": 33}, None), ({}, Running(1, uid=33)), ({"uid": 33}, Running(1))]
)
def test_no_server_and_no_root(known: dict[str, int], running: Running | None) -> None:
    """Only root may create a socket in /run; without it supervisord does not start."""
    server = change("[unix_http_server]\nfile=/run/supervisor.sock\n", "")
    known = {"servers": (), **known}  # type: ignore[dict-item]  # as supervisor's values
    (one,) = found("FPM101", checkup(server, known=known, running=running))

    assert one.edits == {}
    assert "a directory of user nobody (33)" in one.fix
    assert "/run/" not in one.fix


NO_LISTENER = ("fpm-listener listen", "other listen")


@pytest.mark.parametrize(("known", "edits"), [({}, 3), ({"uid": 33}, 0)])
def test_no_server_and_no_listener(known: dict[str, int], edits: int) -> None:
    """Without our listener it is a hint: only supervisorctl needs the server."""
    server = change("[unix_http_server]\nfile=/run/supervisor.sock\n", "")
    none = checkup((*server, NO_LISTENER), known={"servers": (), **known})
    (one,) = [one for one in examine(none, TEXTS) if one.id == "FPM101"]

    assert one.severity is FindingSeverity.HINT
    assert "listener" not in one.why
    assert len(one.edits) == edits


def test_rules_of_our_listener() -> None:
    """Without it, nobody needs to know what it does not get; `init` asks as if it were there."""
    changes = (
        ("stderr_events_enabled=true", "redirect_stderr=true"),
        ("nodaemon=true", "nodaemon=true\nlogfile=/dev/null"),
        NO_LISTENER,
    )
    pool = (
        ("catch_workers_output = yes", "catch_workers_output = yes\ndecorate_workers_output = no"),
        ("error_log = /var/log/php-fpm.log", "error_log = syslog\nlog_level = warning"),
    )
    none = checkup(changes, pool, known={"logfile": "/dev/null"})
    ids = {one.id for one in examine(none, TEXTS)}
    planned = {one.id for one in examine(none, TEXTS, plans_listener=True)}

    assert planned - ids == {"FPM019", "FPM054", "FPM055", "FPM069", "FPM120"}


def test_a_listener_of_somebody_else() -> None:
    """It may need few events, exit on purpose, and have any priority."""
    lines = "command=/bin/x\nevents=TICK_60\npriority=-1\nbuffer_size=10\nstartretries=3\n"
    others = "".join(f"[eventlistener:{name}]\n{lines}" for name in "ab")
    both = checkup(change("[program:php-fpm]", f"{others}[program:php-fpm]"))

    assert {one.id for one in examine(both, TEXTS)} == set()


def test_no_server_and_no_php_fpm() -> None:
    """A supervisord without a php-fpm is none of our business; nor does it need our listener."""
    none = checkup(known={"servers": ()})._replace(fpms=(), processes=())

    assert found("FPM101", none) == []
    assert found("FPM104", none) == []


@pytest.mark.parametrize(
    ("server", "what", "why"),
    [
        (
            {**INET, "host": "10.0.0.1"},
            "[inet_http_server] on 10.0.0.1:9001 is not on loopback",
            "Its password travels as plain text",
        ),
        (
            {**INET, "host": "", "password": False},
            "[inet_http_server] on *:9001 is not on loopback",
            "Every client that reaches",
        ),
        (
            {**INET, "host": "10.0.0.1", "password": False},
            "is not on loopback",
            "Every client that reaches",
        ),
        (
            {**INET, "password": False},
            "[inet_http_server] on 127.0.0.1:9001 has no password",
            "Every user of this host",
        ),
    ],
)
def test_a_server_that_others_can_use(server: dict[str, Any], what: str, why: str) -> None:
    """A port is for this host only, and with a password. Only without one it is an error."""
    section = change("[supervisord]\n", "[inet_http_server]\nport=9001\n[supervisord]\n")
    (one,) = found("FPM102", checkup(section, known={"servers": [server]}))

    assert one.spot == "[inet_http_server] port=9001"
    assert what in one.what
    assert why in one.why


@pytest.mark.parametrize(
    "server",
    [
        *({**INET, "host": host} for host in ("127.0.0.1", "localhost", "::1")),
        {**INET, "family": "unix", "host": "", "password": False},
    ],
)
def test_a_server_for_this_host(server: dict[str, Any]) -> None:
    """Loopback with a password, and a unix socket, are in order."""
    assert found("FPM102", checkup(known={"servers": [server]})) == []


def test_a_unix_server_before_an_open_one() -> None:
    """Each server is looked at."""
    both = [{"family": "unix"}, {**INET, "host": "0.0.0.0"}]
    assert len(found("FPM102", checkup(known={"servers": both}))) == 1


def test_the_background_in_a_container() -> None:
    """supervisord must stay in the foreground there, and only there."""
    known = {"nodaemon": False}
    inside = checkup(
        change("nodaemon=true", "nodaemon=false"), known=known, machine=FakeHost(container=True)
    )
    (one,) = found("FPM103", inside)

    assert one.spot == "[supervisord] nodaemon=false"
    assert one.fix.startswith("Set nodaemon=true in [supervisord]. Then restart supervisord")
    assert one.edits == {("supervisord", "nodaemon"): "true"}
    assert found("FPM103", checkup(known=known)) == []
    assert found("FPM103", checkup(machine=FakeHost(container=True))) == []
    rejected = inside._replace(supervisord={"refused": "bad"})
    assert found("FPM103", rejected) == []


@pytest.mark.parametrize("level", ["error", "critical"])
def test_a_log_without_exits(level: str) -> None:
    """supervisord logs exits at WARN and INFO; its command line replaces the setting."""
    known = {"loglevel": level}
    quiet = checkup(change("nodaemon=true", f"nodaemon=true\nloglevel={level}"), known=known)
    (one,) = found("FPM122", quiet)

    assert one.spot == f"[supervisord] loglevel={level}"
    assert one.what == f"loglevel is {level}"
    assert one.edits == {("supervisord", "loglevel"): "info"}
    assert found("FPM122", checkup(known={"loglevel": "warn"})) == []
    assert found("FPM122", checkup(known={"loglevel": "info"})) == []
    running = Running(pid=1, environ=None)
    loud = quiet._replace(running=running._replace(loglevel="debug"))
    assert found("FPM122", loud) == []
    (option,) = found("FPM122", checkup()._replace(running=running._replace(loglevel=level)))
    assert "-e info" in option.fix


def test_three_listeners_of_ours() -> None:
    """It is said once, with their number."""
    of = checkup()
    listener = of.processes[0]
    (one,) = found("FPM108", of._replace(processes=(listener,) * 3))

    assert (one.spot, one.what) == (AT, "3 fpm-listener processes")
    assert "numprocs=1" in one.fix
    assert found("FPM108", of) == []


# -- what supervisord refuses ----------------------------------------------------------------------


def test_a_percent_sign() -> None:
    """Each place of one is shown instead of supervisor's message, which prints the whole value."""
    (first,) = found(
        "FPM111", checkup(program_line('environment=A="50%"'), known={"refused": "bad"})
    )

    assert first.spot == '[program:php-fpm] environment=A="50%"'
    assert first.what == "environment contains a single percent sign"
    assert first.fix == "Write %% for each percent sign"


@pytest.mark.parametrize("value", ["100%%", "%(ENV_X)s", "%%(x)s", "none"])
def test_percent_signs_that_are_in_order(value: str) -> None:
    """Then supervisor's own message is all that there is."""
    of = checkup(program_line(f"directory={value}"), known={"refused": "startsecs: no number"})
    (one,) = found("FPM111", of)

    assert (one.spot, one.what) == ("[supervisord]", "startsecs: no number")


def test_a_percent_sign_in_our_own_section() -> None:
    """supervisor does not read it."""
    text = change("[program:php-fpm]", "[fpm-listener]\nx=50%\n[program:php-fpm]")
    (one,) = found("FPM111", checkup(text, known={"refused": "bad"}))

    assert one.what == "bad"


@pytest.mark.parametrize(
    ("path", "rules"),
    [
        ("nodir/a.log", ["FPM111"]),
        ("/gone/%(program_name)s/a.log", ["FPM111"]),
        ("%(ENV_LOGS)s/a.log", ["FPM111"]),
        ("/gone/a.log", ["FPM113"]),
    ],
)
def test_a_missing_directory_of_a_log(path: str, rules: list[str]) -> None:
    """It is one finding: with the directory if the rule knows it."""
    known = {"refused": "bad", "missing": path}
    of = checkup(program_line(f"stdout_logfile={path}"), machine=gone("/gone"), known=known)
    of = of._replace(processes=(), fpms=())

    assert [rule for rule in ("FPM111", "FPM113") if found(rule, of)] == rules


def test_the_missing_directory_of_supervisord() -> None:
    """No other rule knows it."""
    of = checkup(
        change("nodaemon=true", "nodaemon=true\ndirectory=/gone"),
        machine=gone("/gone"),
        known={"refused": "bad", "missing": "/gone/"},
    )

    assert len(found("FPM111", of._replace(processes=(), fpms=()))) == 1


def test_nothing_is_refused() -> None:
    """A percent sign that supervisor has taken is in order."""
    assert found("FPM111", checkup(program_line("directory=50%"))) == []


@pytest.mark.parametrize("before", ["/etc/f.conf ", "/etc/f.conf: ", ""])
def test_our_own_settings(before: str) -> None:
    """The file stands in front, and the message does not repeat it."""
    of = checkup(refused=(("/etc/f.conf", f"{before}[fpm-listener] listen: no port"),))
    (one,) = found("FPM116", of)

    assert one.spot == "/etc/f.conf"
    assert one.what == "[fpm-listener] listen: no port"


# -- what is loaded --------------------------------------------------------------------------------


def info(**more: object) -> dict[str, Any]:
    """Return what supervisord tells of the program when the file is loaded."""
    settings = checkup().processes[1].settings
    told = {key: "none" if value is None else value for key, value in settings.items()}
    return {**told, "group": "php-fpm", "name": "php-fpm", "uid": "none", **more}


def loaded(
    *configs: dict[str, Any], running: tuple[str, ...] = ("php-fpm",), changes: Changes = ()
) -> list[str]:
    """Return what the rule says of the program alone."""
    of = checkup(changes)
    names = tuple({"group": group} for group in running)
    only = of._replace(processes=of.processes[1:], loaded=Loaded(configs=configs, processes=names))
    return [f"{one.spot}: {one.what}" for one in found("FPM115", only)]


def test_the_file_is_loaded() -> None:
    """Nothing is said; nor where supervisord does not answer."""
    assert loaded(info()) == []
    assert found("FPM115", checkup()) == []


@pytest.mark.parametrize(
    ("key", "name", "other"),
    [
        ("command", "command", "/bin/other"),
        ("directory", "directory", "/srv"),
        ("startsecs", "startsecs", 9),
        ("startretries", "startretries", 9),
        ("exitcodes", "exitcodes", [0, 2]),
        ("stopsignal", "stopsignal", 15),
        ("stopwaitsecs", "stopwaitsecs", 9),
        ("killasgroup", "killasgroup", False),
        ("redirect_stderr", "redirect_stderr", True),
        ("stderr_events_enabled", "stderr_events_enabled", False),
        ("stderr_logfile", "stderr_logfile", "/var/log/other"),
        ("user", "uid", 33),
    ],
)
def test_another_value_is_loaded(key: str, name: str, other: object) -> None:
    """The key is named."""
    (said,) = loaded(info(**{name: other}))

    assert said.startswith("[program:php-fpm]")
    assert said.endswith(f"php-fpm:php-fpm runs with another {key}")


def test_two_values_are_loaded() -> None:
    """Both are named, and the finding points at the first one."""
    (said,) = loaded(info(startsecs=9, startretries=9))

    assert said.startswith("[program:php-fpm] startsecs=3: ")
    assert said.endswith("another startsecs, startretries")


@pytest.mark.parametrize("value", ["%(ENV_HOME)s", "%(host_node_name)s"])
def test_a_value_from_somewhere_else(value: str) -> None:
    """What comes from supervisord's environment or host is not compared: it is not ours."""
    text = program_line(f"directory={value}")
    assert loaded(info(directory="/other"), changes=text) == []
    assert loaded(info(directory="/other"), changes=program_line("directory=%(here)s")) != []


def test_unknown_log_names() -> None:
    """A name of a log that supervisord makes up, and what older versions do not tell, are left out."""
    told = info(stdout_logfile="/tmp/made-up")
    del told["startsecs"]

    assert loaded(told) == []


def test_a_new_program() -> None:
    """It is in the file, and not in the supervisord that runs."""
    (said,) = loaded(running=())
    assert said.startswith("[program:php-fpm] command=")
    assert said.endswith("php-fpm is in the file, but not in the running supervisord")


def test_a_new_process_of_a_group() -> None:
    """supervisord knows the group, and not the process."""
    assert loaded() == ["[program:php-fpm]: supervisord does not know php-fpm:php-fpm"]


def test_a_program_that_is_gone() -> None:
    """supervisord runs it still."""
    said = loaded(info(), running=("php-fpm", "old"))
    assert said == ["[supervisord]: supervisord runs old, which is not in the file"]


@pytest.mark.parametrize("running", [(), ("php-fpm",)])
@pytest.mark.parametrize("configs", [(), (info(startsecs=9),)])
def test_many_processes_of_a_group(
    running: tuple[str, ...], configs: tuple[dict[str, Any], ...]
) -> None:
    """One finding for a group is enough, whatever it says."""
    of = checkup()
    process = of.processes[1]
    names = tuple({"group": group} for group in running)
    many = of._replace(processes=(process,) * 3, loaded=Loaded(configs, names))
    (one,) = found("FPM115", many)

    assert one.fix == "Load the file: supervisorctl reread && supervisorctl update php-fpm"
    assert "the next update or start" in one.why
