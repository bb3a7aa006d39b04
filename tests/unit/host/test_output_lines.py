"""Output of any program becomes lines of evidence: bounded, escaped, the important ones first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.host.output_lines import LONGEST, choose, importance, is_of_program, readable


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("<br />", ""),
        (
            "<b>Fatal error</b>:  Directive 'x' is gone in <b>Unknown</b> on line <b>0</b><br />",
            "Fatal error:  Directive 'x' is gone in Unknown on line 0",
        ),
        ("<b>Parse error</b>:  unexpected &quot;}&quot;", 'Parse error:  unexpected "}"'),
        ("<b>PHP Warning</b>: x &lt;y&gt;", "PHP Warning: x <y>"),
        ("a <b>bold</b> claim", "a <b>bold</b> claim"),
        ("\x1b[31mError\x1b[0m: x\x1b[K", "Error: x"),
        ("\x1b]0;title\x07text", "text"),
        ("10%\r50%\r100% failed", "100% failed"),
        ("line\r", "line"),
        ("\tindented", "    indented"),
        ("   ", ""),
        ("bell \x07 and \u202e", "bell \\x07 and \\u202e"),
        ("password=hunter2", "password=***"),
    ],
)
def test_readable(raw: str, shown: str) -> None:
    """HTML of PHP, colours and control characters are removed; nothing else is."""
    assert readable([raw]) == ([shown] if shown else [])


@pytest.mark.parametrize(
    ("line", "rank"),
    [
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)", 2),
        ("Error: listen EADDRINUSE: address already in use :::3000", 2),
        ("ModuleNotFoundError: No module named 'flask'", 2),
        ("Traceback (most recent call last):", 2),
        ("[28-Nov-2026 10:00:00] ERROR: FPM initialization failed", 2),
        ("panic: runtime error", 2),
        ("sh: 1: exec: nothere: not found", 2),
        ("Server listening on port 80", 1),
        ('  File "/app/main.py", line 3, in <module>', 1),
        ("[28-Nov-2026 10:00:00] NOTICE: fpm is running, pid 5", 0),
        ("[28-Nov-2026 10:00:00] NOTICE: exiting, bye-bye!", 0),
        ("    at Server.listen (node:net:1817:16)", 0),
        ('127.0.0.1 - - [28/Nov/2026:10:00:00 +0000] "GET /fatal HTTP/1.1" 500 12', 0),
        ('127.0.0.1 -  28/Nov/2026:10:00:00 +0000 "GET /index.php" 200', 0),
        ('INFO:     127.0.0.1:5 - "GET / HTTP/1.1" 200 OK', 0),
    ],
)
def test_importance(line: str, rank: int) -> None:
    """Errors before other lines, and these before notices, access logs and frames."""
    assert importance(line) == rank


def test_an_error_before_a_long_trace() -> None:
    """The newest lines alone would not show it; noise is shown only alone."""
    trace = ["Error: no connection", *(f"    at f{number} (x.js:1:1)" for number in range(30))]
    assert choose([*trace, "Node.js v20"], 8) == ["Error: no connection", "Node.js v20"]
    assert choose(trace[1:], 2) == trace[-2:]
    assert choose(["a error", "b", "c error", "d"], 3) == ["a error", "c error", "d"]
    assert choose(["a"], 0) == []


def test_a_repeated_line_is_shown_once() -> None:
    """With its latest time."""
    lines = [f"2026-11-28 10:00:0{second},123 cannot connect" for second in range(5)]
    assert choose(lines, 8) == lines[-1:]


def test_lines_of_others() -> None:
    """Lines of supervisord and our own are not output of the program."""
    assert not is_of_program("2026-11-28 10:00:00,123 WARN exited: x (exit status 1; not expected)")
    assert not is_of_program("seen: /run/php does not exist")
    assert not is_of_program("spawnerr: can't find command '/x'")
    assert is_of_program("nginx: [emerg] x")


@given(st.lists(st.text(max_size=3000), max_size=5), st.integers(0, 20))
def test_any_text(texts: list[str], most: int) -> None:
    """Each line is bounded and printable, and no text raises."""
    lines = readable(texts)
    assert all(line.isprintable() and len(line) <= LONGEST for line in lines)
    assert len(choose(lines, most)) <= most
