"""A listen address as php-fpm writes it.

Laws:
1. An address that php-fpm cannot listen on is a value too, `UnusableAddress`, with a reason.
   `php-fpm -t` accepts most of them, so they occur.
2. No name is resolved. Only `localhost` counts as 127.0.0.1, although the hosts file can differ.

Source: php-src sapi/fpm/fpm/fpm_sockets.c; each form was started with php-fpm 8.2.36.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

_PORT = re.compile(r"[ \t]*\+?0*([0-9]{1,5})")  # as atoi(3) and getaddrinfo(3) take it
_NAME = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_BYTE = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]{0,9}")
_GROUP = re.compile(r"[0-9a-fA-F]{1,4}")
#: Hosts that stand for all addresses of this host; None = a bare port.
EVERYWHERE = {None, "0.0.0.0", "::"}  # noqa: S104 - compared, not bound
#: Bytes of the longest unix path, without the final zero (unix(7)).
_SUN_PATH = 107


class TcpAddress(NamedTuple):
    """A port on one address of this host, or on all of them."""

    text: str  #: as configured
    host: str | None  #: name or number, without brackets; None = a bare port: `::`, else `0.0.0.0`
    port: int

    @property
    def is_numeric(self) -> bool:
        """Return whether the host needs no resolver."""
        return self.host is None or _ipv4(self.host) is not None or _ipv6(self.host) is not None


class UnixAddress(NamedTuple):
    """A unix socket."""

    text: str  #: as configured
    path: str  #: as bound: php-fpm cuts it to the longest length


class UnusableAddress(NamedTuple):
    """A text that php-fpm accepts as an address, and cannot listen on."""

    text: str  #: as configured
    why: str  #: one clause


Address = TcpAddress | UnixAddress | UnusableAddress


@lru_cache(maxsize=256)  # the same pools are looked at every few seconds
def parse(text: str) -> Address:
    """Return the address that php-fpm reads from `text`.

    text: with expansions; a relative path (see `is_path`) is already below its prefix.
    """
    if not text:
        return UnusableAddress(text=text, why="it is empty")
    if is_path(text):
        raw = _bytes(text)
        path = raw[:_SUN_PATH].decode(errors="ignore") if len(raw) > _SUN_PATH else text
        return UnixAddress(text=text, path=path)
    host, colon, port_text = text.rpartition(":")
    port = _PORT.fullmatch(port_text)
    if not port or not 0 < int(port[1]) < 65536:
        hint = "; a unix socket is written without unix:" if host == "unix" else ""
        return UnusableAddress(text=text, why=f"{port_text!r} is not a port from 1 to 65535{hint}")
    if colon and host[:1] == "[" and host[-1:] == "]":
        host = host[1:-1]
    if colon and not _NAME.fullmatch(host) and _ipv6(host) is None:
        return UnusableAddress(text=text, why=f"{host!r} is not a host name or an IP address")
    return TcpAddress(text=text, host=host if colon else None, port=int(port[1]))


def _bytes(text: str) -> bytes:
    try:
        return text.encode(errors="surrogateescape")  # as files and the environment are read
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


def is_path(text: str) -> bool:
    """Return whether `text` is a path for php-fpm: no colon, and not only digits."""
    return ":" not in text and not re.fullmatch(r"[0-9]*", text)


def same(one: Address, other: Address) -> bool:
    """Return whether two spellings mean the same socket.

    True for `[0:0:0:0:0:0:0:1]:9000` and `[::1]:9000`, for `9000` and `[::]:9000`. False if both
    only conflict, such as `9000` and `127.0.0.1:9000`, and for unusable addresses.
    """
    key = _key(one)
    return key is not None and key == _key(other)


def port_or_path(address: Address) -> object:
    """Return what two addresses that clash have in common: many are compared without each pair."""
    return address.port if isinstance(address, TcpAddress) else _key(address)


def clash(one: Address, other: Address) -> bool:
    """Return whether only one of two addresses can be bound; also if they are the same."""
    if same(one, other):
        return True
    if not isinstance(one, TcpAddress) or not isinstance(other, TcpAddress):
        return False
    hosts = one.host, other.host
    if one.port != other.port or not EVERYWHERE.intersection(hosts):
        return False
    # 0.0.0.0 does not include an address of IPv6; `::` includes all of IPv4.
    is_both = None in hosts or "::" in hosts
    return is_both or not any(":" in host for host in hosts if host)


def client_target(address: TcpAddress | UnixAddress) -> tuple[str, int] | str:
    """Return what a client on this host connects to: host and port, or a path."""
    if isinstance(address, UnixAddress):
        return address.path
    host = address.host or "127.0.0.1"  # a bare port: every address
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), address.port  # noqa: S104 - not bound


@lru_cache(maxsize=256)
def packed(host: str) -> bytes | None:
    """Return a numeric host as 4 bytes of IPv4 or 16 of IPv6, without its zone; None for a name.

    `localhost` is 127.0.0.1 (law 2), and an IPv4 address in IPv6 has 4 bytes.
    """
    if host.lower() == "localhost":
        return bytes((127, 0, 0, 1))
    ipv4, ipv6 = _ipv4(host), _ipv6(host)
    if ipv4 is not None:
        return bytes(ipv4)
    if ipv6 is None:
        return None
    whole = b"".join(int(str(group)).to_bytes(2, "big") for group in ipv6[:-1])
    return whole[12:] if whole.startswith(bytes(10) + b"\xff\xff") else whole


def _key(address: Address) -> object:
    match address:
        case TcpAddress(host=host, port=port):
            return _number("::" if host is None else host), port
        case UnixAddress(path=path):
            parts = [part for part in path.split("/") if part not in {"", "."}]
            return path.startswith("/"), *parts
        case _:
            return None


def _number(host: str) -> object:
    if host.lower() == "localhost":
        return 127, 0, 0, 1
    return _ipv4(host) or _ipv6(host) or host.lower()


def _ipv4(text: str) -> tuple[int, ...] | None:
    """Return the bytes of an address in a form of inet_aton(3), such as 127.1."""
    parts = text.split(".")
    if len(parts) > 4 or not all(_BYTE.fullmatch(part) for part in parts):
        return None
    *first, last = (int(part, _base(part)) for part in parts)
    if any(byte > 255 for byte in first) or last >= 256 ** (4 - len(first)):
        return None
    return (*first, *last.to_bytes(4 - len(first), "big"))


def _base(digits: str) -> int:
    if digits[:2] in {"0x", "0X"}:
        return 16
    return 8 if digits[0] == "0" else 10


def _ipv6(text: str) -> tuple[object, ...] | None:
    """Return the eight groups and the zone."""
    number, _, zone = text.partition("%")
    head, _, tail = number.rpartition(":")
    if "." in tail:
        quad = _ipv4(tail) if tail.count(".") == 3 else None
        if quad is None:
            return None
        number = f"{head}:{quad[0] << 8 | quad[1]:x}:{quad[2] << 8 | quad[3]:x}"
    head, gap, tail = number.partition("::")
    left, right = _groups(head), _groups(tail)
    if left is None or right is None:
        return None
    missing = 8 - len(left) - len(right)
    if missing < 1 if gap else missing:
        return None
    return (*left, *[0] * missing, *right, zone)


def _groups(text: str) -> tuple[int, ...] | None:
    parts = text.split(":") if text else []
    if not all(_GROUP.fullmatch(part) for part in parts):
        return None
    return tuple(int(part, 16) for part in parts)
