"""What is written to stderr for its own sake: to wake supervisord, and to tell of an incident."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.core.effects import Notify, WakeSupervisord

log = logging.getLogger(__name__)


def wake(effect: WakeSupervisord) -> None:
    """End supervisord's poll: it reads what its children write to stderr.

    Whatever log_level says: the line is not for people, though they may as well understand it.
    """
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} waking supervisord program={effect.process}\n"
    with contextlib.suppress(OSError):
        os.write(2, line.encode(errors="replace"))


def tell(effect: Notify) -> None:
    """Say in our own log what the receivers are told."""
    alert = effect.alert
    log.warning(
        "incident %s program=%s:%s reason=%r cause=%s summary=%r",
        alert.status.value,
        alert.labels["group"],
        alert.labels["process"],
        alert.reason.value,
        alert.annotations["cause"],
        alert.annotations["summary"],
    )
