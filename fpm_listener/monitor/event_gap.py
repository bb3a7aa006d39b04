"""A gap in the events: supervisord has discarded events, so the known states may be wrong.

Laws:
1. A question to supervisord follows a gap at once; at most one question a second follows.
2. A gap ends with the answer to a question that was asked after it, or after LONGEST_S.
"""

from __future__ import annotations

#: Seconds between two questions; each one wakes supervisord.
ASK_EVERY_S = 1.0
#: Seconds between two questions that only confirm an answer.
RECHECK_EVERY_S = 20.0
#: Seconds after which alerts wait no longer for an answer; longer than one XML-RPC call.
LONGEST_S = 10.0


class Gap:
    """Owned by the engine. All moments are monotonic seconds."""

    def __init__(self) -> None:
        self.at_s = float("-inf")  #: of the latest gap
        self.is_open = False  #: events were lost, and no answer has arrived since
        self._since_s = 0.0  # of the open gap
        self._ask_at_s: float | None = None  # the next question
        self._asked_at_s = float("-inf")
        self._rechecked_at_s = float("-inf")

    def open(self, now_s: float) -> None:
        """Open a gap, or note that more events were lost."""
        self.at_s = now_s
        if not self.is_open:
            self.is_open, self._since_s = True, now_s
        self._ask_by(now_s)

    def recheck(self, now_s: float) -> None:
        """Ask again: an answer differs from the events, and an event may be late."""
        if self.is_open:
            self._ask_by(now_s + ASK_EVERY_S)
        elif now_s - self._rechecked_at_s >= RECHECK_EVERY_S:
            self._rechecked_at_s = now_s
            self._ask_by(now_s + ASK_EVERY_S)

    def _ask_by(self, at_s: float) -> None:
        at_s = max(at_s, self._asked_at_s + ASK_EVERY_S)
        self._ask_at_s = at_s if self._ask_at_s is None else min(at_s, self._ask_at_s)

    def is_question_due(self, now_s: float) -> bool:
        """Return whether to ask now; then the question counts as asked."""
        if self._ask_at_s is None or now_s < self._ask_at_s:
            return False
        self._ask_at_s, self._asked_at_s = None, now_s
        return True

    def close(self, asked_at_s: float) -> None:
        """Close the gap after an answer that contradicts no newer event."""
        if asked_at_s >= self.at_s:
            self.is_open = False

    def expires(self, now_s: float) -> bool:
        """Return whether the gap ends now, without an answer."""
        if not self.is_open or now_s < self._since_s + LONGEST_S:
            return False
        self.is_open = False
        return True

    def deadline_s(self) -> float | None:
        """Return the moment of the next question, or of the end of the gap."""
        expires_s = self._since_s + LONGEST_S if self.is_open else None
        return min((at for at in (self._ask_at_s, expires_s) if at is not None), default=None)
