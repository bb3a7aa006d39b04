"""Ends the orphans of this program: QUIT first, later TERM, in the end KILL.

Law: each orphan is proven again through the descriptor that is signalled; see orphans.py.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stubs; `signal` costs a millisecond
import os
import time
from typing import TYPE_CHECKING

from fpm_listener.guard import orphans
from fpm_listener.guard.refusal import say
from fpm_listener.host import procfs
from fpm_listener.phpfpm.guard_messages import GuardCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.host.address_holders import HolderReport

#: Parts of the wait after which orphans get the next signal.
_SIGNALS = ((0.0, "SIGQUIT"), (0.6, "SIGTERM"), (0.85, "SIGKILL"))


class OrphanEnder:
    """The orphans in the way of one start."""

    def __init__(self, record: orphans.MasterRecord, binary: str, *, is_allowed: bool) -> None:
        """binary: the real path of php-fpm; is_allowed: False = orphans are only reported."""
        self._record = record
        self._binary = binary
        self.is_allowed = is_allowed
        self._since_s: float | None = None  # when the first signal was sent
        self._steps: dict[int, int] = {}  # signals that each orphan got

    @property
    def has_begun(self) -> bool:
        """Return whether an orphan was to be ended."""
        return self._since_s is not None

    def find(self) -> tuple[int, ...]:
        """Return the orphans that may be ended."""
        return orphans.find(self._record.read(), self._binary) if self.is_allowed else ()

    def in_the_way(self, report: HolderReport | None) -> set[int]:
        """Return the orphans that hold the reported address, and may be ended."""
        if not self.is_allowed or report is None:
            return set()
        if report.holders:
            return {pid for holder in report.holders if holder.ours for pid in holder.pids}
        # The holders cannot be seen, but the orphans of this program are known.
        return {pid for pid in self.find() if procfs.has_socket(pid, ()) is None}

    def end(self, pids: set[int], left_s: float) -> None:
        """Send each orphan the signals that are due; left_s: until the end of the wait."""
        now_s = time.monotonic()
        since_s = self._since_s = now_s if self._since_s is None else self._since_s
        whole_s = now_s + left_s - since_s
        for step, (part, name) in enumerate(_SIGNALS, 1):
            if part and not whole_s:
                continue
            for pid in sorted(pids):
                if since_s + part * whole_s <= now_s and self._steps.get(pid, 0) < step:
                    self._steps[pid] = step
                    self._signal(pid, name)

    def end_on_sockets(self, descriptors: Sequence[int]) -> None:
        """Send QUIT to the orphans that listen on these sockets; or report them."""
        left = orphans.find(self._record.read(), self._binary)
        inodes = {os.fstat(descriptor).st_ino for descriptor in descriptors} if left else set()
        for pid in left:
            if procfs.has_socket(pid, inodes) is False:
                continue
            if self.is_allowed:
                self._signal(pid, "SIGQUIT")
            else:
                sentence = f"orphan {pid} still serves requests; to end it: kill -QUIT {pid}"
                say(GuardCode.ORPHAN_SERVES, sentence, pid=pid)

    def _signal(self, pid: int, name: str) -> None:
        number = getattr(_signal, name)
        if orphans.send_signal(pid, number, self._record.read(), self._binary):
            sentence = f"sent {name} to pid {pid}, an orphan of this program"
            say(GuardCode.ORPHAN_SIGNALLED, sentence, pid=pid, signal=name)
