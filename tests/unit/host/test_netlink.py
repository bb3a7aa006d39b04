"""The kernel's answers through netlink, as bytes: whole, short and hostile."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from fpm_listener.host import netlink

_ERROR, _DONE, _OVERRUN, _OTHER = 2, 3, 4, 20


def message(kind: int, body: bytes) -> bytes:
    padding = b"\0" * (-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body + padding


def test_two_messages_and_the_end() -> None:
    """Both bodies are found, without the padding, and the answer is complete."""
    found: list[bytes] = []
    whole = message(_OTHER, b"abcde") + message(_OTHER, b"f") + message(_DONE, b"\0" * 4)

    assert netlink.read(whole, found)
    assert found == [b"abcde", b"f"]


def test_more_follows() -> None:
    """Without its last message an answer is incomplete."""
    assert not netlink.read(message(_OTHER, b"abcd"), [])


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOENT, errno.EINVAL])
def test_an_error_of_the_kernel(number: int) -> None:
    """It is raised as OSError with its number."""
    with pytest.raises(OSError, match=os.strerror(number)):
        netlink.read(message(_ERROR, struct.pack("=i", -number) + b"\0" * 16), [])


def test_lost_messages() -> None:
    """An overrun is an error: the list would be incomplete."""
    with pytest.raises(OSError, match=os.strerror(errno.ENOBUFS)):
        netlink.read(message(_OVERRUN, b""), [])


@pytest.mark.parametrize("length", [0, 15, 21, 0xFFFFFFFF])
def test_a_false_length(length: int) -> None:
    """A length that is too short, or longer than the datagram, is an error and no endless loop."""
    damaged = struct.pack("=I", length) + message(_OTHER, b"abcd")[4:]

    with pytest.raises(ValueError, match="says that it has"):
        netlink.read(damaged, [])


def test_short_bytes_at_the_end() -> None:
    """Less than a header is left out."""
    found: list[bytes] = []

    assert not netlink.read(message(_OTHER, b"abcd") + b"\1\2\3", found)
    assert found == [b"abcd"]


def test_attributes() -> None:
    """Each has its kind and its value; a damaged one ends them."""
    good = struct.pack("=HH", 5, 7) + b"x\0\0\0" + struct.pack("=HH", 8, 8) + b"wxyz"
    damaged = struct.pack("=HH", 200, 9) + b"never"

    assert list(netlink.attributes(b"head" + good + damaged, 4)) == [(7, b"x"), (8, b"wxyz")]
    assert list(netlink.attributes(struct.pack("=HH", 3, 1) + good, 0)) == []
