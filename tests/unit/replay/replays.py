"""Replays texts: lines of supervisord's log and of php-fpm's, in one text."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fpm_listener.replay.container_replays import ContainerReplays
from fpm_listener.replay.document import to_json
from fpm_listener.replay.line_kinds import source_of
from fpm_listener.replay.log_lines import LogLine, Report, Source
from fpm_listener.replay.replayer import Replayer
from fpm_listener.replay.stamps import StampReader
from tests.unit.monitor.engine_scenario import POLICY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.monitor.known_programs import ProgramsKnown
    from fpm_listener.settings.policy import Policy
    from fpm_listener.status.document import Document

#: The ends of lines that are long.
WHOLE = {
    " RUNNING": " entered RUNNING state, process has stayed up for > than 1 seconds (startsecs)",
    " FATAL": " entered FATAL state, too many start retries too quickly",
    " IN USE": " unable to bind listening socket for address '127.0.0.1:9000':"
    " Address already in use (98)",
}


def whole(text: str) -> str:
    """Return lines as their programs write them."""
    for short, long in WHOLE.items():
        text = text.replace(f"{short}\n", f"{long}\n")
    return text


def lines_of(text: str, path: str = "-") -> list[LogLine]:
    """Return the lines of a text; each one shows whose it is."""
    at: float | None = None
    stamps = StampReader(timezone.utc, 0.0)
    found = []
    for raw in text.strip().splitlines():
        line = raw.strip().encode()
        source = source_of(line, Source.MIXED) or Source.OUTPUT
        if source is not Source.OUTPUT:
            at = stamps.read(line)
        found.append(LogLine(at, source, path, "", line))
    return found


def replay(*texts: str, known: ProgramsKnown | None = None) -> Document:
    """Return the result of files with these texts, in order of time."""
    return replay_files({f"/{n}.log": text for n, text in enumerate(texts)}, known=known)


def replay_files(
    texts: Mapping[str, str],
    *,
    policy: Policy = POLICY,
    known: ProgramsKnown | None = None,
    after_s: float = 0.0,
) -> Document:
    """Return the result of files, by path; after_s: that pass after the last line."""
    lines = [line for path, text in texts.items() for line in lines_of(text, path)]
    if len(texts) > 1:
        lines.sort(key=lambda line: line.at or 0.0)
    first = Replayer(policy)
    for line in lines:
        first.learn(line)
    replayer = Replayer(policy, known, first.owners)
    for line in lines:
        replayer.take(line)
    replayer.end(max((line.at or 0.0 for line in lines), default=0.0) + after_s)
    replays = ContainerReplays(lambda _: replayer)
    replays.replayers[""] = replayer
    return to_json(replays, Report(lines=len(lines)))


def clock(at_s: float) -> str:
    """Return a time as the tests write it."""
    return datetime.fromtimestamp(at_s, timezone.utc).strftime("%H:%M:%S")
