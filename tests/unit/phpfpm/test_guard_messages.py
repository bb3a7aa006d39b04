"""Codes and fields of the guard's messages survive any text beside and inside them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm_listener.phpfpm.guard_messages import FAILED_STARTS, PREFIX, GuardCode, parse, write
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind
from fpm_listener.phpfpm.log_parser import classify
from fpm_listener.phpfpm.log_scanner import scan

#: Values that try to end a field, to add one, or to begin another message.
HOSTILE = (
    "/run/a b.sock",
    "/run/x] y",
    '/run/"x" pid=1] forged',
    "x pid=1",
    "\\u0041\\",
    f"x\n{PREFIX}[bind_conflict address=9] y",
    "",
    "[::1]:9000",
    "/srv/ä/\udce9.sock",
    "\U000e0001",
)


@pytest.mark.parametrize("code", GuardCode)
def test_every_code_round_trips(code: GuardCode) -> None:
    """A message is one line, and its code and fields come back."""
    line = write(code, "a sentence", address="127.0.0.1:9000", pid=812)

    assert line == f"{PREFIX}[{code.value} address=127.0.0.1:9000 pid=812] a sentence"
    assert parse(line) == (code, {"address": "127.0.0.1:9000", "pid": "812"})


@pytest.mark.parametrize("value", HOSTILE[:-1])
def test_a_hostile_value(value: str) -> None:
    """It can neither end its field nor forge another one, wherever it stands."""
    line = write(GuardCode.BIND_CONFLICT, f"{value} is in use", address=value, pid=812)

    assert "\n" not in line
    assert parse(line) == (GuardCode.BIND_CONFLICT, {"address": value, "pid": "812"})
    line.encode(errors="surrogateescape")


@given(st.text(), st.text())
@example(HOSTILE[-1], "")
def test_any_value(value: str, sentence: str) -> None:
    """The line can be parsed, is one line, and has these fields only."""
    line = write(GuardCode.ORPHAN_SIGNALLED, sentence, address=value, pid=7)
    found = parse(line)

    assert line.isprintable()
    assert found is not None
    assert found.code is GuardCode.ORPHAN_SIGNALLED
    assert list(found.fields) == ["address", "pid"]
    assert found.fields["pid"] == "7"
    if all(letter <= "\uffff" or letter.isprintable() for letter in value):
        assert found.fields["address"] == value[:1024]


def test_failed_starts_are_facts() -> None:
    """The codes of refusals are facts of a failed start; all other codes are no facts."""
    for code in GuardCode:
        line = write(code, "x", address="9000")
        fact = classify(line)
        if code in FAILED_STARTS:
            assert fact is not None
            assert fact.kind is FactKind(code.value)
            assert fact.kind in START_FAILURES
            assert scan(f"x\n{line}\n".encode()) == [fact]
        else:
            assert fact is None


@pytest.mark.parametrize(
    "line",
    [
        PREFIX,
        f"{PREFIX}bind_conflict address=9000 x",
        f"{PREFIX}[bind_conflict address=9000]",
        f"{PREFIX}[bind_conflict address=9000 ] x",
        f"{PREFIX}[bind_conflict address=] x",
        f"{PREFIX}[bind_conflict address=a b] x",
        f'{PREFIX}[bind_conflict address="a] x',
        f'{PREFIX}[bind_conflict address="\\x"] x',
        f"{PREFIX}[Bind_conflict address=9000] x",
        f"{PREFIX}[no_such_code address=9000] x",
        f" {PREFIX}[bind_conflict address=9000] x",
        f"x {PREFIX}[bind_conflict address=9000] x",
        f"{PREFIX}[bind_conflict address={'x' * 1025}] x",
    ],
)
def test_lines_that_are_no_messages(line: str) -> None:
    """A line that differs in one place is none."""
    assert parse(line) is None
