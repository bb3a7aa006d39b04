"""Free ports, for tests that run at the same time."""

from __future__ import annotations

import os
import socket
from collections import deque

#: Test processes that can run at once. pytest-xdist calls them gw0, gw1, …; TEST_PROCESS tells
#: several runs on one machine apart.
_MOST = 32
#: What was given out lately: who has asked for a port may not have bound it yet.
_GIVEN: deque[int] = deque(maxlen=500)


def free_port() -> int:
    """Return a TCP port that is free on every address, and that no other test gets."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    own = (int(os.environ.get("TEST_PROCESS", "0")) * 4 + worker) % _MOST
    both = socket.has_dualstack_ipv6()
    while True:
        with socket.socket(socket.AF_INET6 if both else socket.AF_INET) as probe:
            probe.bind(("::" if both else "127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        # The kernel gives odd ports, or even ones, only.
        if port // 2 % _MOST == own and port not in _GIVEN:
            _GIVEN.append(port)
            return port
