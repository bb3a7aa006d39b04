"""The words of a handover, and how php-fpm is told of sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.guard.handover_messages import Deposit, Done, Hello, Keep, Offer, decode, encode
from fpm_listener.phpfpm.inherited_sockets import environment, is_inherited

WORD = st.text(st.characters(exclude_characters="\0\1", exclude_categories=["Cs"]), min_size=1)
WORDS = st.lists(WORD, max_size=4).map(tuple)
KINDS = (Hello, Offer, Keep, Deposit, Done)


@given(group=WORD, process=WORD, hold=st.booleans(), words=WORDS, stamp=WORD)
def test_encoding_and_decoding(
    group: str,
    process: str,
    hold: bool,  # noqa: FBT001 - hypothesis names its arguments
    words: tuple[str, ...],
    stamp: str,
) -> None:
    """Every message comes through as it was, whatever its words are."""
    for message in (
        Hello(group, process, hold=hold),
        Offer("", stamp, words, words),
        Offer(process, "", (), ()),
        Keep(),
        Deposit(stamp, words, words, words),
        Done(),
    ):
        heard = decode(encode(message), KINDS)
        assert type(heard) is type(message)
        assert vars(heard) == vars(message)


def test_bytes_that_are_no_letters() -> None:
    """A path has bytes; they survive."""
    heard = decode(encode(Deposit("s", (), ("/x/caf\udce9",), ("/x/caf\udce9",))), (Deposit,))
    assert isinstance(heard, Deposit)
    assert heard.keys == ("/x/caf\udce9",)


@pytest.mark.parametrize(
    "message",
    [
        Hello("a\0b", "p", hold=True),
        Offer("", "", ("a\1b",), ()),
        Offer("", "", ("",), ()),
        Deposit("", (), ("k\0",), ("a",)),
    ],
)
def test_what_cannot_be_said(message: Hello | Offer | Deposit) -> None:
    """A value with a sign of the protocol is refused, not garbled."""
    with pytest.raises(ValueError, match="cannot be sent"):
        encode(message)


@given(st.binary(max_size=60))
def test_nonsense(packet: bytes) -> None:
    """Any bytes are a message or a ValueError."""
    try:
        decode(packet, KINDS)
    except ValueError:
        return


@pytest.mark.parametrize(
    "packet",
    [b"", b"Hello", b"Hello\0a\0b", b"Gone\0x", b"hello\0a\0b\x001", b"Deposit\0s\0\0k\0"],
)
def test_what_is_not_a_message(packet: bytes) -> None:
    """Another name, too few words, a key without its address."""
    with pytest.raises(ValueError, match=r"unexpected message|each key"):
        decode(packet, KINDS)


@pytest.mark.parametrize("more", [b"", b"\0new", b"\0new\0newer\x01list"])
def test_a_newer_version(more: bytes) -> None:
    """Fields that are not known are ignored."""
    heard = decode(b"Deposit\0s\0w\0k\0a" + more, (Deposit,))
    assert vars(heard) == vars(Deposit("s", ("w",), ("k",), ("a",)))
    offer = decode(b"Offer\0\0s\0w\0k\x001 2" + more, (Offer,))
    assert vars(offer) == vars(Offer("", "s", ("w",), ("k",), ("1 2",)))


def test_an_older_version() -> None:
    """Optional fields are left out where they are empty, and need not be there."""
    packet = encode(Offer("", "s", ("w",), ("k",)))
    assert packet == b"Offer\0\0s\0w\0k"
    assert vars(decode(packet, (Offer,)))["masters"] == ()


@pytest.mark.parametrize("kind", KINDS)
def test_names_on_the_wire(kind: type[Hello | Offer | Keep | Deposit | Done]) -> None:
    """They are constants of the protocol, also when a class gets another name."""
    assert kind.name in {"Hello", "Offer", "Keep", "Deposit", "Done"}


def test_a_message_at_the_wrong_moment() -> None:
    """Who is to say Hello is not heard with Done."""
    with pytest.raises(ValueError, match="unexpected message"):
        decode(encode(Done()), (Hello,))


def test_many_sockets_in_the_environment() -> None:
    """php-fpm reads 128 from a variable, and then looks for the next one."""
    found = environment([(f"127.0.0.1:{port}", port) for port in range(1, 300)])

    assert list(found) == ["FPM_SOCKETS", "FPM_SOCKETS_1", "FPM_SOCKETS_2"]
    assert [text.count(",") for text in found.values()] == [127, 127, 42]
    assert all(map(is_inherited, found))
    assert environment([]) == {}
