"""Markup, made of text by one function that escapes it.

Law: what is not made here is text, and text is shown as it is: no markup, no control character,
nothing that turns or hides what stands beside it.
"""

from __future__ import annotations

import html
import time
from typing import TYPE_CHECKING

from fpm_listener.untrusted_text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

#: What stands where there is nothing to say.
NONE = "\u2013"
#: Characters of one text that are shown.
_CHARACTERS = 2000


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def tag(name: str, *children: str | None, **attributes: str | None) -> Markup:
    """Return an element. Text and attributes are escaped; an attribute that is None is left out.

    `data_key` is the attribute data-key; `class_` is class.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(
        child if isinstance(child, Markup) else escaped(child) for child in children if child
    )
    return Markup(f"<{name}{words}>{inner}</{name}>")


def escaped(text: str) -> str:
    """Return text as it may stand in a page; its end is left out where there is no end to it."""
    if len(text) > _CHARACTERS:
        text = f"{text[:_CHARACTERS]} … ({len(text) - _CHARACTERS} characters more)"
    return html.escape(plain(text))


def joined(parts: Iterable[str]) -> Markup:
    """Return parts one after the other; those that are text are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escaped(part) for part in parts))


def symbol(name: str, tone: str) -> Markup:
    """Return one of the symbols of page.html; text beside it says the same."""
    use = tag("use", href=f"#i-{name}")
    return tag("svg", use, class_=f"i {tone}", aria_hidden="true")


def badge(name: str, tone: str, text: str) -> Markup:
    """Return a word with its symbol."""
    return tag("span", symbol(name, tone), text, class_=f"tag {tone}")


def clock(at_s: float, now_s: float) -> Markup:
    """Return a moment in the host's own time, as its logs have it."""
    local, utc = time.localtime(at_s), time.gmtime(at_s)
    today = time.localtime(now_s)[:3] == local[:3]
    shown = time.strftime("%H:%M:%S" if today else "%a %H:%M:%S", local)
    return tag("time", shown, datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", utc))


def section(name: str, title: str, *children: str) -> Markup:
    """Return a part of the page under its heading."""
    heading = tag("h2", title, id=name, tabindex="-1")
    return tag("section", heading, *children, aria_labelledby=name, data_key=name)


def table(name: str, columns: Iterable[tuple[str, str]], rows: list[Markup]) -> Markup:
    """Return a table of the section of this name; columns: their names and classes."""
    head = tag(
        "tr",
        *(tag("th", c, scope="col", role="columnheader", class_=k) for c, k in columns),
        role="row",
    )
    # The roles are said although tables have them: a small screen shows rows as cards, and browsers
    # then forget what they were.
    return tag(
        "table",
        tag("thead", head, role="rowgroup"),
        tag("tbody", *rows, role="rowgroup"),
        role="table",
        aria_labelledby=name,
    )


def cell(label: str, *children: str, kind: str | None = None) -> Markup:
    """Return a cell of a table; the label is seen where there is no room for columns."""
    return tag("td", *children, role="cell", data_label=label, class_=kind)


def sub(text: str | None) -> Markup:
    """Return a second line, in a softer voice; nothing where there is none."""
    return tag("span", text, class_="sub") if text else Markup("")
