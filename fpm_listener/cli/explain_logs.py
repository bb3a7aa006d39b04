"""`fpm-listener explain --logs`: what the listener would have reported, from log files.

Exit status: 0 no incident, 1 an incident, 2 the logs cannot be read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.cli import output
from fpm_listener.daemon.engine_settings import engine_settings
from fpm_listener.replay.document import to_json
from fpm_listener.replay.log_lines import LogFile, ReadOptions, Report, Source, read
from fpm_listener.replay.replayer import Replayer
from fpm_listener.settings.policy import NO_HEALING
from fpm_listener.settings.settings import USUAL_FILES, Settings, load
from fpm_listener.status.replay_text import to_lines
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from datetime import tzinfo

    from fpm_listener.monitor.known_programs import ProgramsKnown
    from fpm_listener.replay.log_owners import LogOwners
    from fpm_listener.settings.policy import Policy

#: Files whose lines are of one program.
_OF_PROGRAMS = frozenset({Source.FPM, Source.OUTPUT})
_OFFSET = re.compile(r"([+-])(\d\d):?(\d\d)")


def run(options: argparse.Namespace) -> int:
    """Print the diagnosis, and return the exit status. Raises FpmListenerError."""
    zone = None if options.tz is None else _zone(options.tz)
    files = _files(options)
    known: ProgramsKnown | None = None
    if not files:
        from fpm_listener.cli import machine_logs  # noqa: PLC0415 - it reads configurations

        files, known = machine_logs.find()
    since = None if options.since is None else _moment("--since", options.since, zone)
    until = None if options.until is None else _moment("--until", options.until, zone)
    reading = ReadOptions(zone=zone, since=since, until=until)
    report = Report()
    replayer = Replayer(_policy(options.config), known, _owners(files, reading, known))
    for line in read(files, reading, report):
        replayer.take(line)
    replayer.end()
    document = to_json(replayer, report)
    if options.json:
        output.write(json.dumps(document, indent=2))
    else:
        is_seen = sys.stdout is not None and sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_seen else None
        output.say("\n".join(to_lines(document, zone, width)))
    if not report.lines:
        raise FpmListenerError(
            f"explain: {', '.join(report.files)}: no line was read; check the files, and --since"
        )
    return 1 if document["incidents"] else 0


def _files(options: argparse.Namespace) -> list[LogFile]:
    return [
        *(LogFile(path, Source.SUPERVISORD) for path in options.supervisord_log),
        *(LogFile(path, Source.FPM) for path in options.fpm_log),
        *(LogFile(path, Source.OUTPUT) for path in options.stderr),
        *(LogFile(path, Source.MIXED) for path in _unlike_rules(options.names)),
    ]


def _unlike_rules(names: Sequence[str]) -> Sequence[str]:
    """Return the files. Raises FpmListenerError for the name of a rule."""
    for name in names:
        if re.fullmatch(r"FPM\d{3}", name, re.IGNORECASE):
            raise FpmListenerError(
                f"explain: {name} is a rule of check, and --logs takes files; type: fpm-listener"
                f" explain {name}"
            )
    return names


def _owners(
    files: Sequence[LogFile], reading: ReadOptions, known: ProgramsKnown | None
) -> LogOwners | None:
    """Return which program has written each file, from a first reading if it is needed."""
    if known is not None or sum(file.source in _OF_PROGRAMS for file in files) < 2:
        return None
    replayer = Replayer(_policy(None))
    for line in read(files, reading):
        replayer.learn(line)
    return replayer.owners


def _policy(config: str | None) -> Policy:
    """Return the policy of the listener's settings, without what it would do by itself."""
    path = config or next((path for path in USUAL_FILES if os.access(path, os.R_OK)), None)
    settings = Settings(source="") if path is None else load(path)
    policy = engine_settings(settings).policy
    # Nobody is reminded; and what self-healing has started is in supervisord's log.
    return replace(policy, repeat_interval_s=durations.LONGEST_S, healing=NO_HEALING)


def _zone(text: str) -> tzinfo:
    """Return the time zone. Raises FpmListenerError."""
    if text.upper() in {"UTC", "Z"}:
        return timezone.utc
    found = _OFFSET.fullmatch(text)
    if found and int(found[2]) < 24 and int(found[3]) < 60:
        offset = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(-offset if found[1] == "-" else offset)
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only with a name

    try:
        return ZoneInfo(text)
    except (LookupError, ValueError, OSError):
        raise FpmListenerError(
            f"explain: --tz {text!r} is no time zone that this machine knows; write for example"
            " Europe/Berlin, UTC or +01:00"
        ) from None


def _moment(option: str, text: str, zone: tzinfo | None) -> float:
    """Return the wall seconds of a duration before now, or of a time. Raises FpmListenerError."""
    try:
        return time.time() - durations.parse(text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError:
        raise FpmListenerError(
            f"explain: {option} {text!r} is no time; write for example 2h, 2026-11-23 or"
            " '2026-11-23 08:00'"
        ) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=zone) if zone is not None else found.astimezone()
    return found.timestamp()
