"""The address in use is found in the messages of many programs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.incidents.bind_messages import InUse, parse, shown_address

_TEXT = (Path(__file__).parents[2] / "data" / "bind-messages.txt").read_text(encoding="utf-8")
#: The program, the address (`-` = the line does not name it), and the line.
MESSAGES = [tuple(row.split("\t")) for row in _TEXT.splitlines()]


@pytest.mark.parametrize(
    ("address", "line"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES]
)
def test_a_message_of_a_program(address: str, line: str) -> None:
    """The address is one that can be compared with those of the kernel."""
    assert parse(line) == InUse(None if address == "-" else address)


@pytest.mark.parametrize(
    "line",
    [
        "connect() to 127.0.0.1:9000 failed (98: Address already in use) while connecting",
        "Port 5173 is in use, trying another one...",
        "Port 3000 is in use, using port 3001 instead.",
        "nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)",
        "bind(): Cannot assign requested address",
        '10.0.0.1 - - "GET /?q=address already in use HTTP/1.1" 200',
        "the email address in use is ops@example.com",
        "listening on 0.0.0.0:8080",
        "port 8080 is open",
        "",
    ],
)
def test_a_line_about_something_else(line: str) -> None:
    """A client, another reason, another port, or text of a request."""
    assert parse(line) is None


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ("java.io.IOException: Failed to bind to 0.0.0.0/0.0.0.0:8080", "0.0.0.0:8080"),
        ("1795000000: Opening ipv4 listen socket on port 1883.", "*:1883"),
        ('Failed to initialize end point of ProtocolHandler ["http-nio-8080"]', "*:8080"),
        ("  port: 3000,", "*:3000"),
        ("Starting proxy http-in: cannot bind socket [0.0.0.0:80]", "0.0.0.0:80"),
        ("listening on 0.0.0.0:8080", None),
    ],
)
def test_a_line_that_shows_the_address_only(line: str, address: str | None) -> None:
    """Another line says that it is in use."""
    assert shown_address(line) == address
    assert parse(line) is None


@given(
    st.lists(
        st.sampled_from([row[2] for row in MESSAGES])
        | st.text()
        | st.sampled_from([":", "[::]", "99999", "0.0.0.0:", "unix:/", "port ", "('", "\0", "\n"]),
        max_size=6,
    ).map("".join)
)
def test_any_text(line: str) -> None:
    """An address is short, on one line, and has a valid port."""
    for address in (found.address if (found := parse(line)) else None, shown_address(line)):
        assert address is None or (len(address) < 280 and min(address) >= " ")
        if address and "/" not in address:
            assert 0 < int(address.rpartition(":")[2]) < 65536
