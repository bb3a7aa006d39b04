"""Settings from environment variables, which override the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.settings.receiver_types import KEYS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PREFIX = "FPM_LISTENER_"
#: Variables that are not settings: `fpm-listener run` sets them (host/run_channel.py).
_NO_SETTINGS = frozenset({"FPM_LISTENER_RUN"})
_RECEIVER_PREFIX = "FPM_LISTENER_RECEIVER_"


def override(
    general: dict[str, str],
    receivers: dict[str, dict[str, str]],
    environ: Mapping[str, str],
    known_keys: Collection[str],
) -> list[str]:
    """Apply the environment; return a warning for each variable that is not a setting.

    A warning, not an error: Kubernetes sets FPM_LISTENER_SERVICE_HOST, FPM_LISTENER_PORT… in every
    container if a service has that name.
    """
    warnings = []
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or variable in _NO_SETTINGS:
            continue
        if variable.startswith(_RECEIVER_PREFIX):
            rest = variable[len(_RECEIVER_PREFIX) :].lower()
            key = max((k for k in KEYS if rest.endswith("_" + k)), key=len, default=None)
            name = rest[: -len(key) - 1] if key else ""
            if key and name:
                known = next((n for n in receivers if _env_name(n) == name), name)
                receivers.setdefault(known, {})[key] = value
                continue
        elif (key := variable[len(PREFIX) :].lower()) in known_keys:
            general[key] = value
            continue
        warnings.append(f"environment variable {variable} is not a setting and is ignored")
    return warnings


def _env_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "_", name.lower())
