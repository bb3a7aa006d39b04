"""What the log says about `on_fatal = shutdown` when it cannot do what its operator expects."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from fpm_listener.host import run_channel
from fpm_listener.monitor.final_end import is_named

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.settings.policy import HealingPolicy
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)


class ShutdownHints:
    """Reports each mistake once. Used by one thread."""

    def __init__(self, supervisord: int, environ: Mapping[str, str]) -> None:
        """`supervisord`: its pid; environ: of the listener."""
        self._has_status_0 = supervisord == 1 and run_channel.VARIABLE not in environ
        self._logged: set[str] = set()

    def look(self, policy: HealingPolicy, names: Iterable[ProcessName]) -> None:
        """Take the settings and the programs of supervisord."""
        known = tuple(names)
        if policy.shutdown_on_fatal and self._has_status_0:
            self._warn(
                "on_fatal = shutdown ends the container with status 0; for status 1, start"
                " supervisord with: %s",
                "fpm-listener run -- supervisord -n -c FILE",
            )
        for glob in policy.fatal_programs:
            if not policy.shutdown_on_fatal:
                self._warn("on_fatal_programs has no effect without on_fatal = shutdown%s", "")
            elif known and not any(is_named(name, (glob,)) for name in known):
                self._warn("on_fatal_programs names no program of supervisord glob=%r", glob)

    def _warn(self, sentence: str, value: str) -> None:
        if sentence + value not in self._logged:
            self._logged.add(sentence + value)
            log.warning(sentence, value)
