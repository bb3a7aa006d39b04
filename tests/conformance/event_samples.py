"""Events that supervisor sends, and events that it never sends."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from supervisor import events
from supervisor.states import ProcessStates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .supervisor_harness import Supervisors

#: Linux gives this pid to no process: the largest is 2^22.
NO_PID = (1 << 22) + 99

#: Payloads that supervisor never sends.
PAYLOADS = (
    *("", " ", "\n", ":", "::::", "garbage", "processname:", "processname:a", "groupname:b"),
    "processname:a groupname:b from_state:RUNNING expected:0 pid:abc",
    "processname:a groupname:b from_state:NOWHERE expected:maybe pid:-1",
    "processname:a groupname:b from_state:RUNNING expected:0 pid:" + "9" * 20,
    "processname:a groupname:b from_state:RUNNING expected:0 pid:" + "9" * 5000,
    "processname:a groupname:b from_state:BACKOFF tries:many",
    "processname:two words groupname:three more words from_state:RUNNING expected:0 pid:1",
    "processname:a:b groupname:c:d from_state:RUNNING pid:٣ expected:¹",
    "processname:../../etc groupname:\0 from_state:RUNNING expected:0 pid:1",
    'processname:"}{=\\ groupname:%s%n{0} from_state:RUNNING expected:0 pid:1',
    "x" * 5000 + ":" + "y" * 5000,
)


class Program:
    """The attributes of a supervised process that supervisor's events need."""

    def __init__(self, name: str = "php-fpm", group: str = "web") -> None:
        self.config = SimpleNamespace(name=name)
        self.group = SimpleNamespace(config=SimpleNamespace(name=group))
        self.pid = NO_PID
        self.backoff = 1


def crash(process: Program | None = None) -> Supervisors:
    """Return the event of an unexpected exit."""
    return events.ProcessStateExitedEvent(process or Program(), ProcessStates.RUNNING, False)


def log(text: bytes | str) -> Supervisors:
    """Return the event of a program that wrote this text to its stderr."""
    data = text.encode() if isinstance(text, str) else text
    return events.ProcessLogStderrEvent(Program(), NO_PID, data)


def with_payload(event: Supervisors, payload: str) -> Supervisors:
    """Return the event with a payload that supervisor never creates."""
    event.payload = lambda: payload
    return event


def with_numbers(event: Supervisors, serial: int, pool_serial: int) -> Supervisors:
    """Return the event with numbers that supervisor did not give it."""
    event.serial, event.pool_serials = serial, {"tested": pool_serial}
    return event


def real_events() -> Iterator[Supervisors]:
    """Yield one event of each type that supervisor can send."""
    types = [t for name, t in vars(events.EventTypes).items() if name.isupper()]
    for kind in types:
        if any(other is not kind and issubclass(other, kind) for other in types):
            continue  # an abstract type
        if issubclass(kind, events.ProcessStateEvent):
            yield kind(Program(), ProcessStates.STARTING)
        elif issubclass(kind, (events.ProcessLogEvent, events.ProcessCommunicationEvent)):
            yield kind(Program(), NO_PID, b"text\n")
        elif issubclass(kind, events.RemoteCommunicationEvent):
            yield kind("some type", "some data")
        elif issubclass(kind, events.TickEvent):
            yield kind(1_795_423_060, None)
        elif issubclass(kind, events.ProcessGroupEvent):
            yield kind("web")
        else:
            yield kind()


def hostile_events() -> Iterator[Supervisors]:
    """Yield an event of each type with each of the payloads."""
    for payload in PAYLOADS:
        for event in real_events():
            yield with_payload(event, payload)
