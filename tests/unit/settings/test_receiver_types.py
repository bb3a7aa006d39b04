"""What each kind of receiver accepts: its settings, and its limits as its service has them."""

from __future__ import annotations

import pytest

from fpm_listener.settings.receiver_types import COMMON, KEYS, KINDS, keys

HTTP = "ca_file cert_file key_file proxy trust_env"
CHAT = f"language {HTTP}"
AUTH = "username password_file token_file"
BOT = f"language secret_file keyword {HTTP}"
#: Per kind: required settings, optional ones, (messages, seconds) and the most alerts in a message.
TABLE = {
    "webhook": ("url|url_file", f"format secret_file {AUTH} {HTTP}", [], 1),
    "alertmanager": ("urls", f"{AUTH} {HTTP}", [], 64),
    "slack": ("url|url_file", CHAT, [(1, 1), (30, 60)], 40),
    "discord": ("url|url_file", CHAT, [(4, 5), (25, 60)], 50),
    "teams": ("url|url_file", CHAT, [(1, 1), (30, 60)], 60),
    "google_chat": ("url|url_file", CHAT, [(1, 1)], 100),
    "telegram": ("token_file chat_id", f"url thread_id {CHAT}", [(1, 1), (18, 60)], 40),
    "ntfy": ("url|url_file", f"{AUTH} {CHAT}", [(10, 60)], 40),
    "pagerduty": ("routing_key_file", f"url {HTTP}", [(60, 60)], 1),
    "feishu": ("url|url_file", BOT, [(4, 1), (90, 60)], 100),
    "lark": ("url|url_file", BOT, [(4, 1), (90, 60)], 100),
    "dingtalk": ("url|url_file", BOT, [(2, 10), (18, 60)], 80),
    "wecom": ("url|url_file", f"language keyword {HTTP}", [(2, 10), (18, 60)], 50),
    "email": (
        "smarthost from to",
        "tls username password_file ca_file language",
        [(10, 60)],
        200,
    ),
    "exec": ("command", "", [], 1),
}


@pytest.mark.parametrize("name", TABLE)
def test_a_kind(name: str) -> None:
    """It needs and takes these settings, and stays within its service's limits."""
    needs, takes, rates, joins = TABLE[name]
    kind = KINDS[name]

    assert kind.needs == tuple(needs.split())
    assert kind.takes == tuple(takes.split())
    assert [(rate.messages, rate.window_s) for rate in kind.rates] == rates
    assert kind.batch == joins
    assert kind.module == kind.name == {"lark": "feishu"}.get(name, name)
    assert keys(kind) == (*COMMON, *needs.replace("|", " ").split(), *takes.split())


def test_no_other_kind() -> None:
    """The table above has all."""
    assert set(KINDS) == set(TABLE)


def test_kinds_that_keep_an_alert_open() -> None:
    """Alertmanager wants firing alerts repeated; PagerDuty keeps one until it is resolved."""
    assert {name for name, kind in KINDS.items() if kind.resends} == {"alertmanager"}
    assert {name for name, kind in KINDS.items() if kind.stays_open} == {
        "alertmanager",
        "pagerduty",
    }


def test_settings_of_all_receivers() -> None:
    """Every kind has these, and each setting is listed once."""
    assert (
        *("type", "send_resolved", "repeat_interval", "timeout", "min_severity", "programs"),
        *("causes", "mute_times", "mute_location", "rate_limit", "evidence"),
    ) == COMMON
    assert set(KEYS) == {key for kind in KINDS.values() for key in keys(kind)}
    assert len(KEYS) == len(set(KEYS))
