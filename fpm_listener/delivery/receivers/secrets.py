"""Reads the files that contain URLs, passwords, tokens and keys of one receiver.

Laws:
1. A file is read again for each attempt, so it can be replaced without a reload.
2. No secret that was read is in a log or in a returned text: `hide` removes it.
3. A file that every user can read causes one warning.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import stat
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import quote

from fpm_listener import regular_file
from fpm_listener.delivery.attempt import FailureReason, RetryLater
from fpm_listener.settings.ini_section import is_url

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

HIDDEN = "***"
#: Characters of the shortest part of a URL that may be a key.
_SHORTEST_KEY = 6
_MOST_SEEN = 500


class BadFileError(Exception):
    """A file of the settings cannot be used now; the operator may fix it."""

    def __init__(self, message: str, reason: FailureReason = FailureReason.OTHER) -> None:
        super().__init__(message)
        self.outcome = RetryLater(reason=reason, detail=message)


class Secrets:
    """The secrets of one receiver. Used by one thread."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._settings = settings
        self._warned: set[str] = set()
        self._seen: dict[str, None] = {}  # oldest first

    def url(self) -> str:
        """Return the URL of the receiver. Raises BadFileError."""
        settings = self._settings
        url = settings.url or self.read_line("url_file", settings.url_file)
        if not is_url(url):
            raise BadFileError(
                f"url_file {settings.url_file}: the URL must begin with http:// or https://"
            )
        if url.startswith("http://") and not is_loopback(url):
            self.warn("alerts leave this host without encryption", "url")
        self._remember_parts(url)
        return url

    def _remember_parts(self, url: str) -> None:
        """Hide a URL, and its parts that are long enough to be a key."""
        from urllib.parse import parse_qsl, unquote, urlsplit  # noqa: PLC0415 - only senders need it

        parts = urlsplit(url)
        self.remember(url)
        if parts.password:
            self.remember(parts.password)
            self.remember_pair(unquote(parts.username or ""), unquote(parts.password))
        values = [value for _, value in parse_qsl(parts.query)]
        for part in (parts.path, parts.query, *parts.path.split("/"), *values):
            if len(part) >= _SHORTEST_KEY:
                self.remember(part)

    def read_line(self, setting: str, path: Path | None) -> str:
        """Return the one line of a file. Raises BadFileError."""
        lines = self.read_lines(setting, path)
        if len(lines) != 1:
            raise BadFileError(f"{setting} {path}: must have one line")
        return lines[0]

    def read_lines(self, setting: str, path: Path | None) -> list[str]:
        """Return the lines of a file that are not empty. Raises BadFileError."""
        if path is None:
            raise BadFileError(f"{setting}: is not set")
        try:
            text = regular_file.read_secret(path).decode()
        except OSError as error:
            raise BadFileError(f"{setting} {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise BadFileError(f"{setting} {path}: is not UTF-8") from None
        self.warn_if_readable(setting, path)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines or not all(line.isprintable() for line in lines):
            raise BadFileError(f"{setting} {path}: is not plain text")
        for line in lines:
            self.remember(line)
        return lines

    def remember(self, secret: str) -> str:
        """Return `secret`; `hide` removes it from now on, in each of its forms."""
        for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
            self._seen.pop(form, None)
            self._seen[form] = None
        while len(self._seen) > _MOST_SEEN:  # each attempt may have another signature
            del self._seen[next(iter(self._seen))]
        return secret

    def remember_pair(self, username: str, password: str) -> str:
        """Return both in the form of basic authentication, and hide all forms of them."""
        plain = base64.b64encode(f"\0{username}\0{password}".encode()).decode("ascii")  # SMTP's
        self.remember(plain)
        self.remember(base64.b64encode(password.encode()).decode("ascii"))
        return self.remember(base64.b64encode(f"{username}:{password}".encode()).decode("ascii"))

    def hide(self, text: str, shortest: int = 1) -> str:
        """Return `text` without the known secrets that have at least `shortest` characters."""
        for secret in sorted(self._seen, key=len, reverse=True):
            if len(secret) >= shortest:
                text = text.replace(secret, HIDDEN)
        return text

    def warn_if_readable(self, setting: str, path: Path) -> None:
        """Warn if every user of this host can read a file."""
        with suppress(OSError):
            if stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
                self.warn("every user of this host can read a file with a secret", setting)

    def warn(self, sentence: str, setting: str) -> None:
        """Log a warning about a setting, once."""
        if setting not in self._warned:
            self._warned.add(setting)
            log.warning("%s receiver=%s setting=%s", sentence, self._settings.name, setting)


def hmac_base64(key: bytes, message: bytes) -> str:
    """Return the HMAC-SHA256 of a message, in base64."""
    import hashlib  # noqa: PLC0415 - only senders need it
    import hmac  # noqa: PLC0415 - the same

    return base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode("ascii")


def check_certificate(setting: str, path: Path) -> None:
    """Raise BadFileError if a certificate cannot be read."""
    try:
        regular_file.read(path, regular_file.LONGEST_CERTIFICATE)
    except OSError as error:
        message = f"{setting} {path}: {error.strerror}"
        raise BadFileError(message, FailureReason.TLS) from error


def is_loopback(url: str) -> bool:
    """Return whether a URL stays on this host."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - only senders need it

    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d+){3}", host))
