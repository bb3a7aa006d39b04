"""Why supervisord could not start a program, from its own words.

supervisord has two places for them. It keeps `spawnerr` of a process and logs it; there is no run
then. Its child writes to stderr if it cannot become the program, and exits with status 127.
Source: supervisor/process.py and options.py; the same in versions 4.2.5 and 4.3.0.
"""

from __future__ import annotations

import re

from fpm_listener.host.obstacles import NOT_SPAWNED, Obstacle
from fpm_listener.untrusted_text import escaped
from fpm_listener.vocabulary import Cause, Fault

#: How the lines of supervisord's child begin, and its last line.
CHILD = "supervisor: "
CHILD_ENDS = "supervisor: child process was not spawned"
#: Characters of a line that are read.
_LONGEST = 1024
#: supervisord's log puts time, level and a word before the reason; its child writes its own name.
_PREFIX = re.compile(
    r"(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO )?(?P<source>spawnerr: |supervisor: |)", re.ASCII
)
#: Reasons without an errno, and what each proves. A path is in quotes as Python prints it.
_REASONS: tuple[tuple[re.Pattern[str], Cause | Fault], ...] = tuple(
    (re.compile(pattern), proves)
    for pattern, proves in (
        (r"can't find command ['\"](?P<path>.+)['\"]", Fault.NO_PROGRAM),
        (r"command at ['\"](?P<path>.+)['\"] is a directory", Fault.IS_DIRECTORY),
        (r"command at ['\"](?P<path>.+)['\"] is not executable", Fault.NOT_EXECUTABLE),
        (r"no permission to run command ['\"](?P<path>.+)['\"]", Cause.PERMISSION),
        (r"can't parse command .+|command is empty", Fault.BAD_COMMAND),
        (r"too many open files to spawn '.+", Cause.FD_LIMIT),
        (r"Too many processes in process table to spawn '.+", Cause.PROCESS_LIMIT),
        (r"couldn't setuid to (?P<uid>-?\d+): Can't find uid -?\d+", Fault.NO_UID),
        (r"couldn't setuid to -?\d+: Can't drop privilege as nonroot user", Fault.NOT_ROOT),
    )
)
#: Reasons with an errno, and the fault of a path that does not exist.
_WITH_ERRNO: tuple[tuple[re.Pattern[str], Fault | None], ...] = tuple(
    (re.compile(rf"{pattern}: (?P<errno>[A-Z0-9]{{2,16}})"), missing)
    for pattern, missing in (
        (r"unknown error making dispatchers for '.+'", None),
        (r"unknown error during fork for '.+'", None),
        (r"couldn't chdir to (?P<path>.+)", Fault.NO_DIRECTORY),
        # The program itself exists, supervisord has checked it.
        (r"couldn't exec (?P<path>.+)", Fault.NO_INTERPRETER),
    )
)
_BY_ERRNO: dict[str, Cause | Fault] = {
    "ENOENT": Cause.MISSING_PATH,
    "ENOTDIR": Cause.MISSING_PATH,
    "EACCES": Cause.PERMISSION,
    "EPERM": Cause.PERMISSION,
    "EISDIR": Cause.PERMISSION,
    "EROFS": Cause.PERMISSION,
    "ENOSPC": Cause.DISK_FULL,
    "EDQUOT": Cause.DISK_FULL,
    "EMFILE": Cause.FD_LIMIT,
    "ENFILE": Cause.FD_LIMIT,
    "ENOEXEC": Fault.NO_FORMAT,
    "EAGAIN": Cause.PROCESS_LIMIT,
    "ENOMEM": Fault.NO_MEMORY,
}


def parse(line: str) -> Obstacle | None:
    """Return what a reason of supervisord proves; None = it is none, or proves nothing.

    line: without its newline: `spawnerr` itself, a line of supervisord's log, or of a child's
    stderr.
    """
    text = line[:_LONGEST]
    head = _PREFIX.match(text)
    reason = text[head.end() :] if head else text
    evidence = escaped(text if head and head["source"] else f"spawnerr: {text}")
    for pattern, proves in _REASONS:
        if found := pattern.fullmatch(reason):
            words = found.groupdict()
            named = f"user {words['uid']}" if words.get("uid") else words.get("path")
            return _obstacle(proves, named, evidence)
    for pattern, missing in _WITH_ERRNO:
        if found := pattern.fullmatch(reason):
            proved = _BY_ERRNO.get(found["errno"])
            if proved is None:
                return None
            if proved is Cause.MISSING_PATH and missing is not None:
                proved = missing
            return _obstacle(proved, found.groupdict().get("path"), evidence)
    return None


def _obstacle(proves: Cause | Fault, named: str | None, evidence: str) -> Obstacle:
    cause, fault = (proves.cause, proves) if isinstance(proves, Fault) else (proves, None)
    if named and fault is Fault.NO_DIRECTORY:
        named = f"{named.rstrip('/')}/"
    return Obstacle(cause, named and escaped(named), evidence, fault, NOT_SPAWNED)
