"""The guard's refusals are facts like php-fpm's own errors; its other messages are none."""

from __future__ import annotations

import pytest

from fpm_listener.phpfpm.guard_messages import FAILED_STARTS, PREFIX, GuardCode, write
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.phpfpm.log_parser import KEPT, classify
from fpm_listener.phpfpm.log_scanner import scan

STAMP = "[23-Nov-2026 10:02:07] "
CODES = [code for code in GuardCode if code in FAILED_STARTS]
ADDRESSES = (
    *("127.0.0.1:9000", "[::1]:9000", "9000", "localhost:9000", "[fe80::1%eth7]:9000"),
    *("/run/www.sock", "/run/php fpm/w (1): a.sock", "/run/what is/w.sock", "/srv/ä;y.sock"),
)
REFUSALS = [
    write(code, f"{address} is what it is", address=address, pid=4712)
    for address in ADDRESSES
    for code in CODES
]
SILENT = [
    *(write(code, "x", address="9000") for code in GuardCode if code not in FAILED_STARTS),
    PREFIX.rstrip(),
    f"{PREFIX}127.0.0.1:9000 is in use by pid 7; php-fpm was not started (exit 75)",
    f" {REFUSALS[0]}",
    f"x {REFUSALS[0]}",
    f"{STAMP}{REFUSALS[0]}",
    f'{STAMP}WARNING: [pool www] child 5 said into stderr: "{REFUSALS[0]}"',
]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("code", CODES)
def test_a_refusal(address: str, code: GuardCode) -> None:
    """It is a fact on the address as the configuration has it, whatever the sentence is."""
    line = write(code, "some words (exit 99)", address=address, pid=4712)
    found = classify(line)

    assert found is not None
    assert (found.kind, found.address, found.named) == (FactKind(code.value), address, None)
    assert found.line == line
    assert (found.pool, found.pid, found.signal) == (None, None, None)


@pytest.mark.parametrize("code", [GuardCode.MISSING_PATH, GuardCode.PERMISSION])
def test_a_program_that_cannot_be_run(code: GuardCode) -> None:
    """It is named, and no address is."""
    found = classify(write(code, "cannot execute it", program="/usr/sbin/php-fpm9.9"))

    assert found is not None
    assert (found.kind, found.named, found.address) == (
        FactKind(code.value),
        "/usr/sbin/php-fpm9.9",
        None,
    )


@pytest.mark.parametrize("name", ["address", "program"])
@pytest.mark.parametrize("letter", ["\n", "\r", "\0", "\x1b", "\x85", "\u2028", "\ud800"])
def test_a_value_that_would_add_a_line(name: str, letter: str) -> None:
    """Its characters are escaped: a forged message adds no line to a summary or a command."""
    found = classify(write(GuardCode.MISSING_PATH, "x", **{name: f"/run/x{letter}kill 1"}))

    assert found is not None
    assert (found.address or found.named) == f"/run/x{repr(letter)[1:-1]}kill 1"


@pytest.mark.parametrize("address", ["/srv/\udce9.sock", "/srv/a\u00a0b.sock", ""])
def test_an_unusual_address(address: str) -> None:
    """It stays as the configuration has it: a path can contain bytes that are no UTF-8."""
    found = classify(write(GuardCode.BIND_CONFLICT, "x", address=address))

    assert found is not None
    assert found.address == address


@pytest.mark.parametrize("line", SILENT)
def test_other_messages(line: str) -> None:
    """Other messages, and other programs' lines with the guard's words, state nothing."""
    assert classify(line) is None
    assert scan(line.encode()) == []


@pytest.mark.parametrize("line", REFUSALS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_scan_finds_a_refusal(line: str, end: str) -> None:
    """A refusal alone in a chunk, which has none of php-fpm's levels, is found."""
    assert scan((line + end).encode()) == [classify(line)]


def test_scan_finds_refusals_among_others() -> None:
    """In order, and nothing else of the guard's."""
    running = f"{STAMP}NOTICE: fpm is running, pid 77"
    lines = [line for pair in zip(REFUSALS, SILENT * 5, strict=False) for line in pair]
    lines += [running, *SILENT, *REFUSALS]
    expected = [found for line in lines if (found := classify(line))]

    assert len(expected) == 2 * len(REFUSALS) + 1
    assert scan("\n".join(lines).encode()) == expected


def test_a_very_long_refusal() -> None:
    """Many holders make a long line; its beginning is kept."""
    line = write(GuardCode.BIND_CONFLICT, "pid 4712 (php-fpm: pool www); " * 1000, address="9000")
    found = classify(line)

    assert found is not None
    assert (found.kind, found.address, len(found.line)) == (FactKind.BIND_CONFLICT, "9000", KEPT)


@pytest.mark.parametrize(
    "text",
    [
        "[bind_conflict address=" + "x" * 50_000 + "] x",
        '[bind_conflict address="' + "x" * 50_000 + '"] x',
        "[bind_conflict" + " a=b" * 20_000,
        "[bind_conflict" + ' a="b' * 20_000,
        "[bind_conflict a=" + "\\u0041" * 10_000 + "] x",
        "[" * 50_000,
    ],
)
def test_a_hostile_line(text: str) -> None:
    """Every program can print such a line: it states nothing, and costs little."""
    assert classify(PREFIX + text) is None
