"""How to start this program again: the command that users write into supervisord's file.

Rules:
1. The path is absolute, because supervisord often has another PATH.
2. The command that the user typed wins: it can be a link that stays when the version changes.
3. The command starts. pip writes the path of Python into the first line of our script as it is, and
   Linux starts no script whose first line has a space in that path, or is too long.
"""

from __future__ import annotations

import os
import re
import shlex
import sys

import fpm_listener

_NAME = "fpm-listener"
#: Bytes of the longest first line of a script, before Linux 5.1.
_LONGEST_FIRST_LINE = 127
#: What is written without quotes in supervisord's file and in a shell.
_PLAIN = re.compile(r"/[\w./+@-]*fpm-listener[\w.-]*", re.ASCII)


def archive() -> str | None:
    """Return the path of the zip file that this program runs from; None = it runs from files."""
    found = getattr(fpm_listener.__loader__, "archive", None)
    return os.path.abspath(found) if isinstance(found, str) else None  # noqa: PTH100 - a link stays a link


def unpacked() -> str | None:
    """Return the directory of `fpm-listener.pyz unpack` that this program runs from."""
    library = os.path.dirname(os.path.dirname(os.path.abspath(fpm_listener.__file__)))  # noqa: PTH100, PTH120 - the same
    root = os.path.dirname(library)  # noqa: PTH120 - the same
    is_ours = library == f"{root}/lib" and _is_program(f"{root}/bin/{_NAME}")
    return root if is_ours else None


def typed() -> str:
    """Return the absolute path of the command that the user typed; empty = it needs more words."""
    path = os.path.abspath(sys.argv[0])  # noqa: PTH100 - the same
    return path if _PLAIN.fullmatch(path) and _is_program(path) else ""


def words() -> list[str]:
    """Return the words that start this program."""
    if path := typed():
        return [path]
    if file := archive():
        return [file] if _is_program(file) else [sys.executable, file]
    root = unpacked()
    beside = f"{root}/bin/{_NAME}" if root else os.path.join(os.path.dirname(sys.executable), _NAME)  # noqa: PTH118, PTH120 - the same
    if _is_program(beside):
        return [beside]
    import shutil  # noqa: PLC0415 - late, see ADR 044

    found = shutil.which(_NAME)
    return [found] if found and _is_program(found) else [sys.executable, "-m", "fpm_listener"]


def line() -> str:
    """Return the same as one line."""
    return shlex.join(words())


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK) and _starts(path)  # noqa: PTH113 - a text


def _starts(path: str) -> bool:
    """Return whether Linux finds the interpreter of a script."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - a text
            first = file.readline(_LONGEST_FIRST_LINE + 1)
    except OSError:
        return True  # it can be readable only for supervisord's user
    words = first[2:].split()
    if not first.startswith(b"#!") or not words:
        return True
    return len(first) <= _LONGEST_FIRST_LINE and os.path.isfile(words[0])  # noqa: PTH113 - a text
