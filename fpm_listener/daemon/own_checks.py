"""What the listener checks about itself: its receivers, its files, supervisord's configuration."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import __version__
from fpm_listener.daemon import startup_check
from fpm_listener.host.installed_version import InstalledVersion
from fpm_listener.settings.receiver_check import ReceiverCheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.settings.settings import ReceiverSettings

log = logging.getLogger(__name__)


class CheckRequest(NamedTuple):
    """Request to the thread of checks: check receivers, and supervisord's configuration."""

    receivers: tuple[ReceiverSettings, ...]
    supervisord: bool


class OwnChecks:
    """The work of the thread of checks."""

    def __init__(
        self, put: Callable[[object], None], installed: InstalledVersion | None = None
    ) -> None:
        """`put`: gets the results."""
        self._put = put
        self._receivers = ReceiverCheck()
        self.installed = installed or InstalledVersion()

    def work(self, requests: tuple[CheckRequest, ...]) -> None:
        """Do what is requested."""
        if self.installed.look():
            log.warning(
                "another version of fpm-listener was installed, and this process is still the old"
                " one; restart it: supervisorctl restart fpm-listener running=%s installed=%s",
                *(__version__, self.installed.other),
            )
        wanted = any(request.supervisord for request in requests)
        self._put(self._receivers.look(requests[-1].receivers, again=wanted))
        if wanted and (checked := startup_check.run(os.getppid())) is not None:
            self._put(checked)
