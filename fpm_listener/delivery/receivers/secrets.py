"""The files that hold URLs, passwords, tokens and keys of one receiver.

Laws:
1. A file is read anew for each attempt, so it can be exchanged without a word to the listener.
2. Nothing that was read here is in a log or in a returned text: `hide` takes it out.
3. Who lets everybody read such a file is warned, once.
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
from fpm_listener.delivery.attempt import FailureReason
from fpm_listener.settings.ini_section import is_url

if TYPE_CHECKING:
    from pathlib import Path

    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

HIDDEN = "***"
#: Characters from which on a part of a URL may be a key.
_KEY_LENGTH = 6
_MOST_SEEN = 500


class BadFileError(Exception):
    """A file of the settings that cannot be used now; the operator may mend it."""

    def __init__(self, message: str, reason: FailureReason = FailureReason.OTHER) -> None:
        super().__init__(message)
        self.reason = reason


class Secrets:
    """Those of one receiver. Used by one thread."""

    def __init__(self, settings: ReceiverSettings) -> None:
        self._settings = settings
        self._warned: set[str] = set()
        self._seen: dict[str, None] = {}  # oldest first

    def url(self) -> str:
        """Return where the receiver is. Raises BadFileError."""
        settings = self._settings
        url = settings.url or self.one("url_file", settings.url_file)
        if not is_url(url):
            raise BadFileError(
                f"url_file {settings.url_file}: no URL that begins with http:// or https://"
            )
        if url.startswith("http://") and not is_loopback(url):
            self.warn("a receiver on another host is told without encryption", "url")
        self._remember_parts(url)
        return url

    def _remember_parts(self, url: str) -> None:
        """Hide a URL, and what in it is long enough to be a key."""
        from urllib.parse import parse_qsl, unquote, urlsplit  # noqa: PLC0415 - only who sends needs it

        parts = urlsplit(url)
        self.remember(url)
        if parts.password:
            self.remember(parts.password)
            self.remember_pair(unquote(parts.username or ""), unquote(parts.password))
        values = [value for _, value in parse_qsl(parts.query)]
        for part in (parts.path, parts.query, *parts.path.split("/"), *values):
            if len(part) >= _KEY_LENGTH:
                self.remember(part)

    def one(self, setting: str, path: Path | None) -> str:
        """Return the one line of a file. Raises BadFileError."""
        lines = self.lines(setting, path)
        if len(lines) != 1:
            raise BadFileError(f"{setting} {path}: has more than one line")
        return lines[0]

    def lines(self, setting: str, path: Path | None) -> list[str]:
        """Return the lines of a file that are not empty. Raises BadFileError."""
        if path is None:
            raise BadFileError(f"{setting}: is not set")
        try:
            text = regular_file.read_secret(path).decode()
        except OSError as error:
            raise BadFileError(f"{setting} {path}: {error.strerror}") from error
        except UnicodeDecodeError:
            raise BadFileError(f"{setting} {path}: is not UTF-8") from None
        self.warn_of_mode(setting, path)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        if not lines or not all(line.isprintable() for line in lines):
            raise BadFileError(f"{setting} {path}: is not plain text")
        for line in lines:
            self.remember(line)
        return lines

    def remember(self, secret: str) -> str:
        """Return `secret`, which `hide` takes out of texts from now on, in each of its forms."""
        for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
            self._seen.pop(form, None)
            self._seen[form] = None
        while len(self._seen) > _MOST_SEEN:  # each attempt may have a signature of its own
            del self._seen[next(iter(self._seen))]
        return secret

    def remember_pair(self, username: str, password: str) -> str:
        """Return both as basic authentication has them, and hide all forms of it."""
        plain = base64.b64encode(f"\0{username}\0{password}".encode()).decode("ascii")  # SMTP's
        self.remember(plain)
        self.remember(base64.b64encode(password.encode()).decode("ascii"))
        return self.remember(
            base64.b64encode(f"{username}:{password}".encode()).decode("ascii"),
        )

    def hide(self, text: str, least: int = 1) -> str:
        """Return `text` without any secret that was seen; least: the shortest to be looked for."""
        for secret in sorted(self._seen, key=len, reverse=True):
            if len(secret) >= least:
                text = text.replace(secret, HIDDEN)
        return text

    def warn_of_mode(self, setting: str, path: Path) -> None:
        """Warn where everybody on this host can read a file."""
        with suppress(OSError):
            if stat.S_IMODE(path.stat().st_mode) & stat.S_IROTH:
                self.warn("a file with a secret can be read by everybody on this host", setting)

    def warn(self, sentence: str, setting: str) -> None:
        """Warn of a setting, once."""
        if setting not in self._warned:
            self._warned.add(setting)
            log.warning("%s receiver=%s setting=%s", sentence, self._settings.name, setting)


def probe(setting: str, path: Path) -> None:
    """Raise BadFileError where a certificate cannot be opened."""
    try:
        regular_file.read(path, regular_file.LONGEST_CERTIFICATE)
    except OSError as error:
        message = f"{setting} {path}: {error.strerror}"
        raise BadFileError(message, FailureReason.TLS) from error


def is_loopback(url: str) -> bool:
    """Return whether a URL stays on this host."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - only who sends needs it

    host = urlsplit(url).hostname or ""
    return host in {"localhost", "::1"} or bool(re.fullmatch(r"127(\.\d+){3}", host))
