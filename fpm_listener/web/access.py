"""Authentication of HTTP clients: password or token."""

from __future__ import annotations

import base64
import logging

# hmac has the same function, and loads OpenSSL, which needs 4 MiB.
from _operator import _compare_digest as compare_digest
from typing import TYPE_CHECKING, Any

from fpm_listener import regular_file

if TYPE_CHECKING:
    from fpm_listener.settings.settings import WebSettings

Environ = dict[str, Any]


log = logging.getLogger(__name__)


class Credentials:
    """The password and the token that clients may send; their files are read for each request."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._logged = False
        # A browser asks for a password, not for a token, so the token is accepted as a password.
        self.challenge = 'Basic realm="fpm-listener"'
        if settings.token_file is not None:
            self.challenge += ', Bearer realm="fpm-listener"'

    def allow(self, environ: Environ) -> bool:
        """Return whether the request may pass; it may not if a secret cannot be read."""
        scheme, _, word = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        # WSGI decodes a header as Latin-1; the file of a token is UTF-8.
        given = f"{scheme.lower()} {word}".encode("latin-1", "replace")
        as_token = b"bearer " + _password(word) if scheme.lower() == "basic" else given
        try:
            wanted = self._wanted()
        except OSError as error:
            if not self._logged:
                self._logged = True
                log.error(  # noqa: TRY400 - expected, and the traceback says no more
                    "secret file cannot be read, rejecting all requests file=%s error=%r",
                    error.filename,
                    error.strerror,
                )
            return False
        self._logged = False
        words = [(one, word) for one in wanted for word in (given, as_token)]
        return any([compare_digest(*pair) for pair in words])  # noqa: C419 - all compared

    def _wanted(self) -> list[bytes]:
        wanted = []
        if self._settings.token_file is not None:
            wanted.append(b"bearer " + regular_file.read_secret(self._settings.token_file))
        if self._settings.password_file is not None:
            pair = (self._settings.username or "").encode() + b":"
            word = base64.b64encode(pair + regular_file.read_secret(self._settings.password_file))
            wanted.append(b"basic " + word)
        return wanted


def _password(word: str) -> bytes:
    """Return the password of basic authentication, of any user; empty if there is none."""
    try:
        return base64.b64decode(word, validate=True).partition(b":")[2]
    except ValueError:
        return b""
