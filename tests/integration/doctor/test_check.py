"""The doctor: a sound configuration, and one thing wrong with it at a time."""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from fpm_listener.doctor import check, gathering, report, suppressions, text_files
from fpm_listener.doctor.host_facts import Host
from fpm_listener.doctor.lone_pools import lone_pools
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.doctor.rules import RULES
from fpm_listener.doctor.rules import examine as apply_rules
from fpm_listener.doctor.running_facts import MeasuredWorkers, Running
from fpm_listener.doctor.sources import Sources
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory
from fpm_listener.supervisor.process import Loaded
from fpm_listener.values import FpmListenerError
from tests.fakes import FakeHost

if TYPE_CHECKING:
    from fpm_listener.doctor.rule import Finding

ROOT = Path(__file__).resolve().parents[3]
GOLDEN = ROOT / "tests" / "data" / "findings.txt"
TEXTS = text_files.texts()

SUPERVISORD = """\
[unix_http_server]
file=/run/supervisor.sock
[supervisord]
nodaemon=true
minfds=4096
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[eventlistener:fpm-listener]
command=/usr/bin/fpm-listener listen --config /etc/supervisor/conf.d/fpm_listener.conf
events=PROCESS_STATE,PROCESS_LOG,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE
buffer_size=1024
priority=-50
autorestart=true
startretries=1000000
stderr_logfile={logs}/listener.log
[program:php-fpm]
command=/usr/bin/fpm-listener guard --hold -- /usr/sbin/php-fpm8.2 -F -y {conf}
startsecs=3
startretries=10
autorestart=true
exitcodes=0
stopsignal=QUIT
stopwaitsecs=20
killasgroup=true
stderr_logfile={logs}/php-fpm.stderr.log
stderr_events_enabled=true
"""
FPM = """\
[global]
error_log = {logs}/php-fpm.log
pid = {logs}/php-fpm.pid
process_control_timeout = 10s
emergency_restart_threshold = 10
emergency_restart_interval = 1m
[www]
user = www-data
listen = 127.0.0.1:9000
pm = static
pm.max_children = 8
pm.max_requests = 1000
ping.path = /ping
catch_workers_output = yes
request_terminate_timeout = 60s
"""
PLAIN = "command=/usr/sbin/php-fpm8.2 -F -y {conf}"
GUARDED = "command=/usr/bin/fpm-listener guard --hold -- /usr/sbin/php-fpm8.2 -F -y {conf}"


#: One comment for each finding about comments.
COMMENTS = """\
[program:php-fpm]
; fpm-listener: ignore FPM014 because it is corrected
killasgroup=true
; fpm-listener: ignore FPM14 because of a typing error
; fpm-listener: ignore FPM180 because a comment cannot do this
; fpm-listener: ignore because
; fpm-listener: ignore FPM010
stopsignal=TERM
; fpm-listener: ignore FPM007 because nothing follows

"""


def nobody(address: str) -> HolderReport:
    """Return that nobody has the address."""
    return HolderReport(address=address, holders=())


def php_fpm(**more: object) -> Holder:
    """Return a php-fpm that was started by hand on the same configuration."""
    words: dict[str, object] = {
        "kind": HolderKind.MASTER,
        "pid": 4242424,
        "command": "php-fpm: master process (/etc/php-fpm.conf)",
        "user": "root",
    }
    return Holder(**{**words, **more})  # type: ignore[arg-type]  # as a test wants it


class Case(NamedTuple):
    """One thing that is wrong."""

    rule: str
    supervisord: tuple[tuple[str, str], ...] = ()  #: texts, and what stands in their places
    fpm: tuple[tuple[str, str], ...] = ()
    machine: dict[str, Any] = {}  # noqa: RUF012 - never changed
    what: str = ""  #: a part of the finding


def program(old: str, new: str) -> tuple[tuple[str, str], ...]:
    """Return a change of supervisord's file."""
    return ((old, new),)


def plain(more: str = "") -> tuple[tuple[str, str], ...]:
    """Return php-fpm without the guard, with more lines."""
    return ((GUARDED, f"{PLAIN}\n{more}"),)


def pool(more: str, old: str = "pm = static\n") -> tuple[tuple[str, str], ...]:
    """Return a change of php-fpm's file."""
    return ((old, f"{old if old.startswith('pm =') else ''}{more}\n"),)


def plain_with(words: str) -> tuple[tuple[str, str], ...]:
    """Return php-fpm without the guard, with more words."""
    return ((GUARDED, f"{PLAIN}{words}"),)


def beside(command: str, *lines: str) -> tuple[tuple[str, str], ...]:
    """Return one more program."""
    own = "\n".join(["[program:other]", f"command={command}", *lines])
    return (("[program:php-fpm]", f"{own}\n[program:php-fpm]"),)


#: Two processes of one command.
TWICE = "numprocs=2\nprocess_name=%(process_num)s"

INTERFACE = """\
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
#: Two programs with one log.
TWO_LOGS = "".join(f"[program:{one}]\ncommand=/x\nstdout_logfile=/a.log\n" for one in "ab")
#: Directories of PATH.
FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
TCP = "listen = 127.0.0.1:9000\n"
CASES = [
    Case("FPM001", ((GUARDED, f'command=bash -c "sleep 1 && {PLAIN[8:]}"'),), what="sleep"),
    Case("FPM002", ((GUARDED, f'command=sh -c "{PLAIN[8:]}"'),), what="dash"),
    Case("FPM002", ((GUARDED, f'command=/bin/bash -c "a; {PLAIN[8:]} 2>&1"'),), what="bash"),
    Case("FPM003", program(" -F -y", " -y"), what="no -F"),
    Case("FPM003", program(" -F -y", " -D -y"), what="-D on the command line"),
    Case("FPM004", ((GUARDED, "command=service php8.2-fpm start"),)),
    Case("FPM004", ((GUARDED, "command=/etc/init.d/php8.2-fpm start"),)),
    Case("FPM005", program("startsecs=3", "startsecs=1"), what="startsecs is 1"),
    Case("FPM005", program("startsecs=3", "startsecs=0"), what="startsecs is 0"),
    Case("FPM006", program("--hold --", "--wait 5s --hold --"), what="may wait 5 s"),
    Case("FPM007", program("startretries=10\n", "startretries=3\n")),
    Case("FPM008", program("exitcodes=0", "exitcodes=0,2,70"), what="exitcodes is 0,2,70"),
    Case("FPM008", program("exitcodes=0", "exitcodes=0,75,78"), what="0,75,78"),
    Case("FPM009", program("autorestart=true\nexitcodes", "autorestart=unexpected\nexitcodes")),
    Case("FPM009", program("autorestart=true\nexitcodes", "autorestart=false\nexitcodes")),
    Case("FPM010", program("stopsignal=QUIT", "stopsignal=TERM"), what="TERM"),
    Case("FPM011", program("stopsignal=QUIT", "stopsignal=USR2"), what="USR2"),
    Case("FPM012", fpm=(("process_control_timeout = 10s\n", ""),)),
    Case("FPM013", program("stopwaitsecs=20", "stopwaitsecs=12"), what="stopwaitsecs is 12"),
    Case("FPM014", program("killasgroup=true\n", "")),
    Case("FPM015", program("stopsignal=QUIT\n", "stopsignal=TERM\nstopasgroup=true\n")),
    Case(
        "FPM016",
        program("startsecs=3", "startsecs=3\nnumprocs=2\nprocess_name=%(process_num)s"),
    ),
    Case("FPM017", program("-F -y", "-F -c /etc/php-fpm.conf -y"), what="-c /etc/php-fpm.conf"),
    Case("FPM018", program("-F -y", "-F -R -y")),
    Case("FPM019", program("exitcodes=0", "exitcodes=0\nredirect_stderr=true")),
    Case(
        "FPM020",
        (
            ("stderr_logfile={logs}/php-fpm.stderr.log\n", "stderr_logfile=NONE\n"),
            ("stderr_events_enabled=true\n", ""),
        ),
    ),
    Case(
        "FPM021",
        program("stderr_events_enabled=true\n", ""),
        (("error_log = {logs}/php-fpm.log", "error_log = /proc/self/fd/2"),),
    ),
    Case("FPM022", plain('environment=FPM_SOCKETS="127.0.0.1:9000=3"'), what="FPM_SOCKETS is set"),
    Case("FPM023", machine={"missing": {"/usr/sbin/php-fpm8.2"}}),
    Case(
        "FPM023",
        machine={"missing": {"/usr/sbin/php-fpm8.2"}, "installed": ["/usr/sbin/php-fpm8.3"]},
        what="does not exist",
    ),
    Case(
        "FPM023",
        machine={
            "missing": {"/usr/sbin/php-fpm8.2"},
            "installed": ["/usr/sbin/php-fpm8.3", "/usr/sbin/php-fpm8.4"],
        },
        what="does not exist",
    ),
    Case(
        "FPM023",
        ((GUARDED, "command=/usr/bin/app"),),
        machine={"missing": {"/usr/bin/app"}},
        what="/usr/bin/app does not exist",
    ),
    Case(
        "FPM023",
        ((GUARDED, f"command=cd {{logs}} {PLAIN[8:]}"),),
        machine={"missing": {f"{folder}/cd" for folder in FOLDERS}},
        what="cd is a command of the shell",
    ),
    Case("FPM002", ((GUARDED, "command={logs}/start.sh"),), what="start.sh runs php-fpm without"),
    Case("FPM027", ((GUARDED, "command=/opt/start"),), what="no word of it is a php-fpm"),
    Case("FPM028", program(" -F -y", " -F --nodaemon -y"), what="'--nodaemon'"),
    Case("FPM029", ((GUARDED, f"command=mkdir -p /run/php && {PLAIN[8:]}"),), what="&& is an"),
    Case("FPM029", plain_with(" -c $INI"), what="$INI is a variable"),
    Case(
        "FPM029",
        ((GUARDED, f"command=/bin/sh -c mkdir -p /run/php && exec {PLAIN[8:]}"),),
        what="needs quotes",
    ),
    Case(
        "FPM030",
        program("exitcodes=0", "exitcodes=0\ndirectory=/srv/app"),
        machine={"missing": {"/srv/app"}},
        what="/srv/app does not exist",
    ),
    Case(
        "FPM031",
        program("exitcodes=0", "exitcodes=0\nuser=nobody"),
        machine={"unreadable": {"CONF"}},
        what="may not read",
    ),
    Case(
        "FPM033",
        program("exitcodes=0", "exitcodes=0\nuser=nobody-here"),
        what="user is nobody-here",
    ),
    Case(
        "FPM033",
        program("exitcodes=0", "exitcodes=0\nuser=54321"),
        machine={"unknown": frozenset({"54321"})},
        what="user is 54321",
    ),
    Case(
        "FPM034",
        program("exitcodes=0", "exitcodes=0\nuser=nobody"),
        ((TCP, "listen = /run/w.sock\n"),),
        {"unwritable": {"/run/w.sock"}},
        "may not write /run/w.sock",
    ),
    Case(
        "FPM034",
        program("exitcodes=0", "exitcodes=0\nuser=nobody"),
        (("error_log = {logs}/php-fpm.log", "error_log = /var/log/f.log"),),
        {"unwritable": {"/var/log/f.log"}},
        "may not write /var/log/f.log",
    ),
    Case(
        "FPM032",
        program("exitcodes=0", "exitcodes=0\nstdout_logfile=/dev/stdout"),
        what="stdout_logfile is /dev/stdout",
    ),
    Case(
        "FPM032",
        program("stderr_logfile={logs}/php-fpm.stderr.log", "stderr_logfile=/dev/stderr"),
        what="stderr_logfile is /dev/stderr",
    ),
    Case("FPM032", program("nodaemon=true", "nodaemon=true\nlogfile=/dev/stdout"), what="logfile"),
    Case("FPM024", ((GUARDED, f"{PLAIN} ; exec app"),), what="; after a blank"),
    Case("FPM024", ((GUARDED, f"{PLAIN} # A=b app"),), what="# after a blank"),
    Case(
        "FPM025",
        program("exitcodes=0", "exitcodes=0\nuser=nobody"),
        ((TCP, "listen = /run/w.sock\nlisten.owner = www-data\n"),),
        what="listen.owner is set",
    ),
    Case(
        "FPM025",
        program("exitcodes=0", "exitcodes=0\nuser=nobody"),
        pool("chroot = /srv"),
        what="chroot is set",
    ),
    Case(
        "FPM025",
        program("exitcodes=0", "exitcodes=0\nuser=nobody"),
        (("error_log = {logs}/php-fpm.log", "error_log = /dev/stderr"),),
        what="error_log is stderr",
    ),
    Case(
        "FPM026",
        (
            ("[program:php-fpm]\n", "[fcgi-program:php-fpm]\nsocket=tcp://127.0.0.1:9000\n"),
            (GUARDED, PLAIN),
        ),
    ),
    Case(
        "FPM040",
        fpm=((TCP, f"{TCP}[two]\nuser = www-data\nlisten = 9000\n"),),
        what="pool two listens on 9000, pool www on 127.0.0.1:9000",
    ),
    Case("FPM041", program("[program:php-fpm]", f"[program:other]\n{PLAIN}\n[program:php-fpm]")),
    Case("FPM042", machine={"units": ("php8.2-fpm.service",)}, what="php8.2-fpm.service"),
    Case("FPM043", fpm=((TCP, "listen = *:9000\n"),)),
    Case(
        "FPM044",
        fpm=((TCP, "listen = /run/php/w.sock\nlisten.owner = www-data\n"),),
        machine={"missing": {"/run/php"}},
        what="/run/php does not exist",
    ),
    Case("FPM045", fpm=((TCP, "listen = /run/w.sock\nlisten.mode = 0666\n"),)),
    Case(
        "FPM045",
        fpm=((TCP, "listen = /run/w.sock\nlisten.mode = 0666\n"),),
        machine={"container": True},
    ),
    Case("FPM046", fpm=((TCP, "listen = /run/w.sock\n"),)),
    Case("FPM047", fpm=((TCP, "listen = 9000\n"),)),
    Case("FPM047", fpm=((TCP, "listen = 0.0.0.0:9000\n"),)),
    Case("FPM047", fpm=((TCP, "listen = 9000\n"),), machine={"container": True}),
    Case("FPM048", fpm=((TCP, "listen = 127.0.0.1:40000\n"),), what="40000"),
    Case("FPM049", fpm=(("user = www-data", "user = nobody-here"),)),
    Case(
        "FPM049",
        fpm=((TCP, "listen = /run/w.sock\nlisten.acl_groups = nobody-here\n"),),
        what="there is no such group",
    ),
    Case(
        "FPM049",
        fpm=((TCP, "listen = /run/w.sock\nlisten.acl_users = www-data, nginx\n"),),
        what="with a blank",
    ),
    Case("FPM050", fpm=(("user = www-data", "user = root"),)),
    Case("FPM050", fpm=(("user = www-data", "user = root"),), machine={"lone": True}),
    Case("FPM051", fpm=(("emergency_restart_threshold = 10\n", ""),)),
    Case("FPM052", fpm=(("request_terminate_timeout = 60s\n", ""),)),
    Case("FPM053", fpm=pool("request_slowlog_timeout = 2m\nslowlog = /var/log/slow.log")),
    Case("FPM054", fpm=(("[global]\n", "[global]\nlog_level = error\n"),)),
    Case("FPM055", fpm=pool("decorate_workers_output = no")),
    Case("FPM056", fpm=(("catch_workers_output = yes\n", ""),)),
    Case("FPM057", machine={"memory": 64 << 20}, what="8 workers with 32 MiB"),
    Case(
        "FPM057",
        machine={"workers": (WorkerMemory(1 << 20, 40 << 20),) * 4},
        what="8 workers need 323 MiB",
    ),
    Case(
        "FPM057",
        fpm=(("[www]\n", "[api]\nlisten = 9001\npm = static\npm.max_children = 4\n[www]\n"),),
        machine={"workers": (WorkerMemory(1 << 20, 40 << 20),) * 4},
        what="8 workers of pool www alone need 323 MiB",
    ),
    Case("FPM074", fpm=(("[global]\n", "[global]\nprocess.max = 4\n"),), what="process.max"),
    Case("FPM058", program("minfds=4096", "minfds=79"), what="8 workers, but only 79 open files"),
    Case("FPM059", fpm=(("pm.max_requests = 1000\n", ""),)),
    Case("FPM060", fpm=(("ping.path = /ping\n", ""),)),
    Case(
        "FPM061",
        fpm=(("error_log = {logs}", "error_log = /gone"),),
        machine={"missing": {"/gone"}},
    ),
    Case("FPM062", program("{logs}/php-fpm.stderr.log", "{logs}/php-fpm.log")),
    Case("FPM063", fpm=(("pid = {logs}", "pid = /gone"),), machine={"missing": {"/gone"}}),
    Case("FPM064", program("[program:php-fpm]", f"[program:other]\n{PLAIN}\n[program:php-fpm]")),
    Case("FPM065", fpm=(("error_log = {logs}/php-fpm.log", "error_log = log/fpm.log"),)),
    Case("FPM066", fpm=(("[www]", "[www]\n# pm = static"),)),
    Case("FPM067", fpm=((TCP, "listen = 127.0.0.1:${PORT}\n"),), what="${PORT}"),
    Case(
        "FPM067", fpm=((TCP, "listen = 127.0.0.1:${PORT}\n"),), machine={"environ": {}}, what="PORT"
    ),
    Case("FPM068", fpm=(("[www]", "include = /etc/php/absent-??.conf\n[www]"),), what="include"),
    Case("FPM068", ((GUARDED, "command=/opt/x/sbin/php-fpm -F"),), what="/opt/x/etc/php-fpm.conf"),
    Case(
        "FPM068",
        ((GUARDED, "command=/usr/sbin/php-fpm -F -y /no/such/fpm.conf"),),
        what="is not at",
    ),
    Case("FPM068", machine={"problem": "/x: cannot be read: Permission denied"}, what="Permission"),
    Case("FPM068", fpm=(("[www]", "include = /etc/php/absent-??.conf\n[www"),)),
    Case("FPM068", fpm=(("[www]", "nonsense\n[www]"),), what="neither [section] nor key"),
    Case("FPM069", fpm=(("error_log = {logs}/php-fpm.log", "error_log = syslog"),)),
    Case("FPM070", fpm=pool("request_slowlog_timeout = 5s"), machine={"container": True}),
    Case("FPM071", fpm=((TCP, f"listen = 9009\n{TCP}"),), what="also"),
    Case("FPM072", fpm=(("[global]\n", "[global]\nlog_level = debug\n"),)),
    Case("FPM073", fpm=pool("listen.allowed_clients = web"), what="'web'"),
    Case("FPM073", fpm=pool("listen.allowed_clients = 127.0.0.1, ::1"), what="' ::1'"),
    Case("FPM101", program("[unix_http_server]\nfile=/run/supervisor.sock\n", "")),
    Case(
        "FPM101",
        program("[unix_http_server]\nfile=/run/supervisor.sock\n", "")
        + program("nodaemon=true\n", "nodaemon=true\nuser=nobody\n"),
    ),
    Case(
        "FPM101",
        program("[unix_http_server]\nfile=/run/supervisor.sock\n", "")
        + program("fpm-listener listen", "another listen"),
    ),
    Case(
        "FPM101",
        program("[unix_http_server]\nfile=/run/supervisor.sock\n", "")
        + program("fpm-listener listen", "another listen")
        + program("nodaemon=true\n", "nodaemon=true\nuser=nobody\n"),
    ),
    Case(
        "FPM102",
        program(
            "[supervisord]",
            "[inet_http_server]\nport=*:9001\nusername=a\npassword=b\n[supervisord]",
        ),
        what="is not on loopback",
    ),
    Case(
        "FPM102",
        program("[supervisord]", "[inet_http_server]\nport=127.0.0.1:9001\n[supervisord]"),
        what="has no password",
    ),
    Case("FPM103", program("nodaemon=true\n", ""), machine={"container": True}),
    Case("FPM122", program("nodaemon=true", "nodaemon=true\nloglevel=error")),
    Case("FPM122", program("nodaemon=true", "nodaemon=true\nloglevel=critical")),
    Case("FPM117", machine={"holders": (php_fpm(),)}, what="pid 4242424"),
    Case(
        "FPM117",
        machine={"holders": (php_fpm(),), "scripts": ("/etc/init.d/php8.2-fpm",)},
        what="4242424",
    ),
    Case("FPM117", machine={"holders": (php_fpm(unit="php8.2-fpm.service"),)}, what="4242424"),
    Case(
        "FPM117",
        machine={"holders": (php_fpm(kind=HolderKind.ORPHAN, master_pid=4242420),)},
        what="orphan",
    ),
    Case(
        "FPM118",
        program("[program:php-fpm]\n", "[program:php-fpm]\nstartsecs=1\n[program:php-fpm]\n"),
        what="also",
    ),
    Case("FPM119", fpm=pool("access.log = /proc/self/fd/2"), what="pool www"),
    Case(
        "FPM119",
        program("stderr_events_enabled=true", "redirect_stderr=true\nstdout_events_enabled=true"),
        pool("access.log = /dev/stderr"),
        what="stdout_events_enabled is true",
    ),
    Case("FPM120", program("nodaemon=true", "nodaemon=true\nlogfile=/dev/null")),
    Case("FPM120", program("nodaemon=true", "nodaemon=true\nlogfile=/dev/stdout")),
    Case("FPM115", machine={"loaded": Loaded((), ({"group": "old"},))}, what="runs old"),
    Case("FPM104", program("fpm-listener listen", "another listen")),
    Case("FPM105", program("buffer_size=1024\n", "")),
    Case(
        "FPM106",
        program(
            "[program:php-fpm]",
            "[eventlistener:x]\ncommand=/bin/x\nevents=TICK_60\nbuffer_size=1024\npriority=-50\n"
            "autorestart=true\nstartretries=1000\n[program:php-fpm]",
        ),
    ),
    Case("FPM107", program("priority=-50\nautorestart=true\n", "priority=-50\n")),
    Case("FPM107", program("startretries=1000000", "startretries=3"), what="startretries is 3"),
    Case(
        "FPM108",
        program("buffer_size=1024", "buffer_size=1024\nnumprocs=2\nprocess_name=%(process_num)s"),
    ),
    Case("FPM109", program("events=PROCESS_STATE,PROCESS_LOG", "events=TICK_60,PROCESS_LOG")),
    Case(
        "FPM109",
        program("PROCESS_STATE,PROCESS_LOG,", "PROCESS_STATE,"),
        what="events does not contain PROCESS_LOG_STDERR",
    ),
    Case(
        "FPM126",
        program("supervisor.sock\n", "supervisor.sock\nusername=a\npassword={SHA}82ab876d\n"),
        what="is a hash",
    ),
    Case(
        "FPM126",
        (
            *program("priority=-50", "priority=-50\nuser=nobody"),
            ("supervisor.sock\n", "supervisor.sock\nusername=a\npassword=b\n"),
        ),
        machine={"unreadable": {"SUPERVISORD"}},
        what="runs as user nobody",
    ),
    Case(
        "FPM126",
        program("supervisor.sock\n", "supervisor.sock\nusername=a\npassword=b\n"),
        machine={"foreign": {"SUPERVISORD"}},
        what="does not belong to root",
    ),
    *(
        Case(
            "FPM127",
            program(
                "/etc/supervisor/conf.d/fpm_listener.conf\nevents",
                f"{{logs}}/supervisord.conf\nuser=nobody\n{line}events",
            )
            + program("[program:php-fpm]", "[fpm-listener]\n[program:php-fpm]"),
            machine={"unwritable": {f"{path}/lock" for path in paths}},
            what="runs as user nobody (65534), and this user cannot write /var/lib/fpm-listener",
        )
        for line, paths in (
            ("", {"/var/lib/fpm-listener", "/run/fpm-listener"}),
            ("", {"/var/lib/fpm-listener", "/run/fpm-listener", "/tmp/fpm-listener-65534"}),
            ('environment=XDG_STATE_HOME="/data"\n', {"/var/lib/fpm-listener"}),
        )
    ),
    Case(
        "FPM127",
        (
            *program("nodaemon=true", "nodaemon=true\nuser=nobody"),
            ("{logs}/listener.log", "/var/log/fpm-listener.log"),
        ),
        machine={"unwritable": {"/var/log/fpm-listener.log"}},
        what="supervisord runs as user nobody (65534)",
    ),
    Case("FPM110", program("priority=-50", "priority=-50\nstderr_events_enabled=true")),
    Case("FPM111", program("exitcodes=0", 'exitcodes=0\nenvironment=A="50%"'), what="percent"),
    Case(
        "FPM111",
        program("startsecs=3", "startsecs=%(ENV_SECONDS:-3)s"),
        what="gives the variable SECONDS a default value",
    ),
    Case(
        "FPM111", program("startsecs=3", "startsecs=three"), what="startsecs is not a whole number"
    ),
    Case(
        "FPM111",
        program("[supervisord]", "[inet_http_server]\nport=x\n[supervisord]"),
        what="supervisor refuses it",
    ),
    Case(
        "FPM111",
        program("startsecs=3", "startsecs=%(ENV_SECONDS)s"),
        what="this shell has no variable SECONDS",
    ),
    Case("FPM112", program("exitcodes=0", "exitcodes=0\nusername=www-data"), what="'username'"),
    Case("FPM112", program("exitcodes=0", "exitcodes=0\nauto_start=true"), what="'auto_start'"),
    Case("FPM112", program("exitcodes=0", "exitcodes=0\nlog_stdout=true"), what="'log_stdout'"),
    Case(
        "FPM111",
        program("[unix_http_server]", "\ufeff[unix_http_server]"),
        what="byte order mark",
    ),
    Case(
        "FPM111",
        program("[supervisord]", "; caf\udce9\n[supervisord]"),
        what="has a character that is not UTF-8",
    ),
    Case(
        "FPM111",
        program("file=/run/supervisor.sock\n", ""),
        what="section [unix_http_server] has no file value",
    ),
    Case(
        "FPM102",
        program("[supervisord]", "[inet_http_server]\nport=*:9001\n[supervisord]"),
        what="is not on loopback",
    ),
    Case("FPM123", program("[program:php-fpm]", "[programs:php-fpm]"), what="not a section"),
    Case("FPM113", machine={"missing": {"LOGS"}}, what="does not exist"),
    Case(
        "FPM116",
        program(
            "/etc/supervisor/conf.d/fpm_listener.conf\nevents",
            "{logs}/supervisord.conf\nevents",
        )
        + program("[program:php-fpm]", "[fpm-listener]\nlisten = nowhere\n[program:php-fpm]"),
        what="listen",
    ),
    Case(
        "FPM121",
        program(
            "/etc/supervisor/conf.d/fpm_listener.conf\nevents",
            "{logs}/supervisord.conf\nevents",
        )
        + program("[program:php-fpm]", "[fpm-listener]\n[program:php-fpm]"),
        what="no receiver is configured",
    ),
    Case(
        "FPM121",
        program(
            "/etc/supervisor/conf.d/fpm_listener.conf\nevents",
            "{logs}/supervisord.conf\nevents",
        )
        + program(
            "[program:php-fpm]",
            "[fpm-listener:receiver:ops]\nurl_file = {logs}/ops.url\n[program:php-fpm]",
        ),
        what="ops.url: No such file or directory",
    ),
    Case("FPM067", fpm=pool("pm.start_servers = ${PORT}x"), machine={"environ": {}}, what="PORT"),
    Case("FPM080", fpm=pool("pm.max_childrens = 9"), what="does not know this setting"),
    Case("FPM081", fpm=(("pm = static", "pm = dynamic"),), what="pm.min_spare_servers: it is not"),
    Case("FPM082", fpm=pool("chdir = /gone"), machine={"missing": {"/gone"}}, what="/gone is not"),
    Case("FPM083", fpm=pool("access.log = /gone/a"), machine={"missing": {"/gone"}}),
    Case("FPM083", fpm=pool("access.log = /srv/logs"), machine={"folders": {"/srv/logs"}}),
    Case("FPM085", fpm=pool("listen.owner = no-such-name"), what="no such user"),
    Case("FPM084", fpm=pool("ping.response = a | b"), what="ping.response has |"),
    Case("FPM084", fpm=pool("ping.response = it's"), what="single quote"),
    Case("FPM114", ((GUARDED, "command=bin/php-fpm8.2 -F -y {conf}"),), what="bin/php-fpm8.2"),
    Case("FPM140", beside("php /app/artisan queue:work --timeout=90", "autorestart=true")),
    Case("FPM140", beside("php artisan horizon", "autorestart=true"), what="60 s (the default)"),
    Case("FPM141", beside("php artisan queue:work --max-time=3600"), what="--max-time ends"),
    Case("FPM141", beside("bin/console messenger:consume async"), what="messenger:stop-workers"),
    Case("FPM142", beside("php artisan schedule:run"), what="schedule:run runs the due tasks"),
    Case("FPM142", beside("/usr/bin/drush cron"), what="drush cron runs"),
    Case(
        "FPM143", beside("php artisan migrate --force", "autorestart=false"), what="startsecs is 1"
    ),
    Case(
        "FPM143", beside("chown -R www-data /app", "autorestart=true"), what="autorestart is true"
    ),
    Case("FPM144", beside("/usr/sbin/apache2"), what="without -DFOREGROUND"),
    Case("FPM144", beside("redis-server --daemonize yes"), what="--daemonize yes sends"),
    Case("FPM144", beside("/usr/sbin/postfix start"), what="postfix start goes"),
    Case("FPM144", beside("nginx -c {logs}/nginx.conf"), what="daemon off is not in"),
    Case("FPM144", beside("nginx -c {logs}/nginx_on.conf"), what="daemon is on in"),
    Case("FPM145", beside("service cron start"), what="the init system starts cron"),
    Case("FPM145", beside('sh -c "service x start && exec sleep 9"'), what="starts x"),
    Case("FPM146", beside('sh -c "while true; do date; sleep 60; done"'), what="sh runs a loop"),
    Case("FPM147", beside('/bin/sh -c "cd /app && node x.js"'), what="sh -c runs node without"),
    Case(
        "FPM147",
        beside('/bin/sh -c "cd /app && node x.js"'),
        machine={"sh": ""},
        what="sh -c runs node without",
    ),
    Case("FPM147", beside("apache2ctl -DFOREGROUND"), what="apache2ctl is a script"),
    Case("FPM147", beside("mysqld_safe"), what="ignores the stop signal"),
    Case("FPM147", beside("npm start"), what="npm runs the program in a shell"),
    Case("FPM148", beside('sh -c "node x.js &"'), what="ends with &"),
    Case("FPM149", beside("nginx", "startsecs=0"), what="startsecs is 0"),
    Case("FPM150", beside("nginx", "priority=1000"), what="priority is 1000"),
    Case("FPM150", beside("nginx", "priority=10"), what="nginx starts before php-fpm"),
    Case(
        "FPM151",
        beside("nginx", "autorestart=false"),
        what="autorestart is false for nginx",
    ),
    Case("FPM152", beside("nginx", "stopsignal=WINCH"), what="does not exit on it"),
    Case("FPM152", beside("apache2 -DFOREGROUND", "stopsignal=QUIT"), what="first process"),
    Case("FPM152", beside("nginx"), what="stopsignal is TERM"),
    Case("FPM152", beside("php artisan queue:work", "stopsignal=KILL"), what="stopsignal is KILL"),
    Case("FPM153", beside("php artisan schedule:work", TWICE), what="schedule:work runs in 2"),
    Case("FPM153", beside("php artisan reverb:start", TWICE), what="reverb:start runs in 2"),
    Case("FPM153", beside("php artisan horizon", TWICE), what="horizon runs in 2"),
    *(
        Case("FPM111", program("startsecs=3", f"startsecs=3\n{line}"), what=what)
        for line, what in (
            ("autostart=maybe", "autostart is not true or false"),
            ("environment=A=a b c", "environment is not a list"),
            ("numprocs=2", "numprocs is 2, and process_name does not contain"),
        )
    ),
    Case(
        "FPM111",
        program("killasgroup=true", "stopasgroup=true\nkillasgroup=false"),
        what="stopasgroup is true, and killasgroup is false",
    ),
    Case(
        "FPM111", program("[program:php-fpm]", "[program:x]\n[program:php-fpm]"), what="no command"
    ),
    Case(
        "FPM111",
        program("priority=-50", "priority=-50\nredirect_stderr=true"),
        what="redirect_stderr is true in the section of a listener",
    ),
    Case(
        "FPM111",
        program("[program:php-fpm]", "[group:web]\nprograms=php-fpm,nginx\n[program:php-fpm]"),
        what="there is no [program:nginx]",
    ),
    *(
        Case("FPM112", program("startsecs=3", f"startsecs=3\n{line}"), what=line.partition("=")[0])
        for line in (
            *(
                "nonsense=1",
                "auto_start=true",
                "log_stderr=/x",
                "nodaemon=true",
                "depends_on=nginx",
            ),
            *("env_file=/x", "group=web"),
        )
    ),
    Case("FPM160", program("[program:php-fpm]", f"{TWO_LOGS}[program:php-fpm]"), what="is also"),
    Case(
        "FPM160",
        program(
            "[program:php-fpm]",
            "[program:a]\ncommand=/a\nstdout_logfile=/a.log\nstderr_logfile=/a.log\n[program:php-fpm]",
        ),
        what="is the log of stdout and of stderr",
    ),
    Case(
        "FPM160",
        program("killasgroup=true", "killasgroup=true\nstdout_logfile={logs}/php-fpm.stderr.log"),
    ),
    Case("FPM161", program("killasgroup=true", "killasgroup=true\nredirect_stderr=true")),
    Case(
        "FPM162",
        program("[supervisord]", "[supervisorctl]\nserverurl=unix:///tmp/s.sock\n[supervisord]"),
    ),
    Case("FPM163", program(INTERFACE, "")),
    Case("FPM164", program("supervisor.sock\n", "supervisor.sock\nchmod=0777\n")),
    Case("FPM165", program("priority=-50", "priority=-50\nstdout_logfile=/dev/stdout")),
    Case(
        "FPM166",
        program("killasgroup=true", 'killasgroup=true\nenvironment=DB_PASSWORD="hunter2"'),
        what="DB_PASSWORD in environment",
    ),
    Case(
        "FPM167",
        program("killasgroup=true", "killasgroup=true\nenvironment=A=http://h/?x=1"),
        what="the value of A in environment ends at ?",
    ),
    Case(
        "FPM168",
        program("killasgroup=true", 'killasgroup=true\nenvironment=PATH="/opt:$PATH"'),
        what="environment contains $PATH",
    ),
    Case(
        "FPM169",
        program("nodaemon=true", "nodaemon=true\nuser=www-data")
        + program("killasgroup=true", "killasgroup=true\nuser=root"),
        what="user is root, but supervisord runs as user www-data",
    ),
    Case(
        "FPM170", program("nodaemon=true", "nodaemon=true\nlogfile=/dev/stdout\nlogfile_maxbytes=0")
    ),
    Case("FPM172", program("minfds=4096", "minfds=65535"), what="minfds is 65535"),
    Case("FPM171", program("nodaemon=true", "nodaemon=true\nloglevel=debug")),
]


def examine(folder: Path, case: Case | None = None) -> list[Finding]:
    """Return what the doctor finds in the sound configuration with one thing changed."""
    supervisord, fpm = SUPERVISORD, FPM
    for old, new in case.supervisord if case else ():
        assert old in supervisord, old
        supervisord = supervisord.replace(old, new, 1)
    for old, new in case.fpm if case else ():
        assert old in fpm, old
        fpm = fpm.replace(old, new, 1)
    places = {"{conf}": f"{folder}/php-fpm.conf", "{logs}": str(folder)}
    for place, text in places.items():
        supervisord, fpm = supervisord.replace(place, text), fpm.replace(place, text)
    (folder / "php-fpm.conf").write_text(fpm)
    (folder / "supervisord.conf").write_bytes(supervisord.encode(errors="surrogateescape"))
    script = f"#!/bin/sh\n/usr/sbin/php-fpm8.2 -F -y {folder}/php-fpm.conf\n"
    (folder / "start.sh").write_text(script)
    (folder / "nginx.conf").write_text("events {}\n")
    (folder / "nginx_on.conf").write_text("daemon on;\nevents {}\n")
    own = {"CONF": f"{folder}/php-fpm.conf", "SUPERVISORD": f"{folder}/supervisord.conf"}
    own["LOGS"] = str(folder)
    answers: dict[str, Any] = {
        key: {own.get(path, path) for path in answer} if isinstance(answer, set) else answer
        for key, answer in (case.machine if case else {}).items()
    }
    holders = answers.pop("holders", ())
    loaded, problem = answers.pop("loaded", None), answers.pop("problem", None)
    environ, workers = answers.pop("environ", None), answers.pop("workers", None)
    assert isinstance(holders, tuple)

    def look(address: str) -> HolderReport:
        return HolderReport(address=address, holders=holders)

    if answers.pop("lone", False):
        lone = lone_pools(f"{folder}/php-fpm.conf", FakeHost(**answers), Sources())
        return apply_rules(lone, TEXTS)
    path = f"{folder}/supervisord.conf"
    if any(one is not None for one in (loaded, environ, problem, workers)):
        runs = None if environ is None else Running(1, environ)
        checked = gathering.gather(path, FakeHost(**answers), {"PATH": "/usr/bin"}, runs)
        if problem is not None:
            php_fpm = checked.fpms[0]
            conf = php_fpm.conf._replace(problems=(problem.replace("/x", str(folder)),))
            checked = checked._replace(fpms=(php_fpm._replace(conf=conf),))
        if workers is not None:
            pools = {(one.conf.path, "www"): workers for one in checked.fpms}
            limit = MemoryLimit("cgroup /app", 256 << 20, 30 << 20)
            measured = MeasuredWorkers(limit, pools)
            checked = checked._replace(running=Running(1, measured=measured))
        return apply_rules(checked._replace(loaded=loaded), TEXTS)
    return check.check(path, FakeHost(**answers), {"PATH": "/usr/bin"}, search=look)


def test_a_sound_configuration(tmp_path: Path) -> None:
    """Nothing is found, not even a hint: every rule is silent on it."""
    assert examine(tmp_path) == []


@pytest.mark.usefixtures("parser_in_process")
@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.what[:20]}" for case in CASES])
def test_each_rule(case: Case, tmp_path: Path) -> None:
    """It fires where its thing is wrong, and says where, what, why, and what to write."""
    found = [one for one in examine(tmp_path, case) if one.id == case.rule]

    assert found
    assert any(case.what in one.what for one in found), found
    for one in found:
        assert str(tmp_path) in one.where or one.where.startswith("/usr")
        assert one.why
        assert one.fix


@pytest.mark.usefixtures("parser_in_process")
def test_what_is_printed_is_the_golden_text(tmp_path: Path) -> None:
    """Each finding is read at night; with FPM_LISTENER_WRITE_GOLDEN=1 this writes the file."""
    texts = []
    for number, case in enumerate(sorted(CASES, key=lambda case: case.rule)):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = [one for one in examine(folder, case) if one.id == case.rule]
        text = report.to_text(found[:1]).rpartition("\n\n")[0]
        texts.append(text.replace(str(folder), "/etc/x"))
    comments = suppressions.apply([], {"/etc/x/supervisord.conf": COMMENTS}, TEXTS)
    comments.sort(key=lambda one: (one.id, one.line))
    texts += [report.to_text([one]).rpartition("\n\n")[0] for one in comments]
    printed = "\n\n".join(dict.fromkeys(texts)) + "\n"
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        GOLDEN.write_text(printed)

    assert printed == GOLDEN.read_text()


@pytest.mark.parametrize(
    ("name", "listen", "severity"),
    [
        ("zz-docker.conf", "9000", FindingSeverity.WARNING),
        ("zz-docker.conf", "0.0.0.0:9000", FindingSeverity.ERROR),
        ("www.conf", "9000", FindingSeverity.ERROR),
    ],
)
def test_the_port_of_the_official_image(
    tmp_path: Path, name: str, listen: str, severity: FindingSeverity
) -> None:
    """Its zz-docker.conf has `listen = 9000`; the container's network decides who reaches it."""
    (tmp_path / name).write_text(f"[www]\nlisten = {listen}\n")
    case = Case("FPM047", fpm=pool(f"include = {tmp_path}/{name}"))
    found = [one.severity for one in examine(tmp_path, case) if one.id == "FPM047"]

    assert found == [severity]


def test_the_php_fpm_that_is_installed_instead(tmp_path: Path) -> None:
    """After an upgrade the finding names the version that is there, behind the guard as well."""
    (tmp_path / "usr/sbin").mkdir(parents=True)
    for name in ("php-fpm8.3", "php-fpm8.4"):
        (tmp_path / "usr/sbin" / name).touch(mode=0o755)
    (tmp_path / "usr/sbin/php-fpm.conf").touch(mode=0o644)
    assert Host(str(tmp_path)).php_fpms() == ("/usr/sbin/php-fpm8.3", "/usr/sbin/php-fpm8.4")
    machine: dict[str, Any] = {
        "missing": {"/usr/sbin/php-fpm8.2"},
        "installed": ["/usr/sbin/php-fpm8.3"],
    }
    for case in (Case("FPM023", machine=machine), Case("FPM023", plain(), machine=machine)):
        (found,) = [one for one in examine(tmp_path, case) if one.id == "FPM023"]
        assert found.fix == "Use the php-fpm that is installed: /usr/sbin/php-fpm8.3"


@pytest.mark.parametrize(
    "case",
    [
        Case("FPM117"),
        Case("FPM117", machine={"holders": (php_fpm(command="fpm-listener listen --config x"),)}),
        Case("FPM118"),
        Case("FPM126", program("supervisor.sock\n", "supervisor.sock\nusername=a\npassword=b\n")),
        Case("FPM126", machine={"foreign": {"SUPERVISORD"}}),
        Case("FPM122", program("nodaemon=true", "nodaemon=true\nloglevel=warn")),
        Case("FPM122", program("nodaemon=true", "nodaemon=true\nloglevel=debug")),
        Case("FPM119", fpm=pool("access.log = /var/log/access.log")),
        Case(
            "FPM119",
            program("events=PROCESS_STATE,PROCESS_LOG", "events=PROCESS_STATE"),
            pool("access.log = /proc/self/fd/2"),
        ),
        Case(
            "FPM119",
            program("stderr_events_enabled=true", "stderr_events_enabled=false"),
            pool("access.log = /proc/self/fd/2"),
        ),
        Case("FPM120", program("nodaemon=true", "nodaemon=true\nlogfile=/var/log/s.log")),
        Case(
            "FPM127",
            (
                *program("nodaemon=true", "nodaemon=true\nuser=nobody"),
                ("{logs}/listener.log", "/dev/stderr"),
            ),
            machine={"unwritable": {"/dev/stderr"}},
        ),
    ],
)
def test_where_a_rule_is_silent(case: Case, tmp_path: Path) -> None:
    """What is in order is no finding."""
    assert case.rule not in {one.id for one in examine(tmp_path, case)}


def test_every_rule_has_a_case() -> None:
    """Each rule is seen to fire, and each of its texts is printed."""
    printed = GOLDEN.read_text()
    identities = {identity.partition(".")[0] for identity in TEXTS}
    assert {case.rule for case in CASES} == {one.id for one in RULES}
    assert {one.id for one in RULES} | suppressions.IDS == identities
    assert len(identities) >= 70
    for text in TEXTS.values():
        for part in (text.what, text.why, text.fix):
            words = re.escape(re.sub(r"\{[^}]*\}", "\0", part)).replace(re.escape("\0"), ".+")
            assert re.search(rf"  {words}$", printed, re.MULTILINE), part


def test_every_rule_is_on_the_page() -> None:
    """With severity and title in the table, and with examples of what, why and fix below it.

    With FPM_LISTENER_WRITE_GOLDEN=1 this writes the part of the page after the marker.
    """
    page = ROOT / "docs" / "checks.md"
    marker = "<!-- tests/integration/doctor/test_check.py writes the rest of this page -->\n"
    head = page.read_text().partition(marker)[0]
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        page.write_text(head + marker + rules_as_markdown())

    assert page.read_text() == head + marker + rules_as_markdown()


def rules_as_markdown() -> str:
    """Return the table of rules, and one example of each text from the golden file."""
    rules = {identity: text for identity, text in TEXTS.items() if "." not in identity}
    rows = [f"| {one} | {text.severity.value} | {text.title} |" for one, text in rules.items()]
    lines = ["\n| id | severity | title |", "|---|---|---|", *rows]
    blocks = GOLDEN.read_text().replace("*", r"\*").strip().split("\n\n")
    for identity, text in rules.items():
        lines.append(f"\n### {identity}: {text.title}\n")
        seen: list[str] = []
        for block in blocks:
            head, *parts = block.split("\n")
            severity, found, _ = head.split(" ", 2)
            why = parts[1]
            if found == identity and why not in seen:
                seen.append(why)
                what, why, fix = (part.split(maxsplit=1)[1] for part in parts)
                lines += [f"- **{severity.capitalize()}**: {what}", f"- **Why**: {why}"]
                lines += [f"- **Fix**: {fix}"]
        if text.measured:
            lines += [f"- **Measured**: {_markdown(text.measured)}"]
        if text.ignore:
            lines += [f"- **Ignore it if**: {_markdown(text.ignore)}"]
        if text.before:
            before, after = text.before.split("\n"), text.after.split("\n")
            changes = difflib.ndiff(before, after, charjunk=None)
            lines += ["", "```diff", *(one.rstrip() for one in changes if one[0] != "?"), "```"]
    return "\n".join([*lines, ""])


def _markdown(text: str) -> str:
    return text.replace("*", r"\*")


RECIPE = """\
[supervisord]
[program:php-fpm]
command=bash -c "sleep 1 && /usr/sbin/php-fpm --fpm-config {conf} --pid /run/php-fpm/php-fpm.pid"
autorestart=true
startretries=5
exitcodes=0,2,70
stopsignal=QUIT
stopwaitsecs=2
"""


def test_the_recipe_of_2015(tmp_path: Path) -> None:
    """At least eight findings, these among them, at their lines."""
    conf, path = tmp_path / "php-fpm.conf", tmp_path / "supervisord.conf"
    conf.write_text("[global]\ndaemonize = no\n[www]\nuser = www-data\nlisten = 127.0.0.1:9000\n")
    path.write_text(RECIPE.format(conf=conf))
    found = {one.id: one for one in check.check(str(path), FakeHost(), {}, search=nobody)}

    assert {"FPM001", "FPM002", "FPM005", "FPM008", "FPM013", "FPM014"} <= set(found)
    assert len([one for one in found.values() if one.severity is not FindingSeverity.HINT]) >= 8
    assert found["FPM008"].where == f"{path}:6 [program:php-fpm]"
    assert found["FPM013"].where == f"{path}:8 [program:php-fpm]"


def test_what_we_ship_is_clean(tmp_path: Path) -> None:
    """With a php-fpm.conf as its comments want it."""
    conf = tmp_path / "php-fpm.conf"
    conf.write_text(FPM.replace("{logs}", str(tmp_path)))
    shipped = tmp_path / "conf.d"
    shipped.mkdir()
    for file in (ROOT / "supervisord.d").iterdir():
        text = file.read_text().replace("/etc/php/8.2/fpm/php-fpm.conf", str(conf))
        (shipped / file.name).write_text(text)
    path = tmp_path / "supervisord.conf"
    path.write_text(
        SUPERVISORD.partition("[eventlistener")[0] + f"[include]\nfiles={shipped}/*.conf\n"
    )

    environ = {"PATH": "/usr/bin"}
    receiver = {"FPM_LISTENER_RECEIVER_OPS_URL": "https://ops.example.com/hook"}
    assert check.check(str(path), FakeHost(), environ | receiver, search=nobody) == []
    (no_receiver,) = check.check(str(path), FakeHost(), environ, search=nobody)
    assert (no_receiver.id, no_receiver.severity) == ("FPM121", FindingSeverity.HINT)
    assert report.exit_status([no_receiver]) == 0


# -- the command -----------------------------------------------------------------------------------


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Type the command."""
    command = [sys.executable, "-m", "fpm_listener", "check", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)


def test_the_exit_status(tmp_path: Path) -> None:
    """1 = findings, 2 = could not check; 0 = nothing worse than a hint."""
    path = tmp_path / "supervisord.conf"
    path.write_text("[supervisord]\nnodaemon=true\n[program:x]\ncommand=/bin/cat\n")
    sound = run("--supervisord-conf", str(path))
    path.write_text("[supervisord]\n[program:x]\ncommand=/bin/cat\nexitcode=0\n")
    wrong = run("--supervisord-conf", str(path), "--json")
    none = run("--supervisord-conf", str(tmp_path / "none"))

    assert (sound.returncode, sound.stdout) == (0, "nothing found\n")
    assert wrong.returncode == 1
    (finding,) = [one for one in json.loads(wrong.stdout) if one["id"] == "FPM112"]
    assert set(finding) == {"id", "severity", "where", "what", "why", "fix"}
    assert (none.returncode, none.stdout) == (2, "")
    assert "may not read it" in none.stderr


def test_several_files_and_groups(tmp_path: Path) -> None:
    """Each finding points at the file that it is in, also in a group and an included file."""
    included = tmp_path / "php.ini"
    conf = tmp_path / "php-fpm.conf"
    conf.write_text(FPM.replace("{logs}", str(tmp_path)))
    included.write_text(
        f"[group:web]\nprograms=php\n\n[program:php]\ncommand=/usr/sbin/php-fpm8.2 -F -y {conf}\n",
    )
    path = tmp_path / "supervisord.conf"
    path.write_text(f"[supervisord]\n[include]\nfiles={tmp_path}/*.ini\n")
    found = {one.id: one for one in check.check(str(path), FakeHost(), {}, search=nobody)}

    assert found["FPM014"].where == f"{included}:4 [program:php]"


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """What supervisor prints of a bad value stays out of the finding."""
    path = tmp_path / "supervisord.conf"
    path.write_text('[supervisord]\n[program:x]\ncommand=/bin/cat\nenvironment=A="s3cret%2B"\n')
    findings = check.check(str(path), FakeHost(), {}, search=nobody)

    assert [one.id for one in findings] == ["FPM111"]
    assert "s3cret" not in str(findings)


def test_two_hundred_programs(tmp_path: Path) -> None:
    """They take a moment."""
    conf, path = tmp_path / "php-fpm.conf", tmp_path / "supervisord.conf"
    conf.write_text(FPM.replace("{logs}", str(tmp_path)))
    programs = "".join(f"[program:p{n}]\n{PLAIN}\n" for n in range(200)).replace(
        "{conf}", str(conf)
    )
    path.write_text(f"[supervisord]\n{programs}")
    began = time.monotonic()

    assert len(check.check(str(path), FakeHost(), {}, search=nobody)) > 200
    assert time.monotonic() - began < 60


# -- the host --------------------------------------------------------------------------------------


def test_this_host() -> None:
    """What the doctor asks of it is answered."""
    host = Host()

    assert host.exists("/proc/self/stat")
    assert host.is_folder("/tmp")
    assert not host.is_folder("/proc/self/stat")
    assert host.user("root")
    assert not host.user("nobody-here")
    assert host.group("root")
    low, high = host.port_range()
    assert 0 < low < high < 65536
    assert (host.memory_limit() or 0) > 1 << 20
    assert isinstance(host.in_container(), bool)


def test_another_host(tmp_path: Path) -> None:
    """Units, limits and marks of a container, as they lie on disk."""
    host = Host(str(tmp_path))
    assert host.enabled_units() == ()
    assert host.memory_limit() is None
    assert host.port_range() == (32768, 60999)
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    for folder in (tmp_path / "run/systemd/system", wants, tmp_path / "sys/fs/cgroup"):
        folder.mkdir(parents=True)
    for unit in ("php8.2-fpm.service", "nginx.service"):
        (wants / unit).symlink_to(f"/lib/systemd/system/{unit}")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("536870912\n")
    (tmp_path / "sys/fs/cgroup/cgroup.procs").touch()
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    mount = "30 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
    (tmp_path / "proc/self/mountinfo").write_text(mount)
    (tmp_path / ".dockerenv").touch()

    assert host.enabled_units() == ("php8.2-fpm.service",)
    assert host.memory_limit() == 512 << 20
    assert host.in_container()


def test_no_configuration_to_be_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The usual places are named."""
    monkeypatch.setattr(check, "USUAL_FILES", (str(tmp_path / "none"),))
    with pytest.raises(FpmListenerError, match="name its file: --supervisord-conf FILE"):
        check.find_conf(None)


@pytest.mark.parametrize("number", ["9" * 5000, "\u00b2"])
def test_numbers_that_are_none(tmp_path: Path, number: str) -> None:
    """php-fpm refuses them; that is no reason for a traceback."""
    conf = tmp_path / "fpm.conf"
    conf.write_text(
        f"[global]\nrlimit_files = {number}\n[www]\nlisten = 127.0.0.1:{number}\n"
        f"listen.owner = {number}\npm = static\npm.max_children = {number}\n"
        f"request_slowlog_timeout = {number}s\nrequest_terminate_timeout = {number}\n"
        f"pm.max_requests = {number}\nprocess.priority = {number}\n"
    )
    supervisord = tmp_path / "supervisord.conf"
    supervisord.write_text(
        f"[supervisord]\nlogfile=/dev/null\n[program:php-fpm]\ncommand=php-fpm8.2 -F -y {conf}\n"
    )
    assert check.check(str(supervisord), environ={})
    supervisord.write_text(f"{supervisord.read_text()}numprocs = {number}\n")
    assert check.check(str(supervisord), environ={})


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("#!/bin/sh\r\nexec php-fpm\r\n", "has a first line that ends with CR LF"),
        ("exec php-fpm\n", "has a format that this system does not execute"),
        ("#!/bin/sh\nexec php-fpm\n", ""),
    ],
)
def test_scripts_that_the_kernel_refuses(tmp_path: Path, content: str, fault: str) -> None:
    """supervisord starts no shell for a file without #!, and a CR is part of a name."""
    path = tmp_path / "start.sh"
    path.write_bytes(content.encode())
    path.chmod(0o755)
    assert Host().command_fault(str(path)) == fault
