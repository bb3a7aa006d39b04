"""Finds the sockets that keep php-fpm from a listen address, in /proc/net.

The guard imports this after a conflict, so it imports little.

Source: proc(5); include/net/tcp_states.h (0A = LISTEN, 07 = CLOSE, which UDP uses); af_unix.c (flag
00010000 = listens).
"""

from __future__ import annotations

import _socket
import os
import sys
from typing import NamedTuple

from fpm_listener.host.address_holders import UDP

#: By protocol: the state of a socket that listens, or that has no peer.
_LISTENS, _UNIX_LISTENS = {"tcp": "0A", "udp": "07"}, 0x10000
#: Addresses as bytes: 4 of IPv4, 16 of IPv6; an IPv4 address in IPv6 has 4.
_ALL_IPV4, _ALL_IPV6 = bytes(4), bytes(16)
_MAPPED = bytes(10) + b"\xff\xff"


class FoundSockets(NamedTuple):
    """The sockets in the way of one address."""

    inodes: frozenset[str]
    listening: bool  #: False: connections that have the address as their local one
    of_ipv6: frozenset[str] = frozenset()  #: sockets that can be for IPv6 only


def find_sockets(address: str, proc: str = "/proc") -> FoundSockets:
    """Return the sockets that keep a program from the address. Raises OSError and ValueError.

    address: TCP, a path of a unix socket, or UDP with `/udp` at its end.
    """
    is_udp = address.endswith(UDP) and not address.startswith("/")
    if "/" in address and not is_udp:
        return FoundSockets(_unix_inodes(address, proc), listening=True)
    host, _, port = address.removesuffix(UDP).rpartition(":")
    wanted = _addresses(host.strip("[]"))
    listening, connected, of_ipv6 = _inodes(wanted, int(port), proc, "udp" if is_udp else "tcp")
    return FoundSockets(listening or connected, listening=bool(listening), of_ipv6=of_ipv6)


def find_inodes(address: str, proc: str = "/proc") -> frozenset[int]:
    """Return the inodes of these sockets; empty if they cannot be found."""
    try:
        return frozenset(map(int, find_sockets(address, proc).inodes))
    except (OSError, ValueError):
        return frozenset()


def _addresses(host: str) -> tuple[bytes, ...]:
    """Return the addresses of a host. Raises OSError for an unknown name.

    Without a host php-fpm tries `::` first, and only 0.0.0.0 decides (php-src, fpm_sockets.c, seen
    with 8.2: a socket on [::1] does not stop it).
    """
    if host in {"", "*"}:
        return (_ALL_IPV4,)
    if host == "localhost":
        return (_packed("127.0.0.1"), _packed("::1"))
    try:
        return (_packed(host),)
    except OSError:
        found = _socket.getaddrinfo(host.encode(), None, type=_socket.SOCK_STREAM)
        return tuple(_packed(str(entry[4][0])) for entry in found)


def _packed(text: str) -> bytes:
    """Return an address as bytes, without its zone. Raises OSError."""
    family = _socket.AF_INET6 if ":" in text else _socket.AF_INET
    return _unmapped(_socket.inet_pton(family, text.partition("%")[0]))


def _unmapped(address: bytes) -> bytes:
    return address.removeprefix(_MAPPED) if len(address) == len(_ALL_IPV6) else address


def _inodes(
    wanted: tuple[bytes, ...], port: int, proc: str, protocol: str
) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    """Return the inodes of sockets that listen there, of others that have the port, and of IPv6.

    The second kind: the kernel has given the port to an outgoing connection.
    """
    listening: set[str] = set()
    connected: set[str] = set()
    of_ipv6: set[str] = set()
    ending = f":{port:04X}"
    for table in (protocol, f"{protocol}6"):
        path = f"{proc}/net/{table}"
        if table.endswith("6") and not os.path.exists(path):  # noqa: PTH110 - pathlib costs milliseconds
            continue  # a kernel without IPv6
        with open(path, encoding="utf-8") as lines:  # noqa: PTH123 - the same
            for line in lines:
                words = line.split(maxsplit=10)
                if len(words) < 10 or not words[1].endswith(ending):
                    continue
                bound = _from_table(words[1].removesuffix(ending))
                if any(_conflict(bound, address) for address in wanted):
                    (listening if words[3] == _LISTENS[protocol] else connected).add(words[9])
                    if table.endswith("6"):
                        of_ipv6.add(words[9])
    # Inode 0: only the kernel has it (TIME_WAIT), and php-fpm's SO_REUSEADDR ignores it.
    return frozenset(listening), frozenset(connected - {"0"}), frozenset(of_ipv6)


def _from_table(text: str) -> bytes:
    """Return an address that the kernel printed as words of 32 bits in the host's byte order."""
    words = (int(text[at : at + 8], 16) for at in range(0, len(text), 8))
    return _unmapped(b"".join(word.to_bytes(4, sys.byteorder) for word in words))


def _conflict(bound: bytes, wanted: bytes) -> bool:
    """Return whether a bound address keeps another one from being bound."""
    if _ALL_IPV6 in {bound, wanted}:
        # `::` includes IPv4 unless IPV6_V6ONLY is set, which /proc does not show.
        return True
    if len(bound) != len(wanted):
        return False
    return bound == wanted or _ALL_IPV4 in {bound, wanted}


def _unix_inodes(path: str, proc: str) -> frozenset[str]:
    """Return the inodes of sockets that listen at `path`, whatever name they were bound to."""
    real, name = os.path.realpath(path), os.path.basename(path)  # noqa: PTH119 - texts stay texts
    found = set()
    with open(  # noqa: PTH123 - pathlib costs milliseconds
        f"{proc}/net/unix", encoding="utf-8", errors="surrogateescape", newline="\n"
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
