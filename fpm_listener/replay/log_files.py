"""Opens the files of a log: rotated ones, compressed ones, pipes.

Laws:
1. A file that the user names must be readable, otherwise it is an error. A file that was found
   beside it, and cannot be read, is a note.
2. A file that was found beside another is opened only if it is a regular file and no link.
3. The same file is never read twice. A file that grows is read up to the size that it had.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener.replay.rotated_names import older_names
from fpm_listener.replay.unpacking import LONGEST_MAGIC, NotUnpacked, Unpacked, format_of
from fpm_listener.untrusted_text import escaped
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STDIN = "-"
#: Bytes at the beginning of a file that decide what it is.
SAMPLE = 1 << 16
#: Older files of one log; more are left out, the oldest first.
_MOST_OLD = 300
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY
#: How files begin that are not logs, and what to do.
_OTHER_KINDS = (
    (
        b"LPKSHHRH",
        "is a journal of systemd",
        "journalctl --file {path} | fpm-listener explain --logs -",
    ),
    (b"PK\x03\x04", "is a zip archive", "unzip {path}"),
    (b"\x7fELF", "is a program", ""),
    (b"SQLite format 3", "is a database", ""),
)
_TAR_AT, _TAR = 257, b"ustar"


class OpenLog:
    """One open file. `read_into` gives its content, unpacked."""

    def __init__(self, path: str, descriptor: int, *, is_stdin: bool = False) -> None:
        """Raise OSError or NotUnpacked. The descriptor is closed after an error, too."""
        self.path = path
        self.shown = "standard input" if is_stdin else escaped(path)
        self._descriptor = descriptor
        self._unpacked: Unpacked | None = None
        try:
            found = os.fstat(descriptor)
            self.key = (found.st_dev, found.st_ino)
            is_file = stat.S_ISREG(found.st_mode)
            self._left = found.st_size if is_file else None  # bytes; None = up to the end
            now_s = time.time()
            #: Unix seconds; no line is later. A file of an image can have a time of 1970.
            self.written_s = found.st_mtime if is_file and found.st_mtime > 1e9 else now_s
            self._can_seek = is_file
            self._head = self._read_raw(LONGEST_MAGIC, whole=True)
            if format_of(self._head):
                self._unpacked = Unpacked(self._read_raw, self._head, self.shown)
                self._head = b""
                self._can_seek = False
            self._head += self._read_first(SAMPLE - len(self._head))
        except BaseException:
            os.close(descriptor)
            raise
        self.head = self._head  #: the first bytes of the content

    @property
    def problem(self) -> str:
        """Return why the content ended early; empty = it has not."""
        return "" if self._unpacked is None else self._unpacked.problem

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def read_into(self, view: memoryview) -> int:
        """Read the next bytes, and return their number; 0 = the end. Raises OSError."""
        if self._head:
            piece, self._head = self._head[: len(view)], self._head[len(view) :]
        elif self._unpacked is not None:
            piece = self._unpacked.read(len(view))
        else:
            return self._read_plain(view)
        view[: len(piece)] = piece
        return len(piece)

    def _read_plain(self, view: memoryview) -> int:
        if self._left is not None:
            view = view[: self._left]
        got = os.readv(self._descriptor, [view]) if len(view) else 0
        if self._left is not None:
            self._left -= got
        return got

    def skip_hole(self) -> int:
        """Go to the next data of a sparse file, and return how many bytes were left out.

        A writer without O_APPEND leaves a hole where its file was truncated.
        """
        if not self._can_seek or self._left is None:
            return 0
        here = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        try:
            there = os.lseek(self._descriptor, here, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # only a hole is left
                return 0
            there = here + self._left
        skipped = min(there - here, self._left)
        os.lseek(self._descriptor, here + skipped, os.SEEK_SET)
        self._left -= skipped
        return skipped

    def _read_raw(self, size: int, *, whole: bool = False) -> bytes:
        """Return the next bytes of the file itself; whole: fewer only at its end."""
        parts: list[bytes] = []
        while size and (piece := self._read_once(size)):
            parts.append(piece)
            size -= len(piece)
            if not whole:
                break
        return b"".join(parts)

    def _read_once(self, size: int) -> bytes:
        if self._left is not None:
            size = min(size, self._left)
        piece = os.read(self._descriptor, size)
        if self._left is not None:
            self._left -= len(piece)
        return piece

    def _read_first(self, size: int) -> bytes:
        """Return the beginning of the content. A pipe is read only until it has a whole line."""
        read = self._read_raw if self._unpacked is None else self._unpacked.read
        parts: list[bytes] = []
        while size > 0 and (piece := read(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)


def open_log(path: str, *, rotated: bool, note: Callable[[str], None]) -> list[OpenLog]:
    """Open a file, and the older files of the same log, oldest first. Raises FpmListenerError."""
    if path == STDIN:
        return [_checked(OpenLog(STDIN, os.dup(0), is_stdin=True))]
    try:
        named = OpenLog(path, _open_named(path))
    except NotUnpacked as error:
        raise FpmListenerError(str(error)) from None
    except OSError as error:
        raise FpmListenerError(
            f"log file {path!r}: {error.strerror or error}. Give the path of a log that this user "
            "can read"
        ) from None
    _checked(named)
    if not rotated:
        _note_older(path, note)
        return [named]
    older = []
    # The newest first: a rotation meanwhile makes a file older, so none is missed.
    for other in reversed(_older_paths(path)):
        try:
            older.append(_checked(OpenLog(other, _open_found(other))))
        except NotUnpacked as error:
            note(str(error))
        except FpmListenerError as error:
            note(str(error))
        except OSError as error:
            note(f"{escaped(other)} was not read: {error.strerror or error}")
    return [*reversed(older), named]


def _note_older(path: str, note: Callable[[str], None]) -> None:
    """Say that the log begins in older files, which are not read."""
    if older := _older_paths(path):
        count = f" and {len(older) - 1} more" if len(older) > 1 else ""
        note(f"older files of this log were not read: {escaped(older[-1])}{count}; use --rotated")


def _older_paths(path: str) -> list[str]:
    folder, name = Path(path).parent, Path(path).name
    try:
        names = [other.name for other in Path(folder).iterdir()]
    except OSError:
        return []
    return [str(folder / other) for other in older_names(name, names)][-_MOST_OLD:]


def _open_named(path: str) -> int:
    """Open a file that the user names: a file, or a pipe of the shell (`<(…)`). Raises OSError."""
    if "\0" in path:
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "it is a directory; name the files in it")
    is_pipe = stat.S_ISFIFO(mode) and path.startswith(("/dev/fd/", "/proc/"))
    if not stat.S_ISREG(mode) and not is_pipe and path != "/dev/stdin":
        raise OSError(errno.EINVAL, "it is not a file; use - for the output of another command")
    return os.open(path, _FLAGS)


def _open_found(path: str) -> int:
    """Open a file that was found beside another. Raises OSError."""
    descriptor = os.open(path, _FLAGS | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a file")
    return descriptor


def _checked(log: OpenLog) -> OpenLog:
    """Return the file, or close it and raise FpmListenerError: it contains no text."""
    problem = _kind_problem(log)
    if problem:
        log.close()
        raise FpmListenerError(problem)
    return log


def _kind_problem(log: OpenLog) -> str:
    head = log.head
    for magic, what, command in _OTHER_KINDS:
        if head.startswith(magic):
            hint = f". Try: {command.format(path=log.shown)}" if command else ""
            return f"{log.shown} {what}, not a log{hint}"
    if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR:
        return f"{log.shown} is a tar archive, not a log. Unpack it first: tar -xf {log.shown}"
    text = head.replace(b"\0", b"")  # a truncated log can have many zero bytes
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return (
            f"{log.shown} is UTF-16. Convert it first: "
            f"iconv -f UTF-16 -t UTF-8 {log.shown} | fpm-listener explain --logs -"
        )
    controls = len(text.translate(None, _TEXT)) if text else 0
    if controls * 3 > len(text):
        return f"{log.shown} contains binary data, not the lines of a log"
    return ""


#: Bytes of text in any encoding that is used for logs.
_TEXT = bytes({*b"\t\n\r\x1b", *range(0x20, 0x7F), *range(0x80, 0x100)})


def sample_lines(head: bytes) -> Iterator[bytes]:
    """Return the whole lines at the beginning of a file; the last one can be without its end."""
    lines = head.split(b"\n")
    yield from (lines[:-1] if len(lines) > 1 else lines)
