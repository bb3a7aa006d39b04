"""The settings: one INI file, read once into frozen values.

Laws:
1. Defaults are only in the dataclasses here and in `receivers`.
2. A mistake stops the listener: the error names file, section, key, the allowed values, and the
   most similar known key.
3. No message has a secret or a URL.
4. Every setting can come from the environment (`FPM_LISTENER_…`), which overrides the file.
"""

from __future__ import annotations

import configparser
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener import DEFAULT_STATE_DIR, FOLDERS, regular_file
from fpm_listener.settings import environment, fpm_status
from fpm_listener.settings import ini_section as ini
from fpm_listener.settings import receivers as settings_receivers
from fpm_listener.settings.fpm_status import FpmStatus
from fpm_listener.settings.ini_section import Setting, SettingsSection
from fpm_listener.settings.policy import NO_HEALING, HealingPolicy, LoopPolicy
from fpm_listener.settings.receivers import PREFIX as RECEIVER_PREFIX
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import Tier

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence


__all__ = ["ReceiverSettings", "Settings", "WebSettings", "load"]

SECTION = "fpm-listener"
#: The usual places of the settings.
USUAL_FILES = tuple(f"{path}/fpm_listener.{ending}" for path, ending in FOLDERS)
FAST_LOOP = LoopPolicy(threshold=3, window_s=60.0)
SLOW_LOOP = LoopPolicy(threshold=5, window_s=900.0)
EXIT_LOOP = LoopPolicy(threshold=10, window_s=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """The address of metrics, health and status, and the authentication."""

    host: str = "127.0.0.1"
    port: int = 19253
    cert_file: Path | None = None  #: with key_file: https
    key_file: Path | None = None
    username: str | None = None  #: with password_file: basic authentication
    password_file: Path | None = None
    token_file: Path | None = None  #: bearer token
    allowed_hosts: frozenset[str] = frozenset()  #: in the Host header, in addition to IP addresses

    @property
    def needs_secret(self) -> bool:
        """Return whether a client needs a password or a token."""
        return self.password_file is not None or self.token_file is not None

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can reach it."""
        return _is_loopback(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings."""

    source: str  #: the file
    web: WebSettings = WebSettings()
    state_dir: Path = Path(DEFAULT_STATE_DIR)
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    php_fpm: tuple[str, ...] = ()  #: globs over group:name of programs that are php-fpm
    error_log: tuple[Path, ...] = ()  #: further log files to follow
    loop: LoopPolicy = FAST_LOOP
    slow_loop: LoopPolicy = SLOW_LOOP
    exit_loop: LoopPolicy = EXIT_LOOP
    stable_for_s: float = 120.0
    fast_restart: bool = True
    evidence_lines: int = 8  #: lines of a program's output in an alert
    healing: HealingPolicy = NO_HEALING
    fpm_status: FpmStatus = FpmStatus.OFF  #: what is read of php-fpm's status pages
    fpm_status_interval_s: float = 15.0
    opcache_status: bool = False  #: php-fpm is asked for the numbers of its OPcache
    hold_linger_s: float = 5.0  #: seconds for which sockets of a stopped program are held
    repeat_interval_s: float = 4 * 3600.0
    max_age_s: float = 24 * 3600.0  #: older alerts are dropped from the outbox
    max_alerts: int = 1000  #: per receiver
    textfile: Path | None = None
    termination_log: Path = Path("/dev/termination-log")  #: written only if it exists
    log_level: str = "info"
    instance: str = ""
    external_url: str = ""  #: of the page, for people; empty = `page_url` finds one
    receivers: tuple[ReceiverSettings, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def fpm_requests(self) -> bool:
        """Return whether the requests of busy workers are kept, in memory only."""
        return self.fpm_status is FpmStatus.FULL

    @property
    def loops(self) -> dict[Tier, LoopPolicy]:
        """Return both windows of restart loops."""
        return {Tier.FAST: self.loop, Tier.SLOW: self.slow_loop}

    @property
    def polling(self) -> tuple[object, ...]:
        """Return the settings of the thread that polls pools."""
        return self.fpm_status, self.fpm_status_interval_s, self.opcache_status

    @property
    def page_url(self) -> str:
        """Return the URL of the page for links in alerts; empty if others cannot reach it."""
        web = self.web
        if self.external_url or web.is_loopback or _is_loopback(self.instance) or not web.port:
            return self.external_url
        return f"{'https' if web.cert_file else 'http'}://{self.instance}:{web.port}/"


_WEB = {
    "web_cert_file": Setting("cert_file", ini.file),
    "web_key_file": Setting("key_file", ini.file),
    "web_username": Setting("username", ini.text),
    "web_password_file": Setting("password_file", ini.file),
    "web_token_file": Setting("token_file", ini.file),
}
_HEALING = {
    "restart_fatal": Setting("restart_fatal", ini.span),
    "loop_delay": Setting("loop_delay", ini.span),
    "on_fatal_programs": Setting("fatal_programs", ini.words),
}
_GENERAL = {
    "state_dir": Setting("state_dir", ini.file),
    "programs": Setting("programs", ini.words),
    "php_fpm": Setting("php_fpm", ini.words),
    "error_log": Setting("error_log", ini.files),
    "loop": Setting("loop", ini.loop),
    "slow_loop": Setting("slow_loop", ini.loop),
    "exit_loop": Setting("exit_loop", ini.loop_or_off),
    "stable_for": Setting("stable_for_s", ini.duration),
    "fast_restart": Setting("fast_restart", ini.boolean),
    "evidence_lines": Setting("evidence_lines", ini.few(20)),
    "hold_linger": Setting("hold_linger_s", ini.duration),
    "fpm_status": Setting("fpm_status", fpm_status.read),
    "fpm_status_interval": Setting("fpm_status_interval_s", ini.duration),
    "opcache_status": Setting("opcache_status", ini.boolean),
    "repeat_interval": Setting("repeat_interval_s", ini.duration),
    "max_age": Setting("max_age_s", ini.duration),
    "max_alerts": Setting("max_alerts", ini.count),
    "textfile": Setting("textfile", ini.file),
    "termination_log": Setting("termination_log", ini.file),
    "log_level": Setting("log_level", ini.one_of("debug", "info", "warning", "error")),
    "external_url": Setting("external_url", ini.page_url),
}
#: Keys whose values need more than a reader.
_SPECIAL = ("instance", "allowed_hosts", "on_fatal", "exec_on", "exec_command")
#: The keys that say where a running listener is.
ENDPOINT_KEYS = ("listen", "state_dir", *_WEB)
GENERAL_KEYS = (*dict.fromkeys((*ENDPOINT_KEYS, *_GENERAL, *_HEALING, *_SPECIAL)),)


def load(path: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of the file at `path`, overridden by the environment.

    Raises FpmListenerError if the file cannot be read or has a mistake.
    """
    return parse(path, read_text(path), environ)


def parse(path: str, text: str, environ: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings of this text of the file at `path`; see `load`."""
    return _build(path, _parse(path, text), environ)


def read_text(path: str) -> str:
    """Return the text of the file; never blocks. Raises FpmListenerError."""
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
        raise FpmListenerError(f"{path}: is not an INI file like supervisor's: {first}") from None
    except AttributeError:
        # CPython 3.10 to 3.13: a key without a value has no list that a line can be added to.
        raise FpmListenerError(
            f"{path}: an indented line follows a key without a value; write the value in the line"
            " of the key, or remove the spaces"
        ) from None
    return {name: {k: v or "" for k, v in parser.items(name)} for name in parser.sections()}


def _build(path: str, found: dict[str, dict[str, str]], environ: Mapping[str, str]) -> Settings:
    general = dict(found.get(SECTION, {}))
    receivers = {
        name[len(RECEIVER_PREFIX) :]: dict(words)
        for name, words in found.items()
        if name.startswith(RECEIVER_PREFIX)
    }
    _refuse_unknown_sections(path, found)
    warnings = environment.override(general, receivers, environ, GENERAL_KEYS)
    folder = Path(path).absolute().parent
    section = SettingsSection(f"{path} [{SECTION}]", general, folder)
    section.refuse_unknown(GENERAL_KEYS)
    section.refuse_half("web_cert_file", "web_key_file")
    section.refuse_half("web_username", "web_password_file")
    instance = section.take("instance", ini.text) or os.uname().nodename
    values = section.fields(_GENERAL)
    names = [instance, _host(values.get("external_url", ""))]
    names += section.take("allowed_hosts", ini.hosts, ())
    return Settings(
        source=path,
        web=read_web(section, names),
        instance=instance,
        healing=_healing(section),
        receivers=_receivers(section, path, receivers, folder),
        warnings=tuple(warnings),
        **values,
    )


def read_web(section: SettingsSection, names: Sequence[str] = ()) -> WebSettings:
    """Return the address and the authentication. `names`: hosts that clients may ask for."""
    default = WebSettings()
    host, port = section.take("listen", ini.address, (default.host, default.port))
    allowed = frozenset(name.lower().rstrip(".") for name in ("localhost", host, *names) if name)
    return WebSettings(host=host, port=port, allowed_hosts=allowed, **section.fields(_WEB))


def _host(url: str) -> str:
    if not url:
        return ""
    from urllib.parse import urlsplit  # noqa: PLC0415 - only with an external_url

    return urlsplit(url).hostname or ""


def _is_loopback(host: str) -> bool:
    return host.lower() in {"localhost", "::1"} or host.startswith(("127.", "::ffff:127."))


def _receivers(
    section: SettingsSection, path: str, found: Mapping[str, dict[str, str]], folder: Path
) -> tuple[ReceiverSettings, ...]:
    built = [settings_receivers.build(path, name, words, folder) for name, words in found.items()]
    command = settings_receivers.build_exec_on(section)
    if command is not None:
        if command.name in found:
            raise section.error(f"exec_on uses the name of receiver {command.name!r}; rename it")
        built.append(command)
    return tuple(sorted(built, key=lambda one: one.name))


def _healing(section: SettingsSection) -> HealingPolicy:
    on_fatal = section.take("on_fatal", ini.one_of("nothing", "shutdown"), "nothing")
    shutdown = on_fatal == "shutdown"
    policy = HealingPolicy(**section.fields(_HEALING), shutdown_on_fatal=shutdown)
    if policy.restart_fatal and shutdown:
        raise section.error("restart_fatal and on_fatal = shutdown exclude each other; remove one")
    return policy


def _refuse_unknown_sections(path: str, found: Collection[str]) -> None:
    """Raise FpmListenerError for a section that was meant for us; supervisor has its own."""
    for name in found:
        head = name.partition(":")[0]
        if name == SECTION or name.startswith(RECEIVER_PREFIX) or not head.startswith("fpm"):
            continue
        if ini.closest(head, [SECTION], 0.85) is not None:
            raise FpmListenerError(
                f"{path} [{name}]: unknown section; known: [{SECTION}], [{RECEIVER_PREFIX}NAME]",
            )
