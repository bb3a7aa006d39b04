"""Why php-fpm did not answer in time: the open incident of the listener, or what was seen."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fpm_listener import durations
from fpm_listener.cli import after_targets, alerts
from fpm_listener.daemon.control_client import ControlRequest, ask
from fpm_listener.supervisor import conf_texts
from fpm_listener.untrusted_text import escaped
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from fpm_listener.cli.after_targets import Options


def sentence(options: Options, address: str, why: str) -> str:
    """Return what to print. address, why: what was seen last."""
    incident = _incident(options, address)
    if incident is not None:
        seen = f"{incident['summary']}. Remedy: {incident['remedy']}"
    else:
        seen = why if address == options.program else f"{address}: {why}"
    passed = durations.show(options.timeout_s)
    text = f"{options.program} did not answer within {passed}: {seen}"
    return f"{escaped(text)} (exit 75)"


def _incident(options: Options, address: str) -> dict[str, Any] | None:
    """Return the open incident of the program; None = there is none, or no listener answers."""
    for config in _configs(options):
        with suppress(FpmListenerError, KeyError, TypeError):
            status = ask(alerts.load(config).state_dir, ControlRequest(action="status"))
            for program in status["programs"] if status else ():
                is_it = options.program in {program["name"], program["name"].split(":")[-1]}
                if program.get("incident") and (is_it or address in program.get("addresses", ())):
                    return dict(program["incident"])
    return None


def _configs(options: Options) -> list[str | None]:
    """Return the files that can have the settings of the listener."""
    if options.config is not None:
        return [options.config]
    found: list[str | None] = []
    with suppress(FpmListenerError, OSError):
        path = options.supervisord_conf or after_targets.conf_path()
        files = conf_texts.read(path, {}).files
        found = [name for name, text in files if "[fpm-listener]" in text]
    return [*found, None]
