"""Who has a listen address: looked up in /proc, never asked of the process itself.

Laws:
1. The parent proves nothing: in a container supervisord itself adopts orphans. What tells an orphan
   is its process group: supervisord makes each program the leader of its own, and php-fpm's workers
   stay in it, so a worker whose leader is gone has lost its master.
2. What we were not allowed to see is said; nobody is accused instead.
3. Nothing is bound, connected, signalled or unlinked.

Source: proc(5); include/net/tcp_states.h (0A = LISTEN); af_unix.c (flag 00010000 = listens).
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
from dataclasses import dataclass
from pathlib import Path

from fpm_listener.core.holders import Holder, HolderKind, HolderReport

_MASTER = re.compile(r"php-fpm: master process")
_WORKER = re.compile(r"php-fpm: pool ")
_UNIT = re.compile(r"/([^/]+\.service)(?:/|$)")
_CONTAINER = re.compile(r"(?:docker|crio|cri-containerd|libpod|containerd)?[-/:]([0-9a-f]{64})")
_COMMAND_LENGTH = 200
_LISTENS, _UNIX_LISTENS = "0A", 0x10000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    ppid: int
    pgid: int
    command: str
    user: str | None
    cgroup: str


def find_holders(
    address: str,
    *,
    former_masters: frozenset[int] = frozenset(),
    proc: str = "/proc",
) -> HolderReport:
    """Return who has the address, as php-fpm's configuration or log has it.

    former_masters: pids of earlier lives of the program that wanted it.
    """
    if not address:
        return HolderReport(address=address, holders=(), blind="php-fpm did not name the address")
    try:
        inodes, connected = _inodes(address, proc)
    except OSError as error:
        return HolderReport(address=address, holders=(), blind=f"/proc: {error.strerror}")
    except ValueError:
        return HolderReport(address=address, holders=(), blind="the address is not understood")
    pids, hidden = _owners(inodes or connected, proc)
    processes = [process for pid in pids if (process := _process(pid, proc)) is not None]
    holders = _fold([_judge(process, former_masters, proc) for process in processes])
    blind = None
    if hidden and not holders and (inodes or connected):
        blind = "we may not look into other users' processes (run the listener as root)"
    return HolderReport(address=address, holders=holders, blind=blind)


# -- sockets ---------------------------------------------------------------------------------------


def _inodes(address: str, proc: str) -> tuple[set[str], set[str]]:
    """Return the inodes of sockets that listen there, and of others that are bound there."""
    if "/" in address:
        return _unix_inodes(address, proc), set()
    host, _, port = address.rpartition(":")
    number = int(port)
    wanted = _addresses(host.strip("[]"))
    listening: set[str] = set()
    connected: set[str] = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(proc, "net", table).read_text().splitlines()[1:]
        except FileNotFoundError:
            if table == "tcp":
                raise
            continue  # a kernel without IPv6
        for line in lines:
            words = line.split()
            local, _, local_port = words[1].partition(":")
            if int(local_port, 16) != number or not _clash(_ip(local), wanted):
                continue
            (listening if words[3] == _LISTENS else connected).add(words[9])
    return listening, connected - {"0"}


def _addresses(host: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...]:
    """Return what a host of a listen address stands for; empty = every address."""
    if host in {"", "*"}:
        return ()
    if host == "localhost":
        return (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    try:
        return (ipaddress.ip_address(host),)
    except ValueError:
        import socket  # noqa: PLC0415 - a name is rare; a resolver may be slow

        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return tuple(ipaddress.ip_address(entry[4][0]) for entry in found)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return an address that the kernel printed as words of 32 bits in the host's byte order."""
    raw = b"".join(bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8))
    return ipaddress.ip_address(raw)


def _clash(
    bound: ipaddress.IPv4Address | ipaddress.IPv6Address,
    wanted: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...],
) -> bool:
    """Return whether a socket bound to `bound` keeps php-fpm from binding one of `wanted`."""
    mapped = getattr(bound, "ipv4_mapped", None)
    bound = mapped or bound
    if not wanted or any(address.is_unspecified for address in wanted):
        return True
    if bound.is_unspecified:
        # `::` also takes IPv4 unless it was told not to; that cannot be seen here.
        return bound.version == 6 or any(address.version == 4 for address in wanted)
    return bound in wanted


def _unix_inodes(path: str, proc: str) -> set[str]:
    real = os.path.realpath(path)
    found = set()
    for line in Path(proc, "net", "unix").read_text(errors="replace").splitlines()[1:]:
        words = line.split(maxsplit=7)
        if len(words) == 8 and int(words[3], 16) & _UNIX_LISTENS and words[7] in {path, real}:
            found.add(words[6])
    return found


# -- processes -------------------------------------------------------------------------------------


def _owners(inodes: set[str], proc: str) -> tuple[list[int], bool]:
    """Return the pids that have one of the sockets open, and whether some could not be seen."""
    if not inodes:
        return [], False
    links = {f"socket:[{inode}]" for inode in inodes}
    found, hidden = [], False
    for name in os.listdir(proc):  # noqa: PTH208 - names are all that is needed
        if not name.isdigit():
            continue
        folder = f"{proc}/{name}/fd"
        try:
            descriptors = os.listdir(folder)  # noqa: PTH208 - likewise
        except PermissionError:
            hidden = True
            continue
        except OSError:
            continue  # it has ended meanwhile
        for descriptor in descriptors:
            try:
                if os.readlink(f"{folder}/{descriptor}") in links:  # noqa: PTH115 - one call each
                    found.append(int(name))
                    break
            except OSError:
                continue
    return sorted(found), hidden


def _process(pid: int, proc: str) -> _Process | None:
    folder = Path(proc, str(pid))
    try:
        words = (folder / "stat").read_text(errors="replace")
        name = words[words.index("(") + 1 : words.rindex(")")]
        state, ppid, pgid = words.rpartition(")")[2].split()[:3]
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        uid = folder.stat().st_uid
        cgroup = (folder / "cgroup").read_text(errors="replace")
    except (OSError, ValueError):
        return None
    if state == "Z":
        return None
    shown = "".join(c if c.isprintable() else "?" for c in command.strip() or f"[{name}]")
    return _Process(
        pid=pid,
        ppid=int(ppid),
        pgid=int(pgid),
        command=shown[:_COMMAND_LENGTH],
        user=_user(uid),
        cgroup=cgroup,
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _judge(process: _Process, former_masters: frozenset[int], proc: str) -> Holder:
    """Return what a holder is."""
    ours = process.pgid in former_masters
    kind, master = HolderKind.OTHER, process.pgid if ours else None
    if _MASTER.match(process.command):
        kind, master, ours = HolderKind.MASTER, process.pid, False
    elif _WORKER.match(process.command):
        living = next(
            (
                pid
                for pid in (process.pgid, process.ppid)
                if (other := _process(pid, proc)) and _MASTER.match(other.command)
            ),
            None,
        )
        kind = HolderKind.MASTER if living else HolderKind.ORPHAN
        master = living or process.pgid
    container = _CONTAINER.search(process.cgroup)
    unit = _UNIT.search(process.cgroup)
    return Holder(
        kind=kind,
        pid=process.pid,
        command=process.command,
        user=process.user,
        master_pid=master,
        ours=ours,
        unit=unit[1] if unit and not unit[1].startswith("user@") else None,
        container=container[1][:12] if container else None,
    )


_ORDER = {HolderKind.MASTER: 0, HolderKind.ORPHAN: 1, HolderKind.OTHER: 2}


def _fold(found: list[Holder]) -> tuple[Holder, ...]:
    """Return one holder for all that belong to one master, the master itself first."""
    groups: dict[tuple[HolderKind, int], list[Holder]] = {}
    for holder in sorted(found, key=lambda h: (_ORDER[h.kind], h.pid != h.master_pid, h.pid)):
        own = holder.kind is HolderKind.OTHER or holder.master_pid is None
        key = (holder.kind, holder.pid if own else holder.master_pid or 0)
        groups.setdefault(key, []).append(holder)
    return tuple(
        Holder(
            kind=first.kind,
            pid=first.pid,
            command=first.command,
            user=first.user,
            master_pid=first.master_pid,
            ours=first.ours,
            others=tuple(fellow.pid for fellow in rest),
            unit=first.unit,
            container=first.container,
        )
        for first, *rest in groups.values()
    )
