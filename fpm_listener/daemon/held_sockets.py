"""What the keeper's thread knows, and what its owner orders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host import procfs

if TYPE_CHECKING:
    import socket

    from fpm_listener.host import socket_paths
    from fpm_listener.supervisor.process import ProcessName


class Answer(NamedTuple):
    """The owner's answer to a guard."""

    ticket: int
    refused: str | None


class Release(NamedTuple):
    """The owner's order to let go."""

    process: ProcessName
    addresses: tuple[str, ...]


class LookAtDoors(NamedTuple):
    """The owner's order to see whether guards still find us."""


class Stop(NamedTuple):
    """The owner's order to release everything and to end."""


Order = Answer | Release | LookAtDoors | Stop


@dataclass(slots=True, kw_only=True)
class Held:
    """One held socket."""

    key: str
    address: str
    fd: int
    name: socket_paths.HeldPath | None = None  # of a unix socket


@dataclass(slots=True, kw_only=True)
class Guard:
    """A conversation with one guard."""

    connection: socket.socket
    pid: int
    ends_at_s: float
    has_version: bool  #: it came through the abstract socket, which older guards do not know
    process: ProcessName | None = None
    ticket: int = 0
    offered: bool = False


@dataclass(slots=True)
class Site:
    """What is held for one process."""

    held: dict[str, Held] = field(default_factory=dict)  # by key
    master: tuple[int, int] = (0, 0)  # pid and start of who was given them last
    check_at_s: float | None = None  # monotonic; when that master must serve
    stamp: str = ""
    watched: tuple[str, ...] = ()


def is_alive(site: Site) -> bool:
    """Return whether the master that was given the sockets lives, or may live."""
    pid, started = site.master
    if not pid:
        return True  # in another pid namespace: who knows; its name is its own to remove
    found = procfs.read_stat(pid)
    return found is not None and found.started == started and not found.has_ended


def close(held: Held, *, alive: bool) -> None:
    """Close our end; a php-fpm that lives goes on with its own, and removes its name itself."""
    os.close(held.fd)
    if held.name is not None:
        held.name.forget(first_too=not alive)
