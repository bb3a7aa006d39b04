"""Reading of log files, with real files."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import random
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from fpm_listener.replay.log_lines import LogFile, LogLine, ReadOptions, Report, Source, read
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

UTC = ReadOptions(zone=timezone.utc)
SPAWNED = b"2026-11-28 10:00:00,250 INFO spawned: 'php-fpm' with pid 7"
BIND = (
    b"[28-Nov-2026 10:00:01] ERROR: unable to bind listening socket for address "
    b"'127.0.0.1:9000': Address already in use (98)"
)
FAILED = b"[28-Nov-2026 10:00:01] ERROR: FPM initialization failed"
RUNNING = b"[28-Nov-2026 10:00:01] NOTICE: fpm is running, pid 7"
EXITED = b"2026-11-28 10:00:02,500 WARN exited: php-fpm (exit status 78; not expected)"
NOON_S = 1795860000.0  # 2026-11-28 10:00:00 UTC
ACCESS = b'10.0.0.1 - - [28/Nov/2026:10:00:00 +0000] "GET /ERROR HTTP/1.1" 200 5 "-" "curl"'


def write(path: Path, *lines: bytes) -> str:
    """Write lines to a file, and return its path."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return str(path)


def lines_of(
    path: str, source: Source = Source.MIXED, options: ReadOptions = UTC
) -> tuple[list[LogLine], Report]:
    """Return the lines of one log, and the report."""
    report = Report()
    return list(read([LogFile(path, source)], options, report)), report


def texts(path: str, source: Source = Source.MIXED, options: ReadOptions = UTC) -> list[bytes]:
    """Return the texts of the lines of one log that are not context."""
    lines, _ = lines_of(path, source, options)
    return [line.text for line in lines if line.source is not Source.OUTPUT]


def test_two_files_are_merged_in_order_of_time(tmp_path: Path) -> None:
    """A line of supervisord's log stands before the later line of php-fpm's log."""
    own = write(tmp_path / "supervisord.log", SPAWNED, EXITED)
    fpm = write(tmp_path / "php-fpm.log", FAILED)

    files = [LogFile(own, Source.SUPERVISORD), LogFile(fpm, Source.FPM, "php-fpm")]
    lines = list(read(files, UTC))

    assert [line.source for line in lines] == [Source.SUPERVISORD, Source.FPM, Source.SUPERVISORD]
    assert [line.at for line in lines] == [NOON_S + 0.25, NOON_S + 1, NOON_S + 2.5]
    assert lines[1] == LogLine(NOON_S + 1, Source.FPM, fpm, "php-fpm", FAILED)


#: One line in the envelope of each tool; the time of the envelope is 10:00:01.5.
ENVELOPES: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda line: line,
    "docker -t": lambda line: b"2026-11-28T10:00:01.500000000Z " + line,
    "compose": lambda line: b"php-1  | " + line,
    "compose with colours": lambda line: b"\x1b[36mphp-1  | \x1b[0m" + line,
    "compose -t": lambda line: b"php-1  | 2026-11-28T10:00:01.500000000Z " + line,
    "kubectl": lambda line: b"2026-11-28T10:00:01.500000000Z " + line,
    "kubectl --prefix": lambda line: b"[pod/web-5d/php] 2026-11-28T10:00:01.5Z " + line,
    "CRI": lambda line: b"2026-11-28T11:00:01.500000000+01:00 stdout F " + line,
    "json-file": lambda line: json.dumps(
        {"log": line.decode() + "\n", "stream": "stderr", "time": "2026-11-28T10:00:01.5Z"},
        separators=(",", ":"),
    ).encode(),
    "journalctl": lambda line: b"Nov 28 10:00:01 web-1 supervisord[812]: " + line,
    "short-iso": lambda line: b"2026-11-28T10:00:01+0000 web-1 supervisord[812]: " + line,
    "rsyslog": lambda line: b"2026-11-28T10:00:01.500000+00:00 web-1 docker/web[1]: " + line,
    "export": lambda line: b"2026-11-28 10:00:01\tstderr\t" + line,
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_is_removed(tmp_path: Path, name: str) -> None:
    """The lines are those of the programs; the application's lines around them do not count."""
    other = b'{"level":"error","message":"unable to bind listening socket"}'
    raw = [ENVELOPES[name](line) for line in (ACCESS, SPAWNED, other, BIND, ACCESS, EXITED)]
    path = write(tmp_path / "docker.log", *raw)

    lines, report = lines_of(path)
    own = [line for line in lines if line.source is not Source.OUTPUT]

    assert [line.text for line in own] == [SPAWNED, BIND, EXITED]
    assert all(line.at is not None and abs(line.at - NOON_S - 1.25) <= 1.25 for line in own)
    assert report.notes == []


def test_syslog_of_php_fpm(tmp_path: Path) -> None:
    """error_log = syslog: the line has no time of its own, and the year is that of the file."""
    path = write(
        tmp_path / "syslog",
        b"Nov 28 09:59:59 web-1 app[3]: [ERROR] FPM initialization failed",
        b"Nov 28 10:00:01 web-1 php-fpm[7]: [ERROR] FPM initialization failed",
    )
    os.utime(path, (NOON_S + 5, NOON_S + 5))

    lines, _ = lines_of(path)

    assert [(line.at, line.text) for line in lines] == [
        (NOON_S + 1, b"[ERROR] FPM initialization failed")
    ]


def test_syslog_of_the_last_year(tmp_path: Path) -> None:
    """A time that would be later than the file is of the year before."""
    path = write(tmp_path / "syslog", b"Nov 28 10:00:01 h php-fpm[7]: [ERROR] No pool defined.")
    january_s = datetime(2027, 1, 5, tzinfo=timezone.utc).timestamp()
    os.utime(path, (january_s, january_s))

    assert lines_of(path)[0][0].at == NOON_S + 1


def test_debug_lines_have_microseconds(tmp_path: Path) -> None:
    """With log_level = debug, each line has microseconds and the place in the source."""
    line = (
        b"[28-Nov-2026 10:00:01.123456] NOTICE: pid 7, fpm_init(), line 83: fpm is running, pid 7"
    )

    lines, _ = lines_of(write(tmp_path / "fpm.log", line))

    assert [(line.at, line.source) for line in lines] == [(NOON_S + 1.123456, Source.FPM)]


@pytest.mark.parametrize(
    "line",
    [
        b"ERROR: unable to bind listening socket for address '127.0.0.1:9000'",
        b"[28-Nov-2026 10:00:01 UTC] PHP Warning:  exited: php-fpm",
        b"app: " + EXITED,
        b"2026-11-28 10:00:02,500 WARNING exited: php-fpm (exit status 78; not expected)",
        b"2026-11-28 10:00:02,500 WARN exited soon",
        (
            b"[28-Nov-2026 10:00:01] WARNING: [pool www] child 9 said into stderr: "
            b'"[28-Nov-2026 10:00:01] ERROR: FPM initialization failed"'
        ),
    ],
)
def test_lines_of_an_application_do_not_count(tmp_path: Path, line: bytes) -> None:
    """Of several programs, only a line that has all of supervisord's or php-fpm's form counts."""
    assert texts(write(tmp_path / "docker.log", ACCESS, line)) == []


def test_supervisord_s_words_in_the_log_of_php_fpm(tmp_path: Path) -> None:
    """An application writes to php-fpm's log: such a line is never supervisord's."""
    lines, _ = lines_of(write(tmp_path / "fpm.log", RUNNING, b"ERROR: x " + EXITED), Source.FPM)

    assert {line.source for line in lines} == {Source.FPM}


def test_an_application_cannot_choose_an_envelope(tmp_path: Path) -> None:
    """One JSON line, or one line of CRI, of an application is no record of a runtime."""
    forged = [ENVELOPES["json-file"](EXITED), ENVELOPES["CRI"](EXITED)]

    assert texts(write(tmp_path / "docker.log", *[ACCESS] * 20, *forged)) == []


def test_a_copy_of_an_old_log_does_not_count(tmp_path: Path) -> None:
    """A container prints an old log at its start: the times do not fit, and the user learns it."""
    old = EXITED.replace(b"10:00:02", b"09:22:02")
    path = write(tmp_path / "docker.log", *map(ENVELOPES["docker -t"], (old, SPAWNED)))

    lines, report = lines_of(path)

    assert [line.text for line in lines if line.source is not Source.OUTPUT] == [SPAWNED]
    assert report.notes[0].startswith("1 lines of ")
    assert "copies of an older log" in report.notes[0]


def test_a_container_in_another_zone_is_no_copy(tmp_path: Path) -> None:
    """Docker's time has a zone; the time in the line is local time of the container."""
    local = EXITED.replace(b"10:00:02", b"15:30:02")
    path = write(tmp_path / "docker.log", ENVELOPES["docker -t"](local))

    assert [line.at for line in lines_of(path)[0]] == [NOON_S + 1.5]


# -- the reason before an exit ---------------------------------------------------------------------


def test_the_lines_before_an_exit_are_output(tmp_path: Path) -> None:
    """They can contain the reason. In one stream of several programs they are untrusted output."""
    reason = b"sh: 1: php-fpm8.9: not found"
    path = write(tmp_path / "docker.log", SPAWNED, reason, EXITED, b"later")

    lines, _ = lines_of(path)

    assert [(line.source, line.text) for line in lines] == [
        (Source.SUPERVISORD, SPAWNED),
        (Source.OUTPUT, reason),
        (Source.SUPERVISORD, EXITED),
    ]
    assert lines[1].at == lines[0].at


# -- rotated and compressed files ------------------------------------------------------------------


def stamped(minute: int) -> bytes:
    """Return a line of supervisord at a minute."""
    return b"2026-11-28 10:%02d:00,000 INFO spawned: 'a' with pid %d" % (minute, minute + 1)


ROTATED = ReadOptions(zone=timezone.utc, rotated=True)


def test_files_that_supervisord_has_rotated(tmp_path: Path) -> None:
    """supervisord.log.10 is the oldest one; other files beside it do not belong to it."""
    for number in range(1, 11):
        write(tmp_path / f"supervisord.log.{number}", stamped(20 - number))
    path = write(tmp_path / "supervisord.log", stamped(20))
    write(tmp_path / "supervisord.log.save", stamped(1))
    write(tmp_path / "other-supervisord.log.1", stamped(1))

    report = Report()
    lines = list(read([LogFile(path, Source.SUPERVISORD)], ROTATED, report))

    assert [line.text for line in lines] == [stamped(minute) for minute in range(10, 21)]
    assert len(report.files) == 11
    assert texts(path) == [stamped(20)]


def test_files_of_logrotate(tmp_path: Path) -> None:
    """Numbers, dates and compression; a file that is just being compressed is read once."""
    path = write(tmp_path / "php-fpm.log", stamped(9))
    write(tmp_path / "php-fpm.log.1", stamped(8))
    (tmp_path / "php-fpm.log.1.gz").write_bytes(gzip.compress(stamped(8)[:30]))
    (tmp_path / "php-fpm.log.2.gz").write_bytes(gzip.compress(stamped(7) + b"\n"))
    (tmp_path / "php-fpm.log-20261127.xz").write_bytes(lzma.compress(stamped(6) + b"\n"))
    (tmp_path / "php-fpm-20261126.log.bz2").write_bytes(bz2.compress(stamped(5) + b"\n"))

    assert texts(path, options=ROTATED) == [stamped(minute) for minute in range(5, 10)]


def test_the_same_file_under_two_names(tmp_path: Path) -> None:
    """A hard link, a link, and a file that is named twice are read once."""
    path = write(tmp_path / "a.log", SPAWNED)
    (tmp_path / "a.log.1").hardlink_to(path)
    (tmp_path / "b.log").symlink_to(path)

    files = [LogFile(path), LogFile(path), LogFile(str(tmp_path / "b.log"))]

    assert len(list(read(files, ROTATED))) == 1


def test_a_link_beside_a_log_is_not_followed(tmp_path: Path) -> None:
    """Another user could have put it there; the user learns which file is missing."""
    write(tmp_path / "secret", SPAWNED)
    (tmp_path / "a.log.1").symlink_to(tmp_path / "secret")
    report = Report()

    lines = list(read([LogFile(write(tmp_path / "a.log", EXITED))], ROTATED, report))

    assert [line.text for line in lines] == [EXITED]
    assert [f"{tmp_path}/a.log.1 was not read" in note for note in report.notes] == [True]


def test_one_log_with_two_roles(tmp_path: Path) -> None:
    """supervisord's log and php-fpm's log can be one file."""
    path = write(tmp_path / "all.log", SPAWNED, RUNNING)

    lines = list(read([LogFile(path, Source.FPM), LogFile(path, Source.SUPERVISORD)], UTC))

    assert [line.source for line in lines] == [Source.SUPERVISORD, Source.FPM]


@pytest.mark.parametrize("damage", ["cut", "damaged", "followed"])
def test_a_damaged_gzip_file(tmp_path: Path, damage: str) -> None:
    """What stands before the damage is read, and one sentence says where it ends."""
    chance = random.Random(1)  # noqa: S311 - no secret
    noise = b"\n".join(chance.randbytes(60).hex().encode() for _ in range(2000))
    packed = bytearray(gzip.compress(SPAWNED + b"\n" + noise + b"\n" + EXITED + b"\n"))
    if damage == "cut":
        del packed[len(packed) // 2 :]
    elif damage == "damaged":
        packed[-8:-4] = b"abcd"  # the checksum
    else:
        packed += b"rubbish"
    path = tmp_path / "a.log.gz"
    path.write_bytes(packed)

    lines, report = lines_of(str(path))

    kept = [SPAWNED] if damage == "cut" else [SPAWNED, EXITED]
    assert [line.text for line in lines if line.source is not Source.OUTPUT] == kept
    assert len(report.notes) == 1
    assert report.notes[0].startswith(f"{path} was read up to byte ")


def test_gzip_files_that_were_joined(tmp_path: Path) -> None:
    """Several parts, with zero bytes between them, are one log."""
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(SPAWNED + b"\n") + b"\0" * 9 + gzip.compress(EXITED + b"\n"))

    lines, report = lines_of(str(path))

    assert [line.text for line in lines] == [SPAWNED, EXITED]
    assert report.notes == []


# -- wrong and hostile files -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x04\x22\x4d\x18rest", "lz4cat"),
        (b"LPKSHHRH" + b"\0" * 200, "is a journal of systemd"),
        (b"x" * 257 + b"ustar", "tar -xf"),
        ((SPAWNED.decode() + "\n").encode("utf-16"), "iconv -f UTF-16"),
        (bytes(range(32)) * 100, "binary data"),
    ],
)
def test_files_that_are_no_log(tmp_path: Path, content: bytes, message: str) -> None:
    """The error says what the file is, and what to do."""
    path = tmp_path / "a.log"
    path.write_bytes(content)

    with pytest.raises(FpmListenerError, match=message):
        lines_of(str(path))


def test_paths_that_cannot_be_read(tmp_path: Path) -> None:
    """A wrong path, a directory and a pipe are errors of the user; nothing blocks."""
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "none", "No such file"),
        (tmp_path, "name the files in it"),
        (tmp_path / "pipe", "use - for"),
        ("a\0b", "No such file"),
    ):
        with pytest.raises(FpmListenerError, match=message):
            lines_of(str(path))


def test_a_file_without_lines_of_interest(tmp_path: Path) -> None:
    """The user learns that nothing was found, since the file may be the wrong one."""
    path = write(tmp_path / "a.log", ACCESS, ACCESS)

    assert lines_of(path)[1].notes == [
        (
            f"{path}: no line of supervisord or php-fpm was found in {2 * len(ACCESS) + 2} bytes. "
            "Is it the right file?"
        )
    ]
    empty = write(tmp_path / "empty.log")
    assert lines_of(empty)[1].notes == [f"{empty} is empty"]


def test_a_line_of_many_megabytes(tmp_path: Path) -> None:
    """It is bounded and counted, and the lines around it are read."""
    path = write(tmp_path / "a.log", SPAWNED, b"x" * (5 << 20), EXITED, b"y" * (1 << 20))

    lines, report = lines_of(path)

    assert [line.text for line in lines if line.source is not Source.OUTPUT] == [SPAWNED, EXITED]
    assert report.notes == [
        f"{path} has 2 lines of more than 64 KiB. Only their beginning was read"
    ]
    assert report.bytes_read == (tmp_path / "a.log").stat().st_size


@pytest.mark.parametrize("zeros", [1, 100_000, 300_000])
def test_zero_bytes_of_a_truncated_log(tmp_path: Path, zeros: int) -> None:
    """A writer without O_APPEND leaves zero bytes in front of its next line."""
    path = tmp_path / "a.log"
    path.write_bytes(SPAWNED + b"\n" + b"\0" * zeros + EXITED + b"\n" + b"\0" * zeros + RUNNING)

    lines, report = lines_of(str(path))

    assert [line.text for line in lines] == [SPAWNED, EXITED, RUNNING]
    assert report.notes == []


def test_a_hole_of_a_terabyte(tmp_path: Path) -> None:
    """A hole costs no time."""
    path = tmp_path / "a.log"
    with path.open("wb") as file:
        file.write(SPAWNED + b"\n")
        file.seek(1 << 40)
        file.write(EXITED + b"\n")

    assert texts(str(path)) == [SPAWNED, EXITED]


def test_the_first_and_the_last_line_are_cut(tmp_path: Path) -> None:
    """Half lines do not count; Windows' line ends and a last line without its end do."""
    path = tmp_path / "a.log"
    path.write_bytes(EXITED[30:] + b"\r\n" + SPAWNED + b"\r\n" + EXITED + b"\n" + RUNNING)

    assert texts(str(path)) == [SPAWNED, EXITED, RUNNING]


def test_records_of_cri_that_are_one_line(tmp_path: Path) -> None:
    """The runtime splits a line; the other stream can be in between. The rest is no line."""
    head = b"2026-11-28T10:00:01.5Z "
    path = write(
        tmp_path / "0.log",
        head + b"stdout P " + EXITED[:40],
        head + b"stderr F " + RUNNING,
        head + b"stdout F " + EXITED[40:],
        head + b"stdout P {",
        head + b"stdout F " + FAILED,
    )

    assert texts(path) == [EXITED, RUNNING]


@pytest.mark.parametrize("seed", range(20))
def test_no_line_is_lost_between_chunks(tmp_path: Path, seed: int) -> None:
    """Lines of any length around the lines of interest, in chunks that end anywhere."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    wanted, content = [], []
    for number in range(300):
        line = b"2026-11-28 10:00:00,250 INFO spawned: 'a' with pid %d" % number
        wanted.append(line)
        content += [line, b"z" * chance.choice((0, 10, 900, 4000, 66_000 if number % 50 else 9))]

    assert texts(write(tmp_path / "a.log", *content)) == wanted


# -- times -----------------------------------------------------------------------------------------


def test_since_and_until(tmp_path: Path) -> None:
    """Only the lines between them are returned; older files are not read."""
    for minute in range(4):
        write(tmp_path / f"a.log.{4 - minute}", stamped(minute * 10), stamped(minute * 10 + 5))
    path = write(tmp_path / "a.log", stamped(40), stamped(50))
    options = ReadOptions(
        zone=timezone.utc, rotated=True, since=NOON_S + 22 * 60, until=NOON_S + 45 * 60
    )
    report = Report()

    lines = list(read([LogFile(path)], options, report))

    assert [line.text for line in lines] == [stamped(25), stamped(30), stamped(35), stamped(40)]
    assert report.files == [f"{path}.2", f"{path}.1", path]


def test_an_hour_that_the_clocks_repeat(tmp_path: Path) -> None:
    """The order of the lines shows the second hour; the user learns that it is uncertain."""
    at = [b"2026-10-25 %s,000 INFO spawned: 'a' with pid 1" % time for time in
          (b"01:59:00", b"02:10:00", b"02:50:00", b"02:05:00", b"03:01:00")]  # fmt: skip
    path = write(tmp_path / "a.log", *at)

    lines, report = lines_of(path, options=ReadOptions(zone=ZoneInfo("Europe/Berlin")))

    first = lines[0].at or 0.0
    assert [((line.at or 0.0) - first) / 60 for line in lines] == [0, 11, 51, 66, 122]
    assert report.notes[0].startswith(f"3 lines of {path} are in an hour that a change")


def test_clocks_that_differ(tmp_path: Path) -> None:
    """The same start has both times: the difference is reported, and no line is moved."""
    own = write(tmp_path / "supervisord.log", SPAWNED)
    fpm = write(tmp_path / "php-fpm.log", RUNNING.replace(b"10:00:01", b"12:00:00"))
    report = Report()

    lines = list(read([LogFile(own, Source.SUPERVISORD), LogFile(fpm, Source.FPM)], UTC, report))

    assert [line.at for line in lines] == [NOON_S + 0.25, NOON_S + 7200]
    assert report.notes == [
        (
            "The clock of php-fpm's log is 2h ahead of that of supervisord's log: the same start "
            "has both times. Lines were not moved"
        )
    ]


def test_the_same_lines_in_two_logs(tmp_path: Path) -> None:
    """supervisord writes to a file and to the container's output: each event counts once."""
    files = [
        LogFile(write(tmp_path / "supervisord.log", SPAWNED, EXITED), Source.SUPERVISORD),
        LogFile(write(tmp_path / "docker.log", SPAWNED, RUNNING, EXITED)),
    ]

    assert [line.text for line in read(files, UTC)] == [SPAWNED, RUNNING, EXITED]
