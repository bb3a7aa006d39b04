"""The rules that every listener must follow, one test for each."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from supervisor import events
from supervisor.compat import maxint
from supervisor.states import ProcessStates

from .event_samples import Program, crash, hostile_events, log, real_events, with_numbers
from .supervisor_harness import ACKNOWLEDGED, READY, Violation, in_pieces_of

if TYPE_CHECKING:
    from pathlib import Path

    from .listeners import HarnessFactory
    from .supervisor_harness import SupervisorHarness

KIB = 1024


# -- the words -------------------------------------------------------------------------------------


def test_start(factory: HarnessFactory) -> None:
    """The first output of the listener is READY."""
    harness = factory.create()

    assert harness.wire.startswith(READY)


def test_event_of_every_type(factory: HarnessFactory) -> None:
    """Each type of event that supervisor has is acknowledged."""
    harness = factory.create()
    samples = list(real_events())
    harness.send(*samples)

    said = {header.partition(" eventname:")[2].partition(" ")[0] for header in harness.headers}
    assert len(said) == len(samples) == 20


def test_payload_beyond_ascii(factory: HarnessFactory) -> None:
    """`len` counts characters: café, emoji and combined characters do not shift the next event."""
    harness = factory.create()
    for text in (
        "café\n",
        "\N{FIRE}\N{FIRE}\n",
        "e\N{COMBINING ACUTE ACCENT}",
        "日本",
        "\ufeffBOM",
    ):
        harness.send(log(text))
        harness.send(crash(Program("café", "日本")))


def test_control_characters(factory: HarnessFactory) -> None:
    """Line ends of any kind, NUL and other control characters count as characters."""
    harness = factory.create()
    for text in ("a\r\nb\r\n", "\r", "a\0b", "\n\n\n", "\x1a\x04\x03", "\x85\u2028\u2029\v\f\x1c"):
        harness.send(log(text))
        harness.send(crash())


def test_payload_that_is_not_utf8(factory: HarnessFactory) -> None:
    """Output that is not UTF-8, also a lone surrogate, arrives as `Undecodable:`."""
    harness = factory.create()
    for data in (b"\xff\xfe\n", b"\xed\xa0\x80", "é".encode()[:1], bytes(range(256))):
        assert "Undecodable: b" in log(data).payload()
        harness.send(log(data))


def test_empty_payload(factory: HarnessFactory) -> None:
    """Several events without a payload are acknowledged."""
    harness = factory.create()
    harness.send(*(events.SupervisorRunningEvent() for _ in range(3)), log(""), crash())


def test_payload_that_looks_like_an_event(factory: HarnessFactory) -> None:
    """A header inside a payload is text."""
    harness = factory.create()
    header = "ver:3.0 server:s serial:1 pool:tested poolserial:1 eventname:TICK_5 len:99999\n"
    for text in (header, header * 3, "\n" + header, "READY\nRESULT 2\nOK"):
        harness.send(log(text))
        harness.send(events.RemoteCommunicationEvent(text, text))


@pytest.mark.parametrize("letter", ["x", "é", "\N{FIRE}"], ids=["1 byte", "2 bytes", "4 bytes"])
def test_large_payload(factory: HarnessFactory, letter: str) -> None:
    """Payloads around the size of the pipe, and of 1 MiB, arrive in several pieces."""
    harness = factory.create()
    for size in (64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, 1024 * KIB):
        harness.send(log(letter * (size // len(letter.encode()))))
        harness.send(crash())


# -- the pipe --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_event_in_pieces(factory: HarnessFactory, size: int) -> None:
    """Header, payload and multi-byte characters may be cut anywhere."""
    harness = factory.create()
    harness.write_some = in_pieces_of(size)
    harness.send(log("héllo \N{FIRE} wörld\r\n"), log("日本" * 20), events.SupervisorRunningEvent())


def test_several_events_at_once(factory: HarnessFactory) -> None:
    """They are answered one by one, although supervisor never sends them like this."""
    harness = factory.create()
    harness.raw = True
    expected = harness.wire + 5 * (ACKNOWLEDGED + READY)
    event = "ver:3.0 server:s serial:7 pool:tested poolserial:7 eventname:TICK_5 len:6\nwhen:é"
    harness.inject((event * 5).encode())
    harness.run_until(lambda: len(harness.wire) >= len(expected), Violation.NO_ANSWER)

    assert harness.wire == expected


def test_closed_stderr(factory: HarnessFactory) -> None:
    """The listener continues without a reader of its stderr."""
    harness = factory.create(settings="log_level = debug")
    harness.close_pipes("stderr")
    send_hostile_events(harness)


def test_full_stderr(factory: HarnessFactory) -> None:
    """The listener continues after its stderr was full for some time."""
    harness = factory.create(settings="log_level = debug")
    descriptor = harness.listener.pipes["stderr"]
    reader = harness.listener.dispatchers.pop(descriptor)
    fill(f"/proc/{harness.listener.pid}/fd/2")
    for event in hostile_events():
        events.notify(event)
    harness.run_turns(20)
    harness.listener.dispatchers[descriptor] = reader
    harness.wait_until_ready()


def fill(path: str) -> None:
    """Write to the pipe until it is full."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    with open(descriptor, "wb", buffering=0) as pipe:  # noqa: PTH123 - it is no path
        for size in (4 * KIB, 1):
            while pipe.write(b"." * size):
                pass


BABBLER = """
import os, signal, subprocess

def babble(*_):
    print("a stray print", flush=True)
    os.write(1, b"stray bytes")
    os.system("echo a child")
    subprocess.run("for n in 3 4 5 6 7 8 9; do echo it looks for a pipe >&$n; done",
                   shell=True, close_fds=False, stderr=subprocess.DEVNULL)
    open(os.environ["BABBLED"], "w").close()

signal.signal(signal.SIGUSR1, babble)
"""


def test_prints_of_the_listener_and_its_children(factory: HarnessFactory, tmp_path: Path) -> None:
    """No print appears between the words of the protocol."""
    (tmp_path / "sitecustomize.py").write_text(BABBLER)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    babbled = tmp_path / "babbled"
    harness = factory.create(environment={"PYTHONPATH": path, "BABBLED": str(babbled)})
    harness.signal(signal.SIGUSR1)
    harness.run_until(babbled.exists, Violation.NO_ANSWER)
    harness.send(crash(), log("café"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_locale_that_is_not_utf8(factory: HarnessFactory, encoding: str) -> None:
    """The listener reads UTF-8 with any locale."""
    posix = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    harness = factory.create(environment={**posix, "PYTHONIOENCODING": encoding})
    harness.send(log("héllo wörld \N{FIRE}"), crash(Program("café")))


# -- the header ------------------------------------------------------------------------------------


def test_repeated_event(factory: HarnessFactory) -> None:
    """An event that is sent again with the same numbers is acknowledged again."""
    harness = factory.create()
    event = crash()
    harness.send(event)
    harness.send(event, event)

    assert len(set(harness.headers[-3:])) == 1


def test_serial_numbers_that_jump(factory: HarnessFactory) -> None:
    """Gaps, resets and the wrap at supervisor's largest number do not matter."""
    harness = factory.create()
    for serial, pool_serial in ((9000, 70), (9001, 3), (0, 0), (maxint, maxint), (0, 0), (5, 1)):
        harness.send(with_numbers(crash(), serial, pool_serial))


def test_event_of_an_unknown_type(factory: HarnessFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types of a plug-in are acknowledged, registered or not."""
    harness = factory.create()
    added = type("Added", (events.Event,), {"payload": lambda _: "some:thing\nnew"})
    harness.send(added())
    monkeypatch.setattr(events.EventTypes, "PLUGIN_ADDED_1", added, raising=False)
    harness.send(added(), crash())

    assert "eventname:None" in harness.headers[-3]
    assert "eventname:PLUGIN_ADDED_1" in harness.headers[-2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("pool:tested ", ""),
        ("serial:", "colour:blue serial:"),
        ("len:", "host:web-1:9001 url:unix:///run/supervisor.sock len:"),
        ("ver:3.0", "ver:3.1"),
        ("serial:", "serial:x"),
        ("poolserial:", "poolserial:-"),
        (" serial:", " serial:99999999999999999999"),
    ],
)
def test_header_of_another_version(factory: HarnessFactory, before: str, after: str) -> None:
    """New words, missing words, words with `:` and words instead of numbers do not matter."""
    harness = factory.create()
    harness.rewrite = lambda envelope: envelope.replace(before, after)
    harness.send(log("café"), crash())


@pytest.mark.parametrize("identifier", ["my own host", "host:9001", "a: b", "café", "len:5"])
def test_identifier(factory: HarnessFactory, identifier: str) -> None:
    """supervisord's identifier can be any text."""
    harness = factory.create(identifier=identifier)
    harness.send(log("café"), crash())

    assert f"server:{identifier} serial:" in harness.headers[-1]


def test_line_without_meaning_before_an_event(factory: HarnessFactory) -> None:
    """The listener skips it up to the next header."""
    harness = factory.create()
    for line in ("no sense\n", "ver:3.0 len:five\n", "\n\n", "\0\ufffd:::\n", "x" * 9000 + "\n"):
        harness.rewrite = line.__add__
        harness.send(crash())
    harness.rewrite = lambda envelope: envelope
    harness.send(crash())


def test_event_with_an_invalid_header(factory: HarnessFactory) -> None:
    """The listener answers it in the end, so that the next event can come."""
    harness = factory.create()
    harness.rewrite = lambda envelope: envelope.replace("len:", "len:many")
    harness.send(crash())
    harness.rewrite = lambda envelope: envelope
    harness.send(crash(), log("café"))


# -- the payload -----------------------------------------------------------------------------------


def send_hostile_events(harness: SupervisorHarness) -> None:
    for event in hostile_events():
        harness.send(event)


def test_hostile_payloads(factory: HarnessFactory) -> None:
    """No payload ends the listener; supervisor would send it again without end."""
    send_hostile_events(factory.create())


def test_three_thousand_events(factory: HarnessFactory) -> None:
    """3,000 events of 100 unknown programs are acknowledged."""
    harness = factory.create()
    programs = [Program(f"p{number}", f"group{number % 7}") for number in range(100)]
    kinds = (
        *(events.ProcessStateStartingEvent, events.ProcessStateRunningEvent),
        *(events.ProcessStateExitedEvent, events.ProcessStateBackoffEvent),
        events.ProcessStateFatalEvent,
    )
    for _ in range(3_000 // len(kinds) // len(programs)):
        harness.send(*(kind(p, ProcessStates.RUNNING, False) for p in programs for kind in kinds))


# -- the end ---------------------------------------------------------------------------------------


def test_stop_while_idle(factory: HarnessFactory) -> None:
    """SIGTERM ends a listener that waits."""
    harness = factory.create()
    harness.stop()


def test_stop_while_busy(factory: HarnessFactory) -> None:
    """SIGTERM ends a listener that reads an event; supervisor sends the event to the next one."""
    harness = factory.create()
    event = log("x" * 10_000)
    harness.send_half(event)
    harness.stop()

    assert harness.pool.event_buffer[0] is event

    harness.listener.spawn()
    harness.wait_until_ready()
    assert times_sent(harness, event.serial) == 2


def test_killed_while_busy(factory: HarnessFactory) -> None:
    """The next listener gets the event again and acknowledges it."""
    harness = factory.create()
    event = crash()
    harness.send_half(event)
    harness.signal(signal.SIGKILL)
    harness.wait_for_exit()
    harness.wait_until_ready()

    assert times_sent(harness, event.serial) == 2


def test_hangup_signal(factory: HarnessFactory) -> None:
    """SIGHUP does not end the listener, because administrators use it to reload settings."""
    harness = factory.create()
    for _ in range(3):
        harness.signal(signal.SIGHUP)
        harness.send(crash())


def test_end_of_stdin(factory: HarnessFactory) -> None:
    """A listener without a supervisord ends with status 0."""
    harness = factory.create()
    harness.close_pipes("stdin")
    status = harness.wait_for_exit()

    assert status == 0


def test_supervisord_killed_while_it_sends(factory: HarnessFactory) -> None:
    """The listener ends."""
    harness = factory.create()
    harness.send_half(crash())
    harness.close_pipes("stdin", "stdout", "stderr")
    harness.wait_for_exit()


def times_sent(harness: SupervisorHarness, serial: int) -> int:
    return sum(f" serial:{serial} " in header for header in harness.headers)


# -- the receivers ---------------------------------------------------------------------------------


def test_receiver_that_never_answers(our_factory: HarnessFactory) -> None:
    """50 crashes are acknowledged, and SIGTERM ends the listener."""
    with ExitStack() as open_sockets:
        receiver = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        receiver.setblocking(False)
        harness = our_factory.create(url=f"http://127.0.0.1:{receiver.getsockname()[1]}/")
        harness.send(*(crash() for _ in range(10)))
        harness.run_until(lambda: has_request(receiver, open_sockets), Violation.NO_ANSWER)
        harness.send(*(crash() for _ in range(40)))
        harness.stop()


def has_request(receiver: socket.socket, open_sockets: ExitStack) -> bool:
    """Accept a waiting request; it stays open and nobody reads it."""
    try:
        open_sockets.enter_context(receiver.accept()[0])
    except BlockingIOError:
        return False
    return True
