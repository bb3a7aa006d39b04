"""The markdown of DingTalk and WeCom, whose escapes are not documented.

Characters that could be markup are replaced by similar wide ones, which every client shows. So
`<@all>` notifies nobody, and a log line cannot load a picture.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.delivery.receivers.message_text import Style, count_bytes

if TYPE_CHECKING:
    from fpm_listener.delivery.receivers.message_text import Message

_WIDE = {ord(mark): ord(mark) + 0xFEE0 for mark in "<>[]*`@!~\\"}
_LINE_START = re.compile(r"^([^\S\n]*)([#>+-]|\d+\.)(?=\s)", re.MULTILINE)


def escape(text: str) -> str:
    """Return `text` without markup."""
    text = text.translate(_WIDE)
    return _LINE_START.sub(lambda found: f"{found[1]}\N{WORD JOINER}{found[2]}", text)


def write(message: Message, keyword: str, limit: int) -> str:
    """Return the text of a message in at most `limit` bytes.

    keyword: the text that the bot requires; it is not escaped.
    """
    first = f"{keyword}\n" if keyword else ""
    style = Style(
        limit=limit - len(first.encode()),
        measure=count_bytes,
        escape=escape,
        strong=lambda text: f"**{text}**",
        block=lambda lines: "\n".join(f"> {escape(line)}" for line in lines.split("\n")),
    )
    return first + message.write(style)
