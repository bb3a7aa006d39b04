"""Remedies for a listen address that is in use, as sentences.

The guard imports this before it refuses a start, so it imports little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.host.address_holders import UDP, Holder, HolderKind, HolderSupervisor
from fpm_listener.untrusted_text import quoted

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

#: Kinds of supervisors that are containers.
CONTAINERS = frozenset({"docker", "podman", "container"})
_LONGEST_PORT = 5
_LISTENER = re.compile(r"fpm[-_]listener(?:-\d[\d.]*\d)?(?:\.pyz)? listen\b", re.ASCII)


def free(holders: Sequence[Holder], config: str = "") -> str:
    """Return one sentence that says how to free the address.

    If our listener is among the holders, only it matters: orphans beside it serve the site, and
    their end would not free the address.
    """
    listener = next((holder for holder in holders if is_our_listener(holder)), None)
    return end(listener or holders[0], config)


def end(holder: Holder, config: str = "") -> str:
    """Return one sentence that says how to free the address from one holder.

    config: the path of the configuration of the php-fpm that wants the address.
    """
    if is_our_listener(holder):
        restart = restart_listener(holder)
        return (
            "Wait for the next start: the listener releases the address after a failed start. If "
            f"it does not, restart the listener{f': {restart}' if restart else ''}"
        )
    if holder.kind is HolderKind.ORPHAN:
        return (
            "End the orphaned workers, which finish their requests first: "
            f"kill -QUIT {whom(holder)}"
        )
    if holder.supervisor:
        return _stop_supervised(holder, holder.supervisor)
    if holder.unit:
        return f"Stop the other service for good: systemctl disable --now {holder.unit}"
    if is_itself(holder, config):
        return (
            f"Stop it (kill -QUIT {holder.pid}): it runs this very configuration, in the "
            "background (no -F in its command, and daemonize = yes) or started by hand"
        )
    if holder.kind is HolderKind.MASTER:
        return (
            f"Stop the other php-fpm (kill -QUIT {holder.pid}), and find out what starts it: "
            "a distribution's service, or daemonize = yes"
        )
    return f"Stop it (kill {holder.pid}), or use another address"


def _stop_supervised(holder: Holder, supervisor: HolderSupervisor) -> str:
    """Return how to stop a program that its supervisor starts again after a kill."""
    stop = supervisor.stop
    if supervisor.kind in CONTAINERS:
        if stop is None:
            return f"Stop its {supervisor.place}, which can start it again after a kill"
        return f"Stop its container, which can start it again after a kill: {stop}"
    if supervisor.ours:
        what = "It is another program of this supervisord: give one of them another address"
        return f"{what}, or stop it: {stop}" if stop else what
    who = str(supervisor).replace("another ", "Another ", 1)
    what = f"{who} starts it again after a kill"
    if stop:
        return f"{what}. Stop it there: {stop}"
    if supervisor.status:
        return f"{what}. Stop it there; this command shows its name: {supervisor.status}"
    command = stop_supervisor(holder, supervisor)
    if command is None:
        return f"{what}. Stop it there"
    return f"{what}. Stop that {supervisor.kind}: {command}"


def stop_supervisor(holder: Holder, supervisor: HolderSupervisor) -> str | None:
    """Return the command that stops a supervisord which no supervisorctl can reach."""
    if supervisor.kind != "supervisord":
        return None  # something starts runsv or s6-supervise again
    return f"systemctl disable --now {holder.unit}" if holder.unit else f"kill {supervisor.pid}"


def restart_listener(holder: Holder) -> str | None:
    """Return the command that restarts our listener, which holds the address; None = unknown."""
    return holder.supervisor.restart if holder.supervisor else None


def whom(holder: Holder) -> str:
    """Return the arguments of kill for orphans: the group of their dead master.

    Without `--`: the kill of dash, which is sh on Debian, rejects it after a signal.
    """
    if holder.master_pid:
        return f"-{holder.master_pid}"
    return " ".join(str(pid) for pid in (holder.pid, *holder.others))


def is_itself(holder: Holder, config: str) -> bool:
    """Return whether a holder is a master of the same configuration."""
    return holder.kind is HolderKind.MASTER and bool(config) and f"({config})" in holder.command


def is_our_listener(holder: Holder) -> bool:
    """Return whether a holder is our own listener, which can hold sockets."""
    return _LISTENER.search(holder.command) is not None


def look(address: str | None, tools: Container[str]) -> str:
    """Return how to see the holder of an address."""
    return f"{look_command(address, tools)}, as root"


def look_command(address: str | None, tools: Container[str]) -> str:
    """Return the command that shows the holder of an address; tools: the commands of this host.

    Without tools, it shows no process, but its user and the inode of its socket.
    """
    if not address:
        usual, netstat, without = "ss -lxtnp", "netstat -lxtnp", "cat /proc/net/tcp /proc/net/unix"
    elif "/" in address.removesuffix(UDP):
        path = quoted(address)
        usual, netstat = f"ss -lxp src {path}", f"netstat -lxp | grep -F {path}"
        without = f"grep -F {path} /proc/net/unix"
    else:
        port, udp, _ = address.rpartition(":")[2].partition(UDP)
        kind, table = ("u", "udp") if udp else ("t", "tcp")
        usual = f"ss -l{kind}np 'sport = :{port}'"
        netstat = f"netstat -l{kind}np | grep ':{port} '"
        number = int(port) if port.isdecimal() and len(port) <= _LONGEST_PORT else 0
        without = f"grep ':{number:04X} ' /proc/net/{table} /proc/net/{table}6"
    if "ss" in tools:
        return usual
    return netstat if "netstat" in tools else without
