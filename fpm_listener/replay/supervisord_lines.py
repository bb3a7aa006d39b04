"""Returns what one line of supervisord's own log states.

Laws:
1. A line is untrusted text: names and numbers are bounded, and nothing raises.
2. Patterns are anchored at the start of the line.

Source: supervisor/process.py, supervisord.py and options.py of 4.2.5 and 4.3.0. Supervisor 3 writes
the same words; only the levels differ, and `waiting for x to die` stands for `to stop`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fpm_listener.supervisor import exit_log
from fpm_listener.supervisor.exit_log import ExitNote, KillNote


class Spawned(NamedTuple):
    """supervisord has started a process."""

    process: str  #: its name, without its group
    pid: int


class EnteredRunning(NamedTuple):
    """A process has lasted for startsecs."""

    process: str


class GaveUp(NamedTuple):
    """supervisord does not start a process any more."""

    process: str


class Waiting(NamedTuple):
    """supervisord has asked processes to stop."""

    processes: tuple[str, ...]


class Ended(NamedTuple):
    """A process has ended."""

    process: str
    stopped: bool  #: on request
    expected: bool  #: supervisord expects this exit status
    note: ExitNote


class SpawnError(NamedTuple):
    """supervisord could not start a process."""

    process: str | None  #: None = the line does not name it
    line: str


class SupervisordStarted(NamedTuple):
    """A supervisord has started, or has started again after `reload`."""

    pid: int


class SupervisordEnds(NamedTuple):
    """supervisord stops all processes; then it exits, or starts again."""

    signal: str  #: empty = by a command


SupervisordFact = (
    Spawned
    | EnteredRunning
    | GaveUp
    | Waiting
    | Ended
    | KillNote
    | SpawnError
    | SupervisordStarted
    | SupervisordEnds
)

#: Characters of a line that are read.
_LONGEST = 2048
_HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]{4} ", re.ASCII)
#: Names have no space, colon or slash (supervisor/datatypes.py, process_or_group_name).
_NAME = r"([^ :/']{1,255})"
_SPAWNED = re.compile(rf"spawned: '{_NAME}' with pid ([0-9]{{1,9}})$")
_RUNNING = re.compile(rf"success: {_NAME} entered RUNNING state")
_GAVE_UP = re.compile(rf"gave up: {_NAME} entered FATAL state")
_WAITING = re.compile(rf"waiting for ({_NAME}(?:, {_NAME}){{0,999}}) to (?:stop|die)$")
_SPAWN_ERROR = re.compile(r"spawnerr: (?:(?:[^']{0,60} (?:to spawn|for) ')([^ :/']{1,255})')?")
_STARTED = re.compile(r"supervisord started with pid ([0-9]{1,9})$")
_ENDS = re.compile(r"received (SIG[A-Z0-9]{1,9}) indicating (?:exit|restart) request$")


def is_info(text: str) -> bool:
    """Return whether a line has the level of starts: then the log shows all of them."""
    return text[24:28] == "INFO"


def parse(text: str) -> SupervisordFact | None:
    """Return what a line states, or None. text: without its newline."""
    head = _HEAD.match(text)
    if head is None:
        return None
    line = text[:_LONGEST]
    words = line[head.end() :]
    read = _BY_WORD.get(words.partition(" ")[0])
    return read(line, words) if read else None


def _spawned(_: str, words: str) -> SupervisordFact | None:
    found = _SPAWNED.match(words)
    return Spawned(found[1], int(found[2])) if found else None


def _running(_: str, words: str) -> SupervisordFact | None:
    found = _RUNNING.match(words)
    return EnteredRunning(found[1]) if found else None


def _gave_up(_: str, words: str) -> SupervisordFact | None:
    found = _GAVE_UP.match(words)
    return GaveUp(found[1]) if found else None


def _waiting(_: str, words: str) -> SupervisordFact | None:
    found = _WAITING.match(words)
    return Waiting(tuple(found[1].split(", "))) if found else None


def _ended(line: str, words: str) -> SupervisordFact | None:
    note = exit_log.parse_line(line)
    if note is None:
        return None
    return Ended(
        note.process, words.startswith("stopped: "), not words.endswith("; not expected)"), note
    )


def _kill(line: str, _: str) -> SupervisordFact | None:
    return exit_log.parse_kill(line)


def _spawn_error(line: str, words: str) -> SupervisordFact | None:
    found = _SPAWN_ERROR.match(words)
    return SpawnError(found[1], line) if found else None


def _started(_: str, words: str) -> SupervisordFact | None:
    found = _STARTED.match(words)
    return SupervisordStarted(int(found[1])) if found else None


def _ends(_: str, words: str) -> SupervisordFact | None:
    found = _ENDS.match(words)
    return SupervisordEnds(found[1]) if found else None


_BY_WORD = {
    "spawned:": _spawned,
    "success:": _running,
    "gave": _gave_up,
    "waiting": _waiting,
    "exited:": _ended,
    "stopped:": _ended,
    "killing": _kill,
    "spawnerr:": _spawn_error,
    "supervisord": _started,
    "received": _ends,
}
