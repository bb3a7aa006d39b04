"""Finds the process that holds a listen address of a start that has failed.

Laws:
1. The holder is older than the failed start. A younger one can be the next start of the program.
2. Sockets that our listener holds are not in the way: php-fpm gets them.
3. A connection is not in the way either: php-fpm listens beside it (SO_REUSEADDR).
4. A socket that accepts only IPv6 is in the way of IPv6 addresses only.
5. The next start of the program is not a holder: the remedy would stop the site. It can be older
   than our events, because supervisord keeps them while we do not read them.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from fpm_listener.host import fpm_titles, ipv6_only, procfs
from fpm_listener.host.holder_remedies import is_itself, is_our_listener
from fpm_listener.host.obstacles import Obstacle
from fpm_listener.host.socket_tables import find_sockets
from fpm_listener.incidents.effects import HolderFound
from fpm_listener.supervisor.holder_supervisors import find_holders
from fpm_listener.untrusted_text import quoted
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.host.address_holders import Holder, HolderReport
    from fpm_listener.host.socket_tables import FoundSockets
    from fpm_listener.incidents.effects import ExamineExit, FindHolder
    from fpm_listener.supervisor.process import ProcessName

#: Exit statuses of a php-fpm that cannot bind: its own, the guard's, that of FPM_EXIT_SOFTWARE.
BIND_STATUSES = (78, 75, 70)

_ITSELF = "it can be the next start of the program itself"


def find_holder(look: FindHolder) -> HolderFound:
    """Return the holders of an address, without the program that needs it."""
    return HolderFound(look.process, _find_others(look.address, look))


def _find_others(address: str, asked: FindHolder | ExamineExit) -> HolderReport:
    supervisord = procfs.supervisor_of(os.getpid())
    masters = asked.former_masters
    report = find_holders(address, former_masters=masters, supervisord=supervisord)
    return without_itself(report, asked.process, asked.config)


def without_itself(report: HolderReport, process: ProcessName, config: str) -> HolderReport:
    """Return a report without holders that can be the next start of the program.

    config: its configuration file, if it is php-fpm.
    """
    names = {quoted(process.shown), quoted(str(process))}
    others = tuple(
        one
        for one in report.holders
        if one.supervisor is None
        or not one.supervisor.ours
        or not (one.supervisor.name in names or is_itself(one, config))
    )
    if others or not report.holders:
        return report._replace(holders=others)
    return report._replace(holders=(), blind=_ITSELF)


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
    report = _find_others(address, request)
    if any(is_our_listener(holder) or os.getpid() in holder.pids for holder in report.holders):
        return None
    if not report.holders:
        is_unknown = report.blind and report.blind != _ITSELF
        return report if is_unknown and not _runs_now(request.config) else None
    older = tuple(one for one in report.holders if _is_older(one, request.began_at_s))
    return report._replace(holders=older) if older else None


def _runs_now(config: str) -> bool:
    """Return whether our supervisord runs a php-fpm with this configuration; empty = with any."""
    own = procfs.read_stat("self")
    title = f"{fpm_titles.MASTER} ({config}" + ")" * bool(config)
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names only
        if procfs.title(int(pid)).startswith(title):
            stat = procfs.read_stat(pid)
            if own is not None and stat is not None and stat.session == own.session:
                return True
    return False


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
