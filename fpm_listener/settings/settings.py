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
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener import regular_file
from fpm_listener.settings import receivers as settings_receivers
from fpm_listener.settings.ini_section import (
    SettingsSection,
    address,
    boolean,
    closest,
    count,
    duration,
    hosts,
    loop,
    one_of,
    page_url,
    span,
    text,
    words,
)
from fpm_listener.settings.policy import NO_HEALING, HealingPolicy, LoopPolicy
from fpm_listener.settings.receiver_types import KEYS as RECEIVER_KEYS
from fpm_listener.settings.receivers import PREFIX as RECEIVER_PREFIX
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["ReceiverSettings", "Settings", "WebSettings", "load"]

SECTION = "fpm-listener"
#: Folders that supervisord's packages include files from on Debian, Red Hat and Alpine, and how
#: those files are called.
FOLDERS = (
    ("/etc/supervisor/conf.d", "conf"),
    ("/etc/supervisord.d", "ini"),
    ("/etc/supervisor.d", "ini"),
)
#: Where the drop-in file lies.
USUAL_FILES = tuple(f"{path}/fpm_listener.{ending}" for path, ending in FOLDERS)
FAST_LOOP = LoopPolicy(threshold=3, window_s=60.0)
SLOW_LOOP = LoopPolicy(threshold=5, window_s=900.0)
ENV_PREFIX = "FPM_LISTENER_"
ENV_RECEIVER_PREFIX = "FPM_LISTENER_RECEIVER_"


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
    allowed_hosts: frozenset[str] = frozenset()  #: in the Host header, besides IP addresses

    @property
    def needs_secret(self) -> bool:
        """Return whether a client must know a password or a token."""
        return self.password_file is not None or self.token_file is not None

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can reach it."""
        return _is_loopback(self.host)


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
    healing: HealingPolicy = NO_HEALING
    fpm_status_s: float | None = None  #: seconds between two looks at pools; None = off
    hold_linger_s: float = 5.0  #: sockets of a stopped program are held for so long
    repeat_interval_s: float = 4 * 3600.0
    max_age_s: float = 24 * 3600.0  #: older alerts are dropped from the outbox
    max_alerts: int = 1000  #: per receiver
    textfile: Path | None = None
    log_level: str = "info"
    instance: str = ""
    external_url: str = ""  #: where people find the page; empty = `page_url` finds one
    receivers: tuple[ReceiverSettings, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def loops(self) -> dict[Tier, LoopPolicy]:
        """Return both windows."""
        return {Tier.FAST: self.loop, Tier.SLOW: self.slow_loop}

    @property
    def page_url(self) -> str:
        """Return where others find the page, for links in alerts; empty where they cannot."""
        web = self.web
        if self.external_url or web.is_loopback or _is_loopback(self.instance) or not web.port:
            return self.external_url
        return f"{'https' if web.cert_file else 'http'}://{self.instance}:{web.port}/"


GENERAL_KEYS = (
    *("listen", "state_dir", "programs", "error_log", "loop", "slow_loop", "stable_for"),
    *("fast_restart", "hold_linger", "restart_fatal", "loop_delay", "on_fatal"),
    *("exec_on", "exec_command", "fpm_status", "fpm_status_interval"),
    *("repeat_interval", "max_age", "max_alerts", "textfile", "log_level", "instance"),
    *("external_url", "allowed_hosts"),
    *("web_cert_file", "web_key_file", "web_username", "web_password_file", "web_token_file"),
)


def load(path: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the file at `path`, overridden by the environment.

    Raises FpmListenerError where the file cannot be read or something in it is wrong.
    """
    return _build(path, _parse(path, read_text(path)), environ)


def read_text(path: str) -> str:
    """Return the text of the file. Raises FpmListenerError; never waits, as for a FIFO's writer."""
    try:
        text = regular_file.read(path)
    except OSError as error:
        why = error.strerror or str(error)
        raise FpmListenerError(f"{path}: cannot be read: {why}") from error
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise FpmListenerError(f"{path}: line {line} is not UTF-8") from None


def _parse(path: str, text: str) -> dict[str, dict[str, str]]:
    """Return the values by section and key. Raises FpmListenerError."""
    parser = configparser.RawConfigParser(
        inline_comment_prefixes=(";", "#"),  # as supervisor reads the file
        strict=False,
        delimiters=("=", ":"),
        allow_no_value=True,
    )
    try:
        parser.read_string(text, path)
    except configparser.Error as error:
        first = str(error).splitlines()[0]
        raise FpmListenerError(
            f"{path}: is not an INI file as supervisor has them: {first}"
        ) from None
    except AttributeError:
        # CPython 3.10 to 3.13: a key without a value has no lines that a line could be added to.
        raise FpmListenerError(
            f"{path}: a line that begins with a space follows a key without a value; write the "
            "value behind the key, or remove the spaces"
        ) from None
    return {name: {k: v or "" for k, v in parser.items(name)} for name in parser.sections()}


def _build(path: str, found: dict[str, dict[str, str]], environ: Mapping[str, str]) -> Settings:
    general = dict(found.get(SECTION, {}))
    receivers = {
        name[len(RECEIVER_PREFIX) :]: dict(said)
        for name, said in found.items()
        if name.startswith(RECEIVER_PREFIX)
    }
    _refuse_unknown_sections(path, found)
    warnings = _override(general, receivers, environ)
    folder = Path(path).absolute().parent
    section = SettingsSection(f"{path} [{SECTION}]", general, folder)
    section.refuse_unknown(GENERAL_KEYS)
    take = section.take
    defaults = Settings(source=path)
    host, port = take("listen", address, (defaults.web.host, defaults.web.port))
    section.refuse_halves("web_cert_file", "web_key_file")
    section.refuse_halves("web_username", "web_password_file")
    instance = take("instance", text, None) or socket.gethostname()
    external_url = take("external_url", page_url, "")
    web = WebSettings(
        host=host,
        port=port,
        cert_file=take("web_cert_file", section.path, None),
        key_file=take("web_key_file", section.path, None),
        username=take("web_username", text, None),
        password_file=take("web_password_file", section.path, None),
        token_file=take("web_token_file", section.path, None),
        allowed_hosts=_allowed_hosts(
            host, instance, external_url, take("allowed_hosts", hosts, ())
        ),
    )
    return Settings(
        source=path,
        web=web,
        state_dir=take("state_dir", section.path, defaults.state_dir),
        programs=take("programs", words, ()),
        error_log=take("error_log", section.paths, ()),
        loop=take("loop", loop, defaults.loop),
        slow_loop=take("slow_loop", loop, defaults.slow_loop),
        stable_for_s=take("stable_for", duration, defaults.stable_for_s),
        fast_restart=take("fast_restart", boolean, defaults.fast_restart),
        healing=_healing(section),
        fpm_status_s=take("fpm_status_interval", duration, 15.0)
        if take("fpm_status", boolean, default=False)
        else None,
        hold_linger_s=take("hold_linger", duration, defaults.hold_linger_s),
        repeat_interval_s=take("repeat_interval", duration, defaults.repeat_interval_s),
        max_age_s=take("max_age", duration, defaults.max_age_s),
        max_alerts=take("max_alerts", count, defaults.max_alerts),
        textfile=take("textfile", section.path, None),
        log_level=take("log_level", one_of("debug", "info", "warning", "error"), "info"),
        instance=instance,
        external_url=external_url,
        receivers=_receivers(section, path, receivers, folder),
        warnings=tuple(warnings),
    )


def _is_loopback(host: str) -> bool:
    return host.lower() in {"localhost", "::1"} or host.startswith(("127.", "::ffff:127."))


def _allowed_hosts(
    host: str, instance: str, external_url: str, others: tuple[str, ...]
) -> frozenset[str]:
    from urllib.parse import urlsplit  # noqa: PLC0415 - only with an external_url

    external = urlsplit(external_url).hostname if external_url else None
    names = ("localhost", host, instance, external or "", *others)
    return frozenset(name.lower().rstrip(".") for name in names if name)


def _receivers(
    section: SettingsSection, path: str, found: Mapping[str, dict[str, str]], folder: Path
) -> tuple[ReceiverSettings, ...]:
    built = [settings_receivers.build(path, name, said, folder) for name, said in found.items()]
    command = settings_receivers.build_exec_on(section)
    if command is not None and command.name in found:
        raise FpmListenerError(
            f"{section.where}: exec_on, and a receiver of that name; give the receiver another"
        )
    return tuple(sorted([*built, *([command] if command else [])], key=lambda one: one.name))


def _healing(section: SettingsSection) -> HealingPolicy:
    policy = HealingPolicy(
        restart_fatal=section.take("restart_fatal", span, None),
        loop_delay=section.take("loop_delay", span, None),
        shutdown_on_fatal=section.take("on_fatal", one_of("nothing", "shutdown"), "") == "shutdown",
    )
    if policy.restart_fatal and policy.shutdown_on_fatal:
        raise FpmListenerError(
            f"{section.where}: restart_fatal and on_fatal = shutdown exclude each other; write one"
        )
    return policy


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


def _looks_like_ours(head: str) -> bool:
    return head.startswith("fpm") and closest(head, [SECTION], 0.85) is not None


def _refuse_unknown_sections(path: str, found: Mapping[str, Any]) -> None:
    for name in found:
        if name == SECTION or name.startswith(RECEIVER_PREFIX):
            continue
        head = name.partition(":")[0]
        if head == SECTION or _looks_like_ours(head):
            raise FpmListenerError(
                f"{path} [{name}]: no such section; known: [{SECTION}], [{RECEIVER_PREFIX}NAME]",
            )
