"""Whether a php-fpm serves, or forks workers without end that die at once.

A socket that is not as php-fpm takes it for granted (non-blocking, closed, not listening) is never
reported: the master says that it is ready, and some 400 workers a second end with status 0.

Law: a php-fpm that answers serves, however fast its workers change.

Source: php-fpm 8.2.36; FastCGI specification 1.0 §4.1 (FCGI_GET_VALUES needs no script).
"""

from __future__ import annotations

import os
import socket
import time

from fpm_listener.host import procfs, timed_socket

#: Seconds that a worker lives in any case; in a storm it is three milliseconds.
_ADULT_S = 0.25
#: Looks for a worker, and seconds between them.
_LOOKS, _LOOK_S = 5, 0.01
#: Seconds for an answer.
_ANSWER_S = 0.5
_NAME = b"FCGI_MAX_CONNS"
_CONTENT = bytes([len(_NAME), 0]) + _NAME
_GET_VALUES = bytes([1, 9, 0, 0, 0, len(_CONTENT), 0, 0]) + _CONTENT


def rages(master: int, listener: int) -> bool:
    """Return whether a master forks in vain. master: its pid; listener: one of its sockets.

    Takes no time where a worker is a quarter of a second old, else up to a second.
    """
    before = _newborn(master)
    if not before:
        return False
    time.sleep(_ADULT_S)
    after = _newborn(master)
    return bool(after) and not before & after and not _answers(listener)


def _newborn(master: int) -> set[int]:
    """Return the workers, if all of them have only just begun; else none.

    Between two of a storm's there may be a moment without any, so it is looked several times.
    """
    workers = _workers(master)
    for _ in range(_LOOKS):
        if workers:
            break
        time.sleep(_LOOK_S)
        workers = _workers(master)
    ticks = os.sysconf("SC_CLK_TCK")
    oldest = (time.clock_gettime(time.CLOCK_BOOTTIME) - _ADULT_S) * ticks
    stats = [procfs.read_stat(worker) for worker in workers]
    return workers if all(stat is None or stat.started > oldest for stat in stats) else set()


def _workers(master: int) -> set[int]:
    try:
        with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as file:  # noqa: PTH123 - as all of /proc here
            return {int(word) for word in file.read().split()}
    except (OSError, ValueError):
        return set()


def _answers(listener: int) -> bool:
    """Return whether somebody takes a connection and answers, or hangs up."""
    with socket.socket(fileno=os.dup(listener)) as own:
        family, name = own.family, own.getsockname()
    if family != socket.AF_UNIX and name[0] in {"0.0.0.0", "::"}:  # noqa: S104 - compared only
        name = ("127.0.0.1" if name[0] == "0.0.0.0" else "::1", *name[1:])  # noqa: S104 - the same
    address = name if isinstance(name, str) else name[:2]
    try:
        with timed_socket.connect(address, time.monotonic() + _ANSWER_S) as client:
            client.sendall(_GET_VALUES)
            client.recv(1)
    except TimeoutError:
        return False
    except OSError:
        return True  # a process closed the connection
    return True
