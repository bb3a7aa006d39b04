"""Every line of php-fpm's error log is the fact that it states, and its look-alikes are none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.phpfpm.log_facts import FactKind, LogFact
from fpm_listener.phpfpm.log_parser import HEAD, KEPT, classify
from fpm_listener.phpfpm.log_scanner import scan

_TEXT = (
    Path(__file__)
    .parent.parent.parent.joinpath("data", "fpm-lines.txt")
    .read_text(encoding="utf-8")
)
#: Real lines of php-fpm and what looks like them: the kind that each states, and the line.
CASES = [tuple(row.split("\t", 1)) for row in _TEXT.splitlines()]
STAMP = "[23-Nov-2026 10:02:07] "
BIND = "ERROR: unable to bind listening socket for address '127.0.0.1:9000': Address already in use"


def fact(text: str) -> LogFact:
    found = classify(STAMP + text)
    assert found is not None
    return found


@pytest.mark.parametrize(("kind", "line"), CASES)
def test_a_line_from_the_field(kind: str, line: str) -> None:
    """A line states what was measured or reported of it, and `-` states nothing."""
    found = classify(line)
    assert (found.kind.value if found else "-") == kind
    assert found is None or found.line == line


def test_every_kind_but_one_has_a_line() -> None:
    """The lines cover all kinds; that a worker ends with a code has its scene below."""
    kinds = {kind for kind, _ in CASES} - {"-"}
    assert {kind.value for kind in FactKind} - kinds == {FactKind.CHILD_EXIT.value}
    assert len(CASES) == 81


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (f"{BIND} (98)", "127.0.0.1:9000"),
        (f"{BIND} (48)", "127.0.0.1:9000"),
        (BIND.replace("127.0.0.1:9000", "[::1]:9000") + " (98)", "[::1]:9000"),
        (BIND.replace("'127.0.0.1:9000'", "127.0.0.1:9000") + " (98)", "127.0.0.1:9000"),
        (BIND.replace("127.0.0.1:9000", "") + " (98)", ""),
        (BIND.replace("127.0.0.1:9000", "/run/a (1): b.sock") + " (98)", "/run/a (1): b.sock"),
        ("ERROR: Another FPM instance seems to already listen on /run/w.sock", "/run/w.sock"),
        ("ERROR: An another FPM instance seems to already listen on /w.sock", "/w.sock"),
        ("ERROR: failed to listen to address '9000': Address already in use (98)", "9000"),
    ],
)
def test_the_address_of_a_conflict(text: str, address: str) -> None:
    """The address is the configuration's own text, with or without quotes around it."""
    found = fact(text)
    assert (found.kind, found.address) == (FactKind.BIND_CONFLICT, address)


@pytest.mark.parametrize(
    ("errno", "kind"),
    [
        (99, FactKind.ADDRESS_ABSENT),
        (2, FactKind.MISSING_PATH),
        (13, FactKind.PERMISSION),
        (1, FactKind.PERMISSION),
        (97, FactKind.CONFIG_ERROR),
    ],
)
def test_the_number_decides_not_the_words(errno: int, kind: FactKind) -> None:
    """C libraries word their errors differently; the number in brackets is the same."""
    assert fact(f"{BIND} ({errno})").kind is kind


def test_a_worker_killed_by_a_signal() -> None:
    """Pool, worker and signal are told."""
    found = fact("WARNING: [pool www] child 12 exited on signal 11 (SIGSEGV) after 0.0 seconds")
    assert (found.kind, found.pool) == (FactKind.CHILD_SIGNAL, "www")
    assert (found.pid, found.signal) == (12, 11)


def test_a_worker_that_ends_with_a_code() -> None:
    """A WARNING tells of a code other than 0; a NOTICE of 0 is the daily round."""
    text = "[pool www] child 12 exited with code {} after 0.1 seconds from start"
    found = fact("WARNING: " + text.format(255))
    assert (found.kind, found.pool, found.pid) == (FactKind.CHILD_EXIT, "www", 12)
    assert (found.status, found.lasted_s) == (255, 0.1)
    assert classify(f"{STAMP}NOTICE: " + text.format(0)) is None


def test_a_master_that_runs_in_each_form_of_the_line() -> None:
    """Plain, at log_level debug, and as a syslog daemon writes it to a file."""
    lines = (
        f"{STAMP}NOTICE: fpm is running, pid 77",
        "[23-Nov-2026 10:02:16.321232] NOTICE: pid 77, fpm_init(), line 83: fpm is running, pid 77",
        "[NOTICE] fpm is running, pid 77",
        "php-fpm[77]: [NOTICE] fpm is running, pid 77",
    )
    for line in lines:
        found = classify(line)
        assert found is not None, line
        assert (found.kind, found.pid) == (FactKind.READY, 77)


def test_an_ondemand_pool_that_is_full() -> None:
    """pm = ondemand words it without the dot."""
    text = "WARNING: [pool www] server reached max_children setting (2), consider raising it"
    assert fact(text).kind is FactKind.MAX_CHILDREN


def test_an_unknown_child_while_running() -> None:
    """The one ALERT that is not of the configuration."""
    assert classify(f"{STAMP}ALERT: oops, unknown child (7) exited with code 0.") is None


def test_a_very_long_line() -> None:
    """What is kept of a line is bounded."""
    found = fact("ERROR: failed to load configuration file '" + "x" * 9000)
    assert len(found.line) == KEPT


@pytest.mark.parametrize(
    "text",
    [
        f"{BIND} ({'9' * 6000})",
        f"NOTICE: fpm is running, pid {'9' * 6000}",
        f"WARNING: [pool www] child {'9' * 6000} exited on signal 11 (SIGSEGV)",
        f"WARNING: [pool www] child {'9' * 6000} exited with code 1 after 1",
        "ERROR: unable to bind listening socket for address '" + ": (" * 20_000,
    ],
)
def test_a_hostile_line(text: str) -> None:
    """An application can print any line: an endless number states nothing, and raises nothing."""
    assert classify(STAMP + text) is None


def test_a_hostile_errno_of_a_path() -> None:
    """An endless number says nothing; the beginning of the line still does."""
    found = fact(f"ERROR: failed to open error_log (/x): No ({'9' * 6000})")
    assert found.kind is FactKind.PERMISSION


def test_a_carriage_return_before_the_newline() -> None:
    """It is no part of the line."""
    chunk = b"[23-Nov-2026 10:02:07] NOTICE: ready to handle connections\r\n"
    assert [found.kind for found in scan(chunk)] == [FactKind.READY]


PIECES = st.lists(
    st.sampled_from([line for _, line in CASES])
    | st.text(st.characters(codec="utf-8", exclude_characters="\n"))
    | st.sampled_from(
        [
            "ERROR: ",
            "R",
            "H",
            ")",
            ".",
            "PHP:  syntax error",
            "PHP Fatal error: ",
            ": Fatal Error ",
            "fpm is running, pid 7",
            "\r",
        ]
    )
    | st.builds(lambda ahead, case: ahead + case[1], st.text("RH [\r"), st.sampled_from(CASES)),
    max_size=12,
)


@given(lines=PIECES, ended=st.booleans(), rest=st.binary(max_size=40))
def test_scan_finds_what_classify_finds(lines: list[str], ended: bool, rest: bytes) -> None:  # noqa: FBT001 - hypothesis names its arguments
    """The fast way and the slow way agree on every text, whatever the buffer holds behind it."""
    chunk = "\n".join(lines).encode() + b"\n" * ended
    whole = chunk.decode().split("\n")
    expected = [found for line in whole if (found := classify(line.removesuffix("\r")))]
    assert scan(chunk) == expected
    assert scan(bytearray(chunk + rest), len(chunk)) == expected


#: What can stand in front of a message, by the level.
HEADS = (
    "{}: ",
    STAMP + "{}: ",
    "[23-Nov-2026 10:02:16.321232] {}: pid 77, fpm_init(), line 83: ",
    STAMP + "{}: fpm_init(), line 83: ",
    STAMP + "{}: (null)(), line 0: ",
    "{}: sapi_cgi_log_message(), line 632: ",
    "[{}] ",
    "php-fpm[77]: [{}] ",
    "päge.7-x[77]: {}: ",
    STAMP + "[{}] ",
    "[23-Nov-2026 10:02:16.321232] {}: ",
    "NOTIC[7]: {}: ",
)
MESSAGES = sorted(
    {(head["level"], line[head.end() :]) for _, line in CASES if (head := HEAD.match(line))}
    - {(None, "")},
    key=str,
)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pool", ["", "[pool www] ", "[pool ä [x] "])
def test_scan_finds_a_message_with_each_head(head: str, pool: str) -> None:
    """A message alone in a chunk, and behind another line, is found as `classify` finds it."""
    found_some = False
    for level, text in MESSAGES:
        line = head.format(level or "NOTICE") + pool + text
        expected = [found for found in [classify(line)] if found]
        assert scan(line.encode()) == expected, line
        assert scan(f"1\n{line}\n".encode()) == expected, line
        found_some = found_some or bool(expected)
    assert found_some


def test_a_line_with_the_heads_of_two_writers() -> None:
    """php-fpm writes no time to syslog, and no notice of a pool about the master."""
    for head in (STAMP + "php-fpm[77]: ERROR: ", STAMP + "NOTIC[7]: [ERROR] "):
        assert classify(head + "FPM initialization failed") is None
    assert classify(STAMP + "NOTICE: [pool www] ready to handle connections") is None


USUAL = (
    STAMP + "NOTICE: [pool www] child 7 exited with code 0 after 9.1 seconds from start",
    STAMP + 'WARNING: [pool www] child 7 said into stderr: "NOTICE: PHP message: PHP Warning:  x"',
    "[23-Nov-2026 10:02:16.321232] DEBUG: pid 7, fpm_event_loop(), line 4: [pool www] currently 1",
    "[23-Nov-2026 10:02:16.321232] NOTICE: pid 7, fpm_children_make(), line 4: [pool www] child",
    "NOTICE: PHP message: PHP Warning:  Undefined variable $x in /x.php on line 7",
    "[2026-11-23 10:02:07] production.ERROR: Order not found",
    '127.0.0.1 - - [23/Nov/2026:10:02:07 +0000] "GET /R HTTP/1.1" 200 7 "-" "Mozilla/5.0 (X11)"',
)


@given(
    lines=st.lists(
        st.builds(
            lambda head, pool, message: head.format(message[0] or "NOTICE") + pool + message[1],
            st.sampled_from(HEADS),
            st.sampled_from(["", "[pool www] "]),
            st.sampled_from(MESSAGES),
        ),
        max_size=8,
    ),
    usual=st.sampled_from(USUAL),
    counts=st.lists(st.sampled_from([0, 1, 90, 400]), min_size=8, max_size=8),
)
def test_scan_among_usual_lines(lines: list[str], usual: str, counts: list[int]) -> None:
    """Facts are found wherever they are in a chunk of many lines that state nothing."""
    assert classify(usual) is None
    chunk = "".join(
        f"{usual}\n" * count + f"{line}\n" for line, count in zip(lines, counts, strict=False)
    )
    assert scan(chunk.encode()) == [found for line in lines if (found := classify(line))]


@pytest.mark.parametrize(
    "line",
    [
        STAMP + "WARNING: [pool ",
        STAMP + "WARNING: pid",
        "[aaaaaaaaaaaaaaaaaaaa] Waaaaaaaap",
        "[aaaaaaaaaaaaaaaaaaaa] Naaaaaaap",
        "[aaaaaaaaaaaaaaaaaaaa] Waaaaaaaa[a] bbbbbbbbb",
        "a" * 60,
        "[" * 60,
        "NOTICE: PHP message: P",
    ],
)
def test_the_pattern_looks_at_few_bytes_twice(line: str) -> None:
    """Lines that are made to be slow are not found, and a MiB of them takes no minute."""
    chunk = f"{line}\n".encode() * ((1 << 20) // (len(line) + 1))
    assert scan(chunk) == []


def test_scan_in_each_month() -> None:
    """The letters of a month do not hide a fact, and usual lines state none."""
    usual = "[pool www] child 7 exited with code 0 after 9.1 seconds from start"
    for month in ("Feb", "May", "Aug", "Nov"):
        stamp = f"[23-{month}-2026 10:02:07] NOTICE: "
        assert scan(f"{stamp}{usual}\n".encode()) == []
        for text in ("Finishing ...", "Terminating ...", "ready to handle connections"):
            chunk = f"{stamp}{usual}\n{stamp}{text}\n{stamp}{usual}\n"
            assert scan(chunk.encode()) == [classify(stamp + text)]


@given(st.binary(max_size=200))
def test_scan_of_any_bytes(chunk: bytes) -> None:
    """No bytes raise."""
    scan(b"[23-Nov-2026 10:02:07] ERROR: " + chunk)
