"""The errors with which php-fpm does not start: what each message says about the cause.

Laws:
1. The number of an error decides, not its words: C libraries word errors differently.
2. A message of which the cause is not known is a START_ERROR: evidence, and no cause.

Not here, because php-fpm starts in spite of them: messages of workers about one request
(`Connection disallowed`, `Unable to open primary script`, `failed to ptrace`), about
listen.allowed_clients (`Wrong IP address`), and `unable to read what child said`.

Source: php-src sapi/fpm/fpm, 7.4 to 8.5: fpm_unix.c, fpm_conf.c, fpm_sockets.c, fpm_stdio.c,
fpm_shm.c, fpm_scoreboard.c, fpm_signals.c, fpm_events.c, events/*.c, fpm_children.c, fpm_log.c; the
texts in php-fpm 8.2.36.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.vocabulary import Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

#: EADDRINUSE of Linux, of BSD and macOS, of MIPS.
IN_USE = frozenset({98, 48, 125})

#: What the number of an error proves, whatever php-fpm was about to do.
BY_ERRNO = {
    **dict.fromkeys(IN_USE, FactKind.BIND_CONFLICT),
    **dict.fromkeys((99, 49), FactKind.ADDRESS_ABSENT),
    **dict.fromkeys((2, 20), FactKind.MISSING_PATH),  # 20: a part of the path is a file
    **dict.fromkeys((1, 13, 30), FactKind.PERMISSION),  # 30: a read-only file system
    **dict.fromkeys((28, 122), FactKind.DISK_FULL),  # 122: a quota
    **dict.fromkeys((23, 24), FactKind.FD_LIMIT),
    12: FactKind.OUT_OF_MEMORY,
}

#: EAGAIN of fork(2): a limit of processes. ENOMEM is in BY_ERRNO.
_FORK = {11: FactKind.PROCESS_LIMIT, 35: FactKind.PROCESS_LIMIT}
#: EAFNOSUPPORT of socket(2), of Linux and of BSD: IPv6 is switched off.
_FAMILY = {97: FactKind.ADDRESS_ABSENT, 47: FactKind.ADDRESS_ABSENT}

_NUMBER = re.compile(r": [^():]{1,99} \(([0-9]{1,9})\)$")


class _Message(NamedTuple):
    """One kind of message."""

    start: str  #: pattern of its beginning; the group `named` is what it is about
    kind: FactKind  #: if the number of the error proves nothing
    fault: Fault | None  #: together with `kind`
    errnos: Mapping[int, FactKind]  #: what numbers prove


class Explained(NamedTuple):
    """What one message says."""

    kind: FactKind
    fault: Fault | None
    named: str | None  #: a path, or the name of a pool
    errno: int | None


def _table(
    kind: FactKind,
    *starts: str,
    fault: Fault | None = None,
    errnos: Mapping[int, FactKind] = BY_ERRNO,
) -> list[_Message]:
    return [_Message(start, kind, fault, errnos) for start in starts]


_NO_ERRNO: dict[int, FactKind] = {}
_IN_BRACKETS = r" ?\((?P<named>.{1,1024})\)\.?"
_QUOTED = r" '(?P<named>.{1,1024}?)'"

_MESSAGES = (
    # -- files
    *_table(
        FactKind.PERMISSION,
        rf"Unable to create the PID file{_IN_BRACKETS}(?=: )",
        rf"failed to open error_log{_IN_BRACKETS}(?=: )",
        rf"Unable to create or open slowlog{_IN_BRACKETS}(?=: )",
        rf"failed to open access log{_IN_BRACKETS}(?=: )",
    ),
    *_table(
        FactKind.MISSING_PATH,
        rf"failed to open configuration file{_QUOTED}(?=: )",
        fault=Fault.NO_CONFIG_FILE,
        errnos={**BY_ERRNO, 21: FactKind.CONFIG_ERROR, 40: FactKind.CONFIG_ERROR},
    ),
    *_table(FactKind.START_ERROR, r"Unable to write to the PID file", r"failed to init stdio: "),
    # -- sockets
    *_table(
        FactKind.PERMISSION,
        rf"failed to ch(?:own|mod)\(\) the socket{_QUOTED}(?=: )",
        fault=Fault.SOCKET_OWNER,
    ),
    *_table(
        FactKind.CONFIG_ERROR,
        rf"failed to (?:read|add entry to|write) the ACL of the socket{_QUOTED}(?=: )",
        r"cannot create ACL for (?:user|group) ",
        fault=Fault.NO_ACL,
    ),
    *_table(
        FactKind.START_ERROR,
        r"failed to create new listening socket: ",
        errnos={**BY_ERRNO, **_FAMILY},
    ),
    *_table(
        FactKind.CONFIG_ERROR, r"getaddrinfo: ", r"invalid port value ", fault=Fault.BAD_LISTEN
    ),
    *_table(
        FactKind.CONFIG_ERROR,
        r"unable to set listen address as it's already used in another pool "
        r"'(?P<named>.{1,256}?)'",
        fault=Fault.SHARED_ADDRESS,
        errnos=_NO_ERRNO,
    ),
    # -- permissions of the process, and limits
    *_table(FactKind.PERMISSION, r"Unable to set priority for ", fault=Fault.PRIORITY),
    *_table(
        FactKind.FD_LIMIT,
        # 7.4 writes rlimit_core for both limits.
        r"failed to set rlimit_(?:files|core) .*setrlimit\(RLIMIT_NOFILE\b",
        r"failed to set rlimit_files ",
        errnos=_NO_ERRNO,
    ),
    *_table(
        FactKind.PERMISSION,
        r"failed to set rlimit_core ",
        fault=Fault.CORE_LIMIT,
        errnos=_NO_ERRNO,
    ),
    *_table(
        FactKind.PERMISSION,
        r"failed to (?:setuid|setgid|initgroups)\(",
        fault=Fault.CHANGE_USER,
        errnos={**BY_ERRNO, **_FORK},
    ),
    *_table(
        FactKind.PERMISSION,
        r"failed to query apparmor confinement",
        r"failed to change to new confinement",
        fault=Fault.APPARMOR,
    ),
    *_table(FactKind.START_ERROR, r"failed to ch(?:root|dir)\((?P<named>/.{0,1024})\)(?=: )"),
    *_table(
        FactKind.START_ERROR,
        r"fork\(\) failed",
        r"failed to daemonize",
        errnos={**BY_ERRNO, **_FORK},
    ),
    # -- memory
    *_table(
        FactKind.OUT_OF_MEMORY,
        r"unable to allocate [0-9]{1,20} bytes in shared memory",
        fault=Fault.NO_SHARED_MEMORY,
    ),
    *_table(
        FactKind.OUT_OF_MEMORY,
        r"cannot allocate ACL",
        r"unable to malloc ",
        r"unable to allocate memory ",
        r"failed to allocate memory ",
        r"scoreboard: failed to allocate memory ",
        r"(?:epoll|kqueue|poll|port|/dev/poll): unable to allocate ",
        r"[\w.(): ]{0,80}?(?:malloc|strdup|spprintf|realloc|calloc)\([^)]{0,40}\) failed",
        r"Unable to add the event to queue: malloc",
        r"\[[^\]]{1,1024}:[0-9]{1,9}\] Unable to alloc ",
        fault=Fault.NO_MEMORY,
    ),
    # -- users
    *_table(
        FactKind.CONFIG_ERROR,
        r"please specify user and group other than root",
        fault=Fault.ROOT_POOL,
    ),
    # -- folders that the configuration names
    *_table(
        FactKind.MISSING_PATH,
        r"the chdir path '.{1,1024}?' within the chroot path '.{1,1024}?' "
        r"\('(?P<named>.{1,1024}?)'\) does not exist",
        rf"the (?:chdir path|chroot path|prefix){_QUOTED} does not exist",
        rf"the global prefix{_QUOTED} does not exist",
        fault=Fault.NO_POOL_FOLDER,
        errnos=_NO_ERRNO,
    ),
    # -- other mistakes in the configuration; php-fpm -t reports them too
    *_table(
        FactKind.CONFIG_ERROR,
        r"failed to load configuration file ",
        r"failed to post process the configuration",
        r"configuration filename is empty",
        r"No pool defined\. ",
        r"Unable to globalize ",
        r"Unable to include ",
        r"failed to include more than ",
        r"\[[^\]]+:\d+\] ",
        r"log_limit must be ",
        r"process\.priority must be ",
        r"process_max can't be ",
        r"event mechanism ",
        r"the (?:chdir path|chroot path|prefix|status path|ping path|ping response page) ",
        r"'(?:slowlog|request_slowlog_timeout|request_slowlog_trace_depth)' ",
        r"failed to initialize a status listener pool",
        r"wrong format for access\.format ",
        r"only '[a-z]{1,40}'",
        r"the name of the (?:environment variable|header) must be set ",
        r"missing closing embrace in the access\.format",
        r"Invalid token in the access\.format",
        r"embrace is not allowed for modifier",
        r"pm\.\w{1,40} must be ",
        errnos=_NO_ERRNO,
    ),
    # -- evidence; the number of the error can prove a cause
    *_table(
        FactKind.START_ERROR,
        r"failed to init (?:child )?signals: ",
        r"failed to (?:create|read from) pipe",
        r"failed to prepare the (?:stdout|stderr) pipe",
        r"failed to unblock pipes",
        r"failed to select",
    ),
    *_table(
        FactKind.START_ERROR,
        r"child failed to initialize",
        r"no data have been read from pipe",
        r"the master process didn't send back its status",
        r"(?:epoll|kqueue|poll|port|select|/dev/poll): ",
        r"Unable to initialize the event module ",
        r"unable to find a suitable event mechanism",
        r"Incomplete event implementation",
        r"no event module found",
        r"failed to (?:prctl\(|construct apparmor confinement|reload: execvp\(\) failed)",
        r"failed to (?:acquire|notify) ",
        r"(?:\*\*)?scoreboard",
        r"Unable to (?:create|update) scoreboard",
        r"no free scoreboard slot",
        r"clock_gettime\(\) failed",
        r"failed to get clock ",
        errnos=_NO_ERRNO,
    ),
)


def explain(text: str) -> Explained | None:
    """Return what a message at ERROR says about a failed start; None = nothing.

    text: without time, level and pool.
    """
    for start, message in _patterns():
        found = start.match(text)
        if found is None:
            continue
        number = errno_of(text)
        kind = message.kind if number is None else message.errnos.get(number, message.kind)
        fault = message.fault if kind is message.kind else _FAULTS.get(kind)
        named = found.groupdict().get("named")
        if fault is Fault.NO_POOL_FOLDER:
            named = f"{named}/"  # a folder itself, not a file in one
        return Explained(kind, fault, named, number)
    return None


@cache
def _patterns() -> list[tuple[re.Pattern[str], _Message]]:
    """Return the compiled patterns. They need a fifth of a start, and most starts have no error."""
    return [(re.compile(message.start), message) for message in _MESSAGES]


#: Faults that follow from the number of an error alone.
_FAULTS = {FactKind.OUT_OF_MEMORY: Fault.NO_MEMORY, FactKind.ADDRESS_ABSENT: Fault.NO_FAMILY}


def errno_of(text: str) -> int | None:
    """Return the number at the end of a message, such as `Permission denied (13)`."""
    found = _NUMBER.search(text)
    return int(found[1]) if found else None
