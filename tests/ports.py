"""Free ports, for tests that run at the same time."""

from __future__ import annotations

import os
import socket
from itertools import cycle, islice

#: Test processes that can run at once. pytest-xdist calls them gw0, gw1, …; TEST_PROCESS tells
#: several runs on one machine apart.
_MOST = 32
#: From 32768 on, the kernel gives ports to connections and to servers that want any port. It could
#: give one to another test before its owner binds it.
_PORTS = range(20000, 32768)


def _ports_of_this_process() -> list[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    own = (int(os.environ.get("TEST_PROCESS", "0")) * 4 + worker) % _MOST
    ports = [port for port in _PORTS if port % _MOST == own]
    first = os.getpid() % len(ports)  # another run can have the same numbers
    return ports[first:] + ports[:first]


_OWN = _ports_of_this_process()
#: Who has asked for a port may not have bound it yet: the others come first.
_NEXT = cycle(_OWN)


def free_port() -> int:
    """Return a TCP port that is free on every address, and that no other test gets."""
    both = socket.has_dualstack_ipv6()
    for port in islice(_NEXT, len(_OWN)):
        with socket.socket(socket.AF_INET6 if both else socket.AF_INET) as probe:
            try:
                probe.bind(("::" if both else "127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no free port from {_PORTS.start} to {_PORTS.stop}")
