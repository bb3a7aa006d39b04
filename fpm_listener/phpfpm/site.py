"""The parts of php-fpm's configuration that incidents need."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fpm_listener.phpfpm.status_page import PoolTarget


class FpmSite(NamedTuple):
    """The parts of a configuration that incidents need."""

    addresses: tuple[str, ...] = ()  #: listen addresses as configured
    pools: tuple[str, ...] = ()
    error_logs: tuple[str, ...] = ()  #: files; empty if it logs to stderr or syslog
    user: str | None = None  #: of the first pool's workers
    config: str = ""  #: path of the main file
    targets: tuple[PoolTarget, ...] = ()  #: status pages of its pools
    check_command: str = "php-fpm -t"  #: checks the configuration
