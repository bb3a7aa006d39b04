r"""Finds the lines of a chunk that can be of interest, before any of them is parsed.

Law: no line that `line_kinds` and the parsers know is left out. Others can be among the results.

Python searches for a literal text with the speed of memory. So each pattern begins with literal
bytes that are rare. Measured with Python 3.11 on logs of web servers and applications:
`\n(?:…)` 0.6 ms/MiB, `] (?:ERROR|…): ` 0.4 to 0.8, one word 0.4 to 0.7, `(?:ERROR|WARNING): ` 5.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: supervisord's messages, behind the milliseconds of its time.
_SUPERVISORD = (
    rb",\d{3} (?:INFO|WARN|CRIT|ERRO) (?:spawned: |success: |exited: |stopped: |gave up: "
    rb"|spawnerr: |killing '|waiting for |supervisord |received SIG)"
)
#: php-fpm's lines with its time.
_FPM = rb"\] (?:NOTICE|WARNING|ERROR|ALERT): "
#: Both at the beginning of a line; zero bytes are what a truncated file begins with.
_FIRST = (
    rb"\n\0*(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    + _SUPERVISORD
    + rb"|\[\d\d-[A-Z][a-z]{2}-\d{4} \d\d:\d\d:\d\d(?:\.\d{1,9})?"
    + _FPM
    + rb")"
)
#: php-fpm's lines with and without its time.
_BARE_FPM = rb": (?:(?<=NOTICE: )|(?<=WARNING: )|(?<=ERROR: )|(?<=ALERT: ))"
_FPM_IN_SYSLOG = rb"\[(?:NOTICE|WARNING|ERROR|ALERT)\] "
GUARD = rb"fpm-listener guard: "
#: What PHP writes before php-fpm starts.
_PHP = (rb"PHP(?::  syntax| Fatal) error", rb"\): Fatal Error ")
#: A record of CRI that a later one continues.
_PARTIAL = rb" std(?:out|err) P"
#: The words of other programs that `incidents.output_messages` knows.
_OTHERS = (
    *(rb"in use", rb"ermission denied", rb"o such file", rb"not found", rb"ormat error"),
    *(rb"annot assign", rb"annot open shared", rb"Error loading", rb"Usage: ", rb"supervisor: "),
)

#: Words of a line before an exit that can be its reason.
REASONS = (b"PHP", b"): Fatal Error ", *_OTHERS)
#: Of files of several programs, without and with envelopes; of php-fpm; of a program's output.
MIXED, WITH_ENVELOPES = (_FIRST,), (_SUPERVISORD, _FPM)
FPM = (_BARE_FPM, GUARD, *_PHP)
OUTPUT = (_BARE_FPM, GUARD, *_PHP, *_OTHERS)
#: What a file has besides, if its envelopes are those of syslog or of CRI.
SYSLOG, CRI = (_FPM_IN_SYSLOG,), (_PARTIAL,)


class LineFilter:
    """Searches the chunks of one file."""

    def __init__(self, patterns: Sequence[bytes]) -> None:
        self._first = [re.compile(one) for one in patterns if one.startswith(rb"\n")]
        self._others = [re.compile(one) for one in patterns if not one.startswith(rb"\n")]

    def find(self, buffer: bytearray, begin: int, end: int) -> list[int]:
        """Return where the lines of interest begin, in order.

        The range has whole lines, and there is the end of a line in front of it.
        """
        starts: set[int] = set()
        for pattern in self._first:
            starts.update(found.start() + 1 for found in pattern.finditer(buffer, begin - 1, end))
        rfind = buffer.rfind
        for pattern in self._others:
            for found in pattern.finditer(buffer, begin, end):
                starts.add(rfind(b"\n", begin, found.start()) + 1 or begin)
        return sorted(starts)
