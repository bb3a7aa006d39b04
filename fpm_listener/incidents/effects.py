"""What a tracker requests: notify, findholder, examineexit, checkgone; and the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.incidents.alert import Alert
    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.incidents.post_mortem import Needs, PostMortem
    from fpm_listener.supervisor.process import ProcessName


class ExitExamined(NamedTuple):
    """Input: what the machine shows after a death."""

    process: ProcessName
    died_at_s: float  #: monotonic; as asked
    autopsy: PostMortem


class HolderFound(NamedTuple):
    """Input: who has the address that a process wanted."""

    process: ProcessName
    report: HolderReport


class Notify(NamedTuple):
    """Effect: send this alert to the receivers. It has no texts yet; the facts are for them."""

    alert: Alert
    facts: IncidentFacts


class FindHolder(NamedTuple):
    """Effect: find out who has the address; answer with HolderFound."""

    process: ProcessName
    address: str
    former_masters: frozenset[int]


class ExamineExit(NamedTuple):
    """Effect: look what the machine shows after a death; answer with DeathExamined."""

    process: ProcessName
    died_at_s: float  #: monotonic
    needs: Needs


class CheckGone(NamedTuple):
    """Effect: see which of these are no processes any more; answer with Gone."""

    process: ProcessName
    pids: frozenset[int]
    started: frozenset[tuple[int, int]] = frozenset()  #: pid, and its start in ticks since boot


class Gone(NamedTuple):
    """Input: these are no processes any more."""

    process: ProcessName
    pids: frozenset[int]


class SaveIncident(NamedTuple):
    """Effect: save this state of the incident and its failures; None = delete it."""

    memory: dict[str, Any] | None


#: What the tracker of one incident asks for.
IncidentEffect = Notify | FindHolder | ExamineExit | CheckGone | SaveIncident
