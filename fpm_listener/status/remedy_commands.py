"""Finds the commands in a remedy, so that the page can offer them for copying."""

from __future__ import annotations

import re
from typing import NamedTuple

#: A command starts after a colon or a parenthesis, with one of the words that the texts of
#: incidents use, see incidents/remedy_values.py. It ends before the next clause.
_COMMAND = re.compile(
    r"""
    (?:(?<=:\ )|(?<=\uff1a)|(?<=\()|(?<=\uff08))
    (
        (?: (?:'[^']*/|/\S*/)?supervisorctl\ -?\w | systemctl\ | kill\ (?:-\w+\ )?-?\d
          | (?:ss|ps|df|install|namei|ls|netstat|mkdir|useradd|groupadd|adduser|addgroup)\ -{0,2}\w
          | (?:grep|sed|su|s6-svc|svc)\ - | (?:tail|cat)\ (?='?/) | mount\ -o\ | dmesg\b
          | (?:docker|podman)\ (?:stop|restart)\ | sv\ (?:down|restart)\ | ip\ address\b
          | head\ -1\ | chmod\ \d
          | fpm-listener\ (?:alerts\ |check\b|status\b) | '?\S*php-?fpm[\d.]*'?\ -[ti]\b
        )
        (?: \$\([^()]*\) | '[^']*' | [^()'\uff08\uff09\uff0c\u3002\uff1b] )*?
    )
    (?= ,\ then\ type:\ | ,\ or\  | ,\ and\  | \.\ [A-Z] | \ \(this\s
      | [)\uff08\uff09\uff0c\u3002\uff1b] | $ )
    """,
    re.VERBOSE,
)


class Piece(NamedTuple):
    """A part of a remedy."""

    text: str
    is_command: bool


def pieces(remedy: str) -> list[Piece]:
    """Return the parts of a remedy in order; together they are the whole remedy."""
    found: list[Piece] = []
    at = 0
    for command in _COMMAND.finditer(remedy):
        found += [Piece(remedy[at : command.start(1)], False), Piece(command[1], True)]
        at = command.end(1)
    return [piece for piece in (*found, Piece(remedy[at:], False)) if piece.text]
