"""Reads one log file: its format and its clock.

Laws:
1. A line without a time has the time of the line before it, of the same container.
2. The time of a runtime (Docker, Kubernetes) is better than that in the line: it has a zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.replay import envelopes
from fpm_listener.replay.file_lines import LONGEST_LINE, FileLines, first_lines
from fpm_listener.replay.line_kinds import source_of
from fpm_listener.replay.log_files import sample_lines
from fpm_listener.replay.log_values import LogLine, Source
from fpm_listener.replay.stamps import StampReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.replay.envelopes import Envelopes, Unwrapped
    from fpm_listener.replay.log_files import OpenLog
    from fpm_listener.replay.log_values import LogFile, ReadOptions, Report

#: Lines of a file by which its format is known.
_SAMPLE_LINES = 100
#: Containers of which the time of the last line is remembered.
_MOST_CONTAINERS = 1000
#: Zones differ by a multiple of this; seconds.
_ZONE_STEP_S = 900.0
#: Seconds between the time that a program writes, and that of the runtime that reads it.
_DELAY_S = 120.0


class LogReader:
    """One file with its format and its clock."""

    def __init__(self, log: OpenLog, file: LogFile, options: ReadOptions) -> None:
        self.log = log
        self._file = file
        sample = first_lines(log, _SAMPLE_LINES)
        self._envelopes: Envelopes = envelopes.detect(sample)
        self.stamps = StampReader(options.zone, log.written_s)
        self._own_stamps = StampReader(options.zone, log.written_s)  # of lines with two times
        self._is_syslog = self._envelopes.has_idents
        self._raw = FileLines(log, file.source, self._envelopes)
        self.found = 0  #: lines that are certainly supervisord's or php-fpm's
        self._copies = 0
        self.has_zone = False  #: the envelopes have a zone
        #: Unix seconds; None = the beginning of the file has no time
        self.first_s = self._first_time(StampReader(options.zone, log.written_s))

    def _first_time(self, stamps: StampReader) -> float | None:
        for line in sample_lines(self.log.head):
            content = self._envelopes.unwrap(line[:LONGEST_LINE])
            if content is None:
                continue
            source = self._source(content)
            if source is None and not content.stamp:
                continue
            at = self._time(content, stamps, source or Source.OUTPUT)
            if at is not None:
                return at
        return None

    def _source(self, content: Unwrapped) -> Source | None:
        return source_of(
            content.text,
            self._file.source,
            content.ident,
            is_syslog=self._is_syslog,
        )

    def lines(self) -> Iterator[LogLine]:
        """Return the lines of interest."""
        file = self._file
        path = self.log.path
        last: dict[bytes, float | None] = {}
        for content, is_context in self._raw:
            source = self._source(content)
            if source is None or is_context:
                if not is_context or file.source is Source.SUPERVISORD:
                    continue
                source = source or Source.OUTPUT
            at = self._time(content, self.stamps, source)
            if at is None:
                at = last.get(content.container)
            elif content.container in last or len(last) < _MOST_CONTAINERS:
                last[content.container] = at
            if source is not Source.OUTPUT and content.stamp and self._is_copy(content, at):
                self._copies += 1
                continue
            self.found += source is not Source.OUTPUT
            container = content.container.decode("utf-8", "replace")
            yield LogLine(at, source, path, file.program, content.text, container)

    def _time(
        self, content: Unwrapped, stamps: StampReader, source: Source = Source.OUTPUT
    ) -> float | None:
        at = None
        if content.stamp[10:11] == b"T":
            at = stamps.read(content.stamp)
            self.has_zone = self.has_zone or at is not None
        if at is None and (source is not Source.OUTPUT or self._file.source is not Source.MIXED):
            at = stamps.read(content.text)
        if at is None and content.stamp:
            at = stamps.read(content.stamp)
        return at

    def _is_copy(self, content: Unwrapped, at: float | None) -> bool:
        """Return whether the line's own time does not fit to the time of its envelope.

        A container that prints an older log, or the log of another machine.
        """
        own = self._own_stamps.read(content.text)
        if own is None or at is None:
            return False
        away = (own - at + _ZONE_STEP_S / 2) % _ZONE_STEP_S - _ZONE_STEP_S / 2
        return abs(away) > _DELAY_S

    def close(self) -> None:
        """Close the file, which is not read."""
        self.log.close()

    def finish(self, report: Report) -> None:
        """Close the file, and report what was left out."""
        raw, shown = self._raw, self.log.shown
        self.log.close()
        report.bytes_read += raw.bytes_read
        if raw.problem:
            report.note(
                f"{shown} was read up to byte {raw.bytes_read} of its content: {raw.problem}"
            )
        if raw.long_lines:
            report.note(
                f"{shown} has {raw.long_lines} lines of more than {LONGEST_LINE >> 10} KiB. "
                "Only their beginning was read"
            )
        if self._copies:
            report.note(
                f"{self._copies} lines of {shown} were left out: their own time differs from the "
                "time at which they were written, so they are copies of an older log"
            )
        if self.stamps.ambiguous:
            report.note(
                f"{self.stamps.ambiguous} lines of {shown} are in an hour that a change of the "
                "clocks repeats; their time can be wrong by an hour"
            )

    def nothing(self) -> str:
        """Return why no line counts, for the user."""
        shown = self.log.shown
        if not self._raw.bytes_read:
            return f"{shown} is empty"
        what = {
            Source.SUPERVISORD: "no line of supervisord was found",
            Source.FPM: "no line of php-fpm was found",
        }.get(self._file.source, "no line of supervisord or php-fpm was found")
        return f"{shown}: {what} in {self._raw.bytes_read} bytes. Is it the right file?"
