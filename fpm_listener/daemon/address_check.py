"""Finds out whether another process holds a listen address of a start that has failed.

Laws:
1. The holder is older than the failed start. A younger one can be the next start of the program.
2. Sockets that our listener holds are not in the way: php-fpm gets them.
3. A connection is not in the way either: php-fpm listens beside it (SO_REUSEADDR).
4. A socket that accepts only IPv6 is in the way of IPv6 addresses only.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from fpm_listener.host import ipv6_only
from fpm_listener.host.holder_remedies import is_our_listener
from fpm_listener.host.holder_search import find_holders
from fpm_listener.host.obstacles import Obstacle
from fpm_listener.host.socket_tables import find_sockets
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import Holder, HolderReport
    from fpm_listener.host.socket_tables import FoundSockets
    from fpm_listener.incidents.effects import ExamineExit

#: Exit statuses of a php-fpm that cannot bind: its own, the guard's, that of FPM_EXIT_SOFTWARE.
BIND_STATUSES = (78, 75, 70)


def find_conflicts(request: ExamineExit) -> list[Obstacle]:
    """Return an obstacle for each address of the program that another process holds."""
    return [
        Obstacle(Cause.BIND_CONFLICT, address, f"seen: {address}: {report}", None, BIND_STATUSES)
        for address in request.needs.addresses
        if (report := _holder_of(address, request)) is not None
    ]


def _holder_of(address: str, request: ExamineExit) -> HolderReport | None:
    try:
        sockets = find_sockets(address)
        # The socket of a removed path is in nobody's way.
        is_bound = "/" not in address or stat.S_ISSOCK(os.stat(address).st_mode)  # noqa: PTH116 - a text
    except (OSError, ValueError):
        return None
    if not in_the_way(address, sockets) or not is_bound:
        return None
    report = find_holders(address, former_masters=request.former_masters)
    if any(is_our_listener(holder) or os.getpid() in holder.pids for holder in report.holders):
        return None
    if not report.holders:
        return report if report.blind else None
    older = tuple(one for one in report.holders if _is_older(one, request.began_at_s))
    return report._replace(holders=older) if older else None


def in_the_way(address: str, sockets: FoundSockets) -> frozenset[str]:
    """Return the inodes of the listening sockets for which that is certain."""
    if not sockets.listening or "/" in address or ":" in address.rpartition(":")[0]:
        return sockets.inodes if sockets.listening else frozenset()
    only_ipv6 = ipv6_only.inodes()
    return sockets.inodes - (sockets.of_ipv6 if only_ipv6 is None else only_ipv6)


def _is_older(holder: Holder, began_at_s: float) -> bool:
    """Return whether the holder was started before a monotonic moment."""
    if holder.started is None:
        return False
    asleep_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    return holder.started / os.sysconf("SC_CLK_TCK") <= began_at_s + asleep_s
