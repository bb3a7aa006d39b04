"""Prints for people; an output that cannot be written causes no traceback.

Law: untrusted text reaches a terminal through `say` or `complain`, which make it harmless.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from fpm_listener.untrusted_text import plain
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from typing import TextIO

#: The exit status of a program that SIGPIPE has ended, as a shell reports it.
PIPE_CLOSED = 141


class PipeClosed(Exception):  # noqa: N818 - it is not an error
    """The reader of standard output has gone, as with `| head -1`."""


def prepare() -> None:
    """Print characters that the terminal cannot encode as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print lines; control characters become question marks."""
    write("\n".join(map(plain, text.split("\n"))))


def write(text: str, stream: TextIO | None = None) -> None:
    """Print text unchanged, and a newline, on standard output or on another stream.

    Raises PipeClosed and FpmListenerError.
    """
    out = sys.stdout if stream is None else stream
    if out is None:
        raise FpmListenerError("standard output is closed")
    try:
        out.write(f"{text}\n")
        out.flush()
    except OSError as error:
        _discard(1)
        if isinstance(error, BrokenPipeError):
            raise PipeClosed from None
        raise FpmListenerError(f"standard output cannot be written: {error.strerror}") from None


def write_exactly(text: str) -> None:
    """Print the text of files with its original bytes; on a terminal, as `say` does."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and not out.isatty():
        out.reconfigure(encoding="utf-8", errors="surrogateescape")
        if text:
            write(text.removesuffix("\n"))
    else:
        say(text.removesuffix("\n"))


def complain(error: FpmListenerError) -> None:
    """Print an error on standard error, as one line."""
    line = plain(str(error).replace("\n", " "))
    try:
        sys.stderr.write(f"fpm-listener: {line}\n")
    except (OSError, AttributeError):  # None where it is closed
        _discard(2)


def _discard(descriptor: int) -> None:
    """Discard buffered output: Python would write it at exit, and print an error."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
