"""The settings: one INI file, beside the program, read once into frozen values.

Laws:
1. This is the only home of defaults.
2. A mistake names file, section, key, what is allowed, and the closest known key; it never leaves a
   half-configured listener running in silence.
3. No message holds a secret or a URL.
4. Every setting can come from the environment (`FPM_LISTENER_…`), which wins over the file.
"""

from __future__ import annotations

import configparser
import os
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.core import durations
from fpm_listener.core.loops import LoopPolicy
from fpm_listener.core.snapshot import Tier
from fpm_listener.core.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SECTION = "fpm-listener"
RECEIVER_PREFIX = "fpm-listener:receiver:"
FAST_LOOP = LoopPolicy(threshold=3, window_s=60.0)
SLOW_LOOP = LoopPolicy(threshold=5, window_s=900.0)
ENV_PREFIX = "FPM_LISTENER_"
ENV_RECEIVER_PREFIX = "FPM_LISTENER_RECEIVER_"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverSettings:
    """`[fpm-listener:receiver:NAME]`."""

    name: str
    kind: str = "webhook"  #: the setting is called `type`
    url: str | None = field(default=None, repr=False)  #: exactly one of url and url_file is set
    url_file: Path | None = None  #: re-read at each attempt
    username: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None  #: sent as a bearer token
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    proxy: str | None = field(default=None, repr=False)
    send_resolved: bool = True
    repeat_interval_s: float | None = None  #: None = the general one
    timeout_s: float = 15.0  #: total deadline of one attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """Where metrics, health and status are served."""

    host: str = "127.0.0.1"
    port: int = 19253
    cert_file: Path | None = None  #: with key_file: https
    key_file: Path | None = None
    username: str | None = None  #: with password_file: basic authentication
    password_file: Path | None = None
    token_file: Path | None = None  #: bearer token


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that the operator can say."""

    source: str  #: the file
    web: WebSettings = WebSettings()
    state_dir: Path = Path("/var/lib/fpm-listener")
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    error_log: tuple[Path, ...] = ()  #: further log files to follow
    loop: LoopPolicy = FAST_LOOP
    slow_loop: LoopPolicy = SLOW_LOOP
    stable_for_s: float = 120.0
    fast_restart: bool = True
    hold_linger_s: float = 5.0  #: sockets of a stopped program are held for so long
    repeat_interval_s: float = 4 * 3600.0
    max_age_s: float = 24 * 3600.0  #: older alerts are dropped from the outbox
    max_alerts: int = 1000  #: per receiver
    textfile: Path | None = None
    log_level: str = "info"
    instance: str = ""
    receivers: tuple[ReceiverSettings, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def loops(self) -> dict[Tier, LoopPolicy]:
        """Return both windows."""
        return {Tier.FAST: self.loop, Tier.SLOW: self.slow_loop}


# -- what a value may be: each returns the value, or raises ValueError with what is allowed --------


def _text(text: str) -> str:
    if not text:
        raise ValueError("some text")
    return text


def _boolean(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError("true or false")
    return words[text.lower()]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise ValueError("a whole number from 1 to 1000000")
    return int(text)


def _duration(text: str) -> float:
    seconds = durations.parse(text)
    if seconds <= 0:
        raise ValueError("a duration above 0, such as 500ms, 10s, 15m, 4h, 1d")
    return seconds


def _loop(text: str) -> LoopPolicy:
    found = re.fullmatch(r"(\d{1,4})\s+in\s+(\S+)", text)
    try:
        policy = (
            LoopPolicy(threshold=int(found[1]), window_s=_duration(found[2])) if found else None
        )
    except ValueError:
        policy = None
    if policy is None or policy.threshold < 2:
        raise ValueError("'N in DURATION' with N of 2 or more, such as 3 in 60s")
    return policy


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("host:port; an IPv6 host stands in brackets, such as [::1]:19253")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("host:port, such as 127.0.0.1:19253 or [::1]:19253")
    return host or "0.0.0.0", int(port)  # noqa: S104 - the operator wrote `:PORT`: everywhere


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


def _log_level(text: str) -> str:
    if text.lower() not in {"debug", "info", "warning", "error"}:
        raise ValueError("debug, info, warning or error")
    return text.lower()


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/]+\S*", text):
        raise ValueError("a URL that begins with http:// or https:// (not shown: it may be secret)")
    return text


def _kind(text: str) -> str:
    if text != "webhook":
        raise ValueError("webhook")
    return text


class _Section:
    """One section: its words, each to be taken once, and what is wrong with them."""

    def __init__(self, where: str, words: dict[str, str], folder: Path) -> None:
        self._where = where
        self._words = words
        self._folder = folder

    def take(self, key: str, read: Callable[[str], Any], default: Any) -> Any:  # noqa: ANN401
        """Return the value of `key`; where it is absent or empty, the default."""
        text = self._words.get(key, "").strip()
        if not text:
            return default
        try:
            return read(text)
        except ValueError as error:
            shown = "" if read is _url else f" = {text!r}"
            raise FpmListenerError(
                f"{self._where}: {key}{shown} is not understood; allowed: {error}",
            ) from None

    def path(self, text: str) -> Path:
        """Return a path; a relative one lies beside the settings file."""
        return self._folder / text

    def paths(self, text: str) -> tuple[Path, ...]:
        """Return several paths."""
        return tuple(self._folder / word for word in _words(text))


GENERAL_KEYS = (
    *("listen", "state_dir", "programs", "error_log", "loop", "slow_loop", "stable_for"),
    *("fast_restart", "hold_linger"),
    *("repeat_interval", "max_age", "max_alerts", "textfile", "log_level", "instance"),
    *("web_cert_file", "web_key_file", "web_username", "web_password_file", "web_token_file"),
)
RECEIVER_KEYS = (
    *("type", "url", "url_file", "username", "password_file", "token_file", "ca_file"),
    *("cert_file", "key_file", "proxy", "send_resolved", "repeat_interval", "timeout"),
)


def load(path: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the file at `path`, overridden by the environment.

    Raises FpmListenerError where the file cannot be read or something in it is wrong.
    """
    parser = configparser.RawConfigParser(
        inline_comment_prefixes=(";", "#"),  # as supervisor reads the file
        strict=False,
        delimiters=("=", ":"),
        allow_no_value=True,
    )
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - keeps the path as it was given
            parser.read_file(file)
    except OSError as error:
        raise FpmListenerError(f"{path}: cannot be read: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0]
        raise FpmListenerError(
            f"{path}: is not an INI file as supervisor has them: {first}"
        ) from None
    sections = {name: {k: v or "" for k, v in parser.items(name)} for name in parser.sections()}
    return _build(path, sections, environ)


def _build(path: str, sections: dict[str, dict[str, str]], environ: Mapping[str, str]) -> Settings:
    general = dict(sections.get(SECTION, {}))
    receivers = {
        name[len(RECEIVER_PREFIX) :]: dict(words)
        for name, words in sections.items()
        if name.startswith(RECEIVER_PREFIX)
    }
    _refuse_unknown_sections(path, sections)
    warnings = _override(general, receivers, environ)
    _refuse_unknown_keys(f"{path} [{SECTION}]", general, GENERAL_KEYS)
    folder = Path(path).absolute().parent
    take = (section := _Section(f"{path} [{SECTION}]", general, folder)).take
    defaults = Settings(source=path)
    host, port = take("listen", _address, (defaults.web.host, defaults.web.port))
    web = WebSettings(
        host=host,
        port=port,
        cert_file=take("web_cert_file", section.path, None),
        key_file=take("web_key_file", section.path, None),
        username=take("web_username", _text, None),
        password_file=take("web_password_file", section.path, None),
        token_file=take("web_token_file", section.path, None),
    )
    _refuse_halves(
        f"{path} [{SECTION}]", web.cert_file, web.key_file, "web_cert_file, web_key_file"
    )
    _refuse_halves(
        f"{path} [{SECTION}]",
        web.username,
        web.password_file,
        "web_username, web_password_file",
    )
    return Settings(
        source=path,
        web=web,
        state_dir=take("state_dir", section.path, defaults.state_dir),
        programs=take("programs", _words, ()),
        error_log=take("error_log", section.paths, ()),
        loop=take("loop", _loop, defaults.loop),
        slow_loop=take("slow_loop", _loop, defaults.slow_loop),
        stable_for_s=take("stable_for", _duration, defaults.stable_for_s),
        fast_restart=take("fast_restart", _boolean, defaults.fast_restart),
        hold_linger_s=take("hold_linger", _duration, defaults.hold_linger_s),
        repeat_interval_s=take("repeat_interval", _duration, defaults.repeat_interval_s),
        max_age_s=take("max_age", _duration, defaults.max_age_s),
        max_alerts=take("max_alerts", _count, defaults.max_alerts),
        textfile=take("textfile", section.path, None),
        log_level=take("log_level", _log_level, defaults.log_level),
        instance=take("instance", _text, None) or socket.gethostname(),
        receivers=tuple(
            _receiver(path, name, words, folder) for name, words in sorted(receivers.items())
        ),
        warnings=tuple(warnings),
    )


def _receiver(path: str, name: str, words: dict[str, str], folder: Path) -> ReceiverSettings:
    where = f"{path} [{RECEIVER_PREFIX}{name}]"
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        raise FpmListenerError(
            f"{where}: the name of a receiver is made of letters, digits, '_', '.' and '-'",
        )
    _refuse_unknown_keys(where, words, RECEIVER_KEYS)
    take = (section := _Section(where, words, folder)).take
    receiver = ReceiverSettings(
        name=name,
        kind=take("type", _kind, "webhook"),
        url=take("url", _url, None),
        url_file=take("url_file", section.path, None),
        username=take("username", _text, None),
        password_file=take("password_file", section.path, None),
        token_file=take("token_file", section.path, None),
        ca_file=take("ca_file", section.path, None),
        cert_file=take("cert_file", section.path, None),
        key_file=take("key_file", section.path, None),
        proxy=take("proxy", _url, None),
        send_resolved=take("send_resolved", _boolean, default=True),
        repeat_interval_s=take("repeat_interval", _duration, None),
        timeout_s=take("timeout", _duration, ReceiverSettings(name=name).timeout_s),
    )
    if (receiver.url is None) == (receiver.url_file is None):
        raise FpmListenerError(f"{where}: needs exactly one of url and url_file")
    _refuse_halves(where, receiver.cert_file, receiver.key_file, "cert_file, key_file")
    _refuse_halves(where, receiver.username, receiver.password_file, "username, password_file")
    if receiver.token_file and receiver.username:
        raise FpmListenerError(f"{where}: has both token_file and username; write one of them")
    return receiver


def _override(
    general: dict[str, str],
    receivers: dict[str, dict[str, str]],
    environ: Mapping[str, str],
) -> list[str]:
    """Let the environment win; return a warning for each variable that fits no setting.

    A warning, not an error: Kubernetes itself sets FPM_LISTENER_SERVICE_HOST, FPM_LISTENER_PORT… in
    every container beside a service of that name.
    """
    warnings = []
    for variable, value in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX):
            continue
        if variable.startswith(ENV_RECEIVER_PREFIX):
            rest = variable[len(ENV_RECEIVER_PREFIX) :].lower()
            key = max((k for k in RECEIVER_KEYS if rest.endswith("_" + k)), key=len, default=None)
            name = rest[: -len(key) - 1] if key else ""
            if key and name:
                known = next((n for n in receivers if _env_name(n) == name), name)
                receivers.setdefault(known, {})[key] = value
                continue
        elif (key := variable[len(ENV_PREFIX) :].lower()) in GENERAL_KEYS:
            general[key] = value
            continue
        warnings.append(f"environment: {variable} fits no setting and is ignored")
    return warnings


def _env_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())


def _closest(word: str, known: Sequence[str], cutoff: float = 0.6) -> str | None:
    # Imported when something is wrong: it costs a listener that runs half a mebibyte.
    from difflib import get_close_matches  # noqa: PLC0415

    return next(iter(get_close_matches(word, known, n=1, cutoff=cutoff)), None)


def _looks_like_ours(head: str) -> bool:
    return head.startswith("fpm") and _closest(head, [SECTION], 0.85) is not None


def _refuse_unknown_sections(path: str, sections: Mapping[str, Any]) -> None:
    for name in sections:
        if name == SECTION or name.startswith(RECEIVER_PREFIX):
            continue
        head = name.partition(":")[0]
        if head == SECTION or _looks_like_ours(head):
            raise FpmListenerError(
                f"{path} [{name}]: no such section; known: [{SECTION}], [{RECEIVER_PREFIX}NAME]",
            )


def _refuse_unknown_keys(where: str, words: Mapping[str, str], known: tuple[str, ...]) -> None:
    for key in words:
        if key not in known:
            close = _closest(key, known)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"
            raise FpmListenerError(f"{where}: {key!r} is no setting; {hint}")


def _refuse_halves(where: str, one: object, other: object, names: str) -> None:
    if (one is None) != (other is None):
        raise FpmListenerError(f"{where}: {names} go together; one of them is missing")
