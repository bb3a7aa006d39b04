"""Makes HTML; one function escapes all text.

Law: a text that was not made here is shown as text: no markup, no control character, and no
character that turns or hides other text.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fpm_listener.untrusted_text import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The text for an empty cell.
NONE = "\u2013"
#: Longest text that is shown, in characters.
_CHARACTERS = 2000
# html.escape has the same, and loads 2,000 names of characters: half a mebibyte.
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"})


class Markup(str):
    """Text that is HTML already."""

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
    """Return text for a page; a very long text is cut."""
    if len(text) > _CHARACTERS:
        text = f"{text[:_CHARACTERS]} … ({len(text) - _CHARACTERS} more characters)"
    return plain(text).translate(_ESCAPES)


def joined(parts: Iterable[str]) -> Markup:
    """Return the parts as one; text among them is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escaped(part) for part in parts))


def symbol(name: str, tone: str) -> Markup:
    """Return a symbol of page.html; text next to it has the same meaning."""
    use = tag("use", href=f"#i-{name}")
    return tag("svg", use, class_=f"i {tone}", aria_hidden="true")


def badge(name: str, tone: str, text: str) -> Markup:
    """Return a text with its symbol."""
    return tag("span", symbol(name, tone), text, class_=f"tag {tone}")


def clock(at_s: float, now_s: float) -> Markup:
    """Return a moment in local time, as in the logs of the host."""
    local, utc = time.localtime(at_s), time.gmtime(at_s)
    today = time.localtime(now_s)[:3] == local[:3]
    shown = time.strftime("%H:%M:%S" if today else "%a %H:%M:%S", local)
    return tag("time", shown, datetime=time.strftime("%Y-%m-%dT%H:%M:%SZ", utc))


def section(name: str, title: str, *children: str) -> Markup:
    """Return a section of the page with its heading."""
    heading = tag("h2", title, id=name, tabindex="-1")
    return tag("section", heading, *children, aria_labelledby=name, data_key=name)


def table(name: str, columns: Iterable[tuple[str, str]], rows: list[Markup]) -> Markup:
    """Return a table of the section of this name; columns: their names and classes."""
    head = tag(
        "tr",
        *(tag("th", c, scope="col", role="columnheader", class_=k) for c, k in columns),
        role="row",
    )
    # The roles are explicit: a small screen shows rows as cards, and browsers then drop the roles
    # of a table.
    return tag(
        "table",
        tag("thead", head, role="rowgroup"),
        tag("tbody", *rows, role="rowgroup"),
        role="table",
        aria_labelledby=name,
    )


def cell(label: str, *children: str, kind: str | None = None) -> Markup:
    """Return a cell of a table; a small screen shows its label instead of columns."""
    return tag("td", *children, role="cell", data_label=label, class_=kind)


def sub(text: str | None) -> Markup:
    """Return a second line in soft colour; nothing if there is no text."""
    return tag("span", text, class_="sub") if text else Markup("")
