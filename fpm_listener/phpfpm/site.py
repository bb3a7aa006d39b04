"""What php-fpm's configuration says, as far as incidents need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.phpfpm.status_page import PoolTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class FpmSite:
    """What php-fpm's own configuration says, as far as incidents need it."""

    addresses: tuple[str, ...] = ()  #: listen addresses as configured
    pools: tuple[str, ...] = ()
    error_logs: tuple[str, ...] = ()  #: files; empty where it logs to stderr or syslog
    user: str | None = None  #: of the first pool's workers
    config: str = ""  #: the path of its main file
    targets: tuple[PoolTarget, ...] = ()  #: where its pools can be asked
    check_command: str = "php-fpm -t"  #: has php-fpm check its own configuration
