"""Reads the lines of several log files, merged in order of time.

Laws:
1. A log can be huge: memory does not depend on its size.
2. A log is untrusted text: nothing raises, and what is left out is counted in `Report`.
3. In a log of several programs only a line counts that certainly is supervisord's or php-fpm's.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timezone, tzinfo
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.replay.stamps import find_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Bytes of a line that are kept.
LONGEST_LINE = 64 << 10


class Source(Enum):
    """Who has written a line."""

    SUPERVISORD = "supervisord"  #: supervisord's own log
    FPM = "fpm"  #: php-fpm's error log
    OUTPUT = "output"  #: the output of a program; its lines are as untrusted as live output
    MIXED = "mixed"  #: only of a file: several programs write to it. No line has this source


class LogFile(NamedTuple):
    """One file to read."""

    path: str  #: `-` = standard input
    source: Source = Source.MIXED
    program: str = ""  #: name of the program, if all lines are of one program


class LogLine(NamedTuple):
    """One line of a log."""

    at: float | None  #: Unix seconds; None = no line of the file so far has a time
    source: Source
    path: str
    program: str  #: if the source shows it, otherwise empty
    text: bytes  #: as its program wrote it: its own stamp is there, prefixes of containers are not


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What of the files is read, and how."""

    zone: tzinfo | None = None  #: of stamps without a zone; None = this machine's zone
    since: float | None = None  #: Unix seconds of the first line
    until: float | None = None  #: Unix seconds of the last line
    rotated: bool = True  #: older files of the same set are read too


@dataclass(slots=True)
class Report:
    """What `read` has seen; it is complete after the last line."""

    lines: int = 0  #: lines that were returned
    bytes_read: int = 0
    files: list[str] = field(default_factory=list)  #: in order of time
    notes: list[str] = field(default_factory=list)  #: sentences for the user


def read(
    files: Sequence[LogFile], options: ReadOptions, report: Report | None = None
) -> Iterator[LogLine]:
    """Return the lines of all files in order of time. Raises FpmListenerError."""
    report = report or Report()
    streams = [_lines(file, options, report) for file in files]
    for line in heapq.merge(*streams, key=lambda line: line.at or 0.0):
        if options.since is not None and line.at is not None and line.at < options.since:
            continue
        if options.until is not None and line.at is not None and line.at > options.until:
            continue
        report.lines += 1
        yield line


def _lines(file: LogFile, options: ReadOptions, report: Report) -> Iterator[LogLine]:
    report.files.append(file.path)
    at: float | None = None
    zone = options.zone or datetime.now(timezone.utc).astimezone().tzinfo
    with Path("/dev/stdin" if file.path == "-" else file.path).open("rb") as stream:
        for raw in stream:
            report.bytes_read += len(raw)
            text = raw.rstrip(b"\r\n")[:LONGEST_LINE]
            own, found = find_time(text)
            if found is not None:
                at = found.replace(tzinfo=zone).timestamp()
            source = own if file.source is Source.MIXED else file.source.value
            yield LogLine(at, Source(source or "output"), file.path, file.program, text)
