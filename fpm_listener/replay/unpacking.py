"""Unpacks compressed logs piece by piece.

Law: what was unpacked before an error is delivered. Memory does not depend on the size.
"""

from __future__ import annotations

import importlib
import zlib
from typing import TYPE_CHECKING, Any

from fpm_listener.untrusted_text import escaped

if TYPE_CHECKING:
    from collections.abc import Callable

#: How compressed files begin, the module of the standard library, and the command that unpacks.
_FORMATS = (
    (b"\x1f\x8b", "gzip", "zlib", "zcat"),
    (b"BZh", "bzip2", "bz2", "bzcat"),
    (b"\xfd7zXZ\x00", "xz", "lzma", "xzcat"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "compression.zstd", "zstdcat"),  # Python 3.14
    (b"\x04\x22\x4d\x18", "LZ4", "", "lz4cat"),
    (b"\x1f\x9d", "compress", "", "zcat"),
)
#: Bytes of compressed data that are unpacked at once.
_PIECE = 1 << 14
#: Bytes that the beginning of a file must have, so that its format is certain.
LONGEST_MAGIC = 6


class NotUnpacked(Exception):  # noqa: N818 - a reason for people, not a bug
    """The text says why this machine cannot unpack a file."""


def format_of(head: bytes) -> str:
    """Return the name of the compression, empty if there is none. head: first bytes of a file."""
    return next((name for magic, name, *_ in _FORMATS if head.startswith(magic)), "")


class Unpacked:
    """The content of one compressed file."""

    def __init__(self, read: Callable[[int], bytes], head: bytes, shown: str) -> None:
        """Raise NotUnpacked. head: bytes that were read already. shown: the path, for people."""
        self.problem = ""  #: why the content ends early; empty = it does not
        self._read = read
        self._input = head
        _, self._name, module, command = next(one for one in _FORMATS if head.startswith(one[0]))
        make = _find_unpacker(module)
        if make is None:
            raise NotUnpacked(
                f"{shown} is compressed with {self._name}, which this Python cannot unpack. "
                f"Unpack it first: {command} {shown} | fpm-listener explain --logs -"
            )
        self._make: Callable[[], Any] = make  # the modules have no common type
        self._unpacker = make()
        self._left = b""
        self._is_over = False

    def read(self, size: int) -> bytes:
        """Return at most so many bytes; none = the end, or a problem."""
        while not self._left and not self._is_over:
            self._left = self._next()
        piece, self._left = self._left[:size], self._left[size:]
        return piece

    def _next(self) -> bytes:
        if self._unpacker.eof and not self._begin_member():
            return b""
        rest = getattr(self._unpacker, "unconsumed_tail", b"")  # of zlib
        if not rest and getattr(self._unpacker, "needs_input", True):
            rest = self._input or self._read(_PIECE)
            self._input = b""
            if not rest:
                return self._unpack(b"") or (b"" if self._unpacker.eof else self._end("it is cut"))
        return self._unpack(rest)

    def _unpack(self, data: bytes) -> bytes:
        saved = self._unpacker.copy() if hasattr(self._unpacker, "copy") else None
        try:
            return bytes(self._unpacker.decompress(data, 1 << 16))
        except Exception as error:  # noqa: BLE001 - each module has its own: zlib.error, LZMAError …
            self._end(f"it is damaged: {escaped(str(error))[:100]}")
            return _before_damage(saved, data) if saved is not None else b""

    def _begin_member(self) -> bool:
        """Begin the next part of a file that consists of several; return whether there is one."""
        rest = self._unpacker.unused_data or self._read(_PIECE)
        while rest and not rest.strip(b"\0"):
            rest = self._read(_PIECE)
        rest = rest.lstrip(b"\0")
        if len(rest) < LONGEST_MAGIC and rest:
            rest += self._read(_PIECE)
        if not rest or format_of(rest) != self._name:
            self._end("it has other bytes behind its end" if rest else "")
            return False
        self._unpacker, self._input = self._make(), rest
        return True

    def _end(self, problem: str) -> bytes:
        self._is_over = True
        self.problem = problem
        return b""


def _before_damage(unpacker: Any, data: bytes) -> bytes:  # noqa: ANN401 - zlib does not name its type
    """Return what can be unpacked in front of a damaged place."""
    parts = []
    try:
        for byte in data:
            parts.append(unpacker.decompress(bytes((byte,))))  # noqa: PERF401 - up to an error
    except zlib.error:
        pass
    return b"".join(parts)


def _find_unpacker(module: str) -> Callable[[], Any] | None:
    """Return what makes a decompressor, or None if this Python has none."""
    if module == "zlib":
        return lambda: zlib.decompressobj(wbits=31)
    try:
        found = importlib.import_module(module) if module else None
    except ImportError:  # Python was built without it
        return None
    for name in ("BZ2Decompressor", "LZMADecompressor", "ZstdDecompressor"):
        if hasattr(found, name):
            return getattr(found, name)  # type: ignore[no-any-return]
    return None
