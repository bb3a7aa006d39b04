"""The holders of the addresses that configured php-fpms listen on, and their parents."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

from fpm_listener.doctor.held_address import HeldAddress
from fpm_listener.host import procfs
from fpm_listener.host.addresses import TcpAddress, UnixAddress
from fpm_listener.supervisor import config_path
from fpm_listener.supervisor.holder_supervisors import find_holders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fpm_listener.doctor.checked_config import Fpm
    from fpm_listener.host.address_holders import Holder, HolderReport


def pids(held: Iterable[HeldAddress]) -> Iterator[int]:
    """Return the pids of all holders."""
    return (holder.pid for one in held for holder in one.report.holders)


def find(
    fpms: Iterable[Fpm], path: str, search: Callable[[str], HolderReport] = find_holders
) -> Iterator[HeldAddress]:
    """Return the holders that the addresses of these php-fpms have now.

    path: the supervisord configuration that contains the php-fpms.
    """
    wanted = (pool.listen for fpm in fpms for pool in fpm.conf.pools)
    usable = (one.text for one in wanted if isinstance(one, TcpAddress | UnixAddress))
    for address in dict.fromkeys(usable):
        report = search(address)
        if not report.holders:
            continue
        report = report._replace(holders=tuple(_mark_own(one, path) for one in report.holders))
        ancestors = {holder.pid: _ancestors(holder.pid) for holder in report.holders}
        every_pid = {pid for line in ancestors.values() for pid in line}
        masters = {pid for pid in every_pid if _is_supervisord(pid, path)}
        children = frozenset(
            child
            for line in ancestors.values()
            for child, parent in pairwise(line)
            if parent in masters
        )
        yield HeldAddress(address, report, ancestors, children)


def _mark_own(holder: Holder, path: str) -> Holder:
    """Return a holder; its supervisor can be the supervisord with this configuration."""
    supervisor = holder.supervisor
    if supervisor is None or supervisor.pid is None or not _is_supervisord(supervisor.pid, path):
        return holder
    return holder._replace(supervisor=supervisor._replace(ours=True))


def _ancestors(pid: int) -> tuple[int, ...]:
    """Return a process, its parent, and so on."""
    found: list[int] = []
    while pid > 0 and pid not in found:
        found.append(pid)
        stat = procfs.read_stat(pid)
        pid = stat.ppid if stat else 0
    return tuple(found)


def _is_supervisord(pid: int, path: str) -> bool:
    conf = config_path.find_conf(pid)
    return conf is not None and os.path.realpath(conf) == os.path.realpath(path)
