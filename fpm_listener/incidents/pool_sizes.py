"""Keeps what was known last about the size of each pool, even after php-fpm has ended.

It is in memory only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.phpfpm.pool_capacity import PoolSize, SharedLimit, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fpm_listener.phpfpm.status_page import PoolView


class PoolSizes:
    """The sizes of one php-fpm's pools."""

    def __init__(self) -> None:
        self._sizes: dict[str, PoolSize] = {}

    def take(self, pools: Sequence[PoolView]) -> None:
        """Take a look at all pools; none = nobody looks any more."""
        found = {one.pool: self._newest(one) for one in pools}
        if found:
            shared = _shared(max(one.process_max for one in pools), tuple(found.values()))
            self._sizes = {name: one._replace(shared=shared) for name, one in found.items()}

    def _newest(self, view: PoolView) -> PoolSize:
        new = PoolSize(view.pool, view.max_children, view.capacity)
        old = self._sizes.get(view.pool)
        is_unmeasured = view.capacity.why in {None, Unknown.UNMEASURED}
        if old is None or view.capacity.fits is not None or not is_unmeasured:
            return new
        # A php-fpm that has ended, or new settings of the listener: there is no newer sample.
        is_same = old.max_children == new.max_children and old.capacity.fits is not None
        return old if is_same else new

    def of(self, names: Collection[str] = ()) -> tuple[PoolSize, ...]:
        """Return the sizes of these pools, or of all, those that lack most memory first."""
        found = [one for one in self._sizes.values() if not names or one.pool in names]
        return tuple(sorted(found, key=_spare))


def _shared(process_max: int, sizes: Sequence[PoolSize]) -> SharedLimit | None:
    """Return process.max if all pools together can reach it; 0 = no limit."""
    configured = sum(one.max_children or 0 for one in sizes)
    if not process_max or configured < process_max:
        return None
    fits = [one.capacity.fits for one in sizes if one.capacity.fits is not None]
    return SharedLimit(process_max, configured, sum(fits) if len(fits) == len(sizes) else None)


def _spare(one: PoolSize) -> int:
    fits = one.capacity.fits
    return 0 if fits is None else fits - (one.max_children or 0)
