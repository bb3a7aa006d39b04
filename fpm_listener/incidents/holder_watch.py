"""Which process listens on the address that one php-fpm needs, as long as that is true.

Law: a holder that has ended is not reported, because its pid can belong to another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import CheckGone, FindHolder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.incidents.program_known import ProgramKnown
    from fpm_listener.supervisor.process import ProcessName

#: Seconds for which a report is good enough for an alert.
HOLDER_FRESH_S = 30.0
#: Seconds between two look-ups, for a holder or after an exit, during a restart loop.
LOOK_AGAIN_S = 2.0
#: Seconds between two checks whether the reported holders still exist.
VERIFY_EVERY_S = 2.0


class HolderWatch:
    """Its IncidentTracker owns it. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName) -> None:
        self.report: HolderReport | None = None
        self.asked_at_s = float("-inf")  #: of the last question or report
        self.verify_at_s: float | None = None  #: when to check that the holders still exist
        self.guess: str | None = None  #: the address, if the program does not name it
        self._config = ""
        self._is_guessed = False  # the last question was about it
        self._name = name
        self._next_check_s = 0.0

    def configure(self, known: ProgramKnown) -> None:
        """Set what the configuration of the program contains."""
        self.guess = known.needs.command_address
        self._config = known.site.config if known.site else ""

    def clear(self) -> None:
        """Forget the report: the incident is over."""
        self.asked_at_s = float("-inf")
        self._set_report(None)

    def take(self, now_s: float, report: HolderReport) -> None:
        """Take a report. A guessed address that no process has was a wrong guess."""
        self.asked_at_s = now_s
        is_wrong = self._is_guessed and not report.holders
        self._set_report(None if is_wrong else report)

    def ask(self, now_s: float, address: str | None, former_masters: Iterable[int]) -> FindHolder:
        """Return the question for the holder of an address."""
        self.asked_at_s, self._is_guessed = now_s, not address and bool(self.guess)
        asked = address or self.guess or ""
        return FindHolder(self._name, asked, frozenset(former_masters), self._config)

    def take_gone(self, pids: frozenset[int]) -> None:
        """Remove the holders that do not exist any more."""
        report = self.report
        if report is not None and any(holder.pid in pids for holder in report.holders):
            left = tuple(holder for holder in report.holders if holder.pid not in pids)
            self._set_report(report._replace(holders=left))
            self.asked_at_s = float("-inf")  # look again before it is reported

    def verify(self, now_s: float) -> CheckGone:
        """Return the check whether the reported holders still exist."""
        self.verify_at_s = self._next_check_s = now_s + VERIFY_EVERY_S
        return CheckGone(self._name, frozenset(), self._started)

    def _set_report(self, report: HolderReport | None) -> None:
        self.report = report
        holders = report.holders if report else ()
        self._started = frozenset(
            (one.pid, one.started) for one in holders if one.started is not None
        )
        self.verify_at_s = self._next_check_s if self._started else None
