"""Returns the fact that one line of php-fpm's error log states.

Laws:
1. Patterns are anchored at the start of the line: output of an application (`said into stderr`, a
   request's URI) is never searched.
2. Text is no proof. An application can forge any line. Such a line gives a fact, too, and
   `monitor.log_trust` decides whether it counts.
3. Text can be hostile: numbers and addresses are bounded, so that no line raises, and the costs of
   a line grow with its length only.
4. `scan` finds in a chunk the facts that `classify` finds in its lines, and is much faster.

Source: php-src sapi/fpm/fpm (7.4 to 8.4: zlog.c, fpm_sockets.c, fpm_conf.c, fpm_unix.c,
fpm_children.c, fpm_request.c, fpm_process_ctl.c), and lines seen with php-fpm 8.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypedDict

from fpm_listener.phpfpm import guard_messages
from fpm_listener.phpfpm.log_facts import FactKind, LogFact
from fpm_listener.untrusted_text import escaped

if TYPE_CHECKING:
    from collections.abc import Callable


#: Characters of a line that are kept: php-fpm's own default for log_limit.
KEPT = 1024

_HEAD = re.compile(
    r"(?:\[\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d(?:\.\d{6})?\] )?"
    r"(?:[\w.-]+\[\d+\]: )?"  # the ident of syslog, if syslog writes to the file
    r"(?:(?P<level>DEBUG|NOTICE|WARNING|ERROR|ALERT): |\[(?P<syslog>[A-Z]+)\] )"
    r"(?:pid \d+, )?(?:[\w()]+\(\), line \d+: )?"
    r"(?:\[pool (?P<pool>[^\]]*)\] )?",
)

_ERRNO = re.compile(r"\(([0-9]{1,9})\)$")

_REASON = r"'?(.{0,1024}?)'?: [^():]{1,99} \(([0-9]{1,9})\)$"

_BIND = re.compile(rf"unable to bind listening socket for address {_REASON}")

_LISTEN = re.compile(rf"failed to listen to address {_REASON}")

_ANOTHER = re.compile(r"An(?: an)?other FPM instance seems to already listen on (.{1,1024})$")

_RUNNING = re.compile(r"fpm is running, pid ([0-9]{1,9})$")

_SIGNAL = re.compile(r"child ([0-9]{1,9}) exited on signal ([0-9]{1,9}) \(")

_CODE = re.compile(r"child ([0-9]{1,9}) exited with code [0-9]{1,9} after ")

_SCRIPT = re.compile(
    r"child ([0-9]{1,9}), script '.*\) (executing too slow|execution timed out) \("
)

#: EADDRINUSE of Linux, of BSD and macOS, of MIPS.
_IN_USE = {98, 48, 125}

_BY_ERRNO = {
    **dict.fromkeys(_IN_USE, FactKind.BIND_CONFLICT),
    **dict.fromkeys((99, 49), FactKind.ADDRESS_ABSENT),
    2: FactKind.MISSING_PATH,
    **dict.fromkeys((1, 13, 30), FactKind.PERMISSION),  # 30: a read-only file system
    **dict.fromkeys((28, 122), FactKind.DISK_FULL),  # 122: a quota
    **dict.fromkeys((23, 24), FactKind.FD_LIMIT),
}

#: Messages at ERROR with a path and an errno.
_PATH = re.compile(
    r"(?:Unable to create the PID file|failed to open error_log|Unable to create or open slowlog"
    r"|failed to open access log|failed to chown\(\) the socket) ?[('](.{1,1024})[)']\.?: "
)

#: Starts of messages at ERROR with an errno and without a path.
_RESOURCES = (
    "Unable to write to the PID file",
    "failed to create new listening socket: ",
    "failed to init stdio: ",
    "failed to init signals: ",
)

_CONFIG = (
    "failed to load configuration file ",
    "failed to post process the configuration",
    "failed to open configuration file ",
    "No pool defined. ",
    "Unable to globalize ",
    "Unable to include ",
    "getaddrinfo: ",
    "invalid port value ",
    "log_limit must be ",
    "unable to set listen address as it's already used in another pool ",
    "please specify user and group other than root",
    "wrong format for access.format ",
    "failed to include more than ",
    "the chdir path ",
    "the chroot path ",
    "the prefix ",
    "'slowlog' must be specified ",
    "event mechanism ",
)

_USER = re.compile(r"cannot get (?:uid for (user)|gid for (group)) '(.{1,256}?)'")

_FILE_AND_LINE = re.compile(r"\[[^\]]+:\d+\] ")


def classify(line: str) -> LogFact | None:
    """Return the fact that one line of php-fpm's error log states, or None.

    line: without its newline, with php-fpm's stamp (local time, whole seconds; not used), if any.
    """
    head = _HEAD.match(line)
    if head is None:
        if line.startswith("PHP:  syntax error"):  # before the log is open, without any level
            return LogFact(kind=FactKind.CONFIG_ERROR, line=line[:KEPT])
        return _guard_fact(line) if line.startswith(guard_messages.PREFIX) else None
    level = head["level"] or head["syslog"]
    read = _LEVELS.get(level)
    found = read(line[head.end() :]) if read else None
    if found is None:
        return None
    kind, words = found
    return LogFact(kind=kind, line=line[:KEPT], pool=head["pool"], **words)


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
    named: str
    pid: int
    signal: int


Found = tuple[FactKind, Words] | None


def _error(text: str) -> Found:
    for pattern in (_BIND, _LISTEN):
        if bind := pattern.match(text):
            kind = _BY_ERRNO.get(int(bind[2]), FactKind.CONFIG_ERROR)
            return kind, {"address": bind[1]}
    if another := _ANOTHER.match(text):
        return FactKind.BIND_CONFLICT, {"address": another[1]}
    if text == "FPM initialization failed":
        return FactKind.INIT_FAILED, {}
    if path := _PATH.match(text):
        return _by_errno(text) or FactKind.PERMISSION, {"named": path[1]}
    if text.startswith(_RESOURCES):
        lack = _by_errno(text)
        return (lack, {}) if lack else None
    if text.startswith("failed to set rlimit_files "):
        return FactKind.FD_LIMIT, {}
    if user := _USER.match(text):
        return FactKind.UNKNOWN_USER, {"named": f"{user[1] or user[2]} {user[3]}"}
    if text.startswith(_CONFIG) or _FILE_AND_LINE.match(text):
        return FactKind.CONFIG_ERROR, {}
    return None


def _by_errno(text: str) -> FactKind | None:
    errno = _ERRNO.search(text)
    return _BY_ERRNO.get(int(errno[1])) if errno else None


def _alert(text: str) -> Found:
    # Older masters report an unknown child at ALERT; all other alerts are about the configuration.
    return None if text.startswith("oops, unknown child") else (FactKind.CONFIG_ERROR, {})


def _warning(text: str) -> Found:
    if exited := _SIGNAL.match(text):
        return FactKind.CHILD_SIGNAL, {"pid": int(exited[1]), "signal": int(exited[2])}
    if exited := _CODE.match(text):
        return FactKind.CHILD_EXIT, {"pid": int(exited[1])}
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
    return None


_LEVELS: dict[str, Callable[[str], Found]] = {
    "ERROR": _error,
    "ALERT": _alert,
    "WARNING": _warning,
    "NOTICE": _notice,
}

#: Words that lines with facts contain. ERROR, WARNING and ALERT share an R, NOTICE has none: the
#: search for one letter is very fast (memchr), that for a word takes 0.2 to 0.5 ms a MiB.
_LETTERS = ((b"R", (b"ERROR", b"WARNING", b"ALERT")), (b"H", (b"PHP:  syntax error",)))

_QUIET = (
    *(b"fpm is running, pid ", b"ready to handle connections", b"reloading: execvp("),
    guard_messages.PREFIX.encode(),
)


def scan(chunk: bytes | bytearray, end: int | None = None) -> list[LogFact]:
    """Return the facts of a chunk of whole lines, in order.

    end: bytes of the chunk that count; a buffer may hold more.
    """
    end = len(chunk) if end is None else end
    needles = list(_QUIET)
    for letter, words in _LETTERS:
        if chunk.find(letter, 0, end) >= 0:
            needles += words
    starts: set[int] = set()
    for needle in needles:
        at = chunk.find(needle, 0, end)
        while at >= 0:
            starts.add(chunk.rfind(b"\n", 0, at) + 1)
            at = chunk.find(b"\n", at, end)
            at = chunk.find(needle, at, end) if at >= 0 else -1
    facts = []
    for start in sorted(starts):
        stop = chunk.find(b"\n", start, end)
        line = bytes(chunk[start : stop if stop >= 0 else end])
        fact = classify(line.removesuffix(b"\r").decode("utf-8", "replace"))
        if fact is not None:
            facts.append(fact)
    return facts
