"""Finds the address on which a command probably listens: `--port 8080`, `-b 0.0.0.0:8000`.

Law: this is a guess from names of options. It is used only if the program says that its address is
in use without naming it, and only if another process listens there.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PORT = re.compile(r"[0-9]{1,5}")
_ADDRESS = re.compile(
    r"(?:[a-z]{1,10}://)?(?P<host>[0-9.]{7,15}|\[[0-9a-fA-F:]{2,40}\]|localhost|\*|):"
    r"(?P<port>[0-9]{1,5})/?"
)
#: Options whose value is a port, and options whose value is an address or a host.
_PORT_OPTION = re.compile(
    r"--?(?:[\w.-]*[._-])?port|-p|-P|-D[\w.-]*\.?port|--http|port", re.IGNORECASE
)
_ADDRESS_OPTION = re.compile(
    r"--?(?:[\w.-]*[._-])?(?:bind|listen|address|addr|http-socket|socket)|-b|-l|-L|-S|-a",
    re.IGNORECASE,
)
#: Words after which an address or a port can stand alone: Django, Rails, http.server, artisan.
_VERBS = frozenset({"runserver", "http.server", "serve"})


def guess(command: str, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the address on which a command probably listens; None = nothing shows it."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    if len(words) == 3 and words[1] in {"-c", "-lc"}:  # sh -c "exec program --port 80"
        return guess(words[2], environment)
    pairs = [*_pairs(words[1:]), ("port", (environment or {}).get("PORT", ""))]
    if "http.server" in words:  # options may stand before its port
        pairs.append(("port", words[-1]))
    for name, value in pairs:
        is_verb = name in _VERBS
        if (is_verb or _ADDRESS_OPTION.fullmatch(name)) and (found := _ADDRESS.fullmatch(value)):
            return _address(found["host"] or "*", found["port"])
        is_port = is_verb or _PORT_OPTION.fullmatch(name) or _ADDRESS_OPTION.fullmatch(name)
        if is_port and _PORT.fullmatch(value):
            return _address("*", value)
    return None


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    """Return names and values: of `--a=1`, `--a 1`, `-p1`, and of a word and the next one."""
    pairs: list[tuple[str, str]] = []
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, equals, value = word.partition("=")
        if equals:
            pairs.append((name, value))
        elif re.fullmatch(r"-[pPl][0-9]{1,5}", word):
            pairs.append((word[:2], word[2:]))
        else:
            pairs.append((word, following))
    return pairs


def _address(host: str, port: str) -> str | None:
    return f"{host}:{int(port)}" if 0 < int(port) < 65536 else None
