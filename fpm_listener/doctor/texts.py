"""The texts of rules and causes: what findings.txt and causes.txt contain.

Both files have blocks with an empty line between them. A block has a head and indented parts.
A line with a deeper indentation continues the line above. If the name of a part is alone on its
line, the lines below it are an example: they are literal, and none of them is empty.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator


class Text(NamedTuple):
    """What a rule says, with {names} for the values of a match."""

    severity: FindingSeverity
    title: str
    what: str = "{key} is {value}"
    why: str = ""
    fix: str = "Set {change} in [{section}]"
    # The rest is for `fpm-listener explain` and docs/checks.md; braces are literal there.
    measured: str = ""  #: the measurement or the source that proves `why`
    before: str = ""  #: an example with the mistake, lines of supervisord's or php-fpm's files
    after: str = ""  #: the same example without the mistake
    ignore: str = ""  #: when a user can ignore the finding; `except` in the file


class CauseText(NamedTuple):
    """What a cause of an incident means, and what to do; with Markdown's backquotes."""

    title: str
    what: tuple[str, ...]
    do: tuple[str, ...]
    measured: str = ""  #: as in Text
    log: str = ""  #: an example of the lines that a program logs
    rules: tuple[str, ...] = ()  #: rules of `check` that prevent it


def parse_texts(document: str) -> dict[str, Text]:
    """Return the texts of findings.txt, by id.

    The head of a block is `ID SEVERITY TITLE`. Its parts are what, why, fix, measured, except,
    before and after. `ID.VARIANT` is another text of the same rule, and has only the parts that
    differ.
    """
    found: dict[str, Text] = {}
    for head, parts in _blocks(document):
        identity, *words = head.split(" ", 2)
        changes: dict[str, Any] = dict(parts)
        if "except" in changes:
            changes["ignore"] = changes.pop("except")
        if words:
            changes["severity"] = FindingSeverity(words[0])
        if words[1:]:
            changes["title"] = words[1]
        base = found.get(identity.partition(".")[0])
        found[identity] = base._replace(**changes) if base else Text(**changes)
    return found


def parse_causes(document: str) -> dict[Cause, CauseText]:
    """Return the texts of causes.txt.

    The head of a block is `CAUSE TITLE`. `what` and `do` can occur several times.
    """
    found = {}
    for head, parts in _blocks(document):
        name, _, title = head.partition(" ")
        values = dict(parts)
        found[Cause(name)] = CauseText(
            title,
            tuple(value for part, value in parts if part == "what"),
            tuple(value for part, value in parts if part == "do"),
            values.get("measured", ""),
            values.get("log", ""),
            tuple(values.get("rules", "").split()),
        )
    return found


def _blocks(document: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the head of each block, and its parts: their names and values."""
    for block in document.strip().split("\n\n"):
        head, _, rest = block.partition("\n")
        yield head, [_part(lines) for lines in re.split(r"\n(?! {8})", rest) if lines]


def _part(lines: str) -> tuple[str, str]:
    name, space, value = re.split(r"(\s)", lines.strip(), maxsplit=1)
    return name, textwrap.dedent(value) if space == "\n" else " ".join(value.split())
