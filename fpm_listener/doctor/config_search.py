"""Finds the configurations below the paths of `check`.

Laws:
1. Each real file is found once. Links that lead out of their tree are not followed.
2. Nothing is lost silently: a file that cannot be read is a note with its reason.
"""

from __future__ import annotations

import glob
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor import config_kinds
from fpm_listener.doctor.config_kinds import Kind
from fpm_listener.host.file_tree import FileTree
from fpm_listener.untrusted_text import clean
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.config_kinds import Seen

#: Bytes of one file, and of all; names that are looked at. A larger file is not a configuration.
_LONGEST, _MOST_BYTES, _MOST_NAMES = 1 << 20, 64 << 20, 500_000
_MOST_MATCHES = 10_000
#: Limits of one file that no real configuration reaches: characters of a line or of a value in
#: several lines, lines, and sections. Rules compare pools in pairs.
_LONGEST_LINE, _MOST_LINES, _MOST_SECTIONS = 1 << 14, 20_000, 1000
_HEADER = re.compile(r"(?m)^[ \t]*\[")
_CONTINUED = re.compile(r"(?m)^(?:[ \t]+\S[^\n]*\n){1000}")
#: Directories of other programs' files.
_SKIPPED = {
    *(".git", ".hg", ".svn", "node_modules", "vendor", ".venv", "venv", "__pycache__", ".tox"),
    *("proc", "sys", "dev"),
}
#: Those that only the top of a machine or of an image has.
_OF_THE_TOP = {"proc", "sys", "dev"}


class ConfigFile(NamedTuple):
    """A file that is a configuration, or a part of one."""

    path: str  #: as users read it; in an image, of the image
    text: str
    seen: Seen
    tree: FileTree
    is_named: bool  #: the user named it, and not its directory


class Found(NamedTuple):
    """The configurations, and why other files are none."""

    files: tuple[ConfigFile, ...]
    notes: tuple[str, ...]  #: `PATH: reason`


class Search:
    """Searches the paths of the command line."""

    def __init__(self, image: FileTree | None = None) -> None:
        """image: the tree of --root; None = the paths are of this machine."""
        self._image = image
        self._trees: dict[str, FileTree] = {}
        self._files: dict[str, ConfigFile] = {}  # by real path
        self._notes: dict[str, None] = {}
        self._left_bytes, self._left_names = _MOST_BYTES, _MOST_NAMES

    def find(self, paths: list[str]) -> Found:
        """Return what is below the paths. Raises FpmListenerError if a path does not exist."""
        for pattern in paths:
            for path in self._expanded(pattern):
                self._add(path)
        return Found(tuple(self._files.values()), tuple(self._notes))

    def _expanded(self, pattern: str) -> list[str]:
        image = self._image
        if image is not None:
            below = image.root.rstrip("/") + "/"
            named = os.path.abspath(pattern)  # noqa: PTH100 - a text
            if named.startswith(below):
                pattern = named
            pattern = "/" + pattern.removeprefix(below).lstrip("/")
            found = [pattern] if image.exists(pattern) else image.glob(pattern)
        elif os.path.lexists(pattern):
            return [pattern]
        else:
            every = glob.iglob(pattern, recursive=True)  # noqa: PTH207 - an absolute pattern
            found = [path for path, _ in zip(every, range(_MOST_MATCHES), strict=False)]
        if not found:
            is_pattern = re.search(r"[*?[]", pattern)
            why = "no file matches this pattern" if is_pattern else "there is no such file"
            place = f" below {image.root}" if image else ""
            raise FpmListenerError(f"{pattern}: {why}{place}; name a file or a directory")
        return sorted(found)

    def _add(self, path: str) -> None:
        image = self._image
        real = image.real(path) if image is not None else os.path.realpath(path)
        if os.path.isdir(real):  # noqa: PTH112 - texts
            tree = image or self._tree_of(real)
            for one in self._walk(path, tree):
                self._take(one, tree, is_named=False)
        else:
            tree = image or self._tree_of(os.path.dirname(real))  # noqa: PTH120 - texts
            self._take(path, tree, is_named=True)

    def _tree_of(self, folder: str) -> FileTree:
        """Return the repository of a directory; without one, the directory."""
        top = folder
        while top != "/" and not os.path.lexists(f"{top}/.git"):
            top = os.path.dirname(top)  # noqa: PTH120 - texts
        root = folder if top == "/" else top
        return self._trees.setdefault(root, FileTree(root))

    def _walk(self, top: str, tree: FileTree) -> Iterator[str]:
        """Return the files whose names can be those of configurations, without following links."""
        left = [top]
        while left:
            folder = left.pop()
            deeper = []
            try:
                with os.scandir(tree.real(folder)) as entries:
                    names = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                self._note(folder, f"not searched: {error.strerror}")
                continue
            self._left_names -= len(names)
            if self._left_names < 0:
                self._note(top, f"only the first {_MOST_NAMES} names were searched")
                return
            for entry in names:
                path = os.path.join(folder, entry.name)  # noqa: PTH118 - texts
                if entry.is_dir(follow_symlinks=False):
                    is_skipped = entry.name in _SKIPPED
                    if entry.name in _OF_THE_TOP:
                        is_skipped = folder == "/"
                    if not is_skipped:
                        deeper.append(path)
                elif config_kinds.may_be(entry.name):
                    yield path
            left += deeper[::-1]

    def _take(self, path: str, tree: FileTree, *, is_named: bool) -> None:
        """Keep a file if it is a configuration."""
        try:
            real = tree.real(path) if tree.is_image else os.path.realpath(path)
            if real in self._files:
                return
            if why := self._obstacle(real, tree, is_named=is_named):
                self._note(path, f"not checked: {why}")
                return
            content = b"" if why is None else tree.read(path, _LONGEST)
        except OSError as error:
            self._note(path, f"not checked: {error.strerror}")
            return
        self._left_bytes -= len(content)
        if self._left_bytes < 0:
            self._note(path, f"not checked: the files before it have {_MOST_BYTES >> 20} MiB")
            return
        text = content.decode("utf-8", "surrogateescape").replace("\r\n", "\n").replace("\r", "\n")
        seen = config_kinds.see(path, text)
        if why := (seen and _excess(text)) or _refusal(seen, is_named=is_named):
            self._note(path, f"not checked: {why}")
        elif seen is not None:
            self._files[real] = ConfigFile(path, text, seen, tree, is_named)

    def _obstacle(self, real: str, tree: FileTree, *, is_named: bool) -> str | None:
        """Return why a file is not read; None = it is not a regular file, and nobody named it."""
        if not is_named and not os.path.isfile(real):  # noqa: PTH113 - texts
            is_there = os.path.lexists(real)
            return None if is_there else "it is a link to a file that does not exist"
        if not tree.is_image and not tree.has(real):
            return f"it is a link that leads out of {tree.root}"
        return ""

    def _note(self, path: str, why: str) -> None:
        self._notes[f"{clean(path)}: {why}"] = None


def _excess(text: str) -> str:
    """Return the limit that a file exceeds, as a clause."""
    lines = text.split("\n")
    longest = max(range(len(lines)), key=lambda at: len(lines[at]))
    if len(lines[longest]) > _LONGEST_LINE:
        return f"line {longest + 1} has more than {_LONGEST_LINE} characters"
    if len(lines) > _MOST_LINES:
        return f"it has more than {_MOST_LINES} lines"
    if len(_HEADER.findall(text)) > _MOST_SECTIONS:
        return f"it has more than {_MOST_SECTIONS} sections"
    return "a value has more than 1000 lines" if _CONTINUED.search(text) else ""


def _refusal(seen: Seen | None, *, is_named: bool) -> str:
    """Return why a file is not checked; empty if it is, or if nobody asks for a reason."""
    if seen is None:
        what = "configuration of supervisord or php-fpm"
        return f"by its content it is not a {what}" if is_named else ""
    if seen.kind is Kind.TEMPLATE:
        return f"it is a template ({seen.syntax}). Check the file that is made of it"
    return ""
