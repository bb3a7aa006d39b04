"""Finds receivers that cannot work, because a file or a command of their settings is unusable.

No message has the content of a file or a URL.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import regular_file
from fpm_listener.settings.ini_section import is_url
from fpm_listener.settings.receiver_types import ReceiverProblem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fpm_listener.settings.receivers import ReceiverSettings

log = logging.getLogger(__name__)

NO_RECEIVER = ReceiverProblem("", "no receiver is configured: alerts are sent nowhere")
_CERTIFICATES = ("ca_file", "cert_file", "key_file")
_FILES = (
    *("url_file", "token_file", "password_file", "secret_file", "routing_key_file"),
    *_CERTIFICATES,
)
_FORBIDDEN = os.strerror(errno.EACCES)
#: Bytes of those files that do not only hold one secret.
_LONGEST = dict.fromkeys(_CERTIFICATES, regular_file.LONGEST_CERTIFICATE)


def problems(
    receivers: Sequence[ReceiverSettings], *, may_read: bool = True
) -> tuple[ReceiverProblem, ...]:
    """Return why alerts will not be delivered, as far as this host shows it.

    may_read: False = the listener has other rights, so a file that we may not read is no problem.
    """
    if not receivers:
        return (NO_RECEIVER,)
    return tuple(
        ReceiverProblem(receiver.name, why)
        for receiver in receivers
        for why in _whys(receiver, may_read=may_read)
    )


class ReceiversChecked(NamedTuple):
    """For the main thread: why alerts will not be delivered."""

    problems: tuple[ReceiverProblem, ...]


class ReceiverCheck:
    """Checks all receivers, and logs new problems. Used by one thread."""

    def __init__(self) -> None:
        self._known: tuple[ReceiverProblem, ...] = ()

    def look(self, receivers: Sequence[ReceiverSettings], *, again: bool) -> ReceiversChecked:
        """Return the problems. `again`: log those that were logged before, too."""
        found = problems(receivers)
        for problem in found:
            if problem in self._known and not again:
                continue
            if problem.receiver:
                log.warning(
                    "receiver cannot work receiver=%s why=%r", problem.receiver, problem.why
                )
            else:
                log.warning("%s", problem.why)
        if self._known and not found:
            log.info("all receivers can work now, as far as this host shows it")
        self._known = found
        return ReceiversChecked(found)


def _whys(receiver: ReceiverSettings, *, may_read: bool) -> list[str]:
    found = []
    for setting in _FILES:
        path: Path | None = getattr(receiver, setting)
        why = _why(setting, path) if path is not None else None
        if why is not None and (may_read or why != _FORBIDDEN):
            found.append(f"{setting} {path}: {why}")
    command = receiver.command[0] if receiver.command else None
    if command is not None and not _is_found(command):
        found.append(f"command {command}: not found, or it cannot be executed")
    return found


def _is_found(command: str) -> bool:
    import shutil  # noqa: PLC0415 - late, see ADR 044

    return shutil.which(command) is not None


def _why(setting: str, path: Path) -> str | None:
    try:
        text = regular_file.read_secret(path, _LONGEST.get(setting, regular_file.LONGEST_SECRET))
    except OSError as error:
        return error.strerror or str(error)
    if setting == "url_file" and not is_url(text.decode(errors="replace")):
        return "has no URL that begins with http:// or https://"
    return None
