"""The signals that the listener reacts to."""

from __future__ import annotations

import logging
import signal

log = logging.getLogger(__name__)


class Signals:
    """Which signals have come. Used by the main thread, to which Python delivers them."""

    def __init__(self) -> None:
        self.stop = False  #: TERM or INT
        self.hang_up = False  #: HUP: read the settings again; whoever does it sets it back

    def catch(self, wake_fd: int) -> None:
        """Note signals from now on, and write a byte to `wake_fd` for each."""
        signal.set_wakeup_fd(wake_fd, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_hang_up)

    def _on_stop(self, number: int, _frame: object) -> None:
        log.info("told to end signal=%s", signal.Signals(number).name)
        self.stop = True

    def _on_hang_up(self, _number: int, _frame: object) -> None:
        self.hang_up = True
