"""The certificate of the web server.

Only a listener that serves TLS loads this module: OpenSSL needs 4 MiB.
"""

from __future__ import annotations

import logging
import os
import ssl
from typing import TYPE_CHECKING

from fpm_listener import regular_file

if TYPE_CHECKING:
    import socket
    from pathlib import Path

log = logging.getLogger(__name__)


class Certificate:
    """Certificate and key, which are loaded again when their files change."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        self._files = (cert_file, key_file)
        self._stamp: tuple[int, ...] = ()
        self._context: ssl.SSLContext | None = None
        self._load()

    def wrap(self, connection: socket.socket) -> socket.socket:
        """Return the connection with TLS; the first read does the handshake."""
        stamp = self._stamps()
        if stamp != self._stamp:
            try:
                self._load()
            except OSError as error:
                self._stamp = stamp
                log.warning(
                    "loading the new certificate failed, keeping the old one error=%r",
                    error.strerror,
                )
        if self._context is None:
            raise OSError(0, "no certificate")
        return self._context.wrap_socket(
            connection,
            server_side=True,
            do_handshake_on_connect=False,
        )

    def _load(self) -> None:
        stamp = self._stamps()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            for path in self._files:  # OpenSSL would block on a FIFO
                regular_file.read(path, regular_file.LONGEST_CERTIFICATE)
            context.load_cert_chain(*self._files, password=_no_passphrase)
        except (OSError, ValueError) as error:
            # The errors of OpenSSL contain no file name.
            files = ", ".join(str(path) for path in self._files)
            why = getattr(error, "strerror", None) or str(error)
            raise OSError(0, f"{files}: {why}") from error
        self._context, self._stamp = context, stamp

    def _stamps(self) -> tuple[int, ...]:
        try:
            return tuple(os.stat(path).st_mtime_ns for path in self._files)  # noqa: PTH116 - plain
        except OSError:
            return ()


def _no_passphrase() -> str:
    """Stop OpenSSL from asking on the terminal or on fd 0, where supervisord sends its events."""
    raise ValueError("the key has a passphrase; use a key without a passphrase")
