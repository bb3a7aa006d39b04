"""The settings of one receiver: `[fpm-listener:receiver:NAME]`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fpm_listener.settings import ini_section as ini
from fpm_listener.settings.ini_section import Setting, SettingsSection
from fpm_listener.settings.receiver_types import KINDS, keys
from fpm_listener.vocabulary import NOTIFICATION_FAILING, Cause, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import tzinfo
    from pathlib import Path

    from fpm_listener.settings.mute_times import MuteTimes
    from fpm_listener.settings.receiver_types import Kind, Rate

PREFIX = "fpm-listener:receiver:"
#: The receiver that stands for `exec_on`.
EXEC_ON = "exec_on"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """`[fpm-listener:receiver:NAME]`; receiver_types.py lists the keys of each type."""

    name: str
    kind: str = "webhook"  #: the setting is called `type`
    # Which alerts it gets, and when.
    send_resolved: bool = True
    evidence: bool = True  #: send lines of the program's output
    repeat_interval_s: float | None = None  #: None = the general one
    min_severity: Severity = Severity.INFO
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    causes: tuple[str, ...] = ()  #: empty = every cause
    mute_times: MuteTimes | None = None
    rates: tuple[Rate, ...] = ()
    timeout_s: float = 15.0  #: of one whole attempt
    # Its address and the authentication. Files are read again at each attempt.
    url: str | None = field(default=None, repr=False)
    url_file: Path | None = None
    urls: tuple[str, ...] = field(default=(), repr=False)
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    secret_file: Path | None = None
    routing_key_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    trust_env: bool = False
    # The messages.
    format: str = "alertmanager"
    language: str = "en"
    keyword: str = ""
    chat_id: str = ""
    thread_id: str = ""
    smarthost: tuple[str, int] = ("", 0)
    sender: str = ""  #: the setting is called `from`
    to: tuple[str, ...] = ()
    tls: str = "starttls"
    command: tuple[str, ...] = ()
    once: bool = False  #: of exec_on: one message for each incident

    @property
    def queues(self) -> dict[str, ReceiverSettings]:
        """Return the settings of its queues by name: one queue, or one for each URL."""
        if not self.urls:
            return {self.name: self}
        names = [self.name, *(f"{self.name}#{at}" for at in range(2, len(self.urls) + 1))]
        return {
            name: replace(self, url=url, urls=())
            for name, url in zip(names, self.urls, strict=True)
        }


def build(path: str, name: str, found: Mapping[str, str], folder: Path) -> ReceiverSettings:
    """Return the settings of a receiver. Raises FpmListenerError for a mistake."""
    section = SettingsSection(f"{path} [{PREFIX}{name}]", found, folder)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise section.error(
            f"the name {name!r} is invalid; use at most 64 letters, digits, '_', '.' and '-'"
        )
    kind = KINDS[section.take("type", ini.one_of(*KINDS), ReceiverSettings(name=name).kind)]
    section.refuse_unknown(keys(kind), f" of a receiver of type {kind.name}")
    _refuse_missing(section, kind)
    return ReceiverSettings(
        name=name,
        kind=kind.name,
        mute_times=_mute_times(section),
        **{"rates": kind.rates, **section.fields(_SETTINGS)},
    )


def build_exec_on(section: SettingsSection) -> ReceiverSettings | None:
    """Return the receiver of `exec_on` and `exec_command`. Raises FpmListenerError."""
    section.refuse_half("exec_on", "exec_command")
    if not section.has("exec_on"):
        return None
    return ReceiverSettings(
        name=EXEC_ON,
        kind="exec",
        send_resolved=False,
        causes=section.take("exec_on", _causes, ()),
        command=section.take("exec_command", ini.command, ()),
        once=True,
    )


def _refuse_missing(section: SettingsSection, kind: Kind) -> None:
    for need in kind.needs:
        given = [key for key in need.split("|") if section.has(key)]
        if len(given) != 1:
            exactly = "exactly one of " if "|" in need else ""
            raise section.error(f"type {kind.name} needs {exactly}{need.replace('|', ' and ')}")
    section.refuse_half("cert_file", "key_file")
    section.refuse_half("username", "password_file")
    if section.has("token_file") and section.has("username"):
        raise section.error("token_file and username exclude each other; remove one of them")
    if kind.resends and section.has("mute_times"):
        raise section.error(
            "mute_times is impossible for Alertmanager, which resolves an alert that is not sent"
            " again; use mute_time_intervals of Alertmanager"
        )
    if section.has("mute_location") and not section.has("mute_times"):
        raise section.error("mute_location needs mute_times, which is missing; add it")


def _mute_times(section: SettingsSection) -> MuteTimes | None:
    if not section.has("mute_times"):
        return None
    # Loaded only with mute_times: datetime costs milliseconds before READY.
    from fpm_listener.settings import mute_times  # noqa: PLC0415

    location = section.take("mute_location", _location)
    found: MuteTimes | None = section.take(
        "mute_times", lambda word: mute_times.parse(word, location)
    )
    return found


def _location(word: str) -> tzinfo:
    # Loaded only with mute_location:
    from importlib.util import find_spec  # noqa: PLC0415
    from zoneinfo import TZPATH, ZoneInfo, ZoneInfoNotFoundError  # noqa: PLC0415

    try:
        return ZoneInfo(word)
    except ZoneInfoNotFoundError:
        if not any(map(os.path.isdir, TZPATH)) and find_spec("tzdata") is None:
            raise ValueError(_NO_DATABASE) from None
        raise ValueError(_LOCATIONS) from None
    except (OSError, ValueError):
        raise ValueError(_LOCATIONS) from None


_NO_DATABASE = (
    "a time zone, but this system has no time zone data: install the package tzdata"
    " (apt install tzdata, dnf install tzdata, apk add tzdata), or remove mute_location"
)
_LOCATIONS = "a time zone of this host's database (/usr/share/zoneinfo), such as Asia/Shanghai"


def _matching(pattern: str, expected: str) -> Callable[[str], str]:
    """Return a reader of a word that matches a pattern."""

    def read(word: str) -> str:
        if not re.fullmatch(pattern, word, re.ASCII):
            raise ValueError(expected)
        return word

    return read


_mail = _matching(
    r"[\w.!#$%&'*+/=?^{|}~-]+@[A-Za-z0-9][A-Za-z0-9.-]*", "an address such as alerts@example.com"
)


def _mails(word: str) -> tuple[str, ...]:
    found = tuple(_mail(one) for one in ini.words(word))
    if not found:
        raise ValueError("addresses such as ops@example.com")
    return found


def _severity(word: str) -> Severity:
    return Severity[ini.one_of(*(severity.name.lower() for severity in Severity))(word).upper()]


_causes = ini.some_of((*(cause.value for cause in Cause), NOTIFICATION_FAILING))

#: All keys but `type`, `mute_times` and `mute_location`.
_SETTINGS = {
    "send_resolved": Setting("send_resolved", ini.boolean),
    "evidence": Setting("evidence", ini.boolean),
    "repeat_interval": Setting("repeat_interval_s", ini.duration),
    "min_severity": Setting("min_severity", _severity),
    "programs": Setting("programs", ini.words),
    "causes": Setting("causes", _causes),
    "rate_limit": Setting("rates", ini.rates),
    "timeout": Setting("timeout_s", ini.timeout),
    "url": Setting("url", ini.url),
    "urls": Setting("urls", ini.urls),
    "username": Setting("username", ini.text),
    "proxy": Setting("proxy", ini.url),
    "trust_env": Setting("trust_env", ini.boolean),
    "format": Setting("format", ini.one_of("alertmanager", "cloudevents", "plain")),
    "language": Setting("language", ini.one_of("en", "zh")),
    "keyword": Setting("keyword", ini.text),
    "chat_id": Setting(
        "chat_id",
        _matching(
            r"-?[0-9]{1,20}|@\w+", "a chat's number, such as -1001234567890, or a channel's @name"
        ),
    ),
    "thread_id": Setting("thread_id", _matching(r"[0-9]{1,20}", "a topic's number")),
    "smarthost": Setting("smarthost", ini.address),
    "from": Setting("sender", _mail),
    "to": Setting("to", _mails),
    "tls": Setting("tls", ini.one_of("starttls", "tls", "none")),
    "command": Setting("command", ini.command),
    **{
        key: Setting(key, ini.file)
        for key in (
            *("url_file", "password_file", "token_file", "secret_file", "routing_key_file"),
            *("ca_file", "cert_file", "key_file"),
        )
    },
}
