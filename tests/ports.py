"""Free ports, for tests that run side by side."""

from __future__ import annotations

import os
import socket
from collections import deque

#: Test processes that there can be at once; each has a number of its own (scripts/test.sh).
_MOST = 8
#: What was given out lately: who has asked for a port may not have bound it yet.
_GIVEN: deque[int] = deque(maxlen=500)


def free_port() -> int:
    """Return a TCP port that nobody has on any address, and that nobody else is given."""
    own = int(os.environ.get("TEST_PROCESS", "0")) % _MOST
    both = socket.has_dualstack_ipv6()
    while True:
        with socket.socket(socket.AF_INET6 if both else socket.AF_INET) as probe:
            probe.bind(("::" if both else "127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        # The kernel gives odd ports, or even ones, only.
        if port // 2 % _MOST == own and port not in _GIVEN:
            _GIVEN.append(port)
            return port
