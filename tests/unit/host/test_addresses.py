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
        ("0", "no port"),
        ("65536", "no port"),
        ("99999", "no port"),
        ("9" * 5000, "no port"),
        ("127.0.0.1:", "no port"),
        ("127.0.0.1:http", "no port"),
        ("127.0.0.1:-5", "no port"),
        ("127.0.0.1:9000x", "no port"),
        ("127.0.0.1:9000 # comment", "no port"),
        ("127.0.0.1:٩٠٠٠", "no port"),
        ("/run/a:b.sock", "no port"),
        ("unix:/run/x.sock", "without unix:"),
        (":9000", "neither a host's name nor"),
        ("*:9000", "neither a host's name nor"),
        ("[::1:9000", "neither a host's name nor"),
        ("::1]:9000", "neither a host's name nor"),
        ("1:2:9000", "neither a host's name nor"),
        ("[1:2:3:4:5:6:7:8::]:9000", "neither a host's name nor"),
        ("[::127.1]:9000", "neither a host's name nor"),
        ("tcp://127.0.0.1:9000", "neither a host's name nor"),
        ("/run/a:9000", "neither a host's name nor"),
        ("localhost.:9000", "neither a host's name nor"),
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
