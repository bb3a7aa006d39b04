"""Reads the sections of php-fpm.conf and of its includes, with their problems.

Laws:
1. Nothing raises: php-fpm's errors become `problems`.
2. A problem names file and line, and no value that can be a secret.
3. Files are read through `Files` only.

Source: php-src sapi/fpm/fpm/fpm_conf.c and Zend/zend_ini_scanner.l; compared with `php-fpm8.2 -tt`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from fpm_listener.phpfpm.ini_values import CONSTANT, LONGEST, Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

_DEEPEST = 5  # files within files, the first one counted (fpm_conf.c, ini_recursion)

#: Limits that no real configuration reaches; php-fpm has none. Files that are read, the characters
#: of all of them, problems and entries that are kept.
_MOST_FILES, _MOST_CHARACTERS, _MOST_PROBLEMS, _MOST_ENTRIES = 2000, 16 << 20, 100, 100_000

_INSIDE = r"""(?:'[^']*'|"(?:[^"\\]|\\.)*"|\$\{[^{}]*\}|\\.|[^]"';$\\]|\$(?!\{))*"""
_SECTION = re.compile(rf"\[({_INSIDE})][ \t]*")

#: The directory before the first part of a path that has a wildcard.
_LITERAL = re.compile(r"/(?:[^/*?[]+/)*(?=[^/]*[*?[])")

_ENTRY = re.compile(
    rf"""([^]=\[;&|^$~(){{}}!"]+)(?:\[({_INSIDE})][ \t]*)?=[ \t]*(.*)""",
    re.DOTALL,
)


class Files(Protocol):
    """What reads files for us."""

    def read(self, path: str) -> str:
        """Return a file's text. Raises OSError."""

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match, sorted."""

    def exists(self, path: str) -> bool:
        """Return whether a file or directory exists."""


class Entry(NamedTuple):
    """One `name = value` or `name[offset] = value`; php-fpm checks each of them."""

    section: str
    is_global: bool
    name: str  #: as written
    offset: str | None
    value: str
    place: str  #: file:line
    sign: str = ""  #: as ini_values.Value.sign


class Section:
    """One section of php-fpm's files."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, str] = {}
        #: "file:line" of each key's last value, and under "" of the first header.
        self.places: dict[str, str] = {}


class Reader:
    """Reads a file and its includes line by line, as php-fpm does."""

    def __init__(self, files: Files, prefix: str, scanner: Scanner) -> None:
        self._files = files
        self._prefix = prefix
        self._scanner = scanner
        self._includes: list[str] = []
        # Outlives a file: php-fpm continues with it, in and out of includes.
        self._current = self._main = Section(name="global")
        self.sections = {"global": self._main}  # names are compared without regard to case
        self.files: list[str] = []
        self.patterns: list[str] = []
        self.problems: list[str] = []
        self.entries: list[Entry] = []
        self._read: set[str] = set()
        self._left = _MOST_CHARACTERS
        self._too_deep = False  # php-fpm stops there; each file is read only once from then on

    def read(self, path: str, place: str, depth: int) -> None:
        """Take in a file, and what it includes, line by line; `place` includes it."""
        try:
            text = self._files.read(path)
        except OSError as error:
            if not (place and isinstance(error, IsADirectoryError)):  # php-fpm passes folders over
                what = f"{place}: the included {path}" if place else f"{path}:"
                self.problem(f"{what} cannot be read: {error.strerror or error}")
            return
        self.files.append(path)
        self._read.add(path)
        self._left -= len(text)
        if self._left < 0:
            self.problem(f"{path}: the files have more than {_MOST_CHARACTERS} characters")
            return
        for number, line in enumerate(text.split("\n"), 1):
            here = f"{path}:{number}"
            # A line is a text of C.
            for statement in line.removeprefix("\ufeff").partition("\0")[0].split("\r"):
                self._take_in(statement, here)
            includes, self._includes = self._includes, []
            for pattern in includes:
                self._include(below(self._prefix, pattern), here, depth)

    def _include(self, pattern: str, place: str, depth: int) -> None:
        if len(self.patterns) >= _MOST_FILES:
            self.problem(f"{place}: more than {_MOST_FILES} includes")
            return
        self.patterns.append(pattern)
        found = self._files.glob(pattern)
        if not found:
            # glob(3) with GLOB_ERR fails if it cannot open the first directory that it lists.
            folder = _LITERAL.match(pattern)
            if folder and not self._files.exists(folder[0].rstrip("/") or "/"):
                self.problem(f"{place}: {folder[0]} of the include {pattern!r} does not exist")
            else:
                self.problem(f"{place}: nothing matches the include {pattern!r}")
        elif depth >= _DEEPEST:
            self.problem(f"{place}: includes are nested deeper than {_DEEPEST} files")
            self._too_deep = True
        else:
            for path in found:
                if len(self.files) >= _MOST_FILES:
                    self.problem(f"{place}: more than {_MOST_FILES} files are included")
                    break
                if not (self._too_deep and path in self._read):
                    self.read(path, place, depth + 1)

    def problem(self, sentence: str) -> None:
        """Keep a problem; after the first hundred there is nothing new to learn."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(sentence)

    def _take_in(self, text: str, place: str) -> None:
        if len(text) > LONGEST:
            self.problem(f"{place}: the line is longer than {LONGEST} characters")
            return
        if head := _SECTION.match(text.lstrip(" \t")):
            if text[0] != "[":
                self.problem(f"{place}: blanks before a section's [ stop php-fpm")
            self._begin(re.sub("""['"]""", "", head[1]), place)
            text = text.lstrip(" \t")[head.end() :]
        text = text.strip(" \t")
        if not text or text.startswith(";"):
            return
        entry = _ENTRY.fullmatch(text)
        if not entry:
            why = "this line is neither [section] nor key = value (a comment starts with ;)"
            self.problem(f"{place}: {why}")
            return
        name, offset = entry[1].strip(), entry[2]
        key = name.lower() if offset is None else f"{name}[{offset.strip()}]"
        found = self._scanner.value(entry[3])
        complaint = found.complaint
        # The error levels of PHP's own settings have constants that we do not know.
        value = found.text if name.startswith("php_") else found.computed or found.text
        if "$pool" in value and self._current is self._main:
            complaint = "$pool means nothing outside a pool"
        if complaint:
            self.problem(f"{place}: {key}: {complaint}")
        if name == "include" and offset is None:
            self._includes.append(value)
            return
        if not complaint and len(self.entries) < _MOST_ENTRIES:
            where = self._current.name, self._current is self._main
            inner = None if offset is None else offset.strip()
            self.entries.append(Entry(*where, name, inner, value, place, found.sign))
        self._set(key, value, place)

    def _begin(self, text: str, place: str) -> None:
        name = self._scanner.expand(text)
        if len(name) > LONGEST:
            self.problem(f"{place}: the name is longer than {LONGEST} characters")
            name = name[:LONGEST]
        self._current = self.sections.setdefault(name.lower(), Section(name=name))
        self._current.places.setdefault("", place)

    def _set(self, key: str, value: str, place: str) -> None:
        section = self._current
        if len(value) + value.count("$pool") * len(section.name) > LONGEST:
            self.problem(f"{place}: {key}: the value is longer than {LONGEST} characters")
            value = value[:LONGEST]
        else:
            value = value.replace("$pool", section.name)
        section.values[key] = value
        section.places[key] = place

    def take(self, section: Section, key: str, read: Callable[[str], T | None], default: T) -> T:
        """Return what `read` makes of the value; what it refuses is a problem."""
        text = section.values.get(key)
        if text is None:
            return default
        value = read(text)
        if value is None and not CONSTANT.fullmatch(text):
            self.problem(f"{section.places[key]}: php-fpm refuses {key} = {text!r}")
        return default if value is None else value


def below(root: str, path: str) -> str:
    """Return an absolute path as it is, a relative one below `root`."""
    return path if path.startswith("/") else f"{root}/{path}"
