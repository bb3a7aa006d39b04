"""Where a running listener can be asked, even if its settings file has a mistake by now.

The listener that runs keeps its old settings after a reload with a mistake, so a mistake must not
keep an operator from asking it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.settings import settings as settings_file
from fpm_listener.settings.ini_section import SettingsSection, address, text
from fpm_listener.settings.settings import ENV_PREFIX, SECTION, Settings, WebSettings
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_KEYS = (
    *("listen", "state_dir", "web_cert_file", "web_key_file", "web_username"),
    *("web_password_file", "web_token_file"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """What is known of a listener."""

    web: WebSettings
    state_dir: Path
    mistake: str = ""  #: in the settings; empty = they are good


def find(path: str, environ: Mapping[str, str]) -> Endpoint:
    """Return where the listener with these settings can be asked.

    Raises FpmListenerError where the file cannot be read.
    """
    try:
        good = settings_file.load(path, environ)
    except FpmListenerError as error:
        return _salvage(path, environ, str(error))
    return Endpoint(web=good.web, state_dir=good.state_dir)


def _salvage(path: str, environ: Mapping[str, str], mistake: str) -> Endpoint:
    """Return what the file says line by line; a value with a mistake is the default."""
    found = _lines(settings_file.read_text(path))
    found |= {k: v for k in _KEYS if (v := environ.get(ENV_PREFIX + k.upper()))}
    section = SettingsSection(path, found, Path(path).absolute().parent)

    def take(key: str, read: Callable[[str], Any], default: Any) -> Any:  # noqa: ANN401 - as Section
        try:
            return section.take(key, read, default)
        except FpmListenerError:
            return default

    defaults = Settings(source=path)
    host, port = take("listen", address, (defaults.web.host, defaults.web.port))
    web = WebSettings(
        host=host,
        port=port,
        cert_file=take("web_cert_file", section.path, None),
        key_file=take("web_key_file", section.path, None),
        username=take("web_username", text, None),
        password_file=take("web_password_file", section.path, None),
        token_file=take("web_token_file", section.path, None),
    )
    state_dir = take("state_dir", section.path, defaults.state_dir)
    return Endpoint(web=web, state_dir=state_dir, mistake=mistake)


def _lines(whole: str) -> dict[str, str]:
    """Return the keys of [fpm-listener] that matter here, from the lines that can be read."""
    found: dict[str, str] = {}
    section = ""
    for line in whole.splitlines():
        if header := re.match(r"\[([^]]+)\]", line):
            section = header[1]
        elif section == SECTION and (pair := re.match(r"(\w+)\s*[=:]\s*(.*)", line)):
            value = re.split(r"(?:^|\s)[;#]", pair[2])[0].strip()
            if pair[1].lower() in _KEYS and value:
                found[pair[1].lower()] = value
    return found


def default(environ: Mapping[str, str]) -> Endpoint:
    """Return where a listener without a settings file can be asked."""
    return find(os.devnull, environ)
