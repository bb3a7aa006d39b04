"""Reads the lines of several log files, merged in order of time.

Laws:
1. A log can be huge: memory does not depend on its size.
2. A log is untrusted text: nothing raises, and what is left out is in `Report`.
3. In a log of several programs only a line counts that certainly is supervisord's or php-fpm's
   (`line_kinds`). Lines without a word of interest are not returned (`line_filter`).
4. Times are never changed. A difference between clocks is reported.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.replay.clock_offset import ClockOffset
from fpm_listener.replay.log_files import open_log
from fpm_listener.replay.log_reader import LogReader
from fpm_listener.replay.log_values import LogFile, LogLine, ReadOptions, Report, Source
from fpm_listener.untrusted_text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["LogFile", "LogLine", "ReadOptions", "Report", "Source", "read"]

#: Lines of supervisord that are remembered, since the same ones can come again.
_REMEMBERED = 2000
#: Seconds by which the order of one file can be wrong without a change of its clock.
_DISORDER_S = 7200.0


def read(
    files: Sequence[LogFile], options: ReadOptions, report: Report | None = None
) -> Iterator[LogLine]:
    """Return the lines of interest of all files in order of time. Raises FpmListenerError."""
    report = report or Report()
    logs = _open_all(files, options, report)
    return _merged(logs, options, report)


def _open_all(
    files: Sequence[LogFile], options: ReadOptions, report: Report
) -> list[list[LogReader]]:
    """Open all files before the first one is read: a rotation does not change them any more."""
    seen: set[tuple[int, int]] = set()
    sets: list[list[LogReader]] = []
    sources: dict[str, set[Source]] = {}
    for file in files:
        sources.setdefault(file.path, set()).add(file.source)
    for named in files:
        several = len(sources[named.path]) > 1
        file = named._replace(source=Source.MIXED) if several else named
        readers = []
        for log in open_log(file.path, rotated=options.rotated, note=report.note):
            if log.key in seen:
                log.close()
                continue
            seen.add(log.key)
            readers.append(LogReader(log, file, options))
        sets.append(_ordered(readers, options))
    return sets


def _ordered(readers: list[LogReader], options: ReadOptions) -> list[LogReader]:
    """Return the files of one log in order of time, without those that are too old."""
    if all(reader.first_s is not None for reader in readers):
        readers = sorted(readers, key=lambda reader: reader.first_s or 0.0)
    since = options.since
    first = 0
    for number, reader in enumerate(readers):
        if since is not None and reader.first_s is not None and reader.first_s < since:
            first = number
    for reader in readers[:first]:
        reader.close()
    return readers[first:]


def _merged(sets: list[list[LogReader]], options: ReadOptions, report: Report) -> Iterator[LogLine]:
    clocks, copies = ClockOffset(), _Copies()
    left, last_path = {""}, ""  # files of supervisord's lines: the ones before, and the last one
    streams = [_of_set(readers, report) for readers in sets]
    merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=_order)
    for _, line in merged:
        at = line.at
        if at is not None and (
            (options.since is not None and at < options.since)
            or (options.until is not None and at > options.until)
        ):
            continue
        if line.source is Source.SUPERVISORD:
            if copies.is_copy(line):
                continue
            if line.path != last_path and line.path in left:
                _note_two(last_path, line.path, report)
            left.add(last_path)
            last_path = line.path
            if at is not None:
                clocks.spawned(at, line.text)
        elif at is not None:
            clocks.running(at, line.text)
        report.lines += 1
        yield line
    _report_clocks(clocks, sets, report)


def _note_two(one: str, other: str, report: Report) -> None:
    first, second = sorted(map(escaped, (one, other)))
    report.note(
        f"{first} and {second} have lines of supervisord at the same time, and count as the logs of"
        " one supervisord. If they are of two machines or containers, diagnose each alone"
    )


def _order(entry: tuple[float, LogLine]) -> float:
    return entry[0]


def _of_set(readers: list[LogReader], report: Report) -> Iterator[tuple[float, LogLine]]:
    """Return the lines of one log with the time by which they are ordered."""
    order: float | None = None
    for reader in readers:
        report.files.append(reader.log.shown)
        for line in reader.lines():
            if line.at is not None and (
                order is None or line.at > order or line.at < order - _DISORDER_S
            ):
                order = line.at
            yield order or 0.0, line
        reader.finish(report)
    if readers and not any(reader.found for reader in readers):
        report.note(readers[-1].nothing())


class _Copies:
    """Lines of supervisord that are there again: its times have milliseconds.

    Another file has them, too. Or supervisord writes each line twice (nodaemon=true and
    logfile=/dev/stdout), or a program such as `tail -f` repeats its log.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bytes], None] = {}  # by container and line, in order

    def is_copy(self, line: LogLine) -> bool:
        """Return whether the same line was there before."""
        key = line.container, line.text
        if key in self._seen:
            return True
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return False


def _report_clocks(clocks: ClockOffset, sets: list[list[LogReader]], report: Report) -> None:
    offset = clocks.find()
    if offset is not None:
        direction = "ahead of" if offset > 0 else "behind"
        report.note(
            f"The clock of php-fpm's log is {durations.age(abs(offset))} {direction} that of "
            "supervisord's log: the same start has both times. Lines were not moved"
        )
    readers = [reader for readers in sets for reader in readers]
    zones = {reader.has_zone for reader in readers if reader.has_zone or reader.stamps.without_zone}
    if len(zones) > 1:
        report.note(
            "Some logs have times with a zone, and others without. If the order of the lines is "
            "wrong, give the zone of the others with --tz"
        )
