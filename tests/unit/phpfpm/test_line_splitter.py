"""Pieces of a stream become the lines that were written, however they were cut."""

from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.phpfpm.line_splitter import LONGEST_LINE, LineSplitter


def test_a_half_line_waits() -> None:
    """A line is told when its newline has come."""
    splitter = LineSplitter()
    assert splitter.feed("one\ntw") == ["one"]
    assert splitter.feed("o") == []
    assert splitter.feed("\n") == ["two"]


def test_a_stream_that_ends_in_half_a_line() -> None:
    """The rest is told once, when no more will come."""
    splitter = LineSplitter()
    splitter.feed("rest\r")
    assert splitter.flush() == ["rest"]
    assert splitter.flush() == []


def test_a_carriage_return_before_the_newline() -> None:
    """It belongs to the line's end, also where the two come apart."""
    splitter = LineSplitter()
    assert splitter.feed("a\r\nb\r") == ["a"]
    assert splitter.feed("\nc\rd\n") == ["b", "c\rd"]


def test_a_line_without_end() -> None:
    """What is held is bounded, and the next line is whole."""
    splitter = LineSplitter()
    splitter.feed("x" * (LONGEST_LINE + 5))
    splitter.feed("y" * 7)
    assert splitter.feed("\nnext\n") == ["x" * LONGEST_LINE, "next"]


@given(st.lists(st.text("ab\n\r")))
def test_any_cuts(pieces: list[str]) -> None:
    """Where the stream was cut does not matter."""
    splitter = LineSplitter()
    lines = [line for piece in pieces for line in splitter.feed(piece)] + splitter.flush()
    whole = "".join(pieces).split("\n")
    expected = [*whole[:-1], *([whole[-1]] if whole[-1] else [])]
    assert lines == [line.removesuffix("\r") for line in expected]
