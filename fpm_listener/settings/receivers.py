"""What the operator says of one receiver: `[fpm-listener:receiver:NAME]`."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fpm_listener.settings import ini_section, mute_times
from fpm_listener.settings.ini_section import (
    SettingsSection,
    boolean,
    duration,
    one_of,
    some_of,
    text,
    words,
)
from fpm_listener.settings.receiver_types import KINDS, keys
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import NOTIFICATION_FAILING, Cause, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo
    from pathlib import Path

    from fpm_listener.settings.mute_times import MuteTimes
    from fpm_listener.settings.receiver_types import Kind, Rate

PREFIX = "fpm-listener:receiver:"
FORMATS = ("alertmanager", "cloudevents", "plain")
LANGUAGES = ("en", "zh")


#: The receiver that stands for `exec_on`.
EXEC_ON = "exec_on"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """`[fpm-listener:receiver:NAME]`; receiver_types.py lists the keys of each type."""

    name: str
    kind: str = "webhook"  #: the setting is called `type`
    # What it hears, and when.
    send_resolved: bool = True
    repeat_interval_s: float | None = None  #: None = the general one
    min_severity: Severity = Severity.INFO
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    causes: tuple[str, ...] = ()  #: empty = every cause
    mute_times: MuteTimes | None = None
    rates: tuple[Rate, ...] = ()
    timeout_s: float = 15.0  #: total deadline of one attempt
    # Where it is, and who we are to it. Files are re-read at each attempt.
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
    # How it is spoken to.
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
    once: bool = False  #: of exec_on: one message an incident, whatever becomes of it

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
    """Return the settings of a receiver. Raises FpmListenerError where something is wrong."""
    section = SettingsSection(f"{path} [{PREFIX}{name}]", found, folder)
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise FpmListenerError(
            f"{section.where}: the name of a receiver is made of letters, digits, '_', '.' and '-'",
        )
    take, file = section.take, section.path
    kind = KINDS[take("type", one_of(*KINDS), "webhook")]
    section.refuse_unknown(keys(kind), f" of a receiver of type {kind.name}")
    _refuse_missing(section, kind)
    defaults = ReceiverSettings(name=name)
    return ReceiverSettings(
        name=name,
        kind=kind.name,
        send_resolved=take("send_resolved", boolean, default=True),
        repeat_interval_s=take("repeat_interval", duration, None),
        min_severity=Severity[take("min_severity", one_of(*_SEVERITIES), "info").upper()],
        programs=take("programs", words, ()),
        causes=take("causes", some_of(_CAUSES), ()),
        mute_times=_mute_times(section),
        rates=take("rate_limit", ini_section.rates, kind.rates),
        timeout_s=take("timeout", ini_section.timeout, defaults.timeout_s),
        url=take("url", ini_section.url, None),
        url_file=take("url_file", file, None),
        urls=take("urls", ini_section.urls, ()),
        username=take("username", text, None),
        password_file=take("password_file", file, None),
        token_file=take("token_file", file, None),
        secret_file=take("secret_file", file, None),
        routing_key_file=take("routing_key_file", file, None),
        ca_file=take("ca_file", file, None),
        cert_file=take("cert_file", file, None),
        key_file=take("key_file", file, None),
        proxy=take("proxy", ini_section.url, None),
        trust_env=take("trust_env", boolean, default=False),
        format=take("format", one_of(*FORMATS), defaults.format),
        language=take("language", one_of(*LANGUAGES), defaults.language),
        keyword=take("keyword", text, ""),
        chat_id=take("chat_id", _chat, ""),
        thread_id=take("thread_id", _thread, ""),
        smarthost=take("smarthost", ini_section.address, defaults.smarthost),
        sender=take("from", _address, ""),
        to=take("to", _addresses, ()),
        tls=take("tls", one_of("starttls", "tls", "none"), defaults.tls),
        command=take("command", ini_section.command, ()),
    )


def build_exec_on(section: SettingsSection) -> ReceiverSettings | None:
    """Return the receiver that `exec_on` and `exec_command` stand for. Raises FpmListenerError."""
    section.refuse_halves("exec_on", "exec_command")
    if not section.has("exec_on"):
        return None
    return ReceiverSettings(
        name=EXEC_ON,
        kind="exec",
        send_resolved=False,
        causes=section.take("exec_on", some_of(_CAUSES), ()),
        command=section.take("exec_command", ini_section.command, ()),
        once=True,
    )


_SEVERITIES = tuple(severity.name.lower() for severity in Severity)
_CAUSES = (*(cause.value for cause in Cause), NOTIFICATION_FAILING)


def _refuse_missing(section: SettingsSection, kind: Kind) -> None:
    for need in kind.needs:
        given = [key for key in need.split("|") if section.has(key)]
        if len(given) != 1:
            wanted = need.replace("|", " and ")
            exactly = "exactly one of " if "|" in need else ""
            raise FpmListenerError(f"{section.where}: needs {exactly}{wanted}")
    section.refuse_halves("cert_file", "key_file")
    section.refuse_halves("username", "password_file")
    if section.has("token_file") and section.has("username"):
        raise FpmListenerError(
            f"{section.where}: has both token_file and username; write one of them",
        )
    if kind.resends and section.has("mute_times"):
        raise FpmListenerError(
            f"{section.where}: an Alertmanager that is not told takes the incident to be over; use"
            " its own mute_time_intervals",
        )
    if section.has("mute_location") and not section.has("mute_times"):
        raise FpmListenerError(
            f"{section.where}: mute_location is for mute_times, which is missing"
        )


def _mute_times(section: SettingsSection) -> MuteTimes | None:
    location = section.take("mute_location", _location, None)
    found: MuteTimes | None = section.take(
        "mute_times",
        lambda word: mute_times.parse(word, location),
        None,
    )
    return found


def _location(word: str) -> tzinfo:
    # Only where it is asked for:
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


def _chat(word: str) -> str:
    if not re.fullmatch(r"-?[0-9]{1,20}|@\w+", word, re.ASCII):
        raise ValueError("a chat's number, such as -1001234567890, or a channel's @name")
    return word


def _thread(word: str) -> str:
    if not re.fullmatch(r"[0-9]{1,20}", word, re.ASCII):
        raise ValueError("a topic's number")
    return word


def _address(word: str) -> str:
    if not re.fullmatch(r"[\w.!#$%&'*+/=?^{|}~-]+@[A-Za-z0-9][A-Za-z0-9.-]*", word, re.ASCII):
        raise ValueError("an address such as alerts@example.com")
    return word


def _addresses(word: str) -> tuple[str, ...]:
    found = tuple(_address(one) for one in words(word))
    if not found:
        raise ValueError("addresses such as ops@example.com")
    return found
