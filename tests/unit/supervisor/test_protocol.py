"""The event-listener protocol, decoded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.supervisor.protocol import (
    ACKNOWLEDGED,
    MAX_HEADER,
    MAX_PAYLOAD,
    READY,
    Decoder,
    Event,
    Garbage,
    parse_header,
)


def wire(payload: str, serial: int = 7, name: str = "PROCESS_STATE_EXITED") -> bytes:
    """Return an event as supervisor 4 sends it: the length counts characters."""
    return (
        f"ver:3.0 server:supervisor serial:{serial} pool:l poolserial:{serial} "
        f"eventname:{name} len:{len(payload)}\n{payload}"
    ).encode()


def decode(*pieces: bytes) -> list[Event | Garbage]:
    decoder = Decoder()
    return [item for piece in pieces for item in decoder.feed(piece)]


def payloads(items: list[Event | Garbage]) -> list[str]:
    return [item.payload for item in items if isinstance(item, Event)]


def test_a_plain_event() -> None:
    """All words of the header and the payload arrive."""
    assert decode(wire("processname:a groupname:b pid:1")) == [
        Event("supervisor", "l", 7, 7, "PROCESS_STATE_EXITED", "processname:a groupname:b pid:1"),
    ]


@pytest.mark.parametrize(
    "payload",
    ["", "café wörld\n", "\U0001f525 astral", "a\r\nb\x00c", "Undecodable: b'\\xff'", "é" * 70_000],
)
def test_a_payload_is_counted_in_characters(payload: str) -> None:
    """Any text comes whole, and what follows it is read as the next event."""
    assert payloads(decode(wire(payload) + wire("next", 8))) == [payload, "next"]


def test_a_payload_of_one_mebibyte_in_pieces() -> None:
    """A large payload that comes in pieces of a pipe's size is one event."""
    data = wire("x" * (1 << 20))
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]

    assert payloads(decode(*pieces)) == ["x" * (1 << 20)]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), max_size=5),
    st.lists(st.integers(1, 30), max_size=40),
)
def test_any_chunking_gives_the_same_events(texts: list[str], sizes: list[int]) -> None:
    """The events do not depend on how the bytes are cut, not even inside a character."""
    data = b"".join(wire(text, serial) for serial, text in enumerate(texts))
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    pieces.append(data[at:])

    assert decode(*pieces) == decode(data)
    assert payloads(decode(*(bytes([byte]) for byte in data))) == texts


@pytest.mark.parametrize(
    "garbage",
    [
        b"hello\n",
        b"ver:3.0 nothing to see\n",
        b"ver:3.0 serial:1 eventname:X len:minus\n",
        b"ver:3.0 serial:1 eventname:X len:-5\n",
        b"ver:3.0 serial:1 len:5\n",
        b"\xff\xfe\x00" * 50 + b"\n",
        b"ld",
        b"v",
        b"ver:" + b"9" * (MAX_HEADER + 100),
        b"x" * 10_000 + b"\n\n\n",
    ],
)
def test_garbage_is_skipped_to_the_next_header(garbage: bytes) -> None:
    """What makes no sense is reported, and the event behind it is read, however it is cut."""
    data = garbage + wire("good") + wire("better", 8)

    for pieces in ([data], [bytes([byte]) for byte in data]):
        items = decode(*pieces)
        assert payloads(items) == ["good", "better"]
        assert sum(item.length for item in items if isinstance(item, Garbage)) == len(
            garbage.decode("utf-8", "replace"),
        )


def test_a_length_in_bytes_does_not_deafen() -> None:
    """Left-over characters of a wrongly counted payload cost no further event."""
    header = b"ver:3.0 server:s serial:1 pool:l poolserial:1 eventname:X len:3\n"

    assert payloads(decode(header + b"abcld" + wire("next", 2))) == ["abc", "next"]


def test_unknown_words_and_odd_values() -> None:
    """Unknown keys, an identifier with blanks or colons, and missing serials do no harm."""
    header = parse_header("ver:9.1 server:my host:8 serial:x shiny:new eventname:TICK_5 len:0")
    assert header is not None
    assert header["host"] == "8"

    (event,) = decode(b"ver:3.0 server:a b eventname:TICK_5 len:0\n")
    assert isinstance(event, Event)
    assert (event.server, event.serial, event.poolserial) == ("a b", -1, -1)


def test_garbage_without_end_is_reported() -> None:
    """Endless garbage is reported now and then, and is not kept."""
    decoder = Decoder()
    found = [item for _ in range(100) for item in decoder.feed(b"y" * 4096)]

    assert found
    assert all(isinstance(item, Garbage) for item in found)


def test_garbage_can_be_given_up() -> None:
    """The listener can ask what was skipped although nothing has followed it."""
    decoder = Decoder()
    decoder.feed(b"nonsense\n")

    assert decoder.skipping
    assert "nonsense" in decoder.give_up_garbage().sample
    assert not decoder.skipping
    assert payloads(decoder.feed(wire("good"))) == ["good"]


def header(**words: object) -> str:
    """Return a header line; None leaves a word out."""
    usual = {"ver": "3.0", "server": "s", "serial": 1, "pool": "p", "poolserial": 2}
    known = {**usual, "eventname": "X", "len": 0, **words}
    return " ".join(f"{name}:{value}" for name, value in known.items() if value is not None)


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ({}, True),
        ({"len": MAX_PAYLOAD}, True),
        ({"len": MAX_PAYLOAD + 1}, False),
        ({"len": None}, False),
        ({"len": "\u00b2"}, False),
        ({"len": "+1"}, False),
        ({"eventname": ""}, False),
        ({"eventname": None}, False),
    ],
)
def test_which_headers_are_known(words: dict[str, object], *, known: bool) -> None:
    """An event needs a name, and a length that supervisord can mean."""
    assert (parse_header(header(**words)) is not None) == known


def test_words_that_are_missing() -> None:
    """Server and pool are empty then, and the numbers are -1; so is a number that is too long."""
    bare = header(server=None, serial=None, pool=None, poolserial=None)
    assert decode(f"{bare}\n".encode()) == [Event("", "", -1, -1, "X", "")]
    long = header(serial="9" * 18, poolserial="9" * 19)
    assert decode(f"{long}\n".encode()) == [Event("s", "p", int("9" * 18), -1, "X", "")]


def test_a_value_with_blanks_and_colons() -> None:
    """An identifier may have both; a word before the first key is skipped."""
    assert parse_header("odd server:a b:c d pool:x eventname:E len:1") == {
        "server": "a",
        "b": "c d",
        "pool": "x",
        "eventname": "E",
        "len": "1",
    }


def test_the_longest_header() -> None:
    """One more character is garbage, and what follows is read."""
    room = MAX_HEADER - len(header(server=""))
    for extra, length in ((0, 0), (1, MAX_HEADER + 2)):
        line = header(server="s" * (room + extra))
        items = decode(f"{line}\n{header()}\n".encode())
        garbage = [item.length for item in items if isinstance(item, Garbage)]
        assert garbage == ([length] if length else [])
        assert len(payloads(items)) == (1 if extra else 2)


def test_what_is_said_of_garbage() -> None:
    """Its beginning of 80 characters, and its length; then it is forgotten."""
    decoder = Decoder()
    assert not decoder.skipping
    assert decoder.feed(b"x" * 100 + b"ver") == []
    assert decoder.skipping
    (garbage, event) = decoder.feed(f":oh\n{header()}\n".encode())
    assert garbage == Garbage(sample=repr("x" * 80), length=107)
    assert isinstance(event, Event)
    assert not decoder.skipping
    decoder.feed(b"abc")
    decoder.feed(b"ver:3.0 half")
    assert decoder.give_up_garbage() == Garbage(sample=repr("abcver:3.0 half"), length=15)
    assert not decoder.skipping
    assert len(decoder.feed(f"{header()}\n".encode())) == 1


@pytest.mark.parametrize(("more", "reports"), [(0, 0), (1, 1)])
def test_when_garbage_is_reported(more: int, reports: int) -> None:
    """After 64 KiB, though no event has followed."""
    assert len(decode(b"x" * ((64 << 10) + more))) == reports


def test_the_words_that_we_answer() -> None:
    """No newline stands behind OK: it would be read as the start of the next READY."""
    assert (READY, ACKNOWLEDGED) == (b"READY\n", b"RESULT 2\nOK")
