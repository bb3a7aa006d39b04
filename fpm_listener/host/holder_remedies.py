"""Remedies for a listen address that is in use, as sentences.

The guard imports this before it refuses a start, so it imports little.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.host.address_holders import Holder, HolderKind

if TYPE_CHECKING:
    from collections.abc import Sequence

_LISTENER = re.compile(r"fpm[-_]listener listen\b")


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
        return (
            "Wait for the next start: the listener releases the address after a failed start. If "
            "it does not, restart the listener: supervisorctl restart fpm-listener"
        )
    if holder.kind is HolderKind.ORPHAN:
        return (
            "End the orphaned workers, which finish their requests first: "
            f"kill -QUIT {whom(holder)}"
        )
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
    return f"Stop it (kill {holder.pid}), or give php-fpm another address"


def whom(holder: Holder) -> str:
    """Return the arguments of kill for orphans: the group of their dead master."""
    if holder.master_pid:
        return f"-- -{holder.master_pid}"
    return " ".join(str(pid) for pid in (holder.pid, *holder.others))


def is_itself(holder: Holder, config: str) -> bool:
    """Return whether a holder is a master of the same configuration."""
    return holder.kind is HolderKind.MASTER and bool(config) and f"({config})" in holder.command


def is_our_listener(holder: Holder) -> bool:
    """Return whether a holder is our own listener, which can hold sockets."""
    return _LISTENER.search(holder.command) is not None


def look(address: str | None) -> str:
    """Return how to see the holder of an address."""
    return f"{look_command(address)}, as root"


def look_command(address: str | None) -> str:
    """Return the command that shows the holder of an address."""
    if not address:
        return "ss -lxtnp"
    if "/" in address:
        return f"ss -lxp src {address}"
    return f"ss -ltnp 'sport = :{address.rpartition(':')[2]}'"
