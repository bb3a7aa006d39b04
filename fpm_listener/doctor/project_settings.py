"""The settings of `check` in a project: `[tool:fpm-listener]` of .fpm-listener.ini or setup.cfg."""

from __future__ import annotations

import configparser
import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor import selection
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: The names of the files in a directory, the first one first, and the sections that count.
SECTIONS: dict[str, tuple[str, ...]] = {
    ".fpm-listener.ini": ("tool:fpm-listener", "fpm-listener"),
    "setup.cfg": ("tool:fpm-listener",),
}
FORMATS = ("text", "json", "github", "gitlab", "sarif")
KEYS = ("select", "ignore", "fail-on", "format", "baseline", "exclude")


class ProjectSettings(NamedTuple):
    """The options that a project sets; None = not set."""

    path: str = ""  #: of the file; empty = there is none
    select: tuple[str, ...] | None = None
    ignore: tuple[str, ...] | None = None
    fail_on: str | None = None
    format: str | None = None
    baseline: str | None = None  #: relative to the directory of the file
    exclude: tuple[str, ...] = ()  #: patterns of files, as baseline


def are_in(name: str, text: str) -> bool:
    """Return whether a file is for `check`; name: of SECTIONS. Other tools use setup.cfg too."""
    return name != "setup.cfg" or any(f"[{section}]" in text for section in SECTIONS[name])


def parse(path: str, name: str, text: str, known: Collection[str]) -> ProjectSettings:
    """Return the settings in a file.

    name: of SECTIONS. known: the ids of all rules. Raises FpmListenerError.
    """
    sections = SECTIONS[name]
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        why = f"{path}, line {error.lineno}: a line is before [{sections[0]}]; move it below"
        raise FpmListenerError(why) from None
    except configparser.Error as error:  # its text has lines of the file
        numbers = [getattr(error, "lineno", 0), *(at for at, _ in getattr(error, "errors", ()))]
        line = next((f", line {number}" for number in numbers if number), "")
        raise FpmListenerError(f"{path} is not an INI file{line}; correct it") from None
    found = [section for section in parser.sections() if section in sections]
    strange = [section for section in parser.sections() if section not in sections]
    if name != "setup.cfg" and strange:
        raise FpmListenerError(
            f"{path} has an unknown section [{strange[0]}]; the settings of check are in"
            f" [{sections[0]}]"
        )
    if len(found) > 1:
        raise FpmListenerError(f"{path} has [{found[0]}] and [{found[1]}]; keep one of them")
    values = {
        key.replace("_", "-"): value for section in found for key, value in parser.items(section)
    }
    return _checked(path, "".join(found) or sections[0], values, known)


def _checked(
    path: str, section: str, values: Mapping[str, str], known: Collection[str]
) -> ProjectSettings:
    place = f"{path} [{section}]"
    for key in values:
        if key not in KEYS:
            raise FpmListenerError(f"{place} has the unknown key {key!r}; known: {', '.join(KEYS)}")
    for key, allowed in (("fail-on", tuple(selection.FAIL_ON)), ("format", FORMATS)):
        if key in values and values[key] not in allowed:
            why = f"{place} {key} = {values[key]!r} is none of {', '.join(allowed)}"
            raise FpmListenerError(why)
    if "baseline" in values and not values["baseline"]:
        raise FpmListenerError(f"{place} baseline is empty; name a file, or remove the line")
    return ProjectSettings(
        path=path,
        select=ids(f"{place} select", values.get("select"), known),
        ignore=ids(f"{place} ignore", values.get("ignore"), known),
        fail_on=values.get("fail-on"),
        format=values.get("format"),
        baseline=values.get("baseline"),
        exclude=tuple(one for one in re.split(r"[,\s]+", values.get("exclude", "")) if one),
    )


def ids(place: str, text: str | None, known: Collection[str]) -> tuple[str, ...] | None:
    """Return the ids of a list; None if there is no list. Raises FpmListenerError; place: of it."""
    if text is None:
        return None
    try:
        return selection.parse_ids(text, known)
    except ValueError as error:
        word = re.sub(r"[^\w.-]", "?", str(error))[:40]
        raise FpmListenerError(
            f"{place}: no rule has the id {word}, and no id begins with it. To list all, type:"
            " fpm-listener explain"
        ) from None
