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

from .happenings import Program, crash, log, numbered, poison, real_events
from .stage import ACKNOWLEDGED, READY, Verdict, pieces_of

if TYPE_CHECKING:
    from pathlib import Path

    from .stage import Stage
    from .theatre import Theatre

KIB = 1024


# -- the words -------------------------------------------------------------------------------------


def test_ready(theatre: Theatre) -> None:
    """The listener says READY, and nothing before it."""
    stage = theatre.open()

    assert stage.wire.startswith(READY)


def test_every_type_of_event(theatre: Theatre) -> None:
    """Each type of event that supervisor has is acknowledged."""
    stage = theatre.open()
    happenings = list(real_events())
    stage.say(*happenings)

    said = {header.partition(" eventname:")[2].partition(" ")[0] for header in stage.headers}
    assert len(said) == len(happenings) == 20


def test_payload_beyond_ascii(theatre: Theatre) -> None:
    """`len` counts characters: café, emoji and what is combined do not shift the next event."""
    stage = theatre.open()
    for text in (
        "café\n",
        "\N{FIRE}\N{FIRE}\n",
        "e\N{COMBINING ACUTE ACCENT}",
        "日本",
        "\ufeffBOM",
    ):
        stage.say(log(text))
        stage.say(crash(Program("café", "日本")))


def test_control_characters(theatre: Theatre) -> None:
    """Line ends of any kind, NUL and other controls are characters as any others."""
    stage = theatre.open()
    for text in ("a\r\nb\r\n", "\r", "a\0b", "\n\n\n", "\x1a\x04\x03", "\x85\u2028\u2029\v\f\x1c"):
        stage.say(log(text))
        stage.say(crash())


def test_payload_that_is_not_text(theatre: Theatre) -> None:
    """What a program wrote and is not UTF-8, a lone surrogate included, comes as `Undecodable:`."""
    stage = theatre.open()
    for data in (b"\xff\xfe\n", b"\xed\xa0\x80", "é".encode()[:1], bytes(range(256))):
        assert "Undecodable: b" in log(data).payload()
        stage.say(log(data))


def test_empty_payload(theatre: Theatre) -> None:
    """Events without a payload come one after the other."""
    stage = theatre.open()
    stage.say(*(events.SupervisorRunningEvent() for _ in range(3)), log(""), crash())


def test_payload_that_looks_like_an_event(theatre: Theatre) -> None:
    """A header within a payload is text."""
    stage = theatre.open()
    header = "ver:3.0 server:s serial:1 pool:judged poolserial:1 eventname:TICK_5 len:99999\n"
    for text in (header, header * 3, "\n" + header, "READY\nRESULT 2\nOK"):
        stage.say(log(text))
        stage.say(events.RemoteCommunicationEvent(text, text))


@pytest.mark.parametrize("letter", ["x", "é", "\N{FIRE}"], ids=["1 byte", "2 bytes", "4 bytes"])
def test_large_payload(theatre: Theatre, letter: str) -> None:
    """Payloads around the size of the pipe, and of 1 MiB, come in several pieces."""
    stage = theatre.open()
    for size in (64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, 1024 * KIB):
        stage.say(log(letter * (size // len(letter.encode()))))
        stage.say(crash())


# -- the pipe --------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_fragments(theatre: Theatre, size: int) -> None:
    """Header, payload and multi-byte characters may be cut anywhere."""
    stage = theatre.open()
    stage.valve = pieces_of(size)
    stage.say(log("héllo \N{FIRE} wörld\r\n"), log("日本" * 20), events.SupervisorRunningEvent())


def test_events_glued_together(theatre: Theatre) -> None:
    """Several events at once, as supervisor never sends them, are answered one by one."""
    stage = theatre.open()
    stage.raw = True
    expected = stage.wire + 5 * (ACKNOWLEDGED + READY)
    event = "ver:3.0 server:s serial:7 pool:judged poolserial:7 eventname:TICK_5 len:6\nwhen:é"
    stage.inject((event * 5).encode())
    stage.turn_until(lambda: len(stage.wire) >= len(expected), Verdict.DEAF)

    assert stage.wire == expected


def test_closed_stderr(theatre: Theatre) -> None:
    """A stderr that nobody has open any more does not end the listener."""
    stage = theatre.open(settings="log_level = debug")
    stage.hang_up("stderr")
    play_poison(stage)


def test_full_stderr(theatre: Theatre) -> None:
    """A stderr that is full for a while delays at most."""
    stage = theatre.open(settings="log_level = debug")
    descriptor = stage.listener.pipes["stderr"]
    reader = stage.listener.dispatchers.pop(descriptor)
    fill(f"/proc/{stage.listener.pid}/fd/2")
    for event in poison():
        events.notify(event)
    stage.turn_for(20)
    stage.listener.dispatchers[descriptor] = reader
    stage.settle()


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


def test_stray_prints(theatre: Theatre, tmp_path: Path) -> None:
    """Nothing that the listener or a child of it prints gets in between the protocol's words."""
    (tmp_path / "sitecustomize.py").write_text(BABBLER)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    babbled = tmp_path / "babbled"
    stage = theatre.open(environment={"PYTHONPATH": path, "BABBLED": str(babbled)})
    stage.signal(signal.SIGUSR1)
    stage.turn_until(babbled.exists, Verdict.DEAF)
    stage.say(crash(), log("café"))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16"])
def test_locale_that_is_not_utf8(theatre: Theatre, encoding: str) -> None:
    """The listener reads UTF-8 wherever it runs."""
    posix = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    stage = theatre.open(environment={**posix, "PYTHONIOENCODING": encoding})
    stage.say(log("héllo wörld \N{FIRE}"), crash(Program("café")))


# -- the header ------------------------------------------------------------------------------------


def test_duplicates(theatre: Theatre) -> None:
    """An event that is sent again, with the same numbers, is acknowledged again."""
    stage = theatre.open()
    event = crash()
    stage.say(event)
    stage.say(event, event)

    assert len(set(stage.headers[-3:])) == 1


def test_serials_that_jump(theatre: Theatre) -> None:
    """Gaps, resets and the wrap at supervisor's largest number do not matter."""
    stage = theatre.open()
    for serial, pool_serial in ((9000, 70), (9001, 3), (0, 0), (maxint, maxint), (0, 0), (5, 1)):
        stage.say(numbered(crash(), serial, pool_serial))


def test_events_that_nobody_knows(theatre: Theatre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types that a plug-in has registered, and one that it forgot to register, are acknowledged."""
    stage = theatre.open()
    added = type("Added", (events.Event,), {"payload": lambda _: "some:thing\nnew"})
    stage.say(added())
    monkeypatch.setattr(events.EventTypes, "PLUGIN_ADDED_1", added, raising=False)
    stage.say(added(), crash())

    assert "eventname:None" in stage.headers[-3]
    assert "eventname:PLUGIN_ADDED_1" in stage.headers[-2]


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
def test_header_of_another_version(theatre: Theatre, before: str, after: str) -> None:
    """Words that are new, missing, hold `:` or are no numbers do not matter."""
    stage = theatre.open()
    stage.rewrite = lambda envelope: envelope.replace(before, after)
    stage.say(log("café"), crash())


@pytest.mark.parametrize("identifier", ["my own host", "host:9001", "a: b", "café", "len:5"])
def test_identifier(theatre: Theatre, identifier: str) -> None:
    """supervisord's identifier is free text."""
    stage = theatre.open(identifier=identifier)
    stage.say(log("café"), crash())

    assert f"server:{identifier} serial:" in stage.headers[-1]


def test_senseless_line_before_an_event(theatre: Theatre) -> None:
    """What is no header is skipped up to the next header."""
    stage = theatre.open()
    for line in ("no sense\n", "ver:3.0 len:five\n", "\n\n", "\0\ufffd:::\n", "x" * 9000 + "\n"):
        stage.rewrite = line.__add__
        stage.say(crash())
    stage.rewrite = lambda envelope: envelope
    stage.say(crash())


def test_event_that_nobody_can_read(theatre: Theatre) -> None:
    """An event whose header makes no sense is answered at last, so that the next one can come."""
    stage = theatre.open()
    stage.rewrite = lambda envelope: envelope.replace("len:", "len:many")
    stage.say(crash())
    stage.rewrite = lambda envelope: envelope
    stage.say(crash(), log("café"))


# -- the payload -----------------------------------------------------------------------------------


def play_poison(stage: Stage) -> None:
    for event in poison():
        stage.say(event)


def test_poison(theatre: Theatre) -> None:
    """No payload ends the listener, whatever the event: it would be sent again for ever."""
    play_poison(theatre.open())


def test_storm(theatre: Theatre) -> None:
    """10,000 events of 100 programs that nobody has heard of are acknowledged."""
    stage = theatre.open()
    programs = [Program(f"p{number}", f"group{number % 7}") for number in range(100)]
    kinds = (
        *(events.ProcessStateStartingEvent, events.ProcessStateRunningEvent),
        *(events.ProcessStateExitedEvent, events.ProcessStateBackoffEvent),
        events.ProcessStateFatalEvent,
    )
    for _ in range(10_000 // len(kinds) // len(programs)):
        stage.say(*(kind(p, ProcessStates.RUNNING, False) for p in programs for kind in kinds))


# -- the end ---------------------------------------------------------------------------------------


def test_stop_while_idle(theatre: Theatre) -> None:
    """SIGTERM ends a listener that waits."""
    stage = theatre.open()
    stage.stop()


def test_stop_while_busy(theatre: Theatre) -> None:
    """SIGTERM ends a listener that reads an event; supervisor keeps it for the next life."""
    stage = theatre.open()
    event = log("x" * 10_000)
    stage.say_half(event)
    stage.stop()

    assert stage.pool.event_buffer[0] is event

    stage.listener.spawn()
    stage.settle()
    assert sent_with(stage, event.serial) == 2


def test_killed_while_busy(theatre: Theatre) -> None:
    """A listener that was killed in the middle of an event gets it again and acknowledges it."""
    stage = theatre.open()
    event = crash()
    stage.say_half(event)
    stage.signal(signal.SIGKILL)
    stage.wait_for_end()
    stage.settle()

    assert sent_with(stage, event.serial) == 2


def test_hangup_signal(theatre: Theatre) -> None:
    """SIGHUP does not end the listener: administrators take it for `read your settings again`."""
    stage = theatre.open()
    for _ in range(3):
        stage.signal(signal.SIGHUP)
        stage.say(crash())


def test_end_of_stdin(theatre: Theatre) -> None:
    """A listener whose supervisord is gone ends, with status 0."""
    stage = theatre.open()
    stage.hang_up("stdin")
    status = stage.wait_for_end()

    assert status == 0


def test_supervisord_vanishes_in_mid_event(theatre: Theatre) -> None:
    """A listener whose supervisord was killed while it sent an event ends by itself."""
    stage = theatre.open()
    stage.say_half(crash())
    stage.hang_up("stdin", "stdout", "stderr")
    stage.wait_for_end()


def sent_with(stage: Stage, serial: int) -> int:
    return sum(f" serial:{serial} " in header for header in stage.headers)


# -- the receivers ---------------------------------------------------------------------------------


def test_receiver_that_hangs(our_theatre: Theatre) -> None:
    """50 crashes are acknowledged, and SIGTERM obeyed, while a receiver never answers a request."""
    with ExitStack() as open_sockets:
        receiver = open_sockets.enter_context(socket.create_server(("127.0.0.1", 0)))
        receiver.setblocking(False)
        stage = our_theatre.open(url=f"http://127.0.0.1:{receiver.getsockname()[1]}/")
        stage.say(*(crash() for _ in range(10)))
        stage.turn_until(lambda: has_called(receiver, open_sockets), Verdict.DEAF)
        stage.say(*(crash() for _ in range(40)))
        stage.stop()


def has_called(receiver: socket.socket, open_sockets: ExitStack) -> bool:
    """Accept a request that waits, if one does; it is kept open, and never read."""
    try:
        open_sockets.enter_context(receiver.accept()[0])
    except BlockingIOError:
        return False
    return True
