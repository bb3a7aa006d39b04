"""An address that is in use, and who uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.address_holders import HolderReport


class HeldAddress(NamedTuple):
    """The holders of an address that a php-fpm of the configuration listens on."""

    address: str
    report: HolderReport
    ancestors: Mapping[int, tuple[int, ...]]  #: by a holder's pid: its own, its parent's, and so on
    children: frozenset[int]  #: pids that are children of the supervisord of this configuration
