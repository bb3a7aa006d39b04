"""Finds the user name and password of supervisord's http server in its configuration.

supervisord gives its children only the URL (SUPERVISOR_SERVER_URL).

Laws:
1. No text contains a password: no reason, no error, no `repr`.
2. Files count only if root, our own user or the user of supervisord owns them: the main file, and
   those with the address and the login. Another user could name his own server.
3. The login of another server is never sent.

Source: supervisor/options.py, `server_configs_from_parser`; supervisor/process.py, `spawn`;
supervisor/http.py, `SupervisorAuthHandler` (4.2.5 and 4.3.0).
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fpm_listener.supervisor import conf_texts, config_path, ini_lines
from fpm_listener.supervisor.ini_values import get

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.supervisor.ini_lines import ConfigSection

#: How supervisord marks a password of which it has only the hash.
HASHED = "{SHA}"
#: Addresses of this host, and those with which a server listens on all of them.
_LOCAL = {"", "*", "0.0.0.0", "localhost", "127.0.0.1", "::1"}  # noqa: S104 - compared


class Login:
    """A user name and a password, which nothing prints."""

    __slots__ = ("name", "password")

    def __init__(self, name: str, password: str) -> None:
        self.name = name
        self.password = password


def of_running(
    supervisord_pid: int | None, environment: Mapping[str, str]
) -> Callable[[str], Login | str]:
    """Return a search in the configuration of a running supervisord."""

    def find_it(url: str) -> Login | str:
        path = None if supervisord_pid is None else config_path.find_conf(supervisord_pid)
        if path is None:
            return "supervisord's configuration file was not found"
        return find(url, path, environment, _owner(f"/proc/{supervisord_pid}"))

    return find_it


def in_file(path: str, environment: Mapping[str, str]) -> Callable[[str], Login | str]:
    """Return a search in the configuration at `path`."""
    return partial(find, path=path, environment=environment)


def find(
    url: str, path: str, environment: Mapping[str, str], owner: int | None = None
) -> Login | str:
    """Return the login for a URL in the configuration at `path`, or why there is none.

    owner: the uid of supervisord, None = unknown.
    """
    try:
        texts = conf_texts.read(path, environment)
    except OSError as error:
        return f"{error.filename or path} cannot be read: {error.strerror}"
    wanted = _normal(url)
    for section in ini_lines.scan(texts.files).values():
        if wanted is not None and _address(section, texts.expansions) == wanted:
            files = {path, *(line.file for line in section.lines.values())}
            strange = [one for one in files if _owner(one) not in {0, os.geteuid(), owner}]
            if strange:
                return f"{min(strange)} belongs to another user"
            return _login(section, texts.expansions)
    return f"{path} has no server with this address"


def _login(section: ConfigSection, expansions: Mapping[str, str]) -> Login | str:
    place = section.where("password")
    name = get(section, "username", "", expansions)
    password = get(section, "password", "", expansions)
    if name is None or password is None:
        return f"{place} has a value with a variable that is not set here"
    if not password:
        return f"{place} has no password"
    if password.startswith(HASHED):
        return f"{place} contains only the hash of the password"
    return Login(name, password)


def _owner(path: str) -> int | None:
    try:
        return os.stat(path).st_uid  # noqa: PTH116 - a text stays a text
    except OSError:
        return -1


def _address(section: ConfigSection, expansions: Mapping[str, str]) -> str | None:
    """Return the address of a section as `_normal` does; None = it is not a server."""
    kind = section.name.partition(":")[0]
    if kind == "unix_http_server":
        return _normal(f"unix://{get(section, 'file', '', expansions) or ''}")
    if kind == "inet_http_server":
        port = get(section, "port", "", expansions) or ""
        return _normal(f"http://{port if ':' in port else f':{port}'}")
    return None


def _normal(url: str) -> str | None:
    """Return an address in one spelling; None = it is not understood."""
    if url.startswith("unix://"):
        file = os.path.expanduser(url.removeprefix("unix://"))  # noqa: PTH111 - a text stays a text
        return f"unix://{os.path.abspath(file)}" if file else None  # noqa: PTH100 - the same
    host, _, port = urlsplit(url).netloc.rpartition(":")
    host = host.lower().strip("[]")
    return f"http://{'localhost' if host in _LOCAL else host}:{port}" if port.isdecimal() else None
