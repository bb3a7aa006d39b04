"""The input of the engine about the OPcache of a php-fpm."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.phpfpm.opcache import OpcacheView
    from fpm_listener.supervisor.process import ProcessName


class OpcacheSeen(NamedTuple):
    """Input: one reading."""

    process: ProcessName
    view: OpcacheView
