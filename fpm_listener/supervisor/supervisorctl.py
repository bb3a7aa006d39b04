"""The supervisorctl command that reaches one supervisord, and the names of its programs.

Laws:
1. supervisorctl reads only the main file, and refuses a file without [supervisorctl], even with -s.
2. A command contains no password.

Source: supervisor/options.py, `ClientOptions` and `server_configs_from_parser` (4.2.5 and 4.3.0).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.supervisor import ini_lines
from fpm_listener.supervisor.ini_values import get
from fpm_listener.untrusted_text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.supervisor.ini_lines import ConfigSection

    Sections = Mapping[str, ConfigSection]

#: supervisorctl's default.
_DEFAULT_URL = "http://localhost:9001"
_PORT = re.compile(r"(?:.*:)?([0-9]{1,5})/?")
_KINDS = ("program", "fcgi-program", "eventlistener")


class _Server(NamedTuple):
    url: str
    has_password: bool


def command(
    main: tuple[str, str],
    sections: Sections,
    expansions: Mapping[str, str],
    default: tuple[str, str] | None,
    program: str = "supervisorctl",
) -> str | None:
    """Return the command without its verb; None if no supervisorctl can reach this supervisord.

    main: path and text of its main file; sections: of all its files; default: path and text of the
    file that supervisorctl reads without -c, if there is one.
    """
    servers = [
        server
        for name in ("unix_http_server", "inet_http_server")
        if (server := _server(sections.get(name), expansions)) is not None
    ]
    if not servers or not any(name.startswith("rpcinterface:") for name in sections):
        return None
    client = ini_lines.scan([main]).get("supervisorctl")
    if client is not None:
        url = get(client, "serverurl", _DEFAULT_URL, expansions)
        reached = next((one for one in servers if url and _is_same(url, one.url)), None)
        if reached is not None:
            is_default = default is not None and default[0] == main[0]
            option = "" if is_default else f" -c {quoted(main[0])}"
            needs_login = reached.has_password and "password" not in client.lines
            return f"{program}{option}{_login(needs_login)}"
    if default is not None and "supervisorctl" not in ini_lines.scan([default]):
        return None  # law 1
    server = servers[0]
    return f"{program} -s {quoted(server.url)}{_login(server.has_password)}"


def _login(needs_login: bool) -> str:  # noqa: FBT001 - its only argument
    return " -u USER -p PASSWORD" if needs_login else ""


def _server(section: ConfigSection | None, expansions: Mapping[str, str]) -> _Server | None:
    if section is None:
        return None
    has_password = "password" in section.lines
    if section.name == "unix_http_server":
        file = get(section, "file", "", expansions)
        return _Server(f"unix://{file}", has_password) if file else None
    port = _PORT.fullmatch(get(section, "port", "", expansions) or "")
    return _Server(f"http://127.0.0.1:{port[1]}", has_password) if port else None


def _is_same(url: str, server: str) -> bool:
    """Return whether a URL of supervisorctl reaches a server on this host."""
    if url.startswith("unix://") or server.startswith("unix://"):
        return url == server
    port, own = _PORT.fullmatch(url), _PORT.fullmatch(server)
    return port is not None and own is not None and port[1] == own[1]


def name_of_program(
    sections: Sections, expansions: Mapping[str, str], executable: str, conf: str
) -> str | None:
    """Return the name of the program that runs this executable; None if it is not certain.

    executable: its file name; conf: the configuration in its title, may be empty.
    """
    found = {
        name: words
        for name, words in _commands(sections, expansions)
        if any(word.rpartition("/")[2] == executable for word in words)
    }
    with_conf = [name for name, words in found.items() if conf and conf in words]
    names = with_conf or list(found)
    return _shown(sections, expansions, names[0]) if len(names) == 1 else None


def _commands(sections: Sections, expansions: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    for section in sections.values():
        kind, _, name = section.name.partition(":")
        if kind not in _KINDS or not name:
            continue
        known = {**expansions, "program_name": name, "group_name": name, "process_num": "0"}
        words = (get(section, "command", "", known) or "").split()
        yield name, [word.strip("'\"") for word in words]


def _shown(sections: Sections, expansions: Mapping[str, str], name: str) -> str:
    """Return the name for supervisorctl: `name`, `group:name`, or `group:*` for several."""
    section = next(sections[f"{kind}:{name}"] for kind in _KINDS if f"{kind}:{name}" in sections)
    groups = (
        one.name.removeprefix("group:")
        for one in sections.values()
        if one.name.startswith("group:")
        and name in re.split(r"\s*,\s*", (get(one, "programs", "", expansions) or "").strip())
    )
    group = next(groups, name)
    if "process_name" in section.lines or "numprocs" in section.lines:
        return f"{group}:*"
    return name if group == name else f"{group}:{name}"
