"""`fpm-listener explain --logs`: what the listener would have reported, from log files.

Exit status: 0 no incident, 1 an incident, 2 the logs cannot be read.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from fpm_listener import durations
from fpm_listener.cli import output
from fpm_listener.daemon.engine_settings import engine_settings
from fpm_listener.replay.container_replays import ContainerReplays
from fpm_listener.replay.document import to_json
from fpm_listener.replay.log_files import STDIN
from fpm_listener.replay.log_lines import LogFile, ReadOptions, Report, Source, read
from fpm_listener.replay.replayer import Replayer
from fpm_listener.replay.time_range import read_moment, read_zone
from fpm_listener.settings.policy import NO_HEALING
from fpm_listener.settings.settings import USUAL_FILES, Settings, load
from fpm_listener.status.replay_text import to_lines
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fpm_listener.monitor.known_programs import ProgramsKnown
    from fpm_listener.replay.log_owners import LogOwners
    from fpm_listener.settings.policy import Policy

#: Files whose lines are of one program.
_OF_PROGRAMS = frozenset({Source.FPM, Source.OUTPUT})


def run(options: argparse.Namespace) -> int:
    """Print the diagnosis, and return the exit status. Raises FpmListenerError."""
    zone = None if options.tz is None else read_zone(options.tz)
    files = _files(options)
    known: ProgramsKnown | None = None
    if not files:
        from fpm_listener.cli import machine_logs  # noqa: PLC0415 - it reads configurations

        logging.disable()  # the result is what is printed
        files, known = machine_logs.find()
    now_s = time.time()
    since, until = (
        None if text is None else read_moment(text, option, zone, now_s)
        for option, text in (("--since", options.since), ("--until", options.until))
    )
    reading = ReadOptions(zone=zone, since=since, until=until, rotated=options.rotated)
    report = Report()
    policy, owners = read_policy(options.config), _owners(files, reading, known)
    replays = ContainerReplays(lambda name: Replayer(policy, known, None if name else owners))
    for line in read(files, reading, report):
        replays.take(line)
    replays.end()
    document = to_json(replays, report)
    if options.json:
        output.write(json.dumps(document, indent=2))
    elif report.lines:
        is_seen = sys.stdout is not None and sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if is_seen else None
        output.say("\n".join(to_lines(document, zone, width)))
    if not report.lines:
        notes = "".join(f" {note}" for note in report.notes)
        raise FpmListenerError(
            f"explain: {', '.join(report.files)}: no line of supervisord or php-fpm was read; check"
            f" the files, --since and --until.{notes}"
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
    replayer = Replayer(read_policy(None))
    again = [file for file in files if file.path != STDIN]  # a pipe can be read only once
    for line in read(again, reading):
        replayer.learn(line)
    return replayer.owners


def read_policy(config: str | None) -> Policy:
    """Return the policy of the listener's settings, without what it would do by itself."""
    path = config or next((path for path in USUAL_FILES if os.access(path, os.R_OK)), None)
    settings = Settings(source="") if path is None else load(path)
    policy = engine_settings(settings).policy
    # Nobody is reminded; and what self-healing has started is in supervisord's log.
    return replace(policy, repeat_interval_s=durations.LONGEST_S, healing=NO_HEALING)
