"""Finds a process's startsecs in the text of supervisord's configuration.

supervisor's own parser needs a child process and half a second. The guard needs this one value
faster.

Source: supervisor/options.py (4.2.5 and 4.3.0), `processes_from_section` and `read_include_config`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.supervisor import ini_lines
from fpm_listener.supervisor.ini_values import expand, get

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.supervisor.ini_lines import ConfigSection

_DEFAULT_S = 1.0
_KINDS = ("program", "fcgi-program")
#: Processes of one program that are searched.
_MOST_PROCESSES = 1000
#: Digits of a number.
_MOST_DIGITS = 9
#: supervisord checks its children once a second, and must see the exit before startsecs are over.
#: The rest is for the exit itself.
_SUPERVISORD_LOOKS_S = 1.2
#: The whole wait where startsecs is unknown: half of supervisord's default.
UNKNOWN_S = 0.5


def longest_wait_s(seconds: float | None) -> float:
    """Return the longest wait before a refusal; seconds: startsecs, None = unknown."""
    if seconds is None:
        return UNKNOWN_S
    return max(seconds / 2, seconds - _SUPERVISORD_LOOKS_S)


def find(
    texts: Iterable[str], group: str, process: str, expansions: Mapping[str, str]
) -> float | None:
    """Return the seconds; None if they are not found. Of several candidates, the smallest.

    texts: the main file, then the included ones; expansions: values of `%(name)s`.
    """
    sections = ini_lines.scan((str(number), text) for number, text in enumerate(texts))
    listed = get(sections.get(f"group:{group}"), "programs", "", expansions)
    names = [name.strip() for name in listed.split(",")] if listed else [group]
    programs = {
        name: sections[f"{kind}:{name}"]
        for name in names
        for kind in _KINDS
        if f"{kind}:{name}" in sections
    }
    chosen = [
        section
        for name, section in programs.items()
        if process in _processes(section, {**expansions, "program_name": name, "group_name": group})
    ] or list(programs.values())
    found = [_seconds(section, expansions) for section in chosen]
    return min((value for value in found if value is not None), default=None)


def _processes(section: ConfigSection, expansions: Mapping[str, str]) -> set[str]:
    template = get(section, "process_name", "%(program_name)s", None) or ""
    count, first = (
        _number(section, "numprocs", 1, expansions),
        _number(section, "numprocs_start", 0, expansions),
    )
    found = set()
    for number in range(first, first + min(count, _MOST_PROCESSES)):
        try:
            found.add(expand(template, {**expansions, "process_num": number}))
        except (KeyError, ValueError, TypeError):
            return set()
    return found


def _seconds(section: ConfigSection, expansions: Mapping[str, str]) -> float | None:
    try:
        return float(get(section, "startsecs", str(_DEFAULT_S), expansions) or "")
    except ValueError:
        return None


def _number(section: ConfigSection, key: str, default: int, expansions: Mapping[str, str]) -> int:
    value = get(section, key, str(default), expansions) or ""
    return int(value) if value.isdecimal() and len(value) <= _MOST_DIGITS else default
