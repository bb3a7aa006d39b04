"""The values of reading logs: what is read, what comes out, and what is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import tzinfo


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
    text: bytes  #: as its program wrote it: its own stamp is there, envelopes are not
    container: str = ""  #: if the log is of several containers


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What of the files is read, and how."""

    zone: tzinfo | None = None  #: of stamps without a zone; None = this machine's zone
    since: float | None = None  #: Unix seconds of the first line
    until: float | None = None  #: Unix seconds of the last line
    rotated: bool = False  #: older files of the same log are read, too


@dataclass(slots=True)
class Report:
    """What `read` has seen; it is complete after the last line."""

    lines: int = 0  #: lines that were returned
    bytes_read: int = 0
    files: list[str] = field(default_factory=list)  #: in the order of reading, for people
    notes: list[str] = field(default_factory=list)  #: sentences for the user

    def note(self, sentence: str) -> None:
        """Add a sentence once."""
        if sentence not in self.notes:
            self.notes.append(sentence)
