"""What the payload of an event says."""

import pytest

from fpm_listener.supervisor import events
from fpm_listener.supervisor.events import GroupChange, ProcessState
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
