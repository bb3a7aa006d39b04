"""Finds the address in a line of any program that could not listen on it.

Laws:
1. A line counts only with words that say "in use" about an address or a port.
2. The line is untrusted text: an address is bounded, and without control characters.
3. An address is returned as `host_addresses` and `/proc` can compare it: `0.0.0.0:80`, `[::]:80`,
   `*:80`, `/run/x.sock`. UDP has `/udp` at its end.

Source: messages of the programs in tests/data/bind-messages.txt.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fpm_listener.host.address_holders import UDP

#: Words of the kernel and of libraries, and of programs that have their own. 98, 48: EADDRINUSE.
_IN_USE = re.compile(
    r"address (?:is )?already in use|(?:^|[:)(\[\"'-] ?)address in use"
    r"|eaddrinuse|\baddrinuse\b"
    r"|\b(?:bind\w{0,9}|listen\w{0,9}|address|port|socket)\b.{0,200}\((?:already )?in use\)"
    r"|connection in use: [(/]|\[errno (?:98|48)\]|\(os error 98\)|\(98: address"
    r"|\bport\W{1,3}\d{1,5}\W{1,3}(?:is|was) (?:already )?in use|\bport is already in use"
    r"|(?:that|specified) port(?: '?\d{1,5}'?)? is already in use"
    r"|\bport \d{1,5} (?:already )?in use|is port \d{1,5} in use"
    r"|(?:something|another \w{1,20}) is already (?:running|listening) on"
    r"|another mysqld server running on (?:port|socket)"
    r"|another postmaster already running on port|instance of uwsgi is running on the same address"
    r"|is already listening on port",
    re.IGNORECASE,
)
#: Lines about a client's connection or request, or about a program that takes another port.
_OTHER = re.compile(
    r"\bconnect(?:\(|ing|ed)?\b(?! in use)|trying (?:another|next|a different)|\binstead\b"
    r"|using (?:another|available) port|permission denied|cannot assign requested"
    r"|\"(?:GET|POST|HEAD|PUT|PATCH|DELETE|OPTIONS) ",
    re.IGNORECASE,
)

_PORT = r"(?P<port>[0-9]{1,5})(?![0-9]|[.:/-][0-9])"
_V4 = r"(?P<v4>(?:[0-9]{1,3}\.){3}[0-9]{1,3})"
_V6 = r"(?P<v6>[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}(?:%[\w.-]{1,16})?)"
_NAME = r"(?P<name>localhost)"  # another name would be looked up: the text is untrusted
_NUMBER = rf"(?:{_V4}|\[?{_V6}\]?|(?P<all>\*))"
_HOST = rf"(?:{_V4}|\[?{_V6}\]?|{_NAME}|(?P<all>\*))"
_PATH = r"(?P<path>/[^\s'\"\]\),;\x00-\x1f]{1,107})"

#: Where programs write the address; the first one that is found counts.
_PLACES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"unix[: ]{{1,2}}{_PATH}",  # nginx, Go
        rf"(?:[Uu]nix|UNIX) (?:domain )?socket(?: \(already in use\))? ?[\"'\[]{_PATH}",
        rf"running on socket: {_PATH}",  # mysqld
        rf"(?:^|[\s'\"\[(=]){_PATH.replace('{1,107}', '{0,90}[.]sock(?:et)?')}",
        # ('0.0.0.0', 8000), ('::', 8000, 0, 0), of Python
        rf"\('{_HOST}?', {_PORT}",
        # for "0.0.0.0" port 3000, of Ruby; on 0.0.0.0 port 25; for 127.0.0.1 port 53
        rf"[\"' ]{_NUMBER}[\"']?,? port {_PORT}",
        rf"[Pp]ort {_PORT} (?:on|of) {_NUMBER}",  # sshd
        rf"bind\({_HOST}, {_PORT}\)",  # Dovecot
        r"\{(?P<erlang>[0-9]{1,3}(?:,[0-9]{1,5}){3,7})\},(?P<port>[0-9]{1,5})\}",
        rf"(?<![\w.]){_V4}[:/]{_PORT}",
        rf"\[{_V6}\]:{_PORT}",
        rf"(?P<all>(?<![\w*])\*):{_PORT}",
        rf"(?:^|[\s'\"(])(?P<v6>::[0-9a-fA-F:]{{0,40}}):{_PORT}",  # :::3000 of Node.js, ::1:6379
        rf"(?:^|(?<=[\s\[(=])|(?<=[\s\[(=]['\"]))(?P<all>):{_PORT}",  # :8080, of Go
        rf"(?:[ '\"/]|\bon |\bto |://){_NAME}:{_PORT}",
        rf"bind to:? \[(?P<all>){_PORT}\]",  # Elasticsearch
        rf"\b[Pp]ort(?: number)?[:=]?[ '\"\[(]{{1,3}}(?P<all>){_PORT}",
        rf"PORT[:= ]{{1,2}}(?P<all>){_PORT}",
        rf"http-\w{{1,9}}-(?P<all>){_PORT}",  # Tomcat
        rf"for address '(?P<all>){_PORT}'",  # php-fpm with `listen = 9000`
    )
)
#: Lines that show only the address; another line says that it is in use.
_SHOWS_ADDRESS = re.compile(
    r"failed to bind to\b|listen socket on port|ProtocolHandler \[\"http-|cannot bind socket \["
    r"|^ {1,8}port: [0-9]{1,5},?$",
    re.IGNORECASE,
)
_UDP = re.compile(r"\budp[46]?\b", re.IGNORECASE)
_TCP = re.compile(r"\btcp[46]?\b", re.IGNORECASE)


#: Words for other reasons why a program cannot listen. The line must name the address.
_LISTENS = re.compile(r"\b(?:bind|listen)", re.IGNORECASE)
_DENIED = re.compile(r"permission denied|\bEACCES\b|operation not permitted", re.IGNORECASE)
_ABSENT = re.compile(
    r"cannot assign requested address|can't assign requested address|\bEADDRNOTAVAIL\b"
    r"|(?:^|[:)(\[\"'-] ?)address not available",
    re.IGNORECASE,
)
_CLIENT = re.compile(r"\bconnect|\"(?:GET|POST|HEAD|PUT|PATCH|DELETE|OPTIONS) ", re.IGNORECASE)
#: Ports below this one are reserved for root.
_FIRST_UNPRIVILEGED_PORT = 1024


class InUse(NamedTuple):
    """What a line says about an address in use."""

    address: str | None  #: None = the line does not say which


def parse(line: str) -> InUse | None:
    """Return the address that a line says is in use; None = it does not say that."""
    if _IN_USE.search(line) is None or _OTHER.search(line) is not None:
        return None
    return InUse(_find(line))


def forbidden_port(line: str) -> str | None:
    """Return the address that a program may not use, because its port is reserved for root."""
    address = _refused(line, _DENIED)
    port = address.removesuffix(UDP).rpartition(":")[2] if address else ""
    return address if port.isdecimal() and int(port) < _FIRST_UNPRIVILEGED_PORT else None


def absent_address(line: str) -> str | None:
    """Return the address that a program cannot use, because this host does not have it."""
    address = _refused(line, _ABSENT)
    return None if address is None or address.startswith(("/", "*")) else address


def _refused(line: str, reason: re.Pattern[str]) -> str | None:
    is_own = reason.search(line) and _LISTENS.search(line) and not _CLIENT.search(line)
    return _find(line) if is_own else None


def shown_address(line: str) -> str | None:
    """Return the address that a line shows, if another line says that an address is in use."""
    return _find(line) if _SHOWS_ADDRESS.search(line) else None


def _find(line: str) -> str | None:
    for place in _PLACES:
        for found in place.finditer(line):
            if (address := _address(found.groupdict())) is not None:
                is_udp = _UDP.search(line) and not _TCP.search(line) and "/" not in address
                return f"{address}{UDP}" if is_udp else address
    return None


def _address(found: dict[str, str | None]) -> str | None:
    """Return an address from the groups of a pattern; None = it is none."""
    if path := found.get("path"):
        return path.rstrip(".:")
    port = int(found.get("port") or 0)
    if not 0 < port < 65536:
        return None
    if v4 := found.get("v4"):
        return f"{v4}:{port}" if all(int(part) < 256 for part in v4.split(".")) else None
    if v6 := found.get("v6"):
        return f"[{v6}]:{port}"
    if numbers := found.get("erlang"):
        return f"{_erlang(numbers)}:{port}"
    return f"{found.get('name') or '*'}:{port}"


def _erlang(numbers: str) -> str:
    """Return the host of an address as Erlang prints it: `0,0,0,0`, or eight numbers of IPv6."""
    parts = numbers.split(",")
    if len(parts) == 4:
        return ".".join(parts)
    return "[::]" if not any(map(int, parts)) else f"[{':'.join(f'{int(one):x}' for one in parts)}]"
