"""How one process is, and how certain that is.

Laws:
1. An event that was received after a question wins over the answer to it.
2. After a gap in the events an answer is accepted at once. Without a gap a different answer is
   accepted when a second one confirms it: the event of the difference may still be under way.
3. An answer corrects the state. It counts no start and no exit: only events do.
"""

from __future__ import annotations

from dataclasses import dataclass

from fpm_listener.vocabulary import State

#: States in which there is a process.
LIVING = frozenset({State.STARTING, State.RUNNING, State.STOPPING})
#: Seconds after which a process that died and was not started again counts as given up.
ABANDONED_S = 10.0
#: Seconds between an answer and the one that confirms it.
_CONFIRM_S = 0.9


@dataclass(slots=True)
class Liveness:
    """Owned by the process. All moments are monotonic seconds."""

    state: State = State.UNKNOWN
    settled_at_s: float | None = None  #: runs, or rests as its operator wants
    died_at_s: float | None = None  #: died on its own, not started again yet
    given_up: bool = False  #: nobody will start it again
    found_dead: bool = False  #: it was dead when we came: how it died is not known
    held_back: bool = False  #: it is given up, and that is not reported yet
    _certain: bool = False  # given up: that is confirmed, or reported already
    _checked: bool = False  # given up: supervisord was asked whether that is so
    _known_at_s: float = float("-inf")  # of the last event or accepted answer
    _disputed: tuple[State, int | None] | None = None  # an answer that no event has told
    _disputed_at_s: float = 0.0

    # -- events ------------------------------------------------------------------------------------

    def heard(self, now_s: float, state: State) -> None:
        """An event has told a state."""
        self.state = state
        self._known_at_s, self._disputed = now_s, None

    def began(self) -> None:
        """A start."""
        self.died_at_s = self.settled_at_s = None
        self.given_up = self.found_dead = False

    def gave_up(self) -> None:
        """supervisord will not start it again."""
        self.died_at_s = self.settled_at_s = None
        self.given_up = True

    def ended(self, now_s: float, *, settled: bool) -> None:
        """It ended on its own; `settled`: and that was its work."""
        self.died_at_s = now_s
        self.settled_at_s = now_s if settled else None

    def rests(self, now_s: float) -> None:
        """Its operator has stopped it."""
        self.died_at_s = None
        self.given_up = False
        self.settled_at_s = now_s

    # -- answers -----------------------------------------------------------------------------------

    def agrees(self, asked_at_s: float) -> None:
        """An answer has told what the events told."""
        if asked_at_s >= self._known_at_s:
            self._known_at_s, self._disputed = asked_at_s, None
            self._certain = self.given_up

    def confirm(self) -> None:
        """Report that it is given up, also while events are lost."""
        self._certain = self.given_up

    def is_newer(self, asked_at_s: float) -> bool:
        """Return whether an event has come since a question was asked."""
        return self._known_at_s > asked_at_s

    def is_doubted(self, gap_at_s: float) -> bool:
        """Return whether it is said to live, or a lost event may have told another state."""
        return self.state in LIVING or self._known_at_s < gap_at_s

    def accepts(self, asked_at_s: float, state: State, pid: int | None, gap_at_s: float) -> bool:
        """Return whether an answer that differs is accepted now; no newer event has come."""
        answer = state, pid
        lost = self._known_at_s <= gap_at_s <= asked_at_s
        again = self._disputed == answer and asked_at_s - self._disputed_at_s >= _CONFIRM_S
        # A start that has lasted needs no second answer: its event changes nothing then.
        lasts = (self.state, state) == (State.STARTING, State.RUNNING)
        if lost or again or lasts or self.state is State.UNKNOWN:
            self._known_at_s, self._disputed = asked_at_s, None
            return True
        if self._disputed != answer:
            self._disputed, self._disputed_at_s = answer, asked_at_s
        return False

    def corrected(self, now_s: float, state: State) -> None:
        """Take over the state of an accepted answer; a stop is the caller's."""
        self.state = state
        if state is State.EXITED:
            self.died_at_s, self.found_dead = now_s, True
            self.settled_at_s = None
            return
        if state is State.STOPPING:
            return
        self.died_at_s = None
        # Not since its start: that is a spawn, in whole seconds; a looping program has one too.
        self.settled_at_s = now_s if state in {State.RUNNING, State.STOPPED} else None
        if state is not State.UNKNOWN:
            self.found_dead = False
            self.given_up = self._certain = state is State.FATAL

    # -- what follows ------------------------------------------------------------------------------

    def abandon(self, now_s: float, *, certainly_failed: bool) -> None:
        """Count it as given up where it died and nobody has started it again for a while."""
        if (
            self.died_at_s is not None
            and now_s >= self.died_at_s + ABANDONED_S
            and self.state in {State.EXITED, State.UNKNOWN}
            and self.settled_at_s is None
            and (certainly_failed or not self.found_dead)  # else a job that may have done its work
        ):
            self.given_up = True

    def is_to_be_checked(self) -> bool:
        """Return whether to ask supervisord, once, since the process counts as given up now."""
        asks = self.given_up and not self._checked
        self._checked = self.given_up
        return asks

    def surely_given_up(self, *, in_gap: bool) -> bool:
        """Return whether to report that nobody will start it again; `in_gap`: events were lost."""
        self._certain = self._certain and self.given_up
        self.held_back = self.given_up and in_gap and not self._certain
        return self.given_up and not self.held_back

    @property
    def is_uncertain(self) -> bool:
        """Return whether it is given up as far as is known, and not confirmed."""
        return self.given_up and not self._certain

    def deadline_s(self, now_s: float) -> float | None:
        """Return the moment at which it counts as given up."""
        if self.died_at_s is None or now_s >= self.died_at_s + ABANDONED_S:
            return None
        return self.died_at_s + ABANDONED_S
