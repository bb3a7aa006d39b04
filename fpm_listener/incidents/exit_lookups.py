"""What is looked up about the last exit of one process before an alert about it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.incidents.effects import ExamineExit, ReadOutput
from fpm_listener.incidents.failure_history import SYMPTOMS
from fpm_listener.incidents.holder_watch import LOOK_AGAIN_S
from fpm_listener.incidents.incident_facts import UNEXPLAINED
from fpm_listener.incidents.pending_lookups import Lookup
from fpm_listener.incidents.post_mortem import SHORT_LIFE_S, Needs
from fpm_listener.incidents.program_output import UNKNOWN
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.incidents.effects import IncidentEffect
    from fpm_listener.incidents.failure_history import FailureHistory
    from fpm_listener.incidents.program_known import ProgramKnown
    from fpm_listener.supervisor.process import ProcessName


class ExitLookups:
    """Its IncidentTracker owns it. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName) -> None:
        self.needs = Needs()
        self.output = UNKNOWN
        self._name = name
        self._config = ""
        self._has_files = False
        self._examined_at_s = self._read_at_s = float("-inf")
        self._read_exit: tuple[float | None] | None = None  # whose output was read

    def configure(self, known: ProgramKnown) -> None:
        """Set what the configuration of the program contains."""
        self.needs, self.output, self._has_files = (
            known.needs,
            known.output,
            bool(known.output.files),
        )
        self._config = known.site.config if known.site else ""

    def clear(self) -> None:
        """Forget the last look-ups: the incident is over."""
        self._examined_at_s = self._read_at_s = float("-inf")
        self._read_exit = None

    def ask(
        self,
        now_s: float,
        cause: Cause,
        failures: FailureHistory,
        pending: set[Lookup],
        former_masters: Iterable[int],
        *,
        is_running: bool,
    ) -> list[IncidentEffect]:
        """Return what to look up now, and add it to `pending`.

        cause: of the incident. is_running: it is about the present run, which has not ended.
        """
        effects: list[IncidentEffect] = []
        examination = self._examine(now_s, cause, failures, pending)
        if examination is not None:
            pending.add(Lookup.MACHINE)
            effects.append(examination._replace(former_masters=frozenset(former_masters)))
        if reading := self._read(now_s, None if is_running else failures):
            pending.add(Lookup.OUTPUT)
            effects.append(reading)
        return effects

    def examine_workers(self, since_s: float, pending: set[Lookup]) -> ExamineExit:
        """Examine the machine, since workers fail; `since_s`: the first failure."""
        pending.add(Lookup.MACHINE)
        return ExamineExit(self._name, since_s, self.needs, has_status=True, config=self._config)

    def _read(self, now_s: float, failures: FailureHistory | None) -> ReadOutput | None:
        """Read what the last run has written; without failures, the present run."""
        ended = failures.exits[-1] if failures and failures.exits else None
        at_s = ended.at_s if ended is not None else None
        is_known = self._read_exit == (at_s,)
        if is_known or now_s - self._read_at_s < LOOK_AGAIN_S or not self._has_files:
            return None
        self._read_exit, self._read_at_s = (at_s,), now_s
        return ReadOutput(self._name, at_s)

    def _examine(
        self, now_s: float, cause: Cause, failures: FailureHistory, pending: set[Lookup]
    ) -> ExamineExit | None:
        """Examine the machine after an exit that the log does not explain."""
        is_open = cause in UNEXPLAINED or cause is Cause.MISSING_PATH
        ended = failures.exits[-1] if is_open and failures.exits else None
        if ended is None or ended.examined or Lookup.EXIT in pending:
            return None
        # A log line, such as the guard's, reports that the program is missing; which versions of it
        # exist is found on the machine.
        is_missing = ended.cause is Cause.MISSING_PATH
        is_program = is_missing and failures.subject == self.needs.program
        is_early = now_s - self._examined_at_s < LOOK_AGAIN_S
        if is_early or not (ended.cause in SYMPTOMS or is_program):
            return None
        ended.examined, self._examined_at_s = True, now_s
        return ExamineExit(
            self._name,
            ended.at_s,
            self.needs,
            began_at_s=ended.at_s - (SHORT_LIFE_S if ended.run_s is None else ended.run_s),
            has_status=ended.reason is not None,
            config=self._config,
        )
