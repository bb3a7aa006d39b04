"""The state of one process, and how certain it is.

Laws:
1. An event that arrives after a question is newer than the answer to that question.
2. After a gap in the events an answer is accepted at once. Without a gap, a different answer is
   accepted when a second answer confirms it: the event may still be on its way.
3. An answer corrects the state. It counts no start and no exit: only events do.
4. supervisord sends one event at a time, so an answer can be newer than events that come later.
   They count, and they do not change the state that the answer reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.monitor.lifecycle import Outcome, Phase, ProcessRun
from fpm_listener.monitor.wake_schedule import WakeSchedule
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from fpm_listener.monitor.lifecycle import RunChange
    from fpm_listener.supervisor.events import ProcessState
    from fpm_listener.supervisor.process import ProcessSeen

#: States in which the process exists.
LIVING = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
#: Seconds after an exit without a new start until the process counts as given up.
ABANDONED_S = 10.0
_NEVER_S = float("inf")
_LONG_AGO_S = float("-inf")
#: Seconds between an answer and the answer that confirms it.
_CONFIRM_S = 0.9
#: Seconds after an answer in which events can be older than it.
_LATEST_S = 60.0


class Answer(Enum):
    """What a process does with an answer about its state."""

    OUTDATED = "outdated"  #: a newer event exists
    IGNORED = "ignored"  #: it does not show that the events are wrong
    CONFIRMED = "confirmed"  #: it agrees with the events
    DISPUTED = "disputed"  #: it differs; a second answer must confirm it
    ACCEPTED = "accepted"  #: it differs and is right


class Correction(NamedTuple):
    """What an accepted answer has changed."""

    has_ended: bool  #: a run has ended unseen
    is_new_run: bool  #: a new run began
    is_first: bool  #: the state was unknown before


@dataclass(slots=True)
class Liveness:
    """Its ProcessMonitor owns it. All moments are monotonic seconds."""

    run: ProcessRun = field(default_factory=ProcessRun)
    waking: WakeSchedule = field(default_factory=WakeSchedule)
    state: State = State.UNKNOWN
    is_removed: bool = False  #: supervisord does not know the process any more
    settled_at_s: float | None = None  #: since when it runs, or is stopped as its operator wants
    exited_at_s: float | None = None  #: the last exit, until the next start
    abandoned_at_s: float = _NEVER_S  #: from then on it counts as given up
    is_done: bool = False  #: the last run ended as expected, and a program other than php-fpm may
    ended_as: Outcome | None = None  #: the last end of a run; None = no event has reported it
    given_up: bool = False  #: nobody starts it again
    held_back: bool = False  #: it is given up, but that is not reported yet
    _found_exited: bool = False  # an answer reported the exit: the exit status is unknown
    _certain: bool = False  # given up: an answer has confirmed it, or it is reported already
    _checked: bool = False  # given up: supervisord was asked about it
    _known_at_s: float = _LONG_AGO_S  # of the last event or accepted answer
    _found_pid: int | None = None  # RUNNING by an answer, and no event of this pid has come
    _found_at_s: float = 0.0
    _disputed: tuple[State, int | None] | None = None  # an answer that no event has confirmed
    _disputed_at_s: float = 0.0

    # -- events ------------------------------------------------------------------------------------

    def take(
        self,
        now_s: float,
        event: ProcessState,
        gap_at_s: float = _LONG_AGO_S,
        *,
        is_fpm: bool,
        fast_restart: bool,
    ) -> RunChange:
        """Apply an event and return what it has changed.

        gap_at_s: of the latest gap in the events.
        """
        change = self.run.take(now_s, event, is_fpm=is_fpm)
        self._take_state(now_s, event, gap_at_s)
        self._known_at_s, self._disputed = now_s, None
        self.is_removed = False
        if change.began:
            self._set_exited(None)
            self.settled_at_s = self.settled_at_s if self.is_done else None
            self._found_exited = False
            self._reset_given_up()
        if change.ended:
            self.ended_as = change.outcome
        if change.outcome is Outcome.CONFIRMED:
            self.settled_at_s = now_s if self.settled_at_s is None else self.settled_at_s
        elif change.outcome is Outcome.GAVE_UP:
            self._set_exited(None)
            self.settled_at_s, self.given_up = None, True
        elif change.outcome is Outcome.STOPPED:
            self.stop(now_s)
        elif change.ended:
            self._set_exited(now_s)
            self.is_done = not change.failed and not is_fpm
            before_s = now_s if self.settled_at_s is None else self.settled_at_s
            self.settled_at_s = before_s if self.is_done else None
        self.waking.take(now_s, event, change, self.run.began_at_s, fast_restart=fast_restart)
        if self.is_done:
            self.waking.clear()  # a program that exits on purpose keeps supervisord's pace
        return change

    def _take_state(self, now_s: float, event: ProcessState, gap_at_s: float) -> None:
        """Apply the state of an event that is not older than the answer that found the run."""
        is_late = now_s - self._found_at_s > _LATEST_S
        if event.pid == self._found_pid or gap_at_s > self._found_at_s or is_late:
            self._found_pid = None
        if self._found_pid is None:
            self.state = event.state

    def abandon(self, now_s: float) -> None:
        """Note that nobody starts it again, and that this is a problem."""
        self.abandoned_at_s = now_s
        self.settled_at_s, self.is_done = None, False

    def stop(self, now_s: float) -> None:
        """Apply a stop by the operator."""
        self._set_exited(None)
        self.settled_at_s, self.is_done = now_s, False
        self._reset_given_up()

    def remove(self, now_s: float) -> None:
        """Forget the run: supervisord does not know the process any more."""
        self.is_removed, self._found_pid = True, None
        self.state, self._known_at_s, self._disputed = State.STOPPED, now_s, None
        self.run.remove()
        self.stop(now_s)

    def _set_exited(self, at_s: float | None) -> None:
        self.exited_at_s = at_s
        self.abandoned_at_s = _NEVER_S if at_s is None else at_s + ABANDONED_S

    def _reset_given_up(self) -> None:
        self.given_up = self.held_back = self._certain = self._checked = False

    # -- answers -----------------------------------------------------------------------------------

    def judge(self, seen: ProcessSeen | None, asked_at_s: float, gap_at_s: float) -> Answer:
        """Return what to do with an answer to a question.

        seen: None = the process does not exist; gap_at_s: of the latest gap in the events.
        """
        if self._known_at_s > asked_at_s:
            return Answer.OUTDATED
        if seen is None:
            if self.is_removed or self.state is State.UNKNOWN:
                return Answer.IGNORED
            return self._accept(asked_at_s, (State.UNKNOWN, None), gap_at_s)
        is_in_doubt = self.state in LIVING or self._known_at_s < gap_at_s
        if seen.state is State.UNKNOWN and not is_in_doubt:
            return Answer.IGNORED
        is_running, pid = seen.state is State.RUNNING, self.run.pid
        is_same_run = not is_running or seen.pid is None or pid in {None, seen.pid}
        if seen.state is self.state and not self.is_removed and is_same_run:
            self._known_at_s, self._disputed = asked_at_s, None
            self._certain = self.given_up
            self.run.pid = seen.pid if is_running and pid is None else pid
            return Answer.CONFIRMED
        return self._accept(asked_at_s, (seen.state, seen.pid), gap_at_s)

    def _accept(
        self, asked_at_s: float, answer: tuple[State, int | None], gap_at_s: float
    ) -> Answer:
        is_after_gap = self._known_at_s <= gap_at_s <= asked_at_s
        is_second = self._disputed == answer and asked_at_s - self._disputed_at_s >= _CONFIRM_S
        # A start that has lasted needs no second answer: its event changes nothing then.
        has_lasted = (self.state, answer[0]) == (State.STARTING, State.RUNNING)
        if is_after_gap or is_second or has_lasted or self.state is State.UNKNOWN:
            self._known_at_s, self._disputed = asked_at_s, None
            return Answer.ACCEPTED
        if self._disputed != answer:
            self._disputed, self._disputed_at_s = answer, asked_at_s
        return Answer.DISPUTED

    def correct(self, now_s: float, seen: ProcessSeen, *, is_exact: bool = True) -> Correction:
        """Apply an accepted answer and return what it has changed."""
        state, is_first = seen.state, self.state is State.UNKNOWN
        has_ended, is_new = self.run.correct(state, seen.pid)
        self.waking.clear()
        self.state, self.is_removed, self.is_done = state, False, False
        is_running = is_exact and state is State.RUNNING
        self._found_pid, self._found_at_s = seen.pid if is_running else None, self._known_at_s
        if state is State.EXITED:
            self._set_exited(now_s)
            self.settled_at_s, self._found_exited, self.ended_as = None, True, None
        elif state is not State.STOPPING:
            self._set_exited(None)
            # The start of the run does not count: a looping program has one too.
            self.settled_at_s = now_s if state in {State.RUNNING, State.STOPPED} else None
            if state is not State.UNKNOWN:
                self._found_exited = False
                if state is State.FATAL:
                    self.given_up = self._certain = True
                else:
                    self._reset_given_up()
        return Correction(has_ended, is_new and not is_first, is_first)

    @property
    def lacks_pid(self) -> bool:
        """Return whether it starts, and its pid is not known yet."""
        return self.run.phase is Phase.STARTING and self.run.pid is None

    # -- the result --------------------------------------------------------------------------------

    @property
    def is_unconfirmed(self) -> bool:
        """Return whether it is given up, and no answer has confirmed that."""
        return self.given_up and not self._certain

    def confirm(self) -> None:
        """Report that it is given up, also while events are missing."""
        self._certain = self.given_up

    def review(self, now_s: float, *, is_fpm: bool, in_gap: bool, stopping: bool) -> bool:
        """Decide whether it is given up; return whether to ask supervisord about it, once.

        in_gap: events are missing, and no answer has arrived yet.
        """
        if (
            not stopping
            and now_s >= self.abandoned_at_s
            and self.state in {State.EXITED, State.UNKNOWN}
            and self.settled_at_s is None
            and (is_fpm or not self._found_exited)  # else it may be a job that is done
        ):
            self.given_up = True
        asks = self.given_up and not self._checked
        self._checked = self.given_up
        self._certain = self._certain and self.given_up
        self.held_back = self.given_up and in_gap and not self._certain
        return asks
