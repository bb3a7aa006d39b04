"""Finds the processes that hold a listen address, in /proc.

Laws:
1. The process group identifies an orphan, not the parent: in a container supervisord adopts
   orphans. supervisord makes each program the leader of a process group, and php-fpm's workers stay
   in it. So a worker without its leader has lost its master.
2. The report says which processes could not be seen; no other process is named instead.
3. Nothing is bound, connected, signalled or unlinked.
4. Processes that end during the search are left out.

The guard imports this after a conflict, so it imports little.
"""

from __future__ import annotations

import _socket
import os
import pwd
import re
from typing import NamedTuple

from fpm_listener.host import fpm_titles, procfs, socket_tables
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.host.masking import masked
from fpm_listener.untrusted_text import escaped

#: docker-ID.scope, /docker/ID, cri-containerd-ID.scope, cri-containerd:ID, libpod-ID.scope, …
_CONTAINER = re.compile(r"[-/:]([0-9a-f]{64})(?![0-9a-f])")
#: Words of a container's cgroup, and the command that controls it. Kubernetes has none of its own.
_ENGINES = {"kubepods": None, "libpod-": "podman", "docker": "docker"}
_UNIT = re.compile(r"/([^/\n]+\.service)(?=/|$)", re.MULTILINE)
_COMMAND_LENGTH, _COMMAND_READ = 200, 2000
#: Searches; the holder can end between the search for sockets and that for processes.
_SEARCHES = 2
_ORDER = (HolderKind.MASTER, HolderKind.ORPHAN, HolderKind.OTHER)


class _Process(NamedTuple):
    pid: int
    ppid: int
    pgid: int
    started: int  #: ticks since boot
    command: str
    user: str
    unit: str | None
    container: str | None
    engine: str | None


def find_holders(
    address: str,
    *,
    former_masters: frozenset[int] = frozenset(),
    proc: str = "/proc",
) -> HolderReport:
    """Return the holders of an address, as php-fpm's configuration or log has it.

    former_masters: pids of earlier masters of the program that needs it; proc: where procfs is.
    """

    def blind(why: str) -> HolderReport:
        return HolderReport(address=address, holders=(), blind=why)

    if not address:
        return blind("the program did not name the address")
    hidden: list[int] = []
    for _ in range(_SEARCHES):
        try:
            sockets = socket_tables.find_sockets(address, proc)
            pids, hidden = _owners(sockets.inodes, proc)
        except _socket.gaierror as error:
            return blind(f"the name in the address cannot be resolved: {error.strerror}")
        except OSError as error:
            return blind(f"{proc} cannot be read: {error.strerror}")
        except ValueError:
            return blind("the address cannot be parsed")
        processes = [found for pid in pids if (found := _process(pid, proc))]
        if processes or not sockets.inodes:
            holders = _fold(processes, former_masters, proc)
            if not sockets.listening:
                holders = tuple(map(_connected, holders))
            return HolderReport(address=address, holders=holders)
    if hidden:
        return _hidden(address, hidden, former_masters, proc)
    return blind("no process that can be seen here has it (another container?)")


def _hidden(
    address: str, hidden: list[int], former_masters: frozenset[int], proc: str
) -> HolderReport:
    # Docker gives root no CAP_SYS_PTRACE, which is needed to read www-data's processes.
    needs = "CAP_SYS_PTRACE" if os.geteuid() == 0 else "root"
    why = f"reading other users' processes is not permitted (it needs {needs})"
    processes = [found for pid in hidden if (found := _process(pid, proc))]
    left = [process for process in processes if process.pgid in former_masters]
    if left:
        pids = " ".join(str(process.pid) for process in left)
        why += f"; an earlier run of the program has left pid {pids}"
    groups = {one.pgid for one in left if _judge(one, proc)[0] is HolderKind.ORPHAN}
    return HolderReport(address, (), why, tuple(sorted(groups)))


# -- processes -------------------------------------------------------------------------------------


def _owners(inodes: frozenset[str], proc: str) -> tuple[list[int], list[int]]:
    """Return the pids that have one of the sockets open, and those that cannot be read."""
    found: list[int] = []
    hidden: list[int] = []
    if not inodes:
        return found, hidden
    links = {f"socket:[{inode}]" for inode in inodes}
    for name in os.listdir(proc):  # noqa: PTH208 - names are all that is needed
        if not name.isdigit():
            continue
        try:
            if _has_one(f"{proc}/{name}/fd", links):
                found.append(int(name))
        except PermissionError:
            hidden.append(int(name))
        except OSError:
            continue  # it has ended meanwhile
    return sorted(found), sorted(hidden)


def _has_one(folder: str, links: set[str]) -> bool:
    """Return whether a folder of descriptors has one of the links. Raises OSError."""
    for descriptor in os.listdir(folder):  # noqa: PTH208 - names are all that is needed
        try:
            if os.readlink(f"{folder}/{descriptor}") in links:  # noqa: PTH115 - one call each
                return True
        except FileNotFoundError:
            continue  # closed meanwhile
    return False


def _process(pid: int, proc: str) -> _Process | None:
    """Return a process; None if it has ended: a zombie holds nothing."""
    stat = procfs.read_stat(pid, proc)
    if stat is None or stat.has_ended:
        return None
    try:
        uid = os.stat(f"{proc}/{pid}").st_uid  # noqa: PTH116 - texts stay texts
    except OSError:
        return None
    command = procfs.command_line(pid, proc)[:_COMMAND_READ].strip("\0 ")
    title = masked(command.split("\0")) or f"[{stat.name}]"
    unit, container, engine = _placed(pid, proc)
    own_unit, own_container, _ = _placed("self", proc)
    is_inside = container != own_container  # of another container
    return _Process(
        pid=pid,
        ppid=stat.ppid,
        pgid=stat.pgid,
        started=stat.started,
        command=escaped(title)[:_COMMAND_LENGTH],
        user=_user(uid),
        # A process in our own unit is not another service: its stop would stop supervisord.
        unit=unit if unit != own_unit else None,
        container=container if is_inside else None,
        engine=engine if is_inside else None,
    )


def _placed(pid: int | str, proc: str) -> tuple[str | None, str | None, str | None]:
    """Return the systemd unit, the container and its engine of a process, from its cgroups."""
    try:
        with open(f"{proc}/{pid}/cgroup", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - pathlib costs milliseconds
            groups = file.read()
    except OSError:
        return None, None, None
    unit, container = _UNIT.search(groups), _CONTAINER.search(groups)
    return (
        # Below user@1000.service is a login session.
        unit[1] if unit and not unit[1].startswith("user@") else None,
        container[1][:12] if container else None,
        next((name for word, name in _ENGINES.items() if container and word in groups), None),
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# -- kinds ----------------------------------------------------------------------------------------


def _judge(process: _Process, proc: str) -> tuple[HolderKind, int]:
    """Return the kind of a process, and the pid of its master or group leader."""
    is_master = process.command.startswith(fpm_titles.MASTER)
    if not is_master and not process.command.startswith(fpm_titles.WORKER):
        return HolderKind.OTHER, process.pgid
    for pid in {process.ppid, process.pgid} - {process.pid}:
        above = _process(pid, proc)
        # A worker that was just forked still has its master's title.
        if above and above.command.startswith(fpm_titles.MASTER):
            return HolderKind.MASTER, above.pid
    return (HolderKind.MASTER, process.pid) if is_master else (HolderKind.ORPHAN, process.pgid)


def _fold(
    processes: list[_Process],
    former_masters: frozenset[int],
    proc: str,
) -> tuple[Holder, ...]:
    """Return one holder for each master or group; it has the name of its leader."""
    groups: dict[tuple[int, int], list[_Process]] = {}
    for process in processes:
        kind, leader = _judge(process, proc)
        groups.setdefault((_ORDER.index(kind), leader), []).append(process)
    holders = []
    for (order, leader), fellows in sorted(groups.items(), key=lambda item: item[0]):
        kind = _ORDER[order]
        named = next((fellow for fellow in fellows if fellow.pid == leader), fellows[0])
        if kind is HolderKind.MASTER:
            named = _process(leader, proc) or named
        ours = kind is not HolderKind.MASTER and leader in former_masters
        holders.append(
            Holder(
                kind=kind,
                pid=named.pid,
                command=named.command,
                user=named.user,
                master_pid=leader if ours or kind is not HolderKind.OTHER else None,
                ours=ours,
                started=named.started,
                others=tuple(fellow.pid for fellow in fellows if fellow.pid != named.pid),
                unit=named.unit,
                container=named.container,
                engine=named.engine,
            ),
        )
    return tuple(holders)


def _connected(holder: Holder) -> Holder:
    return holder._replace(command=f"{holder.command}; does not listen: a connection from there")
