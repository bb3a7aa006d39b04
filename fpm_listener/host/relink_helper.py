"""Links a unix socket's name again as soon as it is gone. It runs in its own process.

Laws:
1. It links a second name to a first name and does nothing else; link(2) replaces nothing.
2. It ends when its standard input ends, and that happens when the listener ends in any way.
3. It writes nothing and imports little: it must start fast and stay small.

The listener's own thread does the same work. It is slower under load, because its other threads
hold the interpreter lock and because it has no priority.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import sys

CONTROL, EVENTS = 0, 3  #: its file descriptors: messages of the listener, inotify
_EVENT_SIZE = 16  # struct inotify_event without a name: a watched file gives none
#: Microseconds of processor time without a pause, after which the kernel ends a real-time process.
_MOST_RUNTIME_US = 200_000


def raise_priority() -> None:
    """Run before ordinary processes, where that is allowed (root, or CAP_SYS_NICE)."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_RTTIME, (_MOST_RUNTIME_US, _MOST_RUNTIME_US))
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)


def parse(message: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Return the second and the first name by inotify's number of the watch."""
    parts = message.split(b"\0")
    return {
        int(number): (second, first)
        for number, second, first in zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    }


def link(second: bytes, first: bytes) -> None:
    """Give the socket its first name again, unless something has that name."""
    with contextlib.suppress(OSError):
        os.link(second, first, follow_symlinks=False)


def read_numbers() -> list[int]:
    """Return the watches that have events."""
    try:
        events = os.read(EVENTS, 4096)
    except BlockingIOError:
        return []
    starts = range(0, len(events), _EVENT_SIZE)
    return [int.from_bytes(events[at : at + 4], sys.byteorder, signed=True) for at in starts]


def main() -> None:
    """Serve until the listener ends."""
    raise_priority()
    poller = select.poll()
    poller.register(CONTROL, select.POLLIN)
    poller.register(EVENTS, select.POLLIN)
    names: dict[int, tuple[bytes, bytes]] = {}
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == EVENTS:
                numbers = read_numbers()
                known = [names[number] for number in numbers if number in names]
                # -1: the kernel has dropped events.
                for second, first in names.values() if -1 in numbers else known:
                    link(second, first)
                continue
            message = os.read(CONTROL, 1 << 20)
            if not message:
                return
            names = parse(message)
            for second, first in names.values():  # those that were unlinked before this message
                link(second, first)
