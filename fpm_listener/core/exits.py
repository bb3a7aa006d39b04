"""How a process ended, read from the lines of supervisord's own log.

supervisor's events carry no exit code; its log does:
`2026-11-23 08:39:55,123 WARN exited: php-fpm (exit status 78; not expected)`.
Source: supervisor/process.py, `finish`, and supervisor/options.py, `decode_wait_status`, versions
4.2.5 and 4.3.0.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass

_LINE = re.compile(
    r"\S+ \S+ [A-Z]+ (?:exited|stopped): (?P<name>\S+) \("
    r"(?:exit status (?P<status>\d+)|terminated by (?P<signal>SIG\w+|signal \d+))",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitReason:
    """Exactly one of the two is set."""

    status: int | None = None  #: exit code, 0 to 255
    signal: int | None = None  #: number of the signal that killed it

    @property
    def as_metric(self) -> int:
        """Exit code, or minus the signal's number."""
        return self.status if self.status is not None else -(self.signal or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExitNote:
    """One death as supervisord's log tells it."""

    process: str  #: the process's name without its group: supervisord's log has no group
    reason: ExitReason
    line: str  #: the line, without its newline


def parse_line(line: str) -> ExitNote | None:
    """Return the death that a line of supervisord's log tells of, or None."""
    found = _LINE.match(line)
    if not found:
        return None
    if found["status"]:
        reason = ExitReason(status=int(found["status"]))
    else:
        reason = ExitReason(signal=_number(found["signal"]))
    return ExitNote(process=found["name"], reason=reason, line=line[:1024])


def _number(name: str) -> int:
    if name.startswith("signal "):
        return int(name.removeprefix("signal "))
    try:
        return int(signal.Signals[name])
    except KeyError:
        return 0


class LogCursor:
    """Finds what is new in the end of a log that is read again and again."""

    def __init__(self) -> None:
        self._last: str | None = None  # the last whole line that was taken; None = never looked

    def take(self, text: str) -> list[ExitNote]:
        """Return the deaths of the lines that were not there before.

        text: the last bytes of the log. The first call only marks where we are.
        """
        whole = text[: text.rfind("\n") + 1]
        last, self._last = self._last, whole[whole.rfind("\n", 0, -1) + 1 :] or self._last or ""
        if last is None:
            return []
        # By the last line alone: a longer mark could be cut off at the window's beginning.
        # Its stamp has milliseconds.
        at = whole.rfind(last) if last else -1
        fresh = whole[at + len(last) :] if at >= 0 else whole
        return [note for line in fresh.splitlines() if (note := parse_line(line)) is not None]
