"""Rules on supervisord's servers, and on supervisorctl, which uses them.

Each consequence was measured with supervisor 4.3.0.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import folder_of, whole
from fpm_listener.doctor.rule import match, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Section
    from fpm_listener.doctor.rule import Match

FACTORY = "supervisor.rpcinterface_factory"
INTERFACE = "supervisor.rpcinterface:make_main_rpcinterface"
#: The names of this host in a URL.
_LOCAL = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]|0\.0\.0\.0|\*):(\d+)")


@rule("FPM162", whole)
def other_server(config: CheckedConfig) -> Iterator[Match]:
    """supervisorctl asks the URL of its own section only."""
    section = config.section("supervisorctl")
    servers = config.supervisord.get("servers") or ()
    line = section.lines.get("serverurl")
    if line is None or not servers:
        return  # FPM101
    url = line.value.replace("%(here)s", folder_of(line.file))
    known = {_normal(server.get("url") or "") for server in servers}
    is_here = url.startswith("unix://") or _LOCAL.match(url)
    if is_here and "%" not in url and _normal(url) not in known:
        better = min(known, key=lambda one: not one.startswith("unix:"))
        yield match(section, "serverurl", {"serverurl": better}, url=url)


def _normal(url: str) -> str:
    """Return a URL in one spelling."""
    if url.startswith("unix://"):
        return "unix://" + re.sub("/{2,}", "/", url.removeprefix("unix://"))
    found = _LOCAL.match(url)
    return f"http://127.0.0.1:{found[1]}" if found else url


@rule("FPM163", whole)
def no_interface(config: CheckedConfig) -> Iterator[Match]:
    """The server answers, but it knows no method."""
    has_interface = any(
        section.lines[FACTORY].value.startswith(INTERFACE.partition(":")[0])
        for section in config.all_sections
        if section.name.startswith("rpcinterface:") and FACTORY in section.lines
    )
    servers = config.supervisord.get("servers") or ()
    files = {section.place.file for section in config.all_sections}
    # In a repository, included files can be elsewhere. They can have the section.
    is_partial = "include" in config.sections and len(files) == 1
    if servers and not has_interface and not (is_partial or _is_included(config)):
        section = config.section("rpcinterface:supervisor")
        yield match(section, FACTORY, {FACTORY: INTERFACE}, server=_name(config, servers[0]))


def _is_included(config: CheckedConfig) -> bool:
    """Return whether the main file is elsewhere: that of Debian's package has the section."""
    unix = config.sections.get("unix_http_server")
    is_part = unix is not None and "file" not in unix.lines
    is_below = any(".d/" in section.place.file for section in config.all_sections)
    return config.partial is not None and (is_part or is_below)


def _name(config: CheckedConfig, server: Mapping[str, object]) -> str:
    """Return the section of a server."""
    kind = f"{server.get('family')}_http_server"
    return str(server.get("section") or (kind if kind in config.sections else "unix_http_server"))


@rule("FPM164", whole)
def open_socket(config: CheckedConfig) -> Iterator[Match]:
    """To connect, a user needs the right to write."""
    for section in config.all_sections:
        if section.name.partition(":")[0] == "unix_http_server":
            mode = _mode(section)
            if mode & 0o002 and "password" not in section.lines:
                yield match(section, "chmod", {}, value=f"{mode:04o}")


def _mode(section: Section) -> int:
    line = section.lines.get("chmod")
    found = line and re.fullmatch(r"0?o?([0-7]{3})", line.value)
    return int(found[1], 8) if found else 0


RULES = (other_server, no_interface, open_socket)
