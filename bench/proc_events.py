"""The kernel's own record of forks, execs and exits, with times (netlink's process connector).

It needs root, and Linux with CONFIG_PROC_EVENTS. A child that exits at once is seen as well, which
no look at /proc can promise.

Source: linux/cn_proc.h, linux/connector.h.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

_NETLINK_CONNECTOR, _CN_IDX_PROC, _CN_VAL_PROC, _LISTEN = 11, 1, 1, 1
#: nlmsghdr and cn_msg; then what, cpu, time in ns.
_HEADS, _EVENT = struct.Struct("=IHHIIIIIIHH"), struct.Struct("=IIQ")
_BUFFER = 1 << 22


class Kind(IntEnum):
    """The events that count here; all others are dropped."""

    FORK = 0x1
    EXEC = 0x2
    EXIT = 0x80000000


@dataclass(frozen=True, slots=True)
class ProcEvent:
    """One event of a process, not of a thread."""

    kind: Kind
    pid: int  #: FORK: of the child
    parent: int  #: FORK only
    at_s: float  #: monotonic


class ProcEvents:
    """Collects events until the `with` block ends. Raises OSError if that is not permitted."""

    def __init__(self) -> None:
        self._events: list[ProcEvent] = []
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._socket.bind((0, _CN_IDX_PROC))
        size = _HEADS.size + 4
        head = _HEADS.pack(size, 3, 0, 0, os.getpid(), _CN_IDX_PROC, _CN_VAL_PROC, 0, 0, 4, 0)
        self._socket.send(head + struct.pack("=I", _LISTEN))
        self._socket.settimeout(0.2)
        self._ended = False
        self._thread = threading.Thread(target=self._collect, daemon=True)

    def __enter__(self) -> ProcEvents:  # noqa: PYI034 - typing.Self is of Python 3.11
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended = True
        self._thread.join()
        self._socket.close()

    def take(self) -> list[ProcEvent]:
        """Return the events since the last call, oldest first."""
        taken, self._events = self._events, []
        return sorted(taken, key=lambda event: event.at_s)

    def _collect(self) -> None:
        while not self._ended:
            try:
                event = _parse(self._socket.recv(4096))
            except TimeoutError:
                continue
            if event is not None:
                self._events.append(event)


def _parse(packet: bytes) -> ProcEvent | None:
    if len(packet) < _HEADS.size + _EVENT.size + 16:
        return None
    what, _, at_ns = _EVENT.unpack_from(packet, _HEADS.size)
    words = struct.unpack_from("=4I", packet, _HEADS.size + _EVENT.size)
    if what not in set(Kind):
        return None
    kind = Kind(what)
    thread, process = words[2:] if kind is Kind.FORK else words[:2]
    if thread != process:
        return None
    return ProcEvent(kind, process, words[1] if kind is Kind.FORK else 0, at_ns / 1e9)
