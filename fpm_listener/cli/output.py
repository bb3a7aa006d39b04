"""What commands print for people: no traceback where it cannot be written.

Law: text of others reaches a terminal through `say` or `complain`, which make it harmless.
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

#: As a shell reports a program that SIGPIPE has ended.
PIPE_CLOSED = 141


class PipeClosed(Exception):  # noqa: N818 - nothing is wrong: the reader has seen enough
    """Nobody reads standard output any more, as behind `| head -1`."""


def prepare() -> None:
    """Print what the terminal's encoding lacks as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print lines; control characters of others become question marks."""
    write("\n".join(map(plain, text.split("\n"))))


def write(text: str, stream: TextIO | None = None) -> None:
    """Print text as it is, and a newline; on standard output, unless another stream is given.

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
    """Print the text of files as their bytes are; on a terminal, as `say` does."""
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
    """Send what is still buffered nowhere: Python writes it when it ends, and would complain."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
