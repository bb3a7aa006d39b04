"""Why supervisor's parser rejects a configuration, without the values in supervisor's messages.

Source: supervisor/options.py and datatypes.py, 4.2.5 and 4.3.0.
"""

from __future__ import annotations

import configparser
import os
import re
from typing import TYPE_CHECKING, Any

from fpm_listener import regular_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: supervisor's words for an environment variable that is not set, and for a missing directory.
_UNSET = re.compile(
    r"(?:for '(?:[^']*\.)?(\w+)' )?contains names \('ENV_(\w+)'\) which cannot be expanded",
    re.ASCII,
)
#: Values in the places of variables that nobody knows, by key; elsewhere 1: a number, a name, true.
_PLACEHOLDERS = {"loglevel": "info", "events": "TICK_60", "files": ""}
#: supervisor's words for a program of a group, or a key of a server, that another file may have.
_INCOMPLETE = re.compile(r"names unknown program|has no \w+ value")
_MISSING = re.compile(
    r"(?s)The directory named as part of the path (.*) does not exist"
    r"|(.*) is not an existing directory"
)
#: Python's words for a file that begins with a byte order mark.
_NO_HEADER = re.compile(r"(?s)no section headers.\nfile: ['\"](.*)['\"], line: 1\n['\"]\\ufeff")
#: A server without its socket; an included file can have only a part of the section.
NO_FILE = "has no file value"
#: Bytes of one file in which a wrong character is searched.
_LONGEST = 4 << 20
#: Variables that are named.
_MOST_UNSET = 100
#: Messages that quote no value, which could be a secret.
_WITHOUT_VALUE = re.compile(
    rf"section \[[\w:.-]+\] {NO_FILE}"
    r"|\.ini file (?:has \[include\] section, but no files setting"
    r"|does not include supervisord section)"
    r"|program section [\w:.-]+ does not specify a command"
)
_SECTION = re.compile(r" in section ('[^']*') \(file: ('[^']*')\)$")


def parsed(
    new: Callable[[], Any],
    path: str,
    *,
    is_open: bool = False,
    read: Callable[[str, int], bytes] = regular_file.read,
) -> Any:  # noqa: ANN401 - supervisor has no types
    """Return a parser that has read the file, or why supervisor refuses it.

    Each further round sets one environment variable that is not set here, to find the next one.
    is_open: a variable that is not set is not a reason to refuse the file. read: of one file,
    within a limit of bytes.
    """
    unset: list[str] = []
    places: list[str] = []
    while True:
        parser, error = new(), None
        parser.configfile = path
        try:
            # As `realize`, without the command line and the checks of the process.
            parser.process_config_file(do_usage=False)
        except (ValueError, configparser.Error) as refusal:
            error = str(refusal)
        name = _UNSET.search(error or "")
        if name is None or name[2] in unset or len(unset) == _MOST_UNSET:
            break
        os.environ[name[2]] = _PLACEHOLDERS.get(name[1] or "", "1") if is_open else "1"
        unset.append(name[2])
        places.append(_place(error or ""))
    if unset and not is_open:
        why = f"environment variables are not set: {', '.join(unset)}{places[0]}"
        return {"refused": why, "unset": unset}
    if not error:
        return parser
    if damaged := _not_text(path, parser.parse_infos, read):
        file, number = damaged
        why = f"line {number} of {file!r} has a character that is not UTF-8"
        return {"refused": why, "damaged": damaged}
    return {
        "refused": _refused(error),
        "missing": _missing(error),
        "marked": _marked(error),
        "incomplete": bool(_INCOMPLETE.search(error)),
    }


def _not_text(
    path: str, infos: Sequence[str], read: Callable[[str, int], bytes]
) -> tuple[str, int] | None:
    """Return the file and the number of the first line that is not UTF-8.

    infos: supervisor's messages; each one names an included file.
    """
    included = [info.partition('"')[2].rpartition('"')[0] for info in infos]
    for one in (path, *included):
        try:
            lines = read(one, _LONGEST).split(b"\n")
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return one, number
    return None


def _refused(message: str) -> str:
    if marked := _marked(message):
        return f"{marked} begins with a byte order mark (BOM), and supervisor rejects it"
    if known := _WITHOUT_VALUE.match(message):
        return f"supervisor refuses it: {known[0]}"
    return f"supervisor refuses it{_place(message)}; to see why: supervisorctl reread"


def _place(message: str) -> str:
    found = _SECTION.search(message)
    return f", section {found[1]} of {found[2]}" if found else ""


def _marked(message: str) -> str:
    """Return the path of the file that begins with a byte order mark; it can be an included one."""
    found = _NO_HEADER.search(message)
    return found[1] if found else ""


def _missing(message: str) -> str:
    """Return the path of the log, pid file or directory whose directory does not exist."""
    found = _MISSING.match(message)
    return (found[1] or f"{found[2]}/") if found else ""
