"""The two pipes to supervisord: its events on fd 0, protocol words on the former fd 1.

Laws:
1. Only this module writes protocol words (`stdout.py` keeps other text off the pipe).
2. READY is sent once for each event; RESULT follows the commit, never a network.
3. An event that could not be read is answered only after a pause in the stream.
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
        self.ready = False  #: READY was sent, and no event has come since

    def fileno(self) -> int:
        """Return the descriptor to wait for."""
        return self._source

    def say_ready(self) -> None:
        """Request the next event."""
        self.ready = True
        self._write(protocol.READY)

    def acknowledge(self) -> None:
        """Acknowledge the event, and request the next one."""
        self.ready = True
        self._write(protocol.ACKNOWLEDGED + protocol.READY)

    def read(self) -> list[Event | Garbage]:
        """Return the complete events; set `closed` at the end of the stream."""
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
        """Return whether supervisord waits for an answer to unreadable data."""
        return self.ready and self._decoder.skipping

    def give_up_unreadable(self) -> Garbage:
        """Acknowledge unreadable data, so that the next event can come; return it."""
        garbage = self._decoder.give_up_garbage()
        self.acknowledge()
        return garbage

    def _write(self, words: bytes) -> None:
        """Write all of `words`. It cannot block, because the pipe is empty then."""
        try:
            while words:
                words = words[os.write(self._sink, words) :]
        except BrokenPipeError:
            self.closed = True


log = logging.getLogger(__name__)


def wake(process: ProcessName) -> None:
    """End supervisord's poll with a line on stderr, which supervisord reads.

    The line does not depend on log_level, because supervisord needs it.
    """
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} waking supervisord program={process}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="replace"))
