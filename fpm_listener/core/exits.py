"""How a process ended, read from the lines of supervisord's own log.

supervisor's events carry no exit code; its log does:
`2026-11-23 08:39:55,123 WARN exited: php-fpm (exit status 78; not expected)`.
Source: supervisor/process.py, `finish`, and `decode_wait_status`, versions 4.2.5 and 4.3.0.
"""

from __future__ import annotations

from dataclasses import dataclass


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
