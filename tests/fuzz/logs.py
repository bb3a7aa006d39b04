"""Fuzz targets: logs that are read after an outage."""

from __future__ import annotations

import gzip
import json
import math
import tempfile
from datetime import timezone
from pathlib import Path

from fpm_listener.replay.container_replays import ContainerReplays
from fpm_listener.replay.document import to_json
from fpm_listener.replay.file_lines import LONGEST_LINE
from fpm_listener.replay.log_lines import LogFile, ReadOptions, Report, Source, read
from fpm_listener.replay.replayer import Replayer
from fpm_listener.replay.time_range import read_moment, read_zone
from fpm_listener.values import FpmListenerError
from tests.fuzz.saved import POLICY
from tests.fuzz.target import Target, check, fpm_lines, text

#: In memory, where there is such a place: a file is written for each input.
_PLACE = "/dev/shm" if Path("/dev/shm").is_dir() else None
_LOG = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_PLACE), "some.log")
_OPTIONS = ReadOptions(zone=timezone.utc)

_SPAWNED = b"2026-11-28 10:00:00,250 INFO spawned: 'php-fpm' with pid 7\n"
_EXITED = b"2026-11-28 10:00:02,500 WARN exited: php-fpm (exit status 78; not expected)\n"
_RUNNING = b"[28-Nov-2026 10:00:01] NOTICE: fpm is running, pid 7\n"
_OWN = _SPAWNED + b"sh: 1: php-fpm9: not found\n" + _RUNNING + _EXITED
_STAMP = b"2026-11-28T10:00:01.500000000Z "


def _each(before: bytes, after: bytes = b"") -> bytes:
    return b"".join(before + line + after + b"\n" for line in _OWN.splitlines())


def old_logs(data: bytes) -> None:
    """Any log is read and replayed to its end, or is no log; lines and times are bounded."""
    _LOG.write_bytes(data)
    for source in {Source.MIXED, [*Source][len(data) % len(Source)]}:
        replays, report = ContainerReplays(lambda _: Replayer(POLICY)), Report()
        try:
            for line in read([LogFile(str(_LOG), source)], _OPTIONS, report):
                check(len(line.text) <= LONGEST_LINE, "a line is too long")
                check(b"\n" not in line.text or b'"log"' in data, "two lines in one")
                check(line.at is None or math.isfinite(line.at), "no time")
                check(line.source is not Source.MIXED, "a line without a source")
                replays.take(line)
        except FpmListenerError as error:
            check("\n" not in str(error), "an error of several lines")
            continue
        replays.end()
        check(not any("\n" in note for note in report.notes), "a note of several lines")
        json.dumps(to_json(replays, report))


def packed_log(data: bytes) -> None:
    """What follows the first bytes of a compressed file is unpacked, or is reported."""
    for magic in (b"\x1f\x8b\x08\0", b"BZh9", b"\xfd7zXZ\0", b""):
        old_logs(magic + data)


def time_options(data: bytes) -> None:
    """A time or a zone is read, or refused in one line."""
    word = text(data)
    for option in ("--since", "--until"):
        try:
            found = read_moment(word, option, timezone.utc, 1_795_860_000.0)
            check(math.isfinite(found), "no time")
        except FpmListenerError as error:
            check("\n" not in str(error), "an error of several lines")
    try:
        read_zone(word)
    except FpmListenerError as error:
        check("\n" not in str(error), "an error of several lines")


TARGETS = {
    "old-logs": Target(
        old_logs,
        (
            _OWN,
            b"\n".join(fpm_lines()),
            _each(_STAMP),
            _each(b"php-1  | " + _STAMP),
            _each(b"[pod/web/php] "),
            _each(_STAMP + b"stdout F ") + _STAMP + b"stdout P x\n",
            _each(b'{"log":"', b'\\n","stream":"stdout","time":"2026-11-28T10:00:01.5Z"}'),
            _each(b"Nov 28 10:00:01 host php-fpm[7]: "),
        ),
        stretch=0,
    ),
    "packed-log": Target(packed_log, (gzip.compress(_OWN, mtime=0)[4:],), stretch=0),
    "time-options": Target(
        time_options,
        (b"30m", b"2026-11-28 10:00:00", b"10:00", b"2026-11-28T10:00Z", b"Europe/Berlin", b"+02"),
    ),
}
