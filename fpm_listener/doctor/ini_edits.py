"""Changes of keys in INI files, applied to a text.

Laws:
1. Only the lines of these keys change. Line ends stay the same.
2. A replaced key loses the comment after its value, because the comment describes the old value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.supervisor import ini_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.supervisor.ini_lines import ConfigSection, Line


class Edit(NamedTuple):
    """A change of one key that fixes a finding and needs no decision."""

    file: str
    section: str
    key: str
    value: str | None  #: None = remove the key
    php: bool = False  #: in a file of php-fpm


_BEFORE_VALUE = re.compile(r"\s*[^=:]+[=:]\s*")
_BOM = "\ufeff"


#: A variable in php-fpm's files, and one in supervisord's.
_VARIABLE = re.compile(r"\$\{\s*(\w+)|%\(ENV_(\w+)\)s")


def lost_variables(lines: Mapping[str, Line], values: Mapping[str, str | None]) -> list[str]:
    """Return the variables in lines that new values would replace: they would have no effect."""
    old = {key: _VARIABLE.findall(lines[key].value) for key in values if key in lines}
    names = {key: map("".join, found) for key, found in old.items()}
    return [name for key in names for name in names[key] if name not in (values[key] or "")]


def lines_of(text: str) -> list[str]:
    """Return the lines with their ends; only a line feed ends one, as for patch(1)."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def apply(text: str, edits: Iterable[Edit]) -> str:
    """Return the text of one file with the edits; of two edits of one key, use the first."""
    first: dict[tuple[str, str], Edit] = {}
    for edit in edits:
        first.setdefault((edit.section, edit.key), edit)
    mark = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    for edit in first.values():
        text = _applied(text, edit)
    return mark + text


def _applied(text: str, edit: Edit) -> str:
    lines = lines_of(text)
    end = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    section = ini_lines.scan([("", text)], php=edit.php).get(edit.section)
    line = section.lines.get(edit.key) if section else None
    if line:
        old = lines[line.number - 1]
        begins = _BEFORE_VALUE.match(old)
        ends = "" if not old.endswith("\n") else end
        before = begins[0].rstrip("\r\n") if begins else f"{edit.key}="
        new = [] if edit.value is None else [f"{before}{edit.value}{ends}"]
        lines[line.number - 1 : line.last] = new
        return "".join(lines)
    if edit.value is None:
        return text
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += end
    if section is None:
        return "".join([*lines, end, f"[{edit.section}]{end}", f"{edit.key}={edit.value}{end}"])
    at, own = _place(section), _entry(section, lines, edit)
    header = [f"[{edit.section}]{end}"] if not at and not section.number else []
    lines[at:at] = [*header, f"{own}{end}"]
    return "".join(lines)


def _place(section: ConfigSection) -> int:
    """Return the number of the line after which a new key is inserted.

    A file that php-fpm includes may begin another section. A key after the include would be in that
    section.
    """
    if "include" in section.lines:
        return section.number
    return max([section.number, *(line.last for line in section.lines.values())])


def _entry(section: ConfigSection, lines: list[str], edit: Edit) -> str:
    """Return the new line, with blanks around its `=` if the section has them."""
    known = next(iter(section.lines.values()), None)
    spaced = edit.php if known is None else " = " in lines[known.number - 1]
    return f"{edit.key}{' = ' if spaced else '='}{edit.value}"
