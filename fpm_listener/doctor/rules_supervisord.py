"""Rules on supervisord itself, on its listeners, and on what it lets in.

Each consequence was measured with supervisor 4.3.0 and 4.2.5; see docs/checks.md.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import words_of
from fpm_listener.doctor.rule import FindingSeverity, Said, rule
from fpm_listener.phpfpm.config import STDERR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Supervised

_E, _W, _H = FindingSeverity.ERROR, FindingSeverity.WARNING, FindingSeverity.HINT
_EVENTS = "PROCESS_STATE,PROCESS_LOG_STDERR,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE"
_FACTORY = "supervisor.rpcinterface_factory"
_INTERFACE = "supervisor.rpcinterface:make_main_rpcinterface"
_PROGRAMS = ("program:", "eventlistener:", "fcgi-program:", "group:")
#: Subscriptions that bring every line of standard error.
_EVERY_LINE = {"EVENT", "PROCESS_LOG", "PROCESS_LOG_STDERR"}
_OURS = re.compile(r"fpm[-_]listener\b.*\blisten\b")
#: What supervisor knows in the section of a program (options.py of 4.2.5 and 4.3.0).
PROGRAM_KEYS = frozenset(
    (
        *("command", "process_name", "numprocs", "numprocs_start", "priority", "autostart"),
        *("autorestart", "startsecs", "startretries", "exitcodes", "stopsignal", "stopwaitsecs"),
        *("stopasgroup", "killasgroup", "user", "redirect_stderr", "environment", "directory"),
        *(
            f"{stream}_{key}"
            for stream in ("stdout", "stderr")
            for key in (
                *("logfile", "logfile_maxbytes", "logfile_backups", "capture_maxbytes"),
                *("events_enabled", "syslog"),
            )
        ),
        *("umask", "serverurl", "buffer_size", "events", "result_handler"),
        *("socket", "socket_backlog", "socket_owner", "socket_mode"),
    ),
)


def _ours(checkup: CheckedConfig) -> list[Supervised]:
    return [p for p in checkup.processes if p.kind == "eventlistener" and _OURS.search(p.command)]


@rule("FPM101", _W, "supervisord cannot be asked")
def unix_server(checkup: CheckedConfig) -> Iterator[Said]:
    """Exit codes come from its log, over XML-RPC."""
    servers = checkup.supervisord.get("servers") or ()
    if not servers and checkup.fpms:
        yield Said(
            checkup.where("unix_http_server", "file"),
            "there is no [unix_http_server]",
            "supervisorctl does not work, and how a process ended is known to nobody",
            "[unix_http_server] with file=/run/supervisor.sock and chmod=0700, and"
            " [rpcinterface:supervisor]",
            checkup.edits("unix_http_server", file="/run/supervisor.sock", chmod="0700")
            + checkup.edits("rpcinterface:supervisor", **{_FACTORY: _INTERFACE}),
        )


@rule("FPM102", _E, "supervisord is open to the network")
def inet_server(checkup: CheckedConfig) -> Iterator[Said]:
    """Whoever reaches it runs commands as its user."""
    for server in checkup.supervisord.get("servers") or ():
        if server.get("family") != "inet":
            continue
        host = server.get("host") or "*"
        loopback = host in {"127.0.0.1", "localhost", "::1"}
        if not loopback or not server.get("password"):
            why_not = "is not on loopback" if not loopback else "has no password"
            yield Said(
                checkup.where("inet_http_server", "port"),
                f"[inet_http_server] on {host}:{server.get('port')} {why_not}",
                "whoever reaches it starts any command as supervisord's user, which is often root"
                if not loopback
                else "every user of this host may start and stop everything",
                "[unix_http_server] with chmod=0700 instead",
            )


@rule("FPM103", _W, "supervisord leaves its container")
def nodaemon(checkup: CheckedConfig) -> Iterator[Said]:
    """The first process must stay."""
    if checkup.machine.in_container() and not checkup.supervisord.get("nodaemon"):
        yield Said(
            checkup.where("supervisord", "nodaemon"),
            "nodaemon is false, in a container",
            "supervisord goes into the background, and the container ends with its first process,"
            " unless whoever starts it remembers -n",
            "nodaemon=true",
            checkup.edits("supervisord", nodaemon="true"),
        )


@rule("FPM104", _H, "nobody listens")
def no_listener(checkup: CheckedConfig) -> Iterator[Said]:
    """supervisord tells nobody by itself."""
    if checkup.fpms and not _ours(checkup):
        fpm = checkup.fpms[0]
        yield Said(
            fpm.at("command"),
            "no fpm-listener watches this supervisord",
            "supervisord knows of no restart loops, and tells nobody of anything",
            "fpm-listener init, which writes its section and its settings",
        )


@rule("FPM105", _W, "the listener's buffer is small")
def buffer_size(checkup: CheckedConfig) -> Iterator[Said]:
    """The oldest event is thrown away."""
    for process in checkup.processes:
        size = process.settings.get("buffer_size")
        if process.kind == "eventlistener" and size is not None and int(size) < 256:
            yield Said(
                process.section.where("buffer_size"),
                f"buffer_size is {size}",
                "supervisord throws away the oldest events of a burst, such as its own start",
                "buffer_size=1024",
                (process.section.edit("buffer_size", "1024"),),
            )


@rule("FPM106", _W, "listeners share a priority")
def priority(checkup: CheckedConfig) -> Iterator[Said]:
    """A rejected event goes to all of the same priority."""
    listeners = [p for p in checkup.processes if p.kind == "eventlistener"]
    seen: dict[int, Supervised] = {}
    for process in listeners:
        number = int(process.settings["priority"])
        other = seen.setdefault(number, process)
        if other.section.name != process.section.name:
            yield Said(
                process.section.where("priority"),
                f"priority {number} is also that of {other.section.name}",
                "an event that one of them refuses is handed to the other, asked for or not",
                "a number of its own, below 0",
            )


@rule("FPM107", _E, "the listener may stay down")
def listener_restarts(checkup: CheckedConfig) -> Iterator[Said]:
    """Nobody hears of it."""
    for process in checkup.processes:
        if process.kind != "eventlistener":
            continue
        how, retries = str(process.settings["autorestart"]), int(process.settings["startretries"])
        if how != "true":
            yield Said(
                process.section.where("autorestart"),
                f"autorestart is {how}",
                "a listener that has ended stays down, and nobody hears of it",
                "autorestart=true",
                (process.section.edit("autorestart", "true"),),
            )
        if retries < 100:
            yield Said(
                process.section.where("startretries"),
                f"startretries is {retries}",
                "a listener that could not start some times stays down, and nobody hears of it",
                "startretries=1000000",
                (process.section.edit("startretries", "1000000"),),
            )


@rule("FPM108", _E, "several listeners for one state")
def listeners(checkup: CheckedConfig) -> Iterator[Said]:
    """Both send every alert."""
    ours = _ours(checkup)
    for process in ours[1:]:
        yield Said(
            process.section.where("numprocs"),
            f"{len(ours)} fpm-listener processes",
            "supervisord gives each event to one process of a pool: none of them sees everything,"
            " and they fight over one state_dir",
            "numprocs=1, and one [eventlistener:fpm-listener]",
        )
        return


@rule("FPM109", _E, "the listener does not hear of processes")
def events(checkup: CheckedConfig) -> Iterator[Said]:
    """PROCESS_STATE is what it lives on."""
    for process in _ours(checkup):
        heard = set(process.settings.get("events") or ())
        if heard and not {"PROCESS_STATE", "EVENT"} & heard:
            yield Said(
                process.section.where("events"),
                f"events has no PROCESS_STATE: {', '.join(sorted(heard))}",
                "the listener hears of no start and no end",
                f"events={_EVENTS}",
                (process.section.edit("events", _EVENTS),),
            )


@rule("FPM110", _E, "the listener's words are kept")
def listener_stdout(checkup: CheckedConfig) -> Iterator[Said]:
    """stdout is the protocol, stderr events come back to it."""
    for process in _ours(checkup):
        if process.settings["stderr_events_enabled"]:
            yield Said(
                process.section.where("stderr_events_enabled"),
                "stderr_events_enabled is true for the listener itself",
                "each of its log lines becomes an event for itself",
                "stderr_events_enabled=false",
                (process.section.edit("stderr_events_enabled", "false"),),
            )


@rule("FPM111", _E, "supervisord refuses its configuration")
def refused(checkup: CheckedConfig) -> Iterator[Said]:
    """Often a percent sign that is not doubled."""
    why = checkup.supervisord.get("refused")
    if not why:
        return
    percents = list(_percents(checkup))
    yield from percents
    if not percents:
        yield Said(
            checkup.where("supervisord"),
            str(why),
            "supervisord does not start with it, and an update of a running one is refused",
            "supervisorctl reread, which says why",
        )


def _percents(checkup: CheckedConfig) -> Iterator[Said]:
    for section in checkup.sections.values():
        if section.name.startswith("fpm-listener"):
            continue
        for key, line in section.lines.items():
            if re.search(r"%(?![%(])", line.value.replace("%%", "")):
                yield Said(
                    section.where(key),
                    f"a percent sign in {key} that is not doubled",
                    "supervisord takes it for an expansion: it does not start, and prints the whole"
                    " value",
                    "%%",
                )


@rule("FPM118", _E, "one section in two places")
def section_twice(checkup: CheckedConfig) -> Iterator[Said]:
    """supervisor merges them by the order of files."""
    for section in checkup.sections.values():
        if section.again and section.name.startswith(_PROGRAMS):
            places = ", ".join(section.again)
            yield Said(
                section.where(""),
                f"[{section.name}] stands at {places} as well",
                "supervisord runs a mixture: of each key the value that is read last counts, and"
                " files are read in the order of their names",
                f"one [{section.name}]: move what is to count into one of them, remove the other",
            )


@rule("FPM119", _W, "each request is an event")
def access_log_events(checkup: CheckedConfig) -> Iterator[Said]:
    """supervisord sends each line of stderr to listeners, and drops old events when it is late."""
    if not any(_EVERY_LINE & set(p.settings.get("events") or ()) for p in checkup.processes):
        return
    for fpm in checkup.fpms:
        settings = fpm.process.settings
        if not settings["stderr_events_enabled"] or settings["redirect_stderr"]:
            continue
        for pool in fpm.conf.pools:
            if fpm.option(pool, "access.log") in STDERR:
                yield Said(
                    fpm.in_fpm(pool.name, "access.log"),
                    f"access.log of pool {pool.name} is standard error, and stderr_events_enabled"
                    " is true",
                    "each request becomes an event: at thousands of requests in a second"
                    " supervisord drops the events that tell of a failure",
                    "access.log = /var/log/php-fpm.access.log, or no access.log (the web server"
                    " has one); or stderr_events_enabled=false with error_log in a file",
                )


@rule("FPM120", _H, "supervisord keeps no log")
def no_log(checkup: CheckedConfig) -> Iterator[Said]:
    """Exit codes stand in its log only."""
    path = str(checkup.supervisord.get("logfile") or "")
    if checkup.fpms and path.startswith(("/dev/", "/proc/")):
        yield Said(
            checkup.where("supervisord", "logfile"),
            f"logfile is {path}",
            "how a process ended stands in supervisord's log only: exit codes and signals are"
            " unknown (LAST END unknown), and a kill by the kernel looks like any crash",
            "logfile=/tmp/supervisord.log and logfile_maxbytes=1MB; with nodaemon=true supervisord"
            " prints the same lines on standard output",
        )


@rule("FPM112", _W, "a key that supervisor does not know")
def unknown_key(checkup: CheckedConfig) -> Iterator[Said]:
    """It is passed over in silence."""
    for section in checkup.sections.values():
        if not section.name.startswith(("program:", "eventlistener:", "fcgi-program:")):
            continue
        for key in section.lines:
            if key not in PROGRAM_KEYS:
                yield Said(
                    section.where(key),
                    f"{key!r} is no key of a program",
                    "supervisord passes it over in silence",
                    "its name, in supervisor's documentation of [program:x]",
                )


@rule("FPM113", _E, "the folder of a log is missing")
def log_folder(checkup: CheckedConfig) -> Iterator[Said]:
    """supervisord does not start."""
    for process in checkup.processes:
        for key in ("stdout_logfile", "stderr_logfile"):
            path = process.settings[key]
            if not path or not str(path).startswith("/"):
                continue
            folder = str(path).rpartition("/")[0] or "/"
            if not checkup.machine.is_folder(folder):
                yield Said(
                    process.section.where(key),
                    f"{folder} does not exist",
                    "supervisord refuses to start, and an update of a running one fails",
                    f"install -d {folder}",
                )


@rule("FPM114", _W, "a command that is searched for")
def relative_command(checkup: CheckedConfig) -> Iterator[Said]:
    """PATH is supervisord's."""
    for process in checkup.processes:
        word = next(iter(words_of(process.command)), "")
        if "/" in word and not word.startswith("/"):
            yield Said(
                process.section.where("command"),
                f"{word} is a relative path",
                "it is looked for from wherever supervisord was started",
                "the whole path",
            )


@rule("FPM116", _E, "the listener refuses its settings")
def own_settings(checkup: CheckedConfig) -> Iterator[Said]:
    """It ends at once, and nobody is told of anything."""
    for path, why in checkup.refused:
        yield Said(
            path,
            why.removeprefix(f"{path} ").removeprefix(f"{path}: "),
            "the listener ends with status 2 each time that supervisord starts it: nothing is"
            " watched and nobody is told",
            "what is allowed there; `fpm-listener init /tmp` writes an example with every setting"
            " to /tmp/fpm_listener.conf",
        )


@rule("FPM121", _W, "alerts are not delivered")
def undeliverable(checkup: CheckedConfig) -> Iterator[Said]:
    """No receiver is configured, or one cannot work."""
    for path, (receiver, why) in checkup.undeliverable:
        section = f"[fpm-listener:receiver:{receiver or 'NAME'}]"
        yield Said(
            f"{path} {section}" if receiver else path,
            why,
            "the listener detects problems, but this receiver gets no alert"
            if receiver
            else "the listener detects problems, but nobody gets an alert",
            f"create the file or correct its path, then type: fpm-listener alerts test {receiver}"
            if receiver
            else f"a section {section} with type and url_file, then type: fpm-listener alerts test"
            " NAME",
        )
