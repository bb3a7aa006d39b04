"""The types of receivers: the settings, the rates and the batch size of each.

Law: for an unused type only this table is loaded; the first receiver of a type loads its module.
"""

from __future__ import annotations

from typing import NamedTuple


class Rate(NamedTuple):
    """The most messages in any window of this length."""

    messages: int
    window_s: float


class Kind(NamedTuple):
    """One type of receiver."""

    name: str  #: the setting `type`
    module: str  #: in fpm_listener.delivery.receivers
    needs: tuple[str, ...]  #: required settings; `a|b`: exactly one of them
    takes: tuple[str, ...]  #: its other settings, without COMMON
    rates: tuple[Rate, ...] = ()  #: lower than the limits of the service
    batch: int = 1  #: incidents in one message, if more are pending than the rates allow
    resends: bool = False  #: needs the alert again while the incident lasts, as Alertmanager does
    stays_open: bool = False  #: a firing alert stays open there until it is resolved


#: Settings that every receiver has.
COMMON = (
    *("type", "send_resolved", "repeat_interval", "timeout", "min_severity", "programs", "causes"),
    *("mute_times", "mute_location", "rate_limit", "evidence"),
)

_HTTP = ("ca_file", "cert_file", "key_file", "proxy", "trust_env")

_AUTH = ("username", "password_file", "token_file")

_TEXT = ("language",)

_URL = ("url|url_file",)

_BOT = (*_TEXT, "secret_file", "keyword", *_HTTP)

_MINUTE = 60.0

#: Sources of the rates: each service's own documentation; DingTalk and WeCom 20 a minute for a bot
#: (DingTalk then refuses for ten minutes), Feishu 100 a minute and 5 a second, Slack, Google Chat
#: and Telegram one a second, Telegram 20 a minute in a group, Discord 30 a minute for a webhook,
#: ntfy.sh a burst of 60 and then 12 a minute. Two in ten seconds collect a burst of alerts in
#: few messages, instead of using a minute's limit at once.
_ALL = (
    Kind("webhook", "webhook", _URL, ("format", "secret_file", *_AUTH, *_HTTP)),
    Kind(
        "alertmanager",
        "alertmanager",
        ("urls",),
        (*_AUTH, *_HTTP),
        batch=64,
        resends=True,
        stays_open=True,
    ),
    Kind("slack", "slack", _URL, (*_TEXT, *_HTTP), (Rate(1, 1.0), Rate(30, _MINUTE)), batch=40),
    Kind("discord", "discord", _URL, (*_TEXT, *_HTTP), (Rate(4, 5.0), Rate(25, _MINUTE)), batch=50),
    Kind("teams", "teams", _URL, (*_TEXT, *_HTTP), (Rate(1, 1.0), Rate(30, _MINUTE)), batch=60),
    Kind("google_chat", "google_chat", _URL, (*_TEXT, *_HTTP), (Rate(1, 1.0),), batch=100),
    Kind(
        "telegram",
        "telegram",
        ("token_file", "chat_id"),
        ("url", "thread_id", *_TEXT, *_HTTP),
        (Rate(1, 1.0), Rate(18, _MINUTE)),
        batch=40,
    ),
    Kind("ntfy", "ntfy", _URL, (*_AUTH, *_TEXT, *_HTTP), (Rate(10, _MINUTE),), batch=40),
    Kind(
        "pagerduty",
        "pagerduty",
        ("routing_key_file",),
        ("url", *_HTTP),
        (Rate(60, _MINUTE),),
        stays_open=True,
    ),
    Kind("feishu", "feishu", _URL, _BOT, (Rate(4, 1.0), Rate(90, _MINUTE)), batch=100),
    Kind("dingtalk", "dingtalk", _URL, _BOT, (Rate(2, 10.0), Rate(18, _MINUTE)), batch=80),
    Kind(
        "wecom",
        "wecom",
        _URL,
        (*_TEXT, "keyword", *_HTTP),
        (Rate(2, 10.0), Rate(18, _MINUTE)),
        batch=50,
    ),
    Kind(
        "email",
        "email",
        ("smarthost", "from", "to"),
        ("tls", "username", "password_file", "ca_file", *_TEXT),
        (Rate(10, _MINUTE),),
        batch=200,
    ),
    Kind("exec", "exec", ("command",), ()),
)

KINDS = {kind.name: kind for kind in _ALL}

#: Lark is Feishu outside China: the same messages to another host.
KINDS["lark"] = KINDS["feishu"]

#: All settings of all types.
KEYS = tuple(
    dict.fromkeys(
        [
            *COMMON,
            *(key for kind in _ALL for need in kind.needs for key in need.split("|")),
            *(key for kind in _ALL for key in kind.takes),
        ],
    ),
)


def keys(kind: Kind) -> tuple[str, ...]:
    """Return the settings of a receiver of this type."""
    needed = (key for need in kind.needs for key in need.split("|"))
    return tuple(dict.fromkeys([*COMMON, *needed, *kind.takes]))


class ReceiverProblem(NamedTuple):
    """Why alerts will not be delivered."""

    receiver: str  #: its name; empty = no receiver is configured
    why: str
