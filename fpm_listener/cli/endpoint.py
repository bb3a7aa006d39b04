"""The address of a running listener, even if its settings file has a mistake now.

After a reload with a mistake the listener keeps its old settings, and an operator must still reach
it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.host import state_directory
from fpm_listener.settings import settings as settings_file
from fpm_listener.settings.environment import PREFIX
from fpm_listener.settings.ini_section import SettingsSection, file
from fpm_listener.settings.settings import (
    ENDPOINT_KEYS,
    SECTION,
    USUAL_FILES,
    Settings,
    WebSettings,
    read_web,
)
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How to reach a listener."""

    web: WebSettings
    state_dir: Path
    mistake: str = ""  #: in the settings; empty = there is none
    is_default: bool = False  #: no settings were found


def usual(url: str | None, config: str | None, environ: Mapping[str, str]) -> Endpoint:
    """Return how to reach the listener. Raises FpmListenerError.

    From `config`, or from the file at a usual place unless a URL is given; the environment
    overrides both.
    """
    if config is not None:
        return find(config, environ)
    for path in () if url else USUAL_FILES:
        if os.access(path, os.R_OK):
            return find(path, environ)
    return default(environ)


def find(path: str, environ: Mapping[str, str]) -> Endpoint:
    """Return how to reach the listener with these settings.

    Raises FpmListenerError if the file cannot be read.
    """
    try:
        good = settings_file.load(path, environ)
    except FpmListenerError as error:
        return _salvage(path, environ, str(error))
    return Endpoint(web=good.web, state_dir=good.state_dir)


def default(environ: Mapping[str, str]) -> Endpoint:
    """Return how to reach a listener without a settings file."""
    state_dir = Path(state_directory.configured(None, environ))
    is_default = not environ.get(state_directory.VARIABLE)
    return replace(find(os.devnull, environ), state_dir=state_dir, is_default=is_default)


class _LenientSection(SettingsSection):
    """A section whose invalid values count as absent."""

    def take(self, key: str, read: Callable[[str], Any], default: Any = None) -> Any:  # noqa: ANN401 - as its base
        """Return the value of `key`, or the default."""
        try:
            return super().take(key, read, default)
        except FpmListenerError:
            return default


def _salvage(path: str, environ: Mapping[str, str], mistake: str) -> Endpoint:
    """Return the valid lines of the file; a value with a mistake is the default."""
    found = _lines(settings_file.read_text(path))
    found |= {key: v for key in ENDPOINT_KEYS if (v := environ.get(PREFIX + key.upper()))}
    section = _LenientSection(path, found, Path(path).absolute().parent)
    state_dir = section.take("state_dir", file, Settings(source=path).state_dir)
    return Endpoint(web=read_web(section), state_dir=state_dir, mistake=mistake)


def _lines(whole: str) -> dict[str, str]:
    """Return the keys of [fpm-listener] that are needed here, from the lines that are valid."""
    found: dict[str, str] = {}
    section = ""
    for line in whole.splitlines():
        if header := re.match(r"\[([^]]+)\]", line):
            section = header[1]
        elif section == SECTION and (pair := re.match(r"(\w+)\s*[=:]\s*(.*)", line)):
            value = re.split(r"(?:^|\s)[;#]", pair[2])[0].strip()
            if pair[1].lower() in ENDPOINT_KEYS and value:
                found[pair[1].lower()] = value
    return found
