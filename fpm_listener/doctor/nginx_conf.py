"""Finds each nginx that goes into the background: by its command and by nginx.conf.

Law: a file that cannot be read, or that includes others at its top level, counts as correct.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.neighbours import base_name, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fpm_listener.doctor.checked_config import Supervised

_DEFAULT = "/etc/nginx/nginx.conf"
#: Options with which nginx does not serve.
_OTHER = {"-t", "-T", "-v", "-V", "-h", "-?", "-s", "-q"}
_TOKEN = re.compile(r"#[^\n]*|[{}]|[^{}#]+")
_OFF = re.compile(r"(?:^|;)\s*daemon\s+off\s*(?:;|$)")
_ON = re.compile(r"(?:^|;)\s*daemon\s+on\s*;")
#: An include at the top level; Debian's includes only load modules.
_INCLUDE = re.compile(r"(?:^|;)\s*include\s+(?!\S*modules)")


def daemons(
    processes: Iterable[Supervised], read_text: Callable[[str], str]
) -> Iterator[tuple[str, str, bool]]:
    """Return the section of each nginx that goes into the background, and its nginx.conf.

    And whether that file has `daemon on`: nginx accepts one `daemon` only, also with -g.

    read_text: returns the text of a file; raises OSError.
    """
    for process in processes:
        words = read(process.command).last
        path = _conf(words) if words and base_name(words[0]) == "nginx" else ""
        try:
            text = read_text(path) if path.startswith("/") else ""
        except (OSError, ValueError):
            continue
        if text.strip() and goes_into_background(text):
            yield process.section.name, path, _ON.search(_top(text)) is not None


def _conf(words: tuple[str, ...]) -> str:
    """Return the nginx.conf of a command; empty if the command decides, or is another one."""
    given = _values(words, "-g")
    if _OTHER.intersection(words) or any(_OFF.search(one) for one in given):
        return ""
    return next(iter(_values(words, "-c")), _DEFAULT)


def _values(words: tuple[str, ...], option: str) -> list[str]:
    """Return the values of an option: in its word, or in the next one."""
    pairs = zip(words, (*words[1:], ""), strict=True)
    return [word[2:] or after for word, after in pairs if word.startswith(option)]


def goes_into_background(text: str) -> bool:
    """Return whether an nginx.conf lacks `daemon off`, and no other file can have it."""
    own = _top(text)
    return not _OFF.search(own) and not _INCLUDE.search(own)


def _top(text: str) -> str:
    """Return what is outside of blocks and comments."""
    depth, top = 0, []
    for token in _TOKEN.finditer(text):
        if token[0] in "{}":
            depth += 1 if token[0] == "{" else -1
            top.append(";")
        elif not depth and token[0][0] != "#":
            top.append(token[0])
    return "".join(top)
