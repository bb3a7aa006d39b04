"""The metrics as a file, for node_exporter's textfile collector: no port needed."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING

from prometheus_client import generate_latest

from fpm_listener.internal_errors import RetriedThread, log_only
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prometheus_client import CollectorRegistry

    from fpm_listener.internal_errors import Caught

log = logging.getLogger(__name__)

#: Seconds between two writes: the usual scrape interval of Prometheus.
INTERVAL_S = 15.0
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TextfileWriter:
    """A thread that replaces the file at intervals."""

    def __init__(
        self,
        path: Path,
        registry: CollectorRegistry,
        failed: Callable[[BaseException], None],
        interval_s: float = INTERVAL_S,
        caught: Caught = log_only,
    ) -> None:
        """`caught`: is called with an unexpected error of one write."""
        self._caught = caught
        self._path = path
        self._registry = registry
        self._failed = failed
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._logged_error: str | None = None
        self._thread = RetriedThread("textfile", self._run)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, and wait for it for at most a second."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def write(self) -> None:
        """Write the file once; a lasting error is logged once."""
        try:
            self._replace(generate_latest(self._registry))
        except OSError as error:
            if self._logged_error != error.strerror:
                self._logged_error = error.strerror
                log.warning(
                    "writing the textfile failed path=%s error=%r", self._path, error.strerror
                )
        else:
            if self._logged_error is not None:
                log.info("writing the textfile works again path=%s", self._path)
            self._logged_error = None

    def _replace(self, text: bytes) -> None:
        """Replace the file in one step; other users may have write access to its folder."""
        name = f".{self._path.name}.{os.urandom(8).hex()}"
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
            try:
                with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor, not a path
                    file.write(text)
                    file.flush()
                    os.fsync(descriptor)
                    os.fchmod(descriptor, 0o644)  # node_exporter runs as another user
                os.replace(name, self._path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=folder)
                raise
        finally:
            os.close(folder)

    def _run(self) -> None:
        try:
            while True:
                try:
                    self.write()
                except Exception as error:  # noqa: BLE001 - the next write may succeed
                    self._caught(Where.TEXTFILE, error)
                if self._stop.wait(self._interval_s):
                    return
        except BaseException as error:  # noqa: BLE001 - the listener must not run without this thread
            self._failed(error)
