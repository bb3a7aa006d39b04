"""The files below one directory: those of a repository, or those of an unpacked image.

Laws:
1. Nothing outside the directory is read. After a file was opened, the kernel says where it is.
2. In an image, paths and links begin at the directory, as after chroot(2).
3. In a repository, a path is one of this machine, and a link out of the directory is not followed.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from fnmatch import filter as matching
from typing import Any

from fpm_listener import regular_file

#: Links in one path, as in the kernel; matches of one pattern, and names that it may look at.
_MOST_LINKS, _MOST_MATCHES, _MOST_NAMES = 40, 2000, 50_000
_MAGIC = re.compile(r"[*?[]")


class FileTree:
    """The files below a directory."""

    def __init__(self, root: str, *, is_image: bool = False) -> None:
        """root: the directory; is_image: paths begin there."""
        self.root = os.path.realpath(root)
        self.is_image = is_image
        self._below = self.root.rstrip("/") + "/"
        self._folders: dict[str, str] = {}  # real paths
        #: Paths and patterns outside the directory that were to be read.
        self.outside: dict[str, None] = {}

    def to_json(self) -> dict[str, Any]:
        """Return the arguments of another one with the same files."""
        return {"root": self.root, "is_image": self.is_image}

    def has(self, path: str) -> bool:
        """Return whether a path of this machine is in the directory, after all links."""
        if "\0" in path:
            return False
        folder, name = os.path.split(path)
        if name in {"", ".", ".."}:
            folder, name = path, ""
        if folder not in self._folders:
            if len(self._folders) >= _MOST_NAMES:
                self._folders.clear()
            self._folders[folder] = os.path.realpath(folder)
        real = os.path.join(self._folders[folder], name).rstrip("/") or "/"  # noqa: PTH118 - texts
        if os.path.islink(real):  # noqa: PTH114 - texts
            real = os.path.realpath(real)
        return real.startswith(self._below) or real == self.root

    def real(self, path: str) -> str:
        """Return the path on this machine. Raises OSError if it leads outside, or into a loop."""
        if self.is_image:
            return self._in_image(path)
        if "\0" in path:
            raise FileNotFoundError(errno.ENOENT, "it has a null byte", path)
        if not self.has(path):
            raise FileNotFoundError(errno.ENOENT, f"it is not below {self.root}", path)
        return path

    def _in_image(self, path: str) -> str:
        """Follow each link below the root, as the kernel does after chroot(2)."""
        if "\0" in path:
            raise FileNotFoundError(errno.ENOENT, "it has a null byte", path)
        left = path.split("/")[::-1]
        done: list[str] = []
        links = 0
        while left:
            part = left.pop()
            if part in {"", "."}:
                continue
            if part == "..":
                del done[-1:]
                continue
            whole = "/".join([self.root.rstrip("/"), *done, part])
            try:
                target = os.readlink(whole)  # noqa: PTH115 - a text
            except OSError:
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                done = []
            left += target.split("/")[::-1]
        return self._below + "/".join(done)

    def read(self, path: str, longest: int = regular_file.LONGEST) -> bytes:
        """Return the content of a regular file. Raises OSError."""
        if not self.is_image and not self.has(path):
            self.outside[path] = None
        return regular_file.read(self.real(path), longest, below=self._below)

    def read_text(
        self, path: str, longest: int = regular_file.LONGEST, errors: str = "replace"
    ) -> str:
        """Return the text of a regular file with each line end as a newline. Raises OSError."""
        text = self.read(path, longest).decode("utf-8", errors)
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def exists(self, path: str) -> bool:
        """Return whether a file or directory exists in the tree."""
        return self.status(path) is not None

    def status(self, path: str) -> os.stat_result | None:
        """Return the status of a file; None if there is none in the tree."""
        try:
            return os.lstat(self.real(path)) if self.is_image else os.stat(self.real(path))  # noqa: PTH116 - texts
        except (OSError, ValueError):
            return None

    def glob(self, pattern: str) -> list[str]:
        """Return the sorted paths that match a pattern of the shell."""
        if "\0" in pattern:
            return []
        first = _MAGIC.search(pattern)
        literal = pattern if first is None else pattern[: first.start()].rpartition("/")[0] or "/"
        if not self.is_image and not self.has(literal):
            self.outside[pattern] = None
            return []
        found = ["/" if pattern.startswith("/") else ""]
        left = _MOST_NAMES
        for part in filter(None, pattern.split("/")):
            if not _MAGIC.search(part):
                found = [os.path.join(folder, part) for folder in found]  # noqa: PTH118 - texts
                continue
            deeper = []
            for folder in found:
                names = self._names(folder)[:left]
                left -= len(names)
                hits = matching(names, part)
                deeper += [
                    os.path.join(folder, name)  # noqa: PTH118 - texts
                    for name in sorted(hits)
                    if part.startswith(".") or not name.startswith(".")
                ]
            found = deeper[:_MOST_MATCHES]
        return sorted(path for path in found if self.exists(path))

    def _names(self, folder: str) -> list[str]:
        try:
            real = self.real(folder)
            return os.listdir(real) if self.has(real) else []  # noqa: PTH208 - texts
        except OSError:
            return []

    def is_folder(self, path: str) -> bool:
        """Return whether a directory exists in the tree."""
        found = self.status(path)
        return found is not None and stat.S_ISDIR(found.st_mode)
