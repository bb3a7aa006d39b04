"""The doctor's rules on supervisord's logs, servers and variables, also of programs beside php-fpm."""

# ruff: noqa: E501 - one mistake is one row

from __future__ import annotations

import pytest

from fpm_listener.doctor import environment_values
from fpm_listener.supervisor import ini_lines
from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import (
    CONF,
    SUPERVISORD,
    Case,
    Changes,
    changed,
    checkup,
    found,
    program_line,
    verify,
)

P, AT = "program:php-fpm", "[program:php-fpm]"
LOG = "/var/log/php-fpm.stderr.log"
SECRET = "environment=DB_PASSWORD=hunter2"


def main(text: str) -> Changes:
    """Return [supervisord] with more lines."""
    return (("nodaemon=true\n", f"nodaemon=true\n{text}\n"),)


def beside(text: str) -> Changes:
    """Return the configuration with another section."""
    return (("[program:php-fpm]\n", f"{text}\n[program:php-fpm]\n"),)


ONE_FILE = beside("[program:a]\ncommand=/a\nstdout_logfile=/a.log\nstderr_logfile=/a.log")
LISTENER = "[eventlistener:x]\ncommand=/x\nevents=TICK_60\nautorestart=true\nstartretries=100\n"
# fmt: off
CASES = [
    Case("FPM160", beside("[program:a]\ncommand=/a\nstdout_logfile=/a.log\n[program:b]\ncommand=/b\nstdout_logfile=/a.log"), (), "[program:b] stdout_logfile=/a.log", "/a.log is also the log of program:a", {}),
    Case("FPM160", ONE_FILE, (), "[program:a] stderr_logfile=/a.log", "the log of stdout and of stderr", {("program:a", "redirect_stderr"): "true", ("program:a", "stderr_logfile"): None}),
    Case("FPM160", program_line(f"stdout_logfile={LOG}"), (), f"{AT} stderr_logfile=", "the log of stdout and of stderr", {}, "own file"),
    Case("FPM161", program_line("redirect_stderr=true"), (), f"{AT} stderr_logfile=", "stderr_logfile has no effect", {(P, "stderr_logfile"): None}),
    Case("FPM162", main("[supervisorctl]\nserverurl=unix:///tmp/s.sock"), (), "[supervisorctl] serverurl=", "serverurl is unix:///tmp/s.sock", {("supervisorctl", "serverurl"): "unix:///run/supervisor.sock"}),
    Case("FPM162", main("[supervisorctl]\nserverurl=http://localhost:9001"), what="serverurl is http://localhost:9001"),
    Case("FPM163", (("[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n", ""),), (), what="but [unix_http_server] exists", edits={("rpcinterface:supervisor", "supervisor.rpcinterface_factory"): "supervisor.rpcinterface:make_main_rpcinterface"}),
    Case("FPM164", (("file=/run/supervisor.sock", "file=/run/supervisor.sock\nchmod=0777"),), (), "[unix_http_server] chmod=0777", "chmod is 0777", {}, "chmod=0700"),
    Case("FPM164", (("file=/run/supervisor.sock", "file=/run/supervisor.sock\nchmod=766"),), (), what="chmod is 0766"),
    Case("FPM165", beside(f"{LISTENER}stdout_logfile=/dev/stdout\nstdout_logfile_maxbytes=0"), (), "[eventlistener:x] stdout_logfile=", "stdout_logfile is /dev/stdout", {("eventlistener:x", "stdout_logfile"): "NONE", ("eventlistener:x", "stdout_logfile_maxbytes"): None}, "Set stdout_logfile=NONE and remove stdout_logfile_maxbytes in [eventlistener:x]"),
    Case("FPM166", program_line(SECRET), (), f"{AT} environment=", "DB_PASSWORD in environment", {}, "DB_PASSWORD"),
    Case("FPM166", main('environment=A="1",STRIPE_API_KEY="sk_live_1",API_TOKEN="x1y2z3"'), (), "[supervisord] environment=", "STRIPE_API_KEY, API_TOKEN in"),
    Case("FPM166", program_line('environment=DATABASE_URL="mysql://root:hunter2@db/app"'), what="DATABASE_URL in"),
    Case("FPM167", program_line("environment=A=http://h/?x=1"), (), f"{AT} environment=", "the value of A in environment ends at ?", {}, 'A="..."'),
    Case("FPM167", main("environment=A=a b"), what="ends at a blank or a sign"),
    Case("FPM167", beside("[program:a]\ncommand=/a\nenvironment=A=a#b"), what="ends at #"),
    Case("FPM168", program_line('environment=PATH="/opt/bin:$PATH"'), (), f"{AT} environment=", "environment contains $PATH", {}, "%(ENV_PATH)s"),
    Case("FPM168", program_line('environment=A="${APP_ENV:-prod}"'), what="contains $APP_ENV"),
    Case("FPM169", main("user=www-data") + program_line("user=root"), (), f"{AT} user=root", "user is root, but supervisord runs as user www-data", {}, "remove user= from [supervisord]"),
    Case("FPM169", main("user=33") + program_line("user=root"), (), what="runs as user 33"),
    Case("FPM172", main("minfds=65535"), (), "[supervisord] minfds=65535", "minfds is 65535: before each start, supervisord closes 65535", {}, "rlimit_files in [global]"),
    Case("FPM171", main("loglevel=DEBUG"), (), "[supervisord] loglevel=DEBUG", "loglevel is debug", {("supervisord", "loglevel"): "info"}),
    Case("FPM112", program_line("auto_start=true"), (), f"{AT} auto_start=true", "'auto_start' is not a key", {(P, "auto_start"): None, (P, "autostart"): "true"}, "Write autostart"),
    Case("FPM112", program_line("log_stderr=/x"), (), what="'log_stderr'", edits={}, fix="Remove it: stderr_logfile in"),
    Case("FPM112", program_line("log_stderr=true"), (), what="'log_stderr'", edits={}, fix="stderr_logfile=NONE switches one off"),
    Case("FPM112", program_line("logfile_backups=5"), (), what="'logfile_backups'", edits={(P, "logfile_backups"): None, (P, "stdout_logfile_backups"): "5"}, fix="Write stdout_logfile_backups"),
    Case("FPM112", program_line("stdout_logfile_maxbytes=2\nlogfile_maxbytes=1MB"), (), what="'logfile_maxbytes'", edits={}, fix="Remove it: stdout_logfile_maxbytes in"),
    Case("FPM112", program_line("workingdirectory=/x"), (), what="'workingdirectory'", edits={}, fix="Write directory"),
    Case("FPM112", program_line("nodaemon=true"), (), what="'nodaemon'", edits={}, fix="Move it into [supervisord]"),
    Case("FPM112", main("stdout_logfile_maxbytes=0"), (), fix="Move it into [program:x]"),
    Case("FPM112", program_line("depends_on=nginx"), (), fix="Use priority=", why="does not wait"),
    Case("FPM112", program_line("env_file=/x"), (), fix="Write the variables into environment="),
    Case("FPM112", program_line("group=web"), (), fix="the group that it needs"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.what[:30]}" for case in CASES])
def test_a_mistake(case: Case) -> None:
    """The rule points at the line, says what is wrong, and changes what makes it go away."""
    verify(case)


# fmt: off
@pytest.mark.parametrize(
    ("rule", "supervisord"),
    [
        ("FPM160", ()),
        ("FPM160", ((f"stderr_logfile={LOG}", f"stdout_logfile={LOG}\nstderr_logfile={LOG}\nstdout_logfile_maxbytes=0\nstderr_logfile_maxbytes=0"),)),
        ("FPM160", beside("[program:a]\ncommand=/a\nstdout_logfile=/dev/stdout\nstderr_logfile=/dev/stdout")),
        ("FPM160", beside("[program:a]\ncommand=/a\nstdout_logfile=NONE\nstderr_logfile=NONE")),
        ("FPM160", beside("[program:a]\ncommand=/a\nstdout_logfile=/a.log\nstderr_logfile=/a.log\nredirect_stderr=true")),
        ("FPM161", (("stderr_logfile=", "redirect_stderr=true\nstdout_logfile="),)),
        ("FPM161", (("stderr_logfile=/var/log/php-fpm.stderr.log", "redirect_stderr=true\nstderr_logfile=NONE"),)),
        ("FPM162", ()),
        ("FPM162", main("[supervisorctl]\nserverurl=unix:///run/supervisor.sock")),
        ("FPM162", main("[supervisorctl]\nserverurl=unix:////run/supervisor.sock")),
        ("FPM162", main("[supervisorctl]\nserverurl=http://10.0.0.5:9001")),
        ("FPM162", main("[supervisorctl]\nserverurl=unix://%(ENV_SOCK)s")),
        ("FPM162", main("[supervisorctl]\nprompt=x")),
        ("FPM163", (("[rpcinterface:supervisor]", "[rpcinterface:other]"),)),
        ("FPM163", (("[rpcinterface:supervisor]", "[include]\nfiles=x/*.conf\n[x]"),)),
        ("FPM164", (("file=/run/supervisor.sock", "file=/run/supervisor.sock\nchmod=0770"),)),
        ("FPM164", (("file=/run/supervisor.sock", "file=/run/supervisor.sock\nchmod=0777\nusername=a\npassword=b"),)),
        ("FPM165", beside(f"{LISTENER}stdout_logfile=/var/log/x.log")),
        ("FPM165", beside("[program:a]\ncommand=/a\nstdout_logfile=/dev/stdout")),
        ("FPM166", program_line("environment=DB_PASSWORD=%(ENV_DB_PASSWORD)s")),
        ("FPM166", program_line("environment=DB_PASSWORD=''")),
        ("FPM166", program_line("environment=TOKEN_FILE=/run/secrets/x,USE_TOKEN=true,SSL_PRIVATE_KEY=/etc/x.pem")),
        ("FPM166", program_line("environment=MAX_TOKENS=4096,KEYBOARD=us,PWD=/srv,REDIS_URL='redis://redis:6379'")),
        ("FPM166", program_line('environment=SUPERVISOR_PASSWORD="x"')),
        ("FPM166", main("[fpm-listener]\nenvironment=DB_PASSWORD=hunter2")),
        ("FPM167", program_line('environment=A="http://h/?x=1",B="a b",C="a#b"')),
        ("FPM167", program_line("environment=A=/a/b:c.d,B=1")),
        ("FPM168", program_line('environment=PASS="a$bc$1$"')),
        ("FPM168", program_line('environment=PATH="/opt/bin:%(ENV_PATH)s"')),
        ("FPM169", main("user=root") + program_line("user=www-data")),
        ("FPM169", main("user=www-data") + program_line("user=www-data")),
        ("FPM169", main("user=www-data") + program_line("user=33")),
        ("FPM169", main("user=no-such-name") + program_line("user=33")),
        ("FPM169", main("user=%(ENV_USER)s") + program_line("user=root")),
        ("FPM169", program_line("user=root")),
        ("FPM169", main("user=www-data")),
        ("FPM171", main("loglevel=info")),
        ("FPM172", main("minfds=16384")),
        ("FPM112", main("[ctlplugin:x]\nanything=1\n[x-mine]\nauto_start=1")),
    ],
)
def test_no_mistake(rule: str, supervisord: Changes) -> None:
    """At the boundary, and where something else makes it harmless, the rule is silent."""
    assert found(rule, checkup(supervisord)) == []
# fmt: on


def test_no_value_is_shown() -> None:
    """The value of a variable is in no finding."""
    of = checkup(program_line(SECRET), machine=FakeHost())
    assert "hunter2" not in str(
        [(one.what, one.why, one.fix, one.edits) for one in found("FPM166", of)]
    )


@pytest.mark.parametrize(
    ("log", "more", "count"),
    [
        ("/dev/stdout", "", 1),
        ("/proc/self/fd/2", "", 1),
        ("/dev/stdout", "silent=true\n", 0),
        ("/dev/null", "", 0),
        ("/var/log/s.log", "", 0),
    ],
)
def test_lines_twice(log: str, more: str, count: int) -> None:
    """In the foreground, supervisord prints its lines anyway."""
    known = {"logfile": log}
    of = checkup(main(f"{more}logfile={log}"), known=known)
    assert len(found("FPM170", of)) == count
    assert found("FPM170", checkup(known={**known, "nodaemon": False})) == []


# fmt: off
@pytest.mark.parametrize(
    ("supervisord", "what"),
    [
        (program_line("autostart=maybe"), "autostart is not true or false"),
        (program_line("autostart=y"), "autostart is not true or false"),
        (program_line("startsecs=1s"), "startsecs is not a whole number"),
        (program_line("stdout_logfile_maxbytes=10M"), "stdout_logfile_maxbytes is not a size such as 10MB"),
        (program_line("exitcodes=0;2"), "exitcodes is not numbers with commas"),
        ((("stopsignal=QUIT", "stopsignal=STOPP"),), "stopsignal is not a signal such as TERM"),
        (program_line("autorestart=always"), "autorestart is not true, false or unexpected"),
        (main("loglevel=verbose"), "loglevel is not a level such as info"),
        (main("nodaemon=maybe"), "nodaemon is not true or false"),
        (program_line('environment=A="1" B="2"'), 'environment is not a list of NAME="value" pairs'),
        (program_line("environment=A='1"), 'environment is not a list of NAME="value" pairs'),
        (beside("[program:a]\nuser=x"), "[program:a] has no command"),
        (beside("[eventlistener:a]\ncommand=/x"), "[eventlistener:a] has no events"),
        (beside("[fcgi-program:a]\ncommand=/x"), "[fcgi-program:a] has no socket"),
        (beside("[group:a]\npriority=1"), "[group:a] has no programs"),
        (beside("[group:a]\nprograms=php-fpm, nginx"), "programs contains 'nginx'"),
        (beside(f"{LISTENER}redirect_stderr=true"), "redirect_stderr is true in the section of a listener"),
        (program_line("numprocs=2"), "numprocs is 2, and process_name"),
        ((("killasgroup=true", "killasgroup=false\nstopasgroup=true"),), "stopasgroup is true, and killasgroup is false"),
    ],
)
def test_why_supervisor_rejects_it(supervisord: Changes, what: str) -> None:
    """The line is shown instead of supervisor's message, which prints whole values."""
    of = checkup(known={"refused": "bad"})
    (unknown,) = found("FPM111", of)
    assert unknown.what == "bad"
    sections = ini_lines.scan([(CONF, changed(SUPERVISORD, supervisord))])
    (one,) = found("FPM111", of._replace(sections=sections))
    assert one.what.startswith(what)
# fmt: on


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ('A="1",B=x', [("A", "1", ""), ("B", "x", "")]),
        ("A=1;B=2", [("A", "1", ""), ("B", "2", "")]),
        ("A=http://h/?x=1", [("A", "http://h/", "?"), ("x", "1", "")]),
        ("A=a b", [("A", "a", "b")]),
        ("A=a#b", [("A", "a", "#")]),
        ("A=1 B=2", None),
        ("A=", None),
        ("A='", None),
    ],
)
def test_variables(text: str, expected: list[tuple[str, str, str]] | None) -> None:
    """As dict_of_key_value_pairs of supervisor 4.3.0."""
    assert environment_values.parse(text) == expected
