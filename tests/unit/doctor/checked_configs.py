"""Checkups for the doctor's rules, built from texts: no file is read."""

from __future__ import annotations

import re
import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Section, Supervised
from fpm_listener.doctor.rules import examine
from fpm_listener.doctor.texts import parse_texts
from fpm_listener.phpfpm import command_line, config, config_files
from fpm_listener.supervisor import ini_lines
from tests.fakes import FakeFiles, FakeHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.doctor.rule import Finding
    from fpm_listener.supervisor.ini_lines import ConfigSection

TEXTS = parse_texts(
    (Path(__file__).parents[3] / "fpm_listener" / "doctor" / "findings.txt").read_text("utf-8")
)
CONF = "/etc/supervisord.conf"
FPM_CONF = "/etc/php-fpm.conf"
COMMAND = "/usr/sbin/php-fpm8.2 -F -y /etc/php-fpm.conf"
GUARDED = f"/usr/bin/fpm-listener guard --hold -- {COMMAND}"
SUPERVISORD = f"""\
[unix_http_server]
file=/run/supervisor.sock
[supervisord]
nodaemon=true
[eventlistener:fpm-listener]
command=/usr/bin/fpm-listener listen --config /etc/fpm_listener.conf
events=PROCESS_STATE,PROCESS_LOG_STDERR
buffer_size=1024
priority=-50
autorestart=true
startretries=1000000
stderr_logfile=/var/log/listener.log
[program:php-fpm]
command={GUARDED}
startsecs=3
startretries=10
autorestart=true
exitcodes=0
stopsignal=QUIT
stopwaitsecs=20
killasgroup=true
stderr_logfile=/var/log/php-fpm.stderr.log
stderr_events_enabled=true
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
FPM = """\
[global]
error_log = /var/log/php-fpm.log
pid = /run/php-fpm.pid
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
#: What supervisor takes when a key is missing, with its types.
_DEFAULTS: dict[str, Any] = {
    "autostart": True,
    "startsecs": 1,
    "startretries": 3,
    "autorestart": "unexpected",
    "exitcodes": [0],
    "stopsignal": int(signal.SIGTERM),
    "stopwaitsecs": 10,
    "stopasgroup": False,
    "killasgroup": False,
    "redirect_stderr": False,
    "stdout_logfile_maxbytes": 50 << 20,
    "stderr_logfile_maxbytes": 50 << 20,
    "stdout_logfile": "AUTO",
    "stderr_logfile": "AUTO",
    "stdout_events_enabled": False,
    "stderr_events_enabled": False,
    "user": None,
    "environment": {},
    "directory": None,
    "priority": 999,
    "numprocs": 1,
    "events": None,
}
Changes = tuple[tuple[str, str], ...]


class Found(NamedTuple):
    """What one rule found, in the words of the files."""

    spot: str  #: the section and the line that the finding points at
    what: str
    fix: str
    why: str
    edits: Mapping[tuple[str, str], str | None]  #: by section and key


class Case(NamedTuple):
    """One mistake, and what a rule says of it."""

    rule: str
    supervisord: Changes = ()
    fpm: Changes = ()
    spot: str = ""  #: how it begins
    what: str = ""  #: a part of it
    edits: Mapping[tuple[str, str], str | None] | None = None  #: None = not compared
    fix: str = ""  #: words of it
    machine: FakeHost = FakeHost()
    why: str = ""  #: a part of it


def verify(case: Case) -> None:
    """Assert that the rule finds the mistake once, and says what the case says."""
    (one,) = found(case.rule, checkup(case.supervisord, case.fpm, machine=case.machine))

    assert one.spot.startswith(case.spot)
    assert case.what in one.what
    assert not case.fix or re.search(rf"(?<!\w){re.escape(case.fix)}(?!\w)", one.fix)
    assert case.why in one.why
    assert case.edits is None or one.edits == case.edits


def command(new: str) -> Changes:
    """Return php-fpm with another command."""
    return ((f"command={GUARDED}", f"command={new}"),)


def program_line(text: str) -> Changes:
    """Return the program with one more line."""
    return (("exitcodes=0\n", f"exitcodes=0\n{text}\n"),)


def gone(*paths: str) -> FakeHost:
    """Return a host without these files and directories."""
    return FakeHost(missing=frozenset(paths))


def changed(text: str, changes: Changes) -> str:
    """Return a text with parts replaced, each once."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def checkup(
    supervisord: Changes = (),
    fpm: Changes = (),
    *,
    machine: FakeHost | None = None,
    conf: str = FPM_CONF,
    **more: Any,  # noqa: ANN401 - fields of Checkup; known: its supervisord
) -> CheckedConfig:
    """Return the sound configuration with changes."""
    texts = {CONF: changed(SUPERVISORD, supervisord), FPM_CONF: changed(FPM, fpm)}
    return _checkup(texts, machine or FakeHost(), conf, more)


def _checkup(
    texts: Mapping[str, str], machine: FakeHost, conf: str, more: Mapping[str, Any]
) -> CheckedConfig:
    sections = ini_lines.scan([(CONF, texts[CONF])])
    processes = tuple(
        _supervised(section)
        for name, section in sections.items()
        if name.partition(":")[0] in {"program", "eventlistener", "fcgi-program"}
    )
    fpms = []
    for process in processes:
        invocation = command_line.find(process.command)
        if invocation is None:
            continue
        path = invocation.config or conf
        read = config.load(
            path,
            FakeFiles(texts),
            layout=config_files.layouts(invocation)[0],
            invocation=invocation,
            environment=process.settings["inherited"],
        )
        scanned = ini_lines.scan([(one, texts[one]) for one in read.files], php=True)
        fpms.append(Fpm(process, invocation, read, scanned, machine, invocation.version))
    servers = [{"family": "unix", "url": "unix:///run/supervisor.sock"}]
    known = {"nodaemon": True, "minfds": 1024, "servers": servers}
    main = sections["supervisord"].lines if "supervisord" in sections else {}
    if "minfds" in main:
        known["minfds"] = int(main["minfds"].value)
    known |= more.get("known", {})
    rest = {key: value for key, value in more.items() if key != "known"}
    return CheckedConfig(known, sections, processes, tuple(fpms), machine, **rest)


def _supervised(section: ConfigSection) -> Supervised:
    kind, _, name = section.name.partition(":")
    settings = dict(_DEFAULTS)
    for key, line in section.lines.items():
        settings[key] = _value(key, line.value)
    settings["inherited"] = {"PATH": "/usr/bin", **settings["environment"]}
    return Supervised(kind, name, name, Section(section, settings))


def _value(key: str, text: str) -> Any:  # noqa: ANN401 - as supervisor's own values
    kind = type(_DEFAULTS.get(key, ""))
    if key == "stopsignal":
        return int(signal.Signals[f"SIG{text}"])
    if key == "exitcodes":
        return [int(code) for code in text.split(",")]
    if key == "events":
        return text.split(",")
    if key == "environment":
        return dict(pair.split("=", 1) for pair in shlex.split(text))
    if kind is bool:
        return text == "true"
    if kind is int or key == "buffer_size":
        return int(text)
    return None if text == "NONE" else text


def found(rule: str, of: CheckedConfig) -> list[Found]:
    """Return what a rule finds, in order."""
    return [_found(one, of) for one in examine(of, TEXTS) if one.id == rule]


def _found(one: Finding, of: CheckedConfig) -> Found:
    assert one.why
    edits = {(edit.section, edit.key): edit.value for edit in one.edits}
    files = {edit.php: edit.file for edit in one.edits}
    assert files.get(True, FPM_CONF) == FPM_CONF
    assert files.get(False, CONF) == CONF
    return Found(_spot(one.where, of), one.what, one.fix, one.why, edits)


def _spot(where: str, of: CheckedConfig) -> str:
    """Return `[section] key=value` for `file:number [section]`."""
    place, _, section = where.rpartition(" ")
    file, _, number = place.rpartition(":")
    for known in (of.sections, *(fpm.sections for fpm in of.fpms)):
        for one in known.values():
            for key, line in one.lines.items():
                if (line.file, str(line.number), f"[{one.name}]") == (file, number, section):
                    return f"{section} {key}={line.value}"
            if (one.file, str(one.number), f"[{one.name}]") == (file, number, section):
                return section
    return where
