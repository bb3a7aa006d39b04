"""Who has the address that one process wants, as long as that is true.

Law: a holder that has ended is not reported: its pid may be given to another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import CheckGone, FindHolder, IncidentEffect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.supervisor.process import ProcessName

#: Seconds for which a holder's name is good.
HOLDER_FRESH_S = 30.0
#: Seconds between two looks, for a holder or after a death, while a loop goes on.
LOOK_AGAIN_S = 2.0
#: Seconds between two looks whether the reported holders are still there.
VERIFY_EVERY_S = 2.0


class HolderWatch:
    """Owned by the trouble of the process. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName) -> None:
        self.report: HolderReport | None = None
        self._name = name
        self._found_at_s = float("-inf")
        self._verify_at_s = 0.0

    def clear(self) -> None:
        """Know nothing: the trouble is over."""
        self.report = None
        self._found_at_s = float("-inf")

    def found(self, now_s: float, report: HolderReport) -> None:
        """Take in who has the address."""
        self.report, self._found_at_s = report, now_s

    def look(
        self, now_s: float, address: str | None, former_masters: Iterable[int], fresh_s: float
    ) -> list[IncidentEffect]:
        """Ask who has the address, unless that was asked a moment ago."""
        if now_s - self._found_at_s < fresh_s:
            return []
        self._found_at_s = now_s
        return [FindHolder(self._name, address or "", frozenset(former_masters))]

    def gone(self, pids: frozenset[int]) -> None:
        """Take in which processes have ended."""
        report = self.report
        if report is not None and any(holder.pid in pids for holder in report.holders):
            left = tuple(holder for holder in report.holders if holder.pid not in pids)
            self.report = report._replace(holders=left)
            self._found_at_s = float("-inf")  # look again before it is reported

    def verify(self, now_s: float) -> list[IncidentEffect]:
        """Ask from time to time whether the holders that are reported are still there."""
        started = self._started()
        if not started or now_s < self._verify_at_s:
            return []
        self._verify_at_s = now_s + VERIFY_EVERY_S
        return [CheckGone(self._name, frozenset(), started)]

    def deadline_s(self) -> float | None:
        """Return the moment at which `verify` has something to ask."""
        return self._verify_at_s if self._started() else None

    def _started(self) -> frozenset[tuple[int, int]]:
        holders = self.report.holders if self.report else ()
        return frozenset((one.pid, one.started) for one in holders if one.started is not None)
