"""How a process exited, from supervisord's own log.

supervisor's events contain no exit code; its log does:
`2026-11-23 08:39:55,123 WARN exited: php-fpm (exit status 78; not expected)`.
Source: supervisor/process.py, `finish`, and supervisor/options.py, `decode_wait_status` and
`signame`; the same in versions 4.2.5 and 4.3.0.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


#: Values of `loglevel` with which supervisord's log has no exits: it writes them at WARN and INFO.
QUIET_LEVELS = frozenset({"error", "critical"})

_LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ (?:exited|stopped): (?P<name>\S+) \("
    r"(?:exit status (?P<status>\d{1,9})|terminated by (?P<signal>SIG\w+|signal \d{1,9}))"
    r"(?: \(core dumped\))?(?:; (?:not )?expected)?\)",
    re.ASCII,
)


_KILL = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ "
    r"killing '(?P<name>\S+)' \((?P<pid>\d{1,9})\) with SIGKILL",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReason:
    """Exactly one of the two is set."""

    status: int | None = None  #: exit code, 0 to 255
    signal: int | None = None  #: number of the signal that killed it

    @classmethod
    def of(cls, number: int) -> ExitReason:
        """Return the reason of which `as_metric` is that number."""
        return cls(status=number) if number >= 0 else cls(signal=-number)

    @property
    def as_metric(self) -> int:
        """Exit code, or minus the signal's number."""
        return self.status if self.status is not None else -(self.signal or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitNote:
    """One exit in supervisord's log."""

    process: str  #: the process's name without its group: supervisord's log has no group
    reason: ExitReason
    line: str  #: the line, without its newline


@dataclass(frozen=True, slots=True, kw_only=True)
class KillNote:
    """One process that supervisord kills, because it has not stopped within stopwaitsecs."""

    process: str  #: the process's name without its group
    pid: int
    line: str  #: the line, without its newline


def parse_kill(line: str) -> KillNote | None:
    """Return the kill in a line of supervisord's log, or None.

    Source: supervisor/process.py, `transition`; the same in versions 4.2.5 and 4.3.0.
    """
    found = _KILL.fullmatch(line)
    return KillNote(process=found["name"], pid=int(found["pid"]), line=line) if found else None


def parse_line(line: str) -> ExitNote | None:
    """Return the exit in a line of supervisord's log, or None.

    line: without its newline.
    """
    found = _LINE.fullmatch(line)
    if not found:
        return None
    if found["status"] is not None:
        reason = ExitReason(status=int(found["status"]))
    else:
        number = _number(found["signal"])
        if number is None:
            return None
        reason = ExitReason(signal=number)
    return ExitNote(process=found["name"], reason=reason, line=line)


def _number(name: str) -> int | None:
    if name.startswith("signal "):
        return int(name.removeprefix("signal "))
    found = signal.Signals.__members__.get(name)
    return None if found is None else int(found)


class LogCursor:
    """Finds the new lines at the end of a log that is read repeatedly.

    skip_old: lines in the log before the first reading are not new.
    """

    def __init__(self, *, skip_old: bool = True) -> None:
        # The whole lines of the last reading. One line is not a mark: two processes of one name, in
        # different groups, can exit in the same millisecond with the same words.
        self._last: Sequence[str] | None = None if skip_old else ()

    def take(self, text: str) -> list[ExitNote | KillNote]:
        """Return the exits and kills in the new lines.

        text: the last bytes of the log; its first and last line can be incomplete. It should
        contain all lines since the last call. If there are more, only the last ones are returned.
        """
        lines = text.split("\n")[:-1]
        last, self._last = self._last, lines
        fresh = [] if last is None else lines[_overlap(last, lines) :]
        notes = (parse_line(line) or parse_kill(line) for line in fresh)
        return [note for note in notes if note is not None]


def _overlap(last: Sequence[str], lines: Sequence[str]) -> int:
    """Return the number of old `lines`; 0 for a new log.

    Both are ends of one log. The longest match decides.
    """
    agreed = begins = 0
    for end in range(1, len(lines) + 1):
        count = min(end, len(last))
        if count > agreed and _agree(last[len(last) - count :], lines[end - count : end]):
            agreed, begins = count, end
    return begins


def _agree(some: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether lines are equal; the first one can be the end of its line."""
    # \ufffd: it starts within a character.
    one, other = some[0].lstrip("\ufffd"), others[0].lstrip("\ufffd")
    return (one.endswith(other) or other.endswith(one)) and some[1:] == others[1:]


def how(last_exit: ExitReason) -> str:
    """Return how a process exited: `killed by SIGKILL`, `exit status 78`."""
    if last_exit.signal is not None:
        return f"killed by {signal_name(last_exit.signal)}"
    return f"exit status {last_exit.status}"


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9, and `signal 99` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
