"""The address in use is found in the messages of many programs."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.incidents.bind_messages import (
    InUse,
    absent_address,
    forbidden_port,
    parse,
    shown_address,
)

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
        "table t1 (in use)",
        "volume data (in use)",
        "device /dev/sdb is (in use)",
        "seat (already in use) at 10.0.0.9:27000",
        "ERROR 1 (98: foo)",
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


@pytest.mark.parametrize(
    ("line", "forbidden", "absent"),
    [
        ("nginx: [emerg] bind() to 0.0.0.0:80 failed (13: Permission denied)", "0.0.0.0:80", None),
        ("Error: listen EACCES: permission denied 0.0.0.0:443", "0.0.0.0:443", None),
        ("listen tcp :80: bind: permission denied", "*:80", None),
        ("(13)Permission denied: AH00072: could not bind to address [::]:80", "[::]:80", None),
        ("bind() to 0.0.0.0:8080 failed (13: Permission denied)", None, None),
        ("bind() to unix:/run/x.sock failed (13: Permission denied)", None, None),
        ("connect() to 127.0.0.1:80 failed (13: Permission denied)", None, None),
        ("open /etc/x: permission denied", None, None),
        (
            "nginx: [emerg] bind() to 203.0.113.5:80 failed (99: Cannot assign requested address)",
            *(None, "203.0.113.5:80"),
        ),
        ("Error: listen EADDRNOTAVAIL: address not available 10.9.9.9:3000", None, "10.9.9.9:3000"),
        ("listen tcp 10.9.9.9:80: bind: cannot assign requested address", None, "10.9.9.9:80"),
        ("connect 10.9.9.9:80: bind: cannot assign requested address", None, None),
    ],
)
def test_other_reasons(line: str, forbidden: str | None, absent: str | None) -> None:
    """A port that is reserved for root, or an address of another host; the line names it."""
    assert forbidden_port(line) == forbidden
    assert absent_address(line) == absent
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
    in_use = found.address if (found := parse(line)) else None
    others = (shown_address(line), forbidden_port(line), absent_address(line))
    for address in (in_use, *others):
        assert address is None or (len(address) < 280 and min(address) >= " ")
        if address and "/" not in address:
            assert 0 < int(address.rpartition(":")[2]) < 65536
