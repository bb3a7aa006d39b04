"""What one step of the engine makes known about a process, as far as an incident depends on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.incidents.effects import ExitExamined, Gone, HolderFound
    from fpm_listener.incidents.pending_lookups import Lookup
    from fpm_listener.phpfpm.log_facts import LogFact
    from fpm_listener.supervisor.exit_log import ExitNote, ExitReason
    from fpm_listener.vocabulary import Cause


@dataclass(slots=True)
class ProcessExit:
    """The end of one run, and why it ended, as far as that is known."""

    at_s: float  #: monotonic
    failed: bool
    stopped: bool = False  #: by its operator, or by the listener
    stop_s: float | None = None  #: seconds from the stop request to the end; None = no request
    run_s: float | None = None  #: seconds that the run lasted; None = its start is unknown
    pid: int | None = None  #: None = unknown
    cause: Cause | None = None
    never_ran: bool = True  #: its log did not report that php-fpm runs
    explained_by: Cause | None = None  #: that of the log line with the most details
    reason: ExitReason | None = None
    examined: bool = False  #: the machine is examined, or was


@dataclass(slots=True)
class ProcessNews:
    """What has become known in this step."""

    failure: ProcessExit | None = None  #: a run has failed
    reset: bool = False  #: earlier failures do not count any more, unless an incident is open
    exits: list[tuple[ProcessExit, ExitNote | None]] = field(default_factory=list)
    #: Reasons of failed starts, each with the end of its run; None = the last one.
    facts: list[tuple[LogFact, ProcessExit | None]] = field(default_factory=list)
    output: tuple[str, ...] | None = None  #: readable lines of a run; None = nothing was read
    conflict: LogFact | None = None  #: a bind conflict in a run that has not failed yet
    answer: HolderFound | ExitExamined | Gone | None = None
    started: set[Lookup] = field(default_factory=set)  #: look-ups that an alert waits for
    finished: set[Lookup] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStatus:
    """How the process is after the step."""

    gave_up: bool  #: nobody starts it again
    calm_since_s: (
        float | None
    )  #: monotonic; since when it has no problem; None = it has one; inf = at the next start
    exhausted: bool  #: self-healing has used up its starts of a day
    last_exit: ExitReason | None
    former_masters: tuple[int, ...]
    labels: dict[str, str]
    unsaved: bool = False  #: the process has more to save
