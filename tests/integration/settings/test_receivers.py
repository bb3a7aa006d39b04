"""The settings of receivers: each kind's own keys, and what is said of a wrong one."""

from __future__ import annotations

import sys
import zoneinfo
from collections.abc import Callable
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from fpm_listener.settings.receiver_types import KINDS, Rate, keys
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.settings.settings import load
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import Severity

if TYPE_CHECKING:
    from pathlib import Path

Read = Callable[[str], ReceiverSettings]

#: What each kind needs, and nothing more.
LEAST = {
    **dict.fromkeys(
        ("webhook", "slack", "discord", "teams", "google_chat", "ntfy", "feishu", "lark"),
        "url_file = x.url",
    ),
    **dict.fromkeys(("dingtalk", "wecom"), "url = https://bot.invalid/T0KEN"),
    "alertmanager": "urls = http://am1:9093, http://am2:9093 http://am1:9093",
    "telegram": "token_file = token\nchat_id = -1001",
    "pagerduty": "routing_key_file = key",
    "email": "smarthost = mail:587\nfrom = fpm@web1\nto = ops@example.com, night@example.com",
    "exec": "command = /usr/bin/tell 'two words' --x",
}


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Return a function that reads the settings of one receiver, called ops."""

    def reader(text: str) -> ReceiverSettings:
        path = tmp_path / "fpm_listener.conf"
        path.write_text(f"[fpm-listener:receiver:ops]\n{text}\n")
        (receiver,) = load(str(path), {}).receivers
        return receiver

    return reader


def test_every_kind_is_here() -> None:
    """A kind without a line in LEAST is not tested."""
    assert set(LEAST) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_of_each_kind(read: Read, kind: str) -> None:
    """It has the rates of its kind, below its service's own."""
    receiver = read(f"type = {kind}\n{LEAST[kind]}")

    assert receiver.kind == KINDS[kind].name
    assert receiver.rates == KINDS[kind].rates


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "lark"])
def test_less_than_that_is_refused(read: Read, kind: str) -> None:
    """Each thing that is missing is named."""
    lines = LEAST[kind].split("\n")
    for index in range(len(lines)):
        rest = "\n".join([*lines[:index], *lines[index + 1 :]])
        with pytest.raises(FpmListenerError, match="needs") as caught:
            read(f"type = {kind}\n{rest}")
        assert lines[index].partition(" =")[0].removesuffix("_file") in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_what_another_kind_has_is_refused(read: Read, kind: str) -> None:
    """A setting that would do nothing is a mistake."""
    strange = sorted({key for one in KINDS.values() for key in keys(one)} - set(keys(KINDS[kind])))
    assert strange
    for key in strange:
        with pytest.raises(FpmListenerError, match=f"{key!r} is not a setting of a receiver"):
            read(f"type = {kind}\n{LEAST[kind]}\n{key} = x")


def test_what_a_receiver_hears(read: Read) -> None:
    """Severity, programs, causes, times."""
    receiver = read(
        "url = http://a/\nmin_severity = warning\nprograms = www:* *:php-fpm\n"
        "causes = bind_conflict, notification_failing\nmute_times = Mon-Fri 00:00-06:00\n"
        "mute_location = Asia/Shanghai\nrate_limit = 18 in 1m, 2 in 10s",
    )

    assert receiver.min_severity is Severity.WARNING
    assert receiver.programs == ("www:*", "*:php-fpm")
    assert receiver.causes == ("bind_conflict", "notification_failing")
    assert receiver.mute_times is not None
    assert receiver.mute_times.location == ZoneInfo("Asia/Shanghai")
    assert receiver.rates == (Rate(18, 60.0), Rate(2, 10.0))
    assert read("url = http://a/\nrate_limit = off").rates == ()


def test_several_places(read: Read) -> None:
    """Each once, in order; with a queue for each."""
    receiver = read(f"type = alertmanager\n{LEAST['alertmanager']}")

    assert receiver.urls == ("http://am1:9093", "http://am2:9093")
    assert list(receiver.queues) == ["ops", "ops#2"]
    assert receiver.queues["ops#2"].url == "http://am2:9093"


def test_a_command(read: Read) -> None:
    """Quoted as for a shell."""
    assert read(f"type = exec\n{LEAST['exec']}").command == ("/usr/bin/tell", "two words", "--x")


def test_a_system_without_time_zones(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small container image has none: the message says what to install."""
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        with pytest.raises(FpmListenerError, match="no time zone data: install the package tzdata"):
            read("url = http://a/\nmute_times = Sat\nmute_location = Europe/Berlin")
    finally:
        zoneinfo.reset_tzpath()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("url = http://a/\nmin_severity = fatal", ["info, warning, critical"]),
        ("url = http://a/\ncauses = bind", ["causes = 'bind'", "bind_conflict", "gave_up"]),
        ("url = http://a/\nmute_times = at night", ["Mon-Fri 22:00-06:00"]),
        ("url = http://a/\nmute_times = Mon-Sun", ["leave a part of the week unmuted"]),
        ("url = http://a/\nmute_location = Asia/Shanghai", ["mute_times, which is missing"]),
        ("url = http://a/\nmute_times = Sat\nmute_location = Mars/Up", ["Asia/Shanghai"]),
        ("url = http://a/\nmute_times = Sat\nmute_location = ../x", ["Asia/Shanghai"]),
        ("url = http://a/\nrate_limit = 18", ["18 in 1m"]),
        ("url = http://a/\nrate_limit = 0 in 1m", ["18 in 1m"]),
        ("url = http://a/\nformat = xml", ["alertmanager, cloudevents, plain"]),
        ("type = slack\nurl = http://a/\nlanguage = fr", ["en, zh"]),
        ("type = alertmanager\nurls = am:9093/T0KEN", ["http:// or https://"]),
        ("type = telegram\ntoken_file = t\nchat_id = my chat", ["-1001234567890"]),
        ("type = telegram\ntoken_file = t\nchat_id = 1\nthread_id = x", ["topic's number"]),
        ("type = email\nsmarthost = mail\nfrom = a@b\nto = a@b", ["host:port"]),
        ("type = email\nsmarthost = m:25\nfrom = a\nto = a@b", ["alerts@example.com"]),
        ("type = email\nsmarthost = m:25\nfrom = a@b\nto = a@b <x>", ["alerts@example.com"]),
        (
            "type = email\nsmarthost = m:25\nfrom = a@b\nto = a@b\ntls = ssl",
            ["starttls, tls, none"],
        ),
        ("type = exec\ncommand = 'x --token T0KEN", ["quoted as for a shell"]),
        ("type = email\nsmarthost = m:25\nfrom = a@[\nto = a@b", ["alerts@example.com"]),
        ("type = email\nsmarthost = m:25\nfrom = a@b\nto = ,", ["ops@example.com"]),
        ("type = alertmanager\nurls = ,", ["at least one URL"]),
        ("type = alertmanager\nurls = http://a\nmute_times = Sat", ["mute_time_intervals"]),
        ("url = http://[::1/T0KEN", ["http:// or https://"]),
        ("url = http://a/\ntimeout = 2d", ["up to 1h"]),
        ("type = wecom\nurl = http://a/\nsecret_file = x", ["'secret_file' is not a setting of"]),
        ("url = http://a/\nproxy = proxy:3128/T0KEN", ["http:// or https://"]),
        (
            "url = http://a/\ntoken_file = a\nusername = b\npassword_file = c",
            ["remove one"],
        ),
    ],
)
def test_errors_of_receivers(read: Read, text: str, words: list[str]) -> None:
    """With what is allowed, and without a URL."""
    with pytest.raises(FpmListenerError) as caught:
        read(text)

    for word in ["[fpm-listener:receiver:ops]", *words]:
        assert word in str(caught.value)
    assert "T0KEN" not in str(caught.value)


def test_no_repr_shows_a_url(read: Read) -> None:
    """One may be in a traceback."""
    for kind in ("dingtalk", "alertmanager"):
        receiver = read(f"type = {kind}\n{LEAST[kind]}".replace("am1:9093", "am1:9093/T0KEN"))
        assert "T0KEN" not in repr(receiver)
        assert "T0KEN" not in repr(receiver.queues)
