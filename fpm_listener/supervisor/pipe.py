"""supervisord's two pipes: its events on fd 0, our protocol words on what was fd 1.

Laws:
1. The protocol words are written here and nowhere else (`stdout.py` keeps all others off the pipe).
2. READY is said once for each event; RESULT follows what was committed, never a network.
3. The answer to a host that talks nonsense is patience: an event that could not be read is given an
   answer only when nothing has followed it for a while.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from fpm_listener.supervisor import protocol

if TYPE_CHECKING:
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.supervisor.protocol import Event, Garbage

#: Bytes read at once: supervisord's own pieces are 128 KiB.
_CHUNK = 1 << 17


class Pipe:
    """The listener's end of supervisord's pipes."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._sink = sink
        self._decoder = protocol.Decoder()
        self.closed = False
        self.ready = False  #: READY was said, and no event has come since

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._source

    def say_ready(self) -> None:
        """Tell supervisord that the next event may come."""
        self.ready = True
        self._write(protocol.READY)

    def acknowledge(self) -> None:
        """Tell supervisord that the event is ours now, and that the next may come."""
        self.ready = True
        self._write(protocol.ACKNOWLEDGED + protocol.READY)

    def read(self) -> list[Event | Garbage]:
        """Return what has become complete; sets `closed` at the end of the stream."""
        data = os.read(self._source, _CHUNK)
        if not data:
            self.closed = True
            return []
        found = self._decoder.feed(data)
        if any(isinstance(item, protocol.Event) for item in found):
            self.ready = False
        return found

    @property
    def unreadable(self) -> bool:
        """Return whether supervisord waits for an answer to something that we could not read."""
        return self.ready and self._decoder.skipping

    def give_up_unreadable(self) -> Garbage:
        """Answer what we could not read, so that the next event may come; return what it was."""
        garbage = self._decoder.give_up_garbage()
        self.acknowledge()
        return garbage

    def _write(self, words: bytes) -> None:
        """Write all of `words`; the pipe is empty whenever it is our turn, so this cannot block."""
        try:
            while words:
                words = words[os.write(self._sink, words) :]
        except BrokenPipeError:
            self.closed = True


log = logging.getLogger(__name__)


def wake(process: ProcessName) -> None:
    """End supervisord's poll: it reads what its children write to stderr.

    Whatever log_level says: the line is not for people, though they may as well understand it.
    """
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} waking supervisord program={process}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="replace"))
