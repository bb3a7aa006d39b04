"""Who has a listen address: looked up in /proc, never asked of the process itself.

Laws:
1. The parent proves nothing: in a container supervisord itself adopts orphans. What tells an orphan
   is its process group: supervisord makes each program the leader of its own, and php-fpm's workers
   stay in it, so a worker whose leader is gone has lost its master.
2. What we were not allowed to see is said; nobody is accused instead.
3. Nothing is bound, connected, signalled or unlinked.
4. Processes come and go while we look: what has vanished is left out.

Source: proc(5); include/net/tcp_states.h (0A = LISTEN); af_unix.c (flag 00010000 = listens).
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import socket
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.host.masking import masked
from fpm_listener.host.procfs import read_stat

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_MASTER = re.compile(r"php-fpm: master process")
_WORKER = re.compile(r"php-fpm: pool ")
#: docker-ID.scope, /docker/ID, cri-containerd-ID.scope, cri-containerd:ID, libpod-ID.scope, …
_CONTAINER = re.compile(r"[-/:]([0-9a-f]{64})(?![0-9a-f])")
_UNIT = re.compile(r"/([^/\n]+\.service)(?=/|$)", re.MULTILINE)
_COMMAND_LENGTH, _COMMAND_READ = 200, 2000
_TCP_LISTENS, _UNIX_LISTENS = "0A", 0x10000
#: Looks at the machine, where the holder ends between the look at sockets and that at processes.
_LOOKS = 2
_ORDER = (HolderKind.MASTER, HolderKind.ORPHAN, HolderKind.OTHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sockets:
    inodes: frozenset[str]
    listening: bool  #: False: connections that have the address as their own end


@dataclass(frozen=True, slots=True, kw_only=True)
class _Process:
    pid: int
    ppid: int
    pgid: int
    command: str
    user: str
    unit: str | None
    container: str | None


def find_holders(
    address: str,
    *,
    former_masters: frozenset[int] = frozenset(),
    proc: str = "/proc",
) -> HolderReport:
    """Return who has the address, as php-fpm's configuration or log has it.

    former_masters: pids of earlier lives of the program that wanted it; proc: where procfs is.
    """

    def blind(why: str) -> HolderReport:
        return HolderReport(address=address, holders=(), blind=why)

    if not address:
        return blind("php-fpm did not name the address")
    hidden: list[int] = []
    for _ in range(_LOOKS):
        try:
            sockets = _find_sockets(address, proc)
            pids, hidden = _owners(sockets.inodes, proc)
        except socket.gaierror as error:
            return blind(f"the name in the address cannot be resolved: {error.strerror}")
        except OSError as error:
            return blind(f"{proc} cannot be read: {error.strerror}")
        except ValueError:
            return blind("the address is not understood")
        processes = [found for pid in pids if (found := _process(pid, proc))]
        if processes or not sockets.inodes:
            holders = _fold(processes, former_masters, proc)
            if not sockets.listening:
                holders = tuple(map(_connected, holders))
            return HolderReport(address=address, holders=holders)
    if hidden:
        return blind(_why_hidden(hidden, former_masters, proc))
    return blind("it is taken, but by no process that can be seen here (another container?)")


def find_inodes(address: str, proc: str = "/proc") -> frozenset[int]:
    """Return the inodes of the sockets that keep php-fpm from the address, as far as we see."""
    try:
        return frozenset(map(int, _find_sockets(address, proc).inodes))
    except (OSError, ValueError):
        return frozenset()


def _why_hidden(hidden: list[int], former_masters: frozenset[int], proc: str) -> str:
    # Docker grants root no CAP_SYS_PTRACE, without which it may not look into www-data's processes.
    mend = "CAP_SYS_PTRACE is needed" if os.geteuid() == 0 else "root may"
    why = f"we may not look into other users' processes ({mend}, to name the holder)"
    processes = [found for pid in hidden if (found := _process(pid, proc))]
    left = [str(process.pid) for process in processes if process.pgid in former_masters]
    return f"{why}; an earlier life of the program has left pid {' '.join(left)}" if left else why


# -- sockets ---------------------------------------------------------------------------------------


def _find_sockets(address: str, proc: str) -> _Sockets:
    """Return the sockets that keep php-fpm from the address. Raises OSError and ValueError."""
    if "/" in address:
        return _Sockets(inodes=_unix_inodes(address, proc), listening=True)
    host, _, port = address.rpartition(":")
    listening, connected = _tcp_inodes(_addresses(host.strip("[]")), int(port), proc)
    return _Sockets(inodes=listening or connected, listening=bool(listening))


def _addresses(host: str) -> tuple[_Address, ...]:
    """Return the addresses that a host stands for. Raises OSError where it is a name nobody knows.

    Without a host php-fpm tries `::` in silence, and fails for good by 0.0.0.0 only (php-src,
    fpm_sockets.c, seen with 8.2: somebody on [::1] does not stop it).
    """
    if host in {"", "*"}:
        return (ipaddress.IPv4Address(0),)
    if host == "localhost":
        return (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1"))
    try:
        return (_plain(host),)
    except ValueError:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return tuple(_plain(str(entry[4][0])) for entry in found)


def _plain(text: str | bytes) -> _Address:
    """Return an address without its zone, and an IPv4 address as such where IPv6 has wrapped it."""
    found = ipaddress.ip_address(text.partition("%")[0] if isinstance(text, str) else text)
    return getattr(found, "ipv4_mapped", None) or found


def _tcp_inodes(
    wanted: tuple[_Address, ...],
    port: int,
    proc: str,
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the inodes of sockets that listen there, and of others that have the port.

    The second kind is seen where an outgoing connection was given the port as its own.
    """
    listening: set[str] = set()
    connected: set[str] = set()
    ending = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        path = Path(proc, "net", table)
        if table == "tcp6" and not path.exists():
            continue  # a kernel without IPv6
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                words = line.split(maxsplit=10)
                if len(words) < 10 or not words[1].endswith(ending):
                    continue
                bound = _ip(words[1].removesuffix(ending))
                if any(_clash(bound, address) for address in wanted):
                    (listening if words[3] == _TCP_LISTENS else connected).add(words[9])
    # Inode 0: the kernel alone has it (TIME_WAIT); php-fpm's SO_REUSEADDR passes over that.
    return frozenset(listening), frozenset(connected - {"0"})


def _ip(text: str) -> _Address:
    """Return an address that the kernel printed as words of 32 bits in the host's byte order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return _plain(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _clash(bound: _Address, wanted: _Address) -> bool:
    """Return whether a socket bound to one address keeps another from being bound to the other."""
    if any(address == ipaddress.IPv6Address(0) for address in (bound, wanted)):
        # `::` also takes IPv4 unless it was told not to (IPV6_V6ONLY), which /proc does not show.
        return True
    if bound.version != wanted.version:
        return False
    return bound == wanted or bound.is_unspecified or wanted.is_unspecified


def _unix_inodes(path: str, proc: str) -> frozenset[str]:
    """Return the inodes of sockets that listen at `path`, by whatever way it was named to bind."""
    real, name = os.path.realpath(path), os.path.basename(path)  # noqa: PTH119 - texts stay texts
    found = set()
    with Path(proc, "net", "unix").open(
        encoding="utf-8", errors="surrogateescape", newline="\n"
    ) as lines:
        next(lines, None)
        for line in lines:
            words = line.rstrip("\n").split(maxsplit=7)
            if len(words) < 8 or not int(words[3], 16) & _UNIX_LISTENS:
                continue
            bound = words[7]
            if bound == path or (bound.endswith(f"/{name}") and os.path.realpath(bound) == real):
                found.add(words[6])
    return frozenset(found)


# -- processes -------------------------------------------------------------------------------------


def _owners(inodes: frozenset[str], proc: str) -> tuple[list[int], list[int]]:
    """Return the pids that have one of the sockets open, and those that could not be seen."""
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
    """Return what /proc tells of a process; None where it has ended: a zombie holds nothing."""
    folder = Path(proc, str(pid))
    try:
        words = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        state, ppid, pgid = words.rpartition(")")[2].split()[:3]
        title = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
        uid = folder.stat().st_uid
    except (OSError, ValueError):
        return None
    if state in "ZX":
        return None
    title = masked(title[:_COMMAND_READ].strip("\0 ").split("\0"))
    if not title:
        title = f"[{words[words.index('(') + 1 : words.rindex(')')]}]"
    unit, container = _placed(pid, proc)
    own_unit, own_container = _placed("self", proc)
    return _Process(
        pid=pid,
        ppid=int(ppid),
        pgid=int(pgid),
        command="".join(_shown(letter) for letter in title)[:_COMMAND_LENGTH],
        user=_user(uid),
        # What is in our own unit is no other service: to stop that would stop supervisord.
        unit=unit if unit != own_unit else None,
        container=container if container != own_container else None,
    )


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else repr(letter)[1:-1]


def _placed(pid: int | str, proc: str) -> tuple[str | None, str | None]:
    """Return the systemd unit and the container that a process runs in, as its cgroups tell."""
    try:
        groups = Path(proc, str(pid), "cgroup").read_text("utf-8", errors="replace")
    except OSError:
        return None, None
    unit, container = _UNIT.search(groups), _CONTAINER.search(groups)
    return (
        # Below user@1000.service is somebody's login session.
        unit[1] if unit and not unit[1].startswith("user@") else None,
        container[1][:12] if container else None,
    )


def _started(pid: int, proc: str) -> int | None:
    stat = read_stat(pid, proc)
    return None if stat is None else stat.started


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# -- what they are ---------------------------------------------------------------------------------


def _judge(process: _Process, proc: str) -> tuple[HolderKind, int]:
    """Return what a process is, and the pid that it shares with its fellows: its master's."""
    is_master = _MASTER.match(process.command) is not None
    if not is_master and not _WORKER.match(process.command):
        return HolderKind.OTHER, process.pgid
    for pid in {process.ppid, process.pgid} - {process.pid}:
        above = _process(pid, proc)
        # A worker that was forked this moment still has its master's title.
        if above and _MASTER.match(above.command):
            return HolderKind.MASTER, above.pid
    return (HolderKind.MASTER, process.pid) if is_master else (HolderKind.ORPHAN, process.pgid)


def _fold(
    processes: list[_Process],
    former_masters: frozenset[int],
    proc: str,
) -> tuple[Holder, ...]:
    """Return one holder for all that belong together; it is called after the one that leads."""
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
                started=_started(named.pid, proc),
                others=tuple(fellow.pid for fellow in fellows if fellow.pid != named.pid),
                unit=named.unit,
                container=named.container,
            ),
        )
    return tuple(holders)


def _connected(holder: Holder) -> Holder:
    return replace(holder, command=f"{holder.command}; does not listen: a connection from there")
