"""The little markdown of DingTalk and WeCom, whose escapes are not documented.

So what could be markup is replaced by its full-width look-alike, which every client shows as it is:
`<@all>` calls nobody, and no line of a log can draw a picture from somewhere else.
"""

from __future__ import annotations

import re

from fpm_listener.delivery.receivers.message_text import Style, count_bytes

_WIDE = {ord(mark): ord(mark) + 0xFEE0 for mark in "<>[]*`@!~\\"}
_BEGINNING = re.compile(r"^(\s*)([#>+-]|\d+\.)(?=\s)", re.MULTILINE)


def escape(text: str) -> str:
    """Return `text` with nothing in it that is markup."""
    text = text.translate(_WIDE)
    return _BEGINNING.sub(lambda found: f"{found[1]}\N{WORD JOINER}{found[2]}", text)


def style(limit: int) -> Style:
    """Return the style, for texts of so many bytes."""
    return Style(
        limit=limit,
        measure=count_bytes,
        escape=escape,
        strong=lambda text: f"**{text}**",
        block=lambda lines: "\n".join(f"> {escape(line)}" for line in lines.split("\n")),
    )
