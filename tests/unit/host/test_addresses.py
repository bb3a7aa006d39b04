"""A listen address is understood as php-fpm understands it, the unusable ones included."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.host.addresses import (
    TcpAddress,
    UnixAddress,
    UnusableAddress,
    is_path,
    parse,
    same,
)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9000", None, 9000),
        ("09000", None, 9000),
        ("65535", None, 65535),
        ("127.0.0.1:9000", "127.0.0.1", 9000),
        ("localhost:9000", "localhost", 9000),
        ("php_fpm-1.example.org:9000", "php_fpm-1.example.org", 9000),
        ("[::1]:9000", "::1", 9000),
        ("::1:9000", "::1", 9000),
        ("[::]:9000", "::", 9000),
        (":::9000", "::", 9000),
        ("[127.0.0.1]:9000", "127.0.0.1", 9000),
        ("[::ffff:127.0.0.1]:9000", "::ffff:127.0.0.1", 9000),
        ("[fe80::1%eth0]:9000", "fe80::1%eth0", 9000),
        ("127.0.0.1: 9000", "127.0.0.1", 9000),
        ("127.0.0.1:+9000", "127.0.0.1", 9000),
    ],
)
def test_an_address_of_tcp(text: str, host: str | None, port: int) -> None:
    """Digits alone are a port; else the last colon parts host and port."""
    assert parse(text) == TcpAddress(text=text, host=host, port=port)


@pytest.mark.parametrize("text", ["/run/php/x.sock", "x.sock", "@abstract", "9000 ", "/run/9000"])
def test_a_path(text: str) -> None:
    """Whatever has no colon and is more than digits; there are no abstract sockets."""
    assert is_path(text)
    assert parse(text) == UnixAddress(text=text, path=text)


def test_a_path_that_is_too_long() -> None:
    """php-fpm binds what the kernel has room for, 107 bytes, not characters."""
    assert parse("/" + "d" * 200) == UnixAddress(text="/" + "d" * 200, path="/" + "d" * 106)
    cut = parse("/" + "é" * 100)
    assert isinstance(cut, UnixAddress)
    assert cut.path == "/" + "é" * 53


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("0", "not a port"),
        ("65536", "not a port"),
        ("99999", "not a port"),
        ("9" * 5000, "not a port"),
        ("127.0.0.1:", "not a port"),
        ("127.0.0.1:http", "not a port"),
        ("127.0.0.1:-5", "not a port"),
        ("127.0.0.1:9000x", "not a port"),
        ("127.0.0.1:9000 # comment", "not a port"),
        ("127.0.0.1:٩٠٠٠", "not a port"),
        ("/run/a:b.sock", "not a port"),
        ("unix:/run/x.sock", "without unix:"),
        (":9000", "is not a host name"),
        ("*:9000", "is not a host name"),
        ("[::1:9000", "is not a host name"),
        ("::1]:9000", "is not a host name"),
        ("1:2:9000", "is not a host name"),
        ("[1:2:3:4:5:6:7:8::]:9000", "is not a host name"),
        ("[::127.1]:9000", "is not a host name"),
        ("tcp://127.0.0.1:9000", "is not a host name"),
        ("/run/a:9000", "is not a host name"),
        ("localhost.:9000", "is not a host name"),
    ],
)
def test_what_php_fpm_cannot_listen_on(text: str, why: str) -> None:
    """It is a value that says why; php-fpm takes it at -t and fails at the start."""
    found = parse(text)
    assert isinstance(found, UnusableAddress)
    assert found.text == text
    assert why in found.why


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[0:0:0:0:0:0:0:1]:9000", "[::1]:9000"),
        ("::1:9000", "[::1]:9000"),
        ("9000", "[::]:9000"),
        ("9000", "[0::0]:9000"),
        ("localhost:9000", "127.0.0.1:9000"),
        ("LOCALHOST:9000", "127.1:9000"),
        ("0x7f.1:9000", "127.0.0.1:9000"),
        ("2130706433:9000", "127.0.0.1:9000"),
        ("0:9000", "0.0.0.0:9000"),
        ("010.0.0.1:9000", "8.0.0.1:9000"),
        ("[::ffff:127.0.0.1]:9000", "[::ffff:7f00:1]:9000"),
        ("Web.example.org:9000", "web.example.org:09000"),
        ("/run//./x.sock", "/run/x.sock"),
    ],
)
def test_two_spellings_of_one_socket(one: str, other: str) -> None:
    """Numbers are compared as numbers, names without regard to case, paths by their parts."""
    assert same(parse(one), parse(other))
    assert same(parse(other), parse(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9000", "9001"),
        ("9000", "127.0.0.1:9000"),
        ("9000", "0.0.0.0:9000"),
        ("127.0.0.1:9000", "127.0.0.2:9000"),
        ("127.0.0.1:9000", "[::1]:9000"),
        ("127.0.0.1:9000", "[::ffff:127.0.0.1]:9000"),
        ("256.0.0.1:9000", "0.0.0.1:9000"),
        ("256.0.1:9000", "256.0.0.1:9000"),
        ("1.2.3.4.5:9000", "1.2.3.4:9000"),
        ("[fe80::1%eth0]:9000", "[fe80::1%eth1]:9000"),
        ("/run/x.sock", "/run/y.sock"),
        ("/run/x.sock", "run/x.sock"),
        ("/run/x/../y.sock", "/run/y.sock"),
        ("*:9000", "*:9000"),
    ],
)
def test_two_sockets(one: str, other: str) -> None:
    """Sockets that only collide are two, `..` may follow a link, and the unusable is none."""
    assert not same(parse(one), parse(other))


@given(st.text(st.sampled_from("0123456789abfx:.[]%/*+- ") | st.characters(), max_size=40))
def test_any_text(text: str) -> None:
    """Nothing raises, the text is kept, and what can be listened on is itself."""
    found = parse(text)
    assert found.text == text
    assert same(found, found) is not isinstance(found, UnusableAddress)


@pytest.mark.parametrize(
    ("text", "numeric"),
    [
        *[("9000", True), ("127.0.0.1:9000", True), ("[::1]:9000", True), ("0x7f.1:9000", True)],
        *[("localhost:9000", False), ("web:9000", False), ("256.0.0.1:9000", False)],
        *[("[fe80::a%eth0]:9000", True), ("1.2.3.4.5:9000", False)],
    ],
)
def test_whether_a_resolver_is_asked(text: str, *, numeric: bool) -> None:
    """Of a number it is not; a port alone is on all addresses."""
    found = parse(text)
    assert isinstance(found, TcpAddress)
    assert found.is_numeric is numeric


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[abcd:ef01::1]:9000", "[43981:ef01::1]:9000"),
        ("[::abcd]:9000", "[::171.205]:9000"),
        ("[ff::]:9000", "[100::]:9000"),
        ("255.255.255.255:9000", "255.255.256:9000"),
        ("1.16777215:9000", "1.16777216:9000"),
        ("4294967295:9000", "4294967296:9000"),
        ("[1:2:3:4:5:6:7::]:9000", "[1:2:3:4:5:6::7]:9000"),
    ],
)
def test_numbers_that_are_not_the_same(one: str, other: str) -> None:
    """The groups are hexadecimal; the last number of four has the bytes that are left."""
    assert not same(parse(one), parse(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("[1:2:3:4:5:6:7::]:9000", "[1:2:3:4:5:6:7:0]:9000"),
        ("[::ABCD]:9000", "[::abcd]:9000"),
        ("[::171.205.1.2]:9000", "[::abcd:102]:9000"),
        ("1.16777215:9000", "1.255.255.255:9000"),
        ("1.2.772:9000", "1.2.3.4:9000"),
        ("4294967295:9000", "255.255.255.255:9000"),
        ("0XfF.1:9000", "255.0.0.1:9000"),
        ("00:9000", "0.0.0.0:9000"),
    ],
)
def test_numbers_that_are_the_same(one: str, other: str) -> None:
    """One group of zeros may be left out, and a number may stand for several bytes."""
    assert same(parse(one), parse(other))


def test_why_an_address_is_unusable() -> None:
    """The hint on `unix:` is given for it alone."""
    assert parse("unix:/x") == UnusableAddress(
        "unix:/x", "'/x' is not a port from 1 to 65535; a unix socket is written without unix:"
    )
    assert parse("host:0") == UnusableAddress("host:0", "'0' is not a port from 1 to 65535")
    assert parse("*:1") == UnusableAddress("*:1", "'*' is not a host name or an IP address")
    assert parse("") == UnusableAddress("", "it is empty")
