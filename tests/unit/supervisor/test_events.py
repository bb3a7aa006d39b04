"""What the payload of an event says."""

import pytest

from fpm_listener.supervisor import events
from fpm_listener.supervisor.events import (
    GroupChange,
    Malformed,
    ProcessLog,
    ProcessState,
    SupervisorChange,
)
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import State


@pytest.mark.parametrize("blank", ["\u00a0", "\u3000", "\u2028", "\x1c", "\x85", "\t"])
def test_blanks_in_names(blank: str) -> None:
    """supervisor forbids the space alone; every other blank belongs to the name."""
    name = f"www{blank}pool"
    payload = f"processname:{name} groupname:{name} from_state:RUNNING expected:0 pid:7"

    assert events.read("PROCESS_STATE_EXITED", payload) == ProcessState(
        process=ProcessName(name, name),
        state=State.EXITED,
        from_state=State.RUNNING,
        pid=7,
        expected=False,
    )


def test_the_newline_after_a_group() -> None:
    """It ends the payload and is no part of the name."""
    assert events.read("PROCESS_GROUP_ADDED", "groupname:a\u00a0b\n") == GroupChange(
        "a\u00a0b", added=True
    )


WEB = ProcessName("web", "fpm")


@pytest.mark.parametrize(
    "data",
    [bytes(range(256)), bytes(range(256)).replace(b"'", b""), b"'", b'"', b"", b"\\x\xff" * 50_000],
)
def test_output_that_is_no_utf_8(data: bytes) -> None:
    """supervisord sends the literal of its bytes."""
    found = events.read(
        "PROCESS_LOG_STDOUT", f"processname:fpm groupname:web\nUndecodable: {data!r}"
    )
    assert found == ProcessLog(WEB, None, "stdout", data.decode(errors="replace"))


@pytest.mark.parametrize(
    "text",
    ["1 + 1", "-" * 100_000 + "1", "[" * 100_000, "b'\\q'", "b'' b''", "b'\u00e9'", "b'x\n'"],
)
def test_a_line_that_looks_like_it(text: str) -> None:
    """Any program can print it: it is not evaluated."""
    found = events.read("PROCESS_LOG_STDOUT", f"processname:fpm groupname:web\nUndecodable: {text}")
    assert found == ProcessLog(WEB, None, "stdout", f"Undecodable: {text}")


@pytest.mark.parametrize(
    ("name", "payload", "content"),
    [
        ("SUPERVISOR_STATE_CHANGE_RUNNING", "", SupervisorChange(running=True)),
        ("SUPERVISOR_STATE_CHANGE_STOPPING", "", SupervisorChange(running=False)),
        ("PROCESS_GROUP_ADDED", "groupname:web\n", GroupChange("web", added=True)),
        ("PROCESS_GROUP_REMOVED", "groupname:web\n", GroupChange("web", added=False)),
        ("PROCESS_GROUP_REMOVED", "", Malformed("no groupname")),
        (
            "PROCESS_LOG_STDERR",
            "processname:fpm groupname:web pid:7 channel:stderr\na:1 b\nc",
            ProcessLog(WEB, 7, "stderr", "a:1 b\nc"),
        ),
        (
            "PROCESS_LOG_STDOUT",
            "processname:fpm groupname:web pid:0\n",
            ProcessLog(WEB, None, "stdout", ""),
        ),
        (
            "PROCESS_LOG_STDOUT",
            "processname:fpm groupname:web pid:7\nUndecodable: b'caf\\xc3\\xa9 \\xff\\n'",
            ProcessLog(WEB, 7, "stdout", "caf\u00e9 \ufffd\n"),
        ),
        (
            "PROCESS_LOG_STDOUT",
            "processname:fpm groupname:web pid:7 channel:stdout\nUndecodable: 1 + 1",
            ProcessLog(WEB, 7, "stdout", "Undecodable: 1 + 1"),
        ),
        (
            "PROCESS_LOG_STDERR",
            "processname:fpm groupname:web pid:7",
            Malformed("no processname or groupname"),
        ),
        ("PROCESS_LOG_STDERR", "groupname:web\nx", Malformed("no processname or groupname")),
        ("PROCESS_STATE_FATAL", "groupname:web", Malformed("no processname or groupname")),
        ("PROCESS_STATE_FATAL", "processname:fpm", Malformed("no processname or groupname")),
        (
            "PROCESS_STATE_BACKOFF",
            "processname:fpm groupname:web from_state:STARTING tries:3",
            ProcessState(WEB, State.BACKOFF, State.STARTING, None, None, 3),
        ),
        (
            "PROCESS_STATE_EXITED",
            "processname:fpm groupname:web from_state:NONE expected:1 pid:x tries:\u00b2",
            ProcessState(WEB, State.EXITED, None, None, True, None),
        ),
        (
            "PROCESS_STATE_RUNNING",
            f"processname:fpm groupname:web pid:{'9' * 18} tries:{'9' * 19}",
            ProcessState(WEB, State.RUNNING, None, int("9" * 18), None, None),
        ),
        ("PROCESS_STATE_NONE", "processname:fpm groupname:web", None),
        ("TICK_5", "when:1", None),
    ],
)
def test_what_each_event_says(name: str, payload: str, content: events.Content) -> None:
    """All words of the payload are read; what has no use is nothing."""
    assert events.read(name, payload) == content


def test_all_names_are_counted() -> None:
    """Those of supervisor 4.3.0: its events.py; all others share one count."""
    states = "STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN"
    names = [
        *(f"PROCESS_STATE_{word}" for word in states.split(" ")),
        *("PROCESS_LOG_STDOUT", "PROCESS_LOG_STDERR", "REMOTE_COMMUNICATION"),
        *("PROCESS_COMMUNICATION_STDOUT", "PROCESS_COMMUNICATION_STDERR"),
        *("PROCESS_GROUP_ADDED", "PROCESS_GROUP_REMOVED"),
        *("SUPERVISOR_STATE_CHANGE_RUNNING", "SUPERVISOR_STATE_CHANGE_STOPPING"),
        *("TICK_5", "TICK_60", "TICK_3600"),
    ]

    assert events.Counts().events == dict.fromkeys([*names, "other"], 0)
    assert (events.Counts().missed, events.Counts().last_event_s) == (0, None)
