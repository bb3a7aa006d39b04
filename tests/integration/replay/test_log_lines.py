"""Reading of log files, with real files."""

from __future__ import annotations

from datetime import timezone
from typing import TYPE_CHECKING

from fpm_listener.replay.log_lines import LogFile, ReadOptions, Source, read

if TYPE_CHECKING:
    from pathlib import Path

UTC = ReadOptions(zone=timezone.utc)


def test_two_files_are_merged_in_order_of_time(tmp_path: Path) -> None:
    """A line of supervisord's log stands before the later line of php-fpm's log."""
    own, fpm = tmp_path / "supervisord.log", tmp_path / "php-fpm.log"
    own.write_bytes(
        b"2026-11-28 10:00:00,250 INFO spawned: 'php-fpm' with pid 7\n"
        b"2026-11-28 10:00:02,500 WARN exited: php-fpm (exit status 78; not expected)\n"
    )
    fpm.write_bytes(b"[28-Nov-2026 10:00:01] ERROR: FPM initialization failed\n")

    files = [LogFile(str(own), Source.SUPERVISORD), LogFile(str(fpm), Source.FPM, "php-fpm")]
    lines = list(read(files, UTC))

    assert [line.source for line in lines] == [Source.SUPERVISORD, Source.FPM, Source.SUPERVISORD]
    assert [line.at for line in lines] == [1795860000.25, 1795860001.0, 1795860002.5]
    assert lines[1].text == b"[28-Nov-2026 10:00:01] ERROR: FPM initialization failed"
    assert lines[1].program == "php-fpm"
