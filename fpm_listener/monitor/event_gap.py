"""A gap in the events: supervisord has discarded some, so the known states may be wrong.

Laws:
1. A gap is followed by a question to supervisord at once, and by at most one question a second.
2. It ends with the answer to a question that was asked after it, or after LONGEST_S without one.
"""

from __future__ import annotations

#: Seconds between two questions; each one wakes supervisord.
ASK_EVERY_S = 1.0
#: Seconds between two questions that only confirm an answer.
RECHECK_EVERY_S = 20.0
#: Seconds after which alerts wait no longer for an answer: more than one XML-RPC call may take.
LONGEST_S = 10.0


class Gap:
    """Owned by the engine. All moments are monotonic seconds."""

    def __init__(self) -> None:
        self.at_s = float("-inf")  #: when the latest gap was noticed
        self._since_s: float | None = None  # when the open gap was noticed; None = none is open
        self._ask_at_s: float | None = None  # when to ask; None = nothing is to be asked
        self._asked_at_s = float("-inf")
        self._rechecked_at_s = float("-inf")

    @property
    def is_open(self) -> bool:
        """Return whether events were lost and no answer has come since."""
        return self._since_s is not None

    def noticed(self, now_s: float) -> None:
        """Events were lost."""
        self.at_s = now_s
        if self._since_s is None:
            self._since_s = now_s
        self._ask_by(now_s)

    def recheck(self, now_s: float) -> None:
        """An answer differs from what the events said: ask again, since an event may be late."""
        if self.is_open:
            self._ask_by(now_s + ASK_EVERY_S)
        elif now_s - self._rechecked_at_s >= RECHECK_EVERY_S:
            self._rechecked_at_s = now_s
            self._ask_by(now_s + ASK_EVERY_S)

    def _ask_by(self, at_s: float) -> None:
        at_s = max(at_s, self._asked_at_s + ASK_EVERY_S)
        self._ask_at_s = at_s if self._ask_at_s is None else min(at_s, self._ask_at_s)

    def asks(self, now_s: float) -> bool:
        """Return whether to ask now; then the question counts as asked."""
        if self._ask_at_s is None or now_s < self._ask_at_s:
            return False
        self._ask_at_s, self._asked_at_s = None, now_s
        return True

    def answered(self, asked_at_s: float) -> None:
        """An answer has come that contradicts no newer event."""
        if asked_at_s >= self.at_s:
            self._since_s = None

    def expires(self, now_s: float) -> bool:
        """Return whether the gap ends now, without an answer."""
        if self._since_s is None or now_s < self._since_s + LONGEST_S:
            return False
        self._since_s = None
        return True

    def deadline_s(self) -> float | None:
        """Return the moment at which `asks` or `expires` has something to say."""
        expires_s = None if self._since_s is None else self._since_s + LONGEST_S
        return min((at for at in (self._ask_at_s, expires_s) if at is not None), default=None)
