"""Reads the sections of php-fpm.conf and of its includes, with their problems.

Laws:
1. Nothing raises: php-fpm's errors become `problems`.
2. A problem names file and line, and no value that can be a secret.
3. Files are read through `Files` only.

Source: php-src sapi/fpm/fpm/fpm_conf.c and Zend/zend_ini_scanner.l; compared with `php-fpm8.2 -tt`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol, TypeVar

from fpm_listener.phpfpm.ini_values import LONGEST, Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

_DEEPEST = 5  # files within files, the first one counted (fpm_conf.c, ini_recursion)

#: Limits that no real configuration reaches; php-fpm has none. Files that are read, the characters
#: of all of them, and problems that are kept.
_MOST_FILES, _MOST_CHARACTERS, _MOST_PROBLEMS = 2000, 16 << 20, 100

_SECTION = re.compile(
    r"""\[((?:'[^']*'|"(?:[^"\\]|\\.)*"|\$\{[^{}]*\}|[^]"';$]|\$(?!\{))*)][ \t]*""",
)

_ENTRY = re.compile(r"""([^]=\[;&|^$~(){}!"]+)(?:\[([^]]*)][ \t]*)?=[ \t]*(.*)""", re.DOTALL)


class Files(Protocol):
    """What reads files for us."""

    def read(self, path: str) -> str:
        """Return a file's text. Raises OSError."""

    def glob(self, pattern: str) -> list[str]:
        """Return the paths that match, sorted."""


class Section:
    """One section of php-fpm's files."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[str, str] = {}
        self.places: dict[str, str] = {}  # "file:line" of each key's last value


class Reader:
    """Reads a file and its includes line by line, as php-fpm does."""

    def __init__(self, files: Files, prefix: str, scanner: Scanner) -> None:
        self._files = files
        self._prefix = prefix
        self._scanner = scanner
        self._includes: list[str] = []
        # Outlives a file: php-fpm goes on with it, in and out of includes.
        self._current = self._main = Section(name="global")
        self.sections = {"global": self._main}  # names are compared without regard to case
        self.files: list[str] = []
        self.patterns: list[str] = []
        self.problems: list[str] = []
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
            for statement in line.removeprefix("\ufeff").split("\r"):
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
        value, complaint = self._scanner.value(entry[3], arithmetic=name.startswith("php_"))
        if "$pool" in value and self._current is self._main:
            complaint = "$pool means nothing outside a pool"
        if complaint:
            self.problem(f"{place}: {key}: {complaint}")
        if key == "include":
            self._includes.append(value)
        else:
            self._set(key, value, place)

    def _begin(self, text: str, place: str) -> None:
        name = self._scanner.expand(text)
        if len(name) > LONGEST:
            self.problem(f"{place}: the name is longer than {LONGEST} characters")
            name = name[:LONGEST]
        self._current = self.sections.setdefault(name.lower(), Section(name=name))

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
        if value is None:
            self.problem(f"{section.places[key]}: php-fpm refuses {key} = {text!r}")
            return default
        return value


def below(root: str, path: str) -> str:
    """Return an absolute path as it is, a relative one below `root`."""
    return path if path.startswith("/") else f"{root}/{path}"
