"""What every listener owes to supervisor, scene by scene."""

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

from .event_samples import Program, crash, log, numbered, poison, real_events
from .supervisor_harness import ACKNOWLEDGED, READY, Violation, pieces_of

if TYPE_CHECKING:
    from pathlib import Path

    from .listeners import HarnessFactory
    from .supervisor_harness import SupervisorHarness

KIB = 1024


# -- the words -------------------------------------------------------------------------------------


def test_ready(factory: HarnessFactory) -> None:
    """The listener says READY, and nothing before it."""
    harness = factory.open()

    assert harness.wire.startswith(READY)


def test_every_type_of_event(factory: HarnessFactory) -> None:
    """Each type of event that supervisor has is acknowledged."""
    harness = factory.open()
    samples = list(real_events())
    harness.send(*samples)

    said = {header.partition(" eventname:")[2].partition(" ")[0] for header in harness.headers}
    assert len(said) == len(samples) == 20


def test_payload_beyond_ascii(factory: HarnessFactory) -> None:
    """`len` counts characters: café, emoji and what is combined do not shift the next event."""
    harness = factory.open()
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
    """Line ends of any kind, NUL and other controls are characters as any others."""
    harness = factory.open()
    for text in ("a\r\nb\r\n", "\r", "a\0b", "\n\n\n", "\x1a\x04\x03", "\x85\u2028\u2029\v\f\x1c"):
        harness.send(log(text))
        harness.send(crash())


def test_payload_that_is_not_text(factory: HarnessFactory) -> None:
    """What a program wrote and is not UTF-8, a lone surrogate included, comes as `Undecodable:`."""
    harness = factory.open()
    for data in (b"\xff\xfe\n", b"\xed\xa0\x80", "é".encode()[:1], bytes(range(256))):
        assert "Undecodable: b" in log(data).payload()
        harness.send(log(data))


def test_empty_payload(factory: HarnessFactory) -> None:
    """Events without a payload come one after the other."""
    harness = factory.open()
    harness.send(*(events.SupervisorRunningEvent() for _ in range(3)), log(""), crash())


def test_payload_that_looks_like_an_event(factory: HarnessFactory) -> None:
    """A header within a payload is text."""
    harness = factory.open()
    header = "ver:3.0 server:s serial:1 pool:judged poolserial:1 eventname:TICK_5 len:99999\n"
    for text in (header, header * 3, "\n" + header, "READY\nRESULT 2\nOK"):
        harness.send(log(text))
        harness.send(events.RemoteCommunicationEvent(text, text))


@pytest.mark.parametrize("letter", ["x", "é", "\N{FIRE}"], ids=["1 byte", "2 bytes", "4 bytes"])
def test_large_payload(factory: HarnessFactory, letter: str) -> None:
    """Payloads around the size of the pipe, and of 1 MiB, come in several pieces."""
    harness = factory.open()
    for size in (64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, 1024 * KIB):
        harness.send(log(letter * (size // len(letter.encode()))))
        harness.send(crash())


# -- the pipe --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_fragments(factory: HarnessFactory, size: int) -> None:
    """Header, payload and multi-byte characters may be cut anywhere."""
    harness = factory.open()
    harness.valve = pieces_of(size)
    harness.send(log("héllo \N{FIRE} wörld\r\n"), log("日本" * 20), events.SupervisorRunningEvent())


def test_events_glued_together(factory: HarnessFactory) -> None:
    """Several events at once, as supervisor never sends them, are answered one by one."""
    harness = factory.open()
    harness.raw = True
    expected = harness.wire + 5 * (ACKNOWLEDGED + READY)
    event = "ver:3.0 server:s serial:7 pool:judged poolserial:7 eventname:TICK_5 len:6\nwhen:é"
    harness.inject((event * 5).encode())
    harness.run_until(lambda: len(harness.wire) >= len(expected), Violation.DEAF)

    assert harness.wire == expected


def test_closed_stderr(factory: HarnessFactory) -> None:
    """A stderr that nobody has open any more does not end the listener."""
    harness = factory.open(settings="log_level = debug")
    harness.close_pipes("stderr")
    send_poison(harness)


def test_full_stderr(factory: HarnessFactory) -> None:
    """A stderr that is full for a while delays at most."""
    harness = factory.open(settings="log_level = debug")
    descriptor = harness.listener.pipes["stderr"]
    reader = harness.listener.dispatchers.pop(descriptor)
    fill(f"/proc/{harness.listener.pid}/fd/2")
    for event in poison():
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


def test_stray_prints(factory: HarnessFactory, tmp_path: Path) -> None:
    """Nothing that the listener or a child of it prints gets in between the protocol's words."""
    (tmp_path / "sitecustomize.py").write_text(BABBLER)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    babbled = tmp_path / "babbled"
    harness = factory.open(environment={"PYTHONPATH": path, "BABBLED": str(babbled)})
    harness.signal(signal.SIGUSR1)
    harness.run_until(babbled.exists, Violation.DEAF)
    harness.send(crash(), log("café"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_locale_that_is_not_utf8(factory: HarnessFactory, encoding: str) -> None:
    """The listener reads UTF-8 wherever it runs."""
    posix = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    harness = factory.open(environment={**posix, "PYTHONIOENCODING": encoding})
    harness.send(log("héllo wörld \N{FIRE}"), crash(Program("café")))


# -- the header ------------------------------------------------------------------------------------


def test_duplicates(factory: HarnessFactory) -> None:
    """An event that is sent again, with the same numbers, is acknowledged again."""
    harness = factory.open()
    event = crash()
    harness.send(event)
    harness.send(event, event)

    assert len(set(harness.headers[-3:])) == 1


def test_serials_that_jump(factory: HarnessFactory) -> None:
    """Gaps, resets and the wrap at supervisor's largest number do not matter."""
    harness = factory.open()
    for serial, pool_serial in ((9000, 70), (9001, 3), (0, 0), (maxint, maxint), (0, 0), (5, 1)):
        harness.send(numbered(crash(), serial, pool_serial))


def test_events_that_nobody_knows(factory: HarnessFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types that a plug-in has registered, and one that it forgot to register, are acknowledged."""
    harness = factory.open()
    added = type("Added", (events.Event,), {"payload": lambda _: "some:thing\nnew"})
    harness.send(added())
    monkeypatch.setattr(events.EventTypes, "PLUGIN_ADDED_1", added, raising=False)
    harness.send(added(), crash())

    assert "eventname:None" in harness.headers[-3]
    assert "eventname:PLUGIN_ADDED_1" in harness.headers[-2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("pool:judged ", ""),
        ("serial:", "colour:blue serial:"),
        ("len:", "host:web-1:9001 url:unix:///run/supervisor.sock len:"),
        ("ver:3.0", "ver:3.1"),
        ("serial:", "serial:x"),
        ("poolserial:", "poolserial:-"),
        (" serial:", " serial:99999999999999999999"),
    ],
)
def test_header_of_another_version(factory: HarnessFactory, before: str, after: str) -> None:
    """Words that are new, missing, hold `:` or are no numbers do not matter."""
    harness = factory.open()
    harness.rewrite = lambda envelope: envelope.replace(before, after)
    harness.send(log("café"), crash())


@pytest.mark.parametrize("identifier", ["my own host", "host:9001", "a: b", "café", "len:5"])
def test_identifier(factory: HarnessFactory, identifier: str) -> None:
    """supervisord's identifier is free text."""
    harness = factory.open(identifier=identifier)
    harness.send(log("café"), crash())

    assert f"server:{identifier} serial:" in harness.headers[-1]


def test_senseless_line_before_an_event(factory: HarnessFactory) -> None:
    """What is no header is skipped up to the next header."""
    harness = factory.open()
    for line in ("no sense\n", "ver:3.0 len:five\n", "\n\n", "\0\ufffd:::\n", "x" * 9000 + "\n"):
        harness.rewrite = line.__add__
        harness.send(crash())
    harness.rewrite = lambda envelope: envelope
    harness.send(crash())


def test_event_that_nobody_can_read(factory: HarnessFactory) -> None:
    """An event whose header makes no sense is answered at last, so that the next one can come."""
    harness = factory.open()
    harness.rewrite = lambda envelope: envelope.replace("len:", "len:many")
    harness.send(crash())
    harness.rewrite = lambda envelope: envelope
    harness.send(crash(), log("café"))


# -- the payload -----------------------------------------------------------------------------------


def send_poison(harness: SupervisorHarness) -> None:
    for event in poison():
        harness.send(event)


def test_poison(factory: HarnessFactory) -> None:
    """No payload ends the listener, whatever the event: it would be sent again for ever."""
    send_poison(factory.open())


def test_storm(factory: HarnessFactory) -> None:
    """3,000 events of 100 programs that nobody has heard of are acknowledged."""
    harness = factory.open()
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
    harness = factory.open()
    harness.stop()


def test_stop_while_busy(factory: HarnessFactory) -> None:
    """SIGTERM ends a listener that reads an event; supervisor keeps it for the next life."""
    harness = factory.open()
    event = log("x" * 10_000)
    harness.send_half(event)
    harness.stop()

    assert harness.pool.event_buffer[0] is event

    harness.listener.spawn()
    harness.wait_until_ready()
    assert sent_with(harness, event.serial) == 2


def test_killed_while_busy(factory: HarnessFactory) -> None:
    """A listener that was killed in the middle of an event gets it again and acknowledges it."""
    harness = factory.open()
    event = crash()
    harness.send_half(event)
    harness.signal(signal.SIGKILL)
    harness.wait_for_exit()
    harness.wait_until_ready()

    assert sent_with(harness, event.serial) == 2


def test_hangup_signal(factory: HarnessFactory) -> None:
    """SIGHUP does not end the listener: administrators take it for `read your settings again`."""
    harness = factory.open()
    for _ in range(3):
        harness.signal(signal.SIGHUP)
        harness.send(crash())


def test_end_of_stdin(factory: HarnessFactory) -> None:
    """A listener whose supervisord is gone ends, with status 0."""
    harness = factory.open()
    harness.close_pipes("stdin")
    status = harness.wait_for_exit()

    assert status == 0


def test_supervisord_vanishes_in_mid_event(factory: HarnessFactory) -> None:
    """A listener whose supervisord was killed while it sent an event ends by itself."""
    harness = factory.open()
    harness.send_half(crash())
    harness.close_pipes("stdin", "stdout", "stderr")
    harness.wait_for_exit()


def sent_with(harness: SupervisorHarness, serial: int) -> int:
    return sum(f" serial:{serial} " in header for header in harness.headers)


# -- the receivers ---------------------------------------------------------------------------------


def test_receiver_that_hangs(our_factory: HarnessFactory) -> None:
    """50 crashes are acknowledged, and SIGTERM obeyed, while a receiver never answers a request."""
    with ExitStack() as open_sockets:
        receiver = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        receiver.setblocking(False)
        harness = our_factory.open(url=f"http://127.0.0.1:{receiver.getsockname()[1]}/")
        harness.send(*(crash() for _ in range(10)))
        harness.run_until(lambda: has_called(receiver, open_sockets), Violation.DEAF)
        harness.send(*(crash() for _ in range(40)))
        harness.stop()


def has_called(receiver: socket.socket, open_sockets: ExitStack) -> bool:
    """Accept a request that waits, if one does; it is kept open, and never read."""
    try:
        open_sockets.enter_context(receiver.accept()[0])
    except BlockingIOError:
        return False
    return True
