"""The effects of an incident tracker, and the inputs that answer them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.incidents.post_mortem import Needs, PostMortem
    from fpm_listener.incidents.program_output import ProgramOutput
    from fpm_listener.supervisor.process import ProcessName


class ExitExamined(NamedTuple):
    """Input: what the machine shows after an exit."""

    process: ProcessName
    exited_at_s: float  #: monotonic; of the ExamineExit
    post_mortem: PostMortem


class HolderFound(NamedTuple):
    """Input: which process listens on an address."""

    process: ProcessName
    report: HolderReport


class Notify(NamedTuple):
    """Effect: send this alert to the receivers. It has no texts yet; the facts are for them."""

    alert: Alert
    facts: IncidentFacts


class FindHolder(NamedTuple):
    """Effect: find the process that listens on an address. The answer is HolderFound."""

    process: ProcessName
    address: str
    former_masters: frozenset[int]
    config: str = ""  #: php-fpm's configuration file; empty = unknown


class ExamineExit(NamedTuple):
    """Effect: examine the machine after an exit. The answer is ExitExamined."""

    process: ProcessName
    exited_at_s: float  #: monotonic
    needs: Needs
    began_at_s: float = 0.0  #: monotonic; 0 = unknown
    former_masters: frozenset[int] = frozenset()
    has_status: bool = False  #: its exit status is known, so it had a process
    config: str = ""  #: php-fpm's configuration file; empty = unknown


class MarkOutput(NamedTuple):
    """Effect: a run has ended; what the files contain from now on belongs to the next run."""

    process: ProcessName
    exited_at_s: float  #: monotonic
    output: ProgramOutput


class ReadOutput(NamedTuple):
    """Effect: read what a run has written. The answer is OutputRead."""

    process: ProcessName
    exited_at_s: float | None  #: monotonic, of its MarkOutput; None = the present run


class OutputRead(NamedTuple):
    """Input: what a run has written to its files."""

    process: ProcessName
    lines: tuple[str, ...] | None  #: oldest first, readable; None = they are unknown
    exited_at_s: float | None = None  #: of the ReadOutput


class CheckGone(NamedTuple):
    """Effect: check which of these processes do not exist any more. The answer is Gone."""

    process: ProcessName
    pids: frozenset[int]
    started: frozenset[tuple[int, int]] = frozenset()  #: pid, and its start in ticks since boot


class Gone(NamedTuple):
    """Input: these processes do not exist any more."""

    process: ProcessName
    pids: frozenset[int]


class SaveIncident(NamedTuple):
    """Effect: save this state of the incident and its failures; None = delete it."""

    memory: dict[str, Any] | None


#: The effects of an incident tracker.
IncidentEffect = Notify | FindHolder | ExamineExit | ReadOutput | CheckGone | SaveIncident
