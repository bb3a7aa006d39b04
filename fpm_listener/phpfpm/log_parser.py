"""Returns the fact that one line of php-fpm's error log states.

Laws:
1. Patterns are anchored at the start of the line: output of an application (`said into stderr`, a
   request's URI) is never searched.
2. Text is not proof. An application can forge any line. Such a line gives a fact, too, and
   `monitor.log_trust` decides whether it counts.
3. Text can be hostile: numbers and addresses are bounded, so that no line raises, and the costs of
   a line grow with its length only.
4. `log_scanner` must accept every line with a fact.

Source: php-src sapi/fpm/fpm (7.4 to 8.4: zlog.c, fpm_sockets.c, fpm_conf.c, fpm_unix.c,
fpm_children.c, fpm_request.c, fpm_process_ctl.c), and lines seen with php-fpm 8.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

from fpm_listener.phpfpm import guard_messages, start_messages
from fpm_listener.phpfpm.log_facts import FactKind, LogFact
from fpm_listener.untrusted_text import escaped
from fpm_listener.vocabulary import Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


#: Characters of a line that are kept: php-fpm's own default for log_limit.
KEPT = 1024

#: What stands before a message: time, level, process and pool. php-fpm writes no time to syslog.
HEAD = re.compile(
    r"(?:\[[0-9]{2}-[A-Z][a-z]{2}-[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{6})?\] "
    r"|[^\W\d][\w.-]*\[[0-9]+\]: )?"  # the ident of syslog, if syslog writes to the file
    r"(?:(?P<level>DEBUG|NOTICE|WARNING|ERROR|ALERT): |\[(?P<syslog>[A-Z]+)\] )"
    r"(?:(?:pid \d+, )?[a-z0-9_()]+\(\), line \d+: )?"
    r"(?:\[pool (?P<pool>[^\]]*)\] )?",
)

_REASON = r"'?(.{0,1024}?)'?: [^():]{1,99} \(([0-9]{1,9})\)$"

_BIND = re.compile(rf"unable to bind listening socket for address {_REASON}")

_LISTEN = re.compile(rf"failed to listen to address {_REASON}")

_ANOTHER = re.compile(r"An(?: an)?other FPM instance seems to already listen on (.{1,1024})$")

_RUNNING = re.compile(r"fpm is running, pid ([0-9]{1,9})$")

_SIGNAL = re.compile(r"child ([0-9]{1,9}) exited on signal ([0-9]{1,9}) \(")

_CODE = re.compile(
    r"child ([0-9]{1,9}) exited with code ([0-9]{1,9}) after ([0-9]{1,9}(?:\.[0-9]{1,9})?) "
)

#: Of a master that reloads or exits: SIGUSR2, SIGTERM or SIGINT, SIGQUIT.
_ENDING = frozenset({"Reloading in progress ...", "Terminating ...", "Finishing ..."})

_SCRIPT = re.compile(
    r"child ([0-9]{1,9}), script '.*\) (executing too slow|execution timed out) \("
)

_USER = re.compile(r"cannot get (?:uid for (user)|gid for (group)) '(.{1,256}?)'")

#: Lines without a level: PHP writes them to stderr before php-fpm starts. `Unknown` stands for
#: php-fpm's own configuration. A syntax error in php.ini has a path there, and php-fpm starts.
_PHP = re.compile(
    r"PHP:  (?P<syntax>syntax error).* in Unknown on line [0-9]+$"
    r"|PHP Fatal error:  ?(?P<fatal>.+)"
    r"|[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} [0-9]{4} \([0-9]+\): "  # opcache's stamp
    r"Fatal Error (?P<opcache>.+)",
)

#: php-fpm's own log of what PHP says.
_PHP_MESSAGE = "PHP message: "

_NO_MEMORY = ("Out of memory", "Unable to allocate shared memory segment ")


def classify(line: str) -> LogFact | None:
    """Return the fact that one line of php-fpm's error log states, or None.

    line: without its newline, with php-fpm's stamp (local time, whole seconds; not used), if any.
    """
    head = HEAD.match(line)
    if head is None:
        if line.startswith(guard_messages.PREFIX):
            return _guard_fact(line)
        return _php_fact(line)
    level = head["level"] or head["syslog"]
    if level == "NOTICE" and head["pool"] is not None:
        return None  # php-fpm's notices of a pool are about its usual workers
    read = _LEVELS.get(level)
    found = read(line[head.end() :]) if read else None
    if found is None:
        return None
    kind, words = found
    fact = LogFact(kind=kind, line=line[:KEPT], pool=head["pool"], **words)
    if fact.fault is Fault.SHARED_ADDRESS:
        return fact._replace(named=f"{fact.pool}, {fact.named}")
    return fact


def _php_fact(line: str) -> LogFact | None:
    """Return why PHP does not start, from a line that PHP itself writes."""
    found = _php_found(line)
    if found is None:
        return None
    kind, words = found
    return LogFact(kind=kind, line=line[:KEPT], **words)


def _php_found(text: str) -> Found:
    """Return why PHP does not start, from PHP's own words."""
    found = _PHP.match(text)
    if found is None:
        return None
    kind, fault = FactKind.CONFIG_ERROR, None if found["syntax"] else Fault.PHP_SETTINGS
    if (found["fatal"] or found["opcache"] or "").startswith(_NO_MEMORY):
        kind, fault = FactKind.OUT_OF_MEMORY, Fault.NO_SHARED_MEMORY
    return kind, {"fault": fault, "errno": start_messages.errno_of(text)}


def is_of_php(line: str) -> bool:
    """Return whether PHP itself has written a line: each PHP program can write it."""
    return HEAD.match(line) is None and not line.startswith(guard_messages.PREFIX)


def classify_all(lines: Iterable[str]) -> tuple[LogFact, ...]:
    """Return the facts that lines state."""
    return tuple(fact for line in lines if line and (fact := classify(line)) is not None)


def _guard_fact(line: str) -> LogFact | None:
    """Return why our own guard has not started php-fpm."""
    message = guard_messages.parse(line)
    if message is None or message.code not in guard_messages.FAILED_STARTS:
        return None
    return LogFact(
        kind=FactKind(message.code.value),
        line=line[:KEPT],
        address=_one_line(message.fields.get("address")),
        named=_one_line(message.fields.get("program")),
    )


#: Control characters, ends of lines, and surrogates that stand for no byte of a path.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udc7f\udd00-\udfff]")


def _one_line(value: str | None) -> str | None:
    """Return a value without characters that would add a line to a text.

    Every program can print a guard's message. Its values are part of summaries and of commands.
    """
    return value and _UNSAFE.sub(lambda found: escaped(found[0]), value)


class Words(TypedDict, total=False):
    """Fields of a LogFact besides its kind."""

    address: str
    named: str | None
    fault: Fault | None
    errno: int | None
    pid: int
    signal: int
    status: int
    lasted_s: float


Found = tuple[FactKind, Words] | None


def _error(text: str) -> Found:
    for pattern in (_BIND, _LISTEN):
        if bind := pattern.match(text):
            number = int(bind[2])
            kind = start_messages.BY_ERRNO.get(number, FactKind.CONFIG_ERROR)
            return kind, {"address": bind[1], "errno": number}
    if another := _ANOTHER.match(text):
        return FactKind.BIND_CONFLICT, {"address": another[1]}
    if text == "FPM initialization failed":
        return FactKind.INIT_FAILED, {}
    if user := _USER.match(text):
        return FactKind.UNKNOWN_USER, {"named": f"{user[1] or user[2]} {user[3]}"}
    if explained := start_messages.explain(text):
        kind, fault, named, errno = explained
        return kind, {"named": _one_line(named), "fault": fault, "errno": errno}
    return None


def _alert(text: str) -> Found:
    # Older masters report an unknown child at ALERT; all other alerts are about the configuration.
    return None if text.startswith("oops, unknown child") else (FactKind.CONFIG_ERROR, {})


def _warning(text: str) -> Found:
    if exited := _SIGNAL.match(text):
        return FactKind.CHILD_SIGNAL, {"pid": int(exited[1]), "signal": int(exited[2])}
    if exited := _CODE.match(text):
        pid, status, lasted_s = int(exited[1]), int(exited[2]), float(exited[3])
        return FactKind.CHILD_EXIT, {"pid": pid, "status": status, "lasted_s": lasted_s}
    if script := _SCRIPT.match(text):
        slow = script[2] == "executing too slow"
        return (FactKind.SLOW if slow else FactKind.TERMINATED), {"pid": int(script[1])}
    if text.startswith("failed processes threshold ("):
        return FactKind.EMERGENCY_RELOAD, {}
    if text.startswith(
        (
            "server reached pm.max_children setting (",
            "server reached max_children setting (",  # pm = ondemand
            "The maximum number of processes has been reached",
        ),
    ):
        return FactKind.MAX_CHILDREN, {}
    return None


def _notice(text: str) -> Found:
    if running := _RUNNING.match(text):
        return FactKind.READY, {"pid": int(running[1])}
    if text == "ready to handle connections":
        return FactKind.READY, {}
    if text.startswith("reloading: execvp("):
        return FactKind.RELOAD, {}
    if text.startswith(_PHP_MESSAGE):  # a script that opcache.preload_user preloads
        return _php_found(text.removeprefix(_PHP_MESSAGE))
    return (FactKind.ENDING, {}) if text in _ENDING else None


_LEVELS: dict[str, Callable[[str], Found]] = {
    "ERROR": _error,
    "ALERT": _alert,
    "WARNING": _warning,
    "NOTICE": _notice,
}
