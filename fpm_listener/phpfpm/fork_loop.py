"""Detects a php-fpm whose workers exit at once, without end.

php-fpm does not report a wrong socket (non-blocking, closed, not listening): the master logs that
it is ready, and about 400 workers a second exit with status 0.

Laws:
1. A php-fpm that answers is in order, however fast its workers change.
2. So is one whose worker has accepted a connection: with pm.max_requests = 1 all workers are young,
   and our own question can wait behind many clients.

Source: php-fpm 8.2.36; FastCGI specification 1.0 §4.1 (FCGI_GET_VALUES needs no script).
"""

from __future__ import annotations

import os
import socket
import time

from fpm_listener.host import procfs

#: A worker runs at least these seconds; in a fork loop it is three milliseconds.
_ADULT_S = 0.25
#: Searches for a worker, and seconds between them.
_LOOKS, _LOOK_S = 5, 0.01
#: Seconds for an answer.
_ANSWER_S = 0.5
#: Searches for an accepted connection, _LOOK_S apart.
_CLIENT_LOOKS = 50
_NAME = b"FCGI_MAX_CONNS"
_CONTENT = bytes([len(_NAME), 0]) + _NAME
_GET_VALUES = bytes([1, 9, 0, 0, 0, len(_CONTENT), 0, 0]) + _CONTENT


def is_looping(master: int, listener: int) -> bool:
    """Return whether a master is in a fork loop. master: its pid; listener: one of its sockets.

    Takes no time if a worker is a quarter of a second old, otherwise up to two seconds.
    """
    before = _newborn(master)
    if not before:
        return False
    time.sleep(_ADULT_S)
    after = _newborn(master)
    if not after or before & after:
        return False
    return not _answers(listener) and not _has_clients(master)


def _newborn(master: int) -> set[int]:
    """Return the workers if all of them have just started; otherwise none.

    In a fork loop there can be moments without a worker, so it searches several times.
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
    """Return whether a process answers or closes a connection.

    The master is killed if not. So each step has its own time limit: if this process itself was
    paused, an answer that has arrived still counts.
    """
    with socket.socket(fileno=os.dup(listener)) as own:
        family, name = own.family, own.getsockname()
    if family != socket.AF_UNIX and name[0] in {"0.0.0.0", "::"}:  # noqa: S104 - compared only
        name = ("127.0.0.1" if name[0] == "0.0.0.0" else "::1", *name[1:])  # noqa: S104 - the same
    with socket.socket(family) as client:
        client.settimeout(_ANSWER_S)
        try:
            client.connect(name)  # the whole name: a link-local address needs its zone
            client.sendall(_GET_VALUES)
            client.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True  # a process closed the connection
    return True


def _has_clients(master: int) -> bool:
    """Return whether a worker has a socket that its master does not have: an accepted connection.

    If the sockets are not readable, nothing is proven, and the answer is yes.
    """
    inherited = procfs.sockets(master)
    for _ in range(_CLIENT_LOOKS):
        for worker in _workers(master):
            own = procfs.sockets(worker)
            if inherited is None or own is None or own - inherited:
                return True
        time.sleep(_LOOK_S)
    return False
