"""Parses the payload of an event, for the events that the listener uses."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import NamedTuple

from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import State

#: All events of supervisor 4.3.0 (supervisor/events.py). Other names are counted as `other`, so
#: that the number of labels is limited.
EVENT_NAMES = frozenset(
    {
        *(f"PROCESS_STATE_{state.name}" for state in State),
        *("PROCESS_LOG_STDOUT", "PROCESS_LOG_STDERR"),
        *("PROCESS_COMMUNICATION_STDOUT", "PROCESS_COMMUNICATION_STDERR"),
        *("PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED", "REMOTE_COMMUNICATION"),
        *("SUPERVISOR_STATE_CHANGE_RUNNING", "SUPERVISOR_STATE_CHANGE_STOPPING"),
        *("TICK_5", "TICK_60", "TICK_3600"),
    },
)

#: Source: supervisor/events.py, `ProcessLogEvent.payload` (4.2.5 and 4.3.0).
_UNDECODABLE = "Undecodable: "
#: The `repr` of bytes. Nothing else is evaluated: every program can print such a line.
_BYTES = re.compile(
    r"""b'[ -&(-\[\]-~]*(?:\\(?:x[0-9a-f]{2}|[\\'nrt])[ -&(-\[\]-~]*)*'"""
    r"""|b"[ !#-\[\]-~]*(?:\\(?:x[0-9a-f]{2}|[\\nrt])[ !#-\[\]-~]*)*\""""
)

_STATES = {f"PROCESS_STATE_{state.name}": state for state in State}
_BY_NAME = {state.name: state for state in State}


class ProcessState(NamedTuple):
    """A process has entered a state. Values that its event does not contain are None."""

    process: ProcessName
    state: State
    from_state: State | None
    pid: int | None
    expected: bool | None  #: EXITED only: the exit code is one of `exitcodes`
    tries: int | None = None  #: STARTING, BACKOFF: failed starts so far; seconds until the next one


class ProcessLog(NamedTuple):
    """A piece of the output of a process; not a line."""

    process: ProcessName
    pid: int | None
    channel: str  #: stdout or stderr
    text: str


class GroupChange(NamedTuple):
    """A group was added or removed."""

    group: str
    added: bool


class SupervisorChange(NamedTuple):
    """supervisord runs, or will stop or reload."""

    running: bool


class Malformed(NamedTuple):
    """A payload without a required value."""

    why: str


@dataclass(slots=True)
class Counts:
    """Counters of events."""

    events: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((*EVENT_NAMES, "other"), 0)
    )
    missed: int = 0
    last_event_s: float | None = None  # wall


Content = ProcessState | ProcessLog | GroupChange | SupervisorChange | Malformed | None


def read(name: str, payload: str) -> Content:
    """Return the content of an event; None for an event that is not used."""
    state = _STATES.get(name)
    if state is not None:
        return _process_state(state, payload)
    if name.startswith("PROCESS_LOG_"):
        return _process_log(name, payload)
    if name in {"PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED"}:
        group = _words(payload).get("groupname")
        return GroupChange(group, name.endswith("ADDED")) if group else Malformed("no groupname")
    if name.startswith("SUPERVISOR_STATE_CHANGE_"):
        return SupervisorChange(running=name.endswith("RUNNING"))
    return None


def _process_state(state: State, payload: str) -> ProcessState | Malformed:
    words = _words(payload)
    name = _name(words)
    if name is None:
        return Malformed("no processname or groupname")
    expected = words.get("expected")
    return ProcessState(
        process=name,
        state=state,
        from_state=_BY_NAME.get(words.get("from_state", "")),
        pid=_pid(words),
        expected=None if expected is None else expected == "1",
        tries=_number(words, "tries"),
    )


def _process_log(name: str, payload: str) -> ProcessLog | Malformed:
    head, newline, text = payload.partition("\n")
    words = _words(head)
    process = _name(words)
    if process is None or not newline:
        return Malformed("no processname or groupname")
    if text.startswith(_UNDECODABLE):
        text = _decoded(text)
    return ProcessLog(process, _pid(words), name[-6:].lower(), text)


def _decoded(text: str) -> str:
    """Return output that is not UTF-8, which supervisord sends as the literal of its bytes.

    Often a piece ends within a character: without its newline, it would be joined to the next one.
    """
    literal = text.removeprefix(_UNDECODABLE)
    if _BYTES.fullmatch(literal) is None:
        return text
    data: bytes = ast.literal_eval(literal)
    return data.decode(errors="replace")


def _words(text: str) -> dict[str, str]:
    """Return the words of a payload by key.

    Only spaces separate them, and only a newline ends them. supervisor allows other blanks in a
    name, such as U+00A0 and U+3000 (datatypes.py, process_or_group_name).
    """
    return dict(token.split(":", 1) for token in text.rstrip("\n").split(" ") if ":" in token)


def _name(words: dict[str, str]) -> ProcessName | None:
    process, group = words.get("processname"), words.get("groupname")
    return ProcessName(group, process) if process and group else None


def _pid(words: dict[str, str]) -> int | None:
    """Return the pid; supervisor sends 0 if there is no process."""
    return _number(words, "pid") or None


def _number(words: dict[str, str], key: str) -> int | None:
    text = words.get(key, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
