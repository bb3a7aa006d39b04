"""Which URLs are sent without requests."""

from __future__ import annotations

import pytest

from fpm_listener.delivery.receivers.plain_http import Target, target_of


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://alertmanager", ("alertmanager", 80, "alertmanager", "/")),
        ("http://am:9093/api/v2/alerts", ("am", 9093, "am:9093", "/api/v2/alerts")),
        (
            "http://Web_1.Example.com:80?a=b?",
            ("web_1.example.com", 80, "web_1.example.com", "/?a=b?"),
        ),
        ("http://10.0.0.1/%7Ea//b;c=d", ("10.0.0.1", 80, "10.0.0.1", "/%7Ea//b;c=d")),
        ("http://[::1]:9/", ("::1", 9, "[::1]:9", "/")),
        (f"http://{'a' * 63}/", ("a" * 63, 80, "a" * 63, "/")),
    ],
)
def test_plain(url: str, target: tuple[str, int, str, str]) -> None:
    """A name or an address, a port, a path and a query."""
    assert target_of(url) == Target(*target)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "https://a/",
            "HTTP://a/",
            "http://",
            "http:///a",
            "http://a:/",
            "http://a:0/",
            "http://a:65536/",
        ),
        *("http://me:secret@a/", "http://a@b/", "http://a/#b", "http://a/%", "http://a/%zz"),
        *("http://a/../b", "http://a/./b", "http://a/b c", "http://a/\u00fc", "http://\u00fc/"),
        *("http://a..b/", "http://.a/", "http://a./", "http://-a/", f"http://{'a' * 64}/"),
        *("http://[fe80::1%25eth0]/", "http://[a/", "http://a\n/", "http://a/\n", "http://a/?`"),
        pytest.param("http://a/?" + "a" * 10_000 + "`", id="long"),
    ],
)
def test_not_plain(url: str) -> None:
    """requests sends these, or says what is wrong with them."""
    assert target_of(url) is None
