"""Says how many workers fit into the memory and how many were busy: in each language and output.

Law: each number has its basis. What is unknown is said to be unknown, with the reason.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from fpm_listener.durations import age

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from fpm_listener.phpfpm.pool_capacity import Capacity, PoolSize, SharedLimit

#: Words in English about one worker or sample.
_ONE = re.compile(r"\b1 (?:(workers) fit\b|(are) |((?:busy )?worker|sample)s\b)")
#: From this age on, a text states the age of the last sample.
_OLD_S = 600.0
#: The most pools that an alert describes.
_MOST_POOLS = 3


def lines(
    frames: Mapping[str, str],
    size: Capacity,
    max_children: int | None,
    at: Callable[[float], str],
    now_s: float,
) -> list[str]:
    """Return clauses about one pool; at: shows a moment; now_s: wall seconds."""
    found = []
    if size.fits is not None:
        text = frames["size_fits" if size.fits else "size_none"]
        text = text.format(fits=size.fits, where=_where(frames, size.where))
        if max_children is not None:
            text += frames["size_configured"].format(most=max_children)
        is_old = now_s - size.until_s > _OLD_S
        last = frames["size_last"].format(age=age(now_s - size.until_s)) if is_old else ""
        basis = {"workers": size.workers, "since": at(size.since_s), "last": last}
        found.append(text + frames["size_basis"].format_map(basis))
    elif size.why is not None:
        why = frames[f"size_why_{size.why.value}"].format(subject=size.subject)
        found.append(frames["size_unknown"].format(why=why))
    if size.busy_peak is not None:
        text = frames["size_peak"].format(
            peak=size.busy_peak, samples=size.busy_samples, since=at(size.busy_since_s)
        )
        found.append(text + (frames["size_waited"] if size.waited else ""))
    return [_ONE.sub(_singular, line) for line in found]


def _singular(found: re.Match[str]) -> str:
    workers, verb, noun = found.groups()
    return "1 worker fits" if workers else "1 is " if verb else f"1 {noun}"


def described(frames: Mapping[str, str], sizes: Sequence[PoolSize], now_s: float) -> str:
    """Return sentences for an alert; empty if nothing is known."""
    found = [
        (one.pool, lines(frames, one.capacity, one.max_children, _utc, now_s))
        for one in sizes[:_MOST_POOLS]
    ]
    return "".join(
        frames["size_sentence"].format(pool=pool, lines=frames["semicolon"].join(known))
        for pool, known in found
        if known
    )


def grow(frames: Mapping[str, str], sizes: Sequence[PoolSize]) -> str:
    """Return what to do if pools need more workers; never more than fit."""
    known = [one for one in sizes if one.capacity.fits is not None]
    shared = next((one.shared for one in sizes if one.shared is not None), None)
    found = [] if known else [frames["grow_unknown"]]
    if shared is None or shared.configured <= shared.most:  # else a higher one changes nothing
        found += [_grow(frames, one) for one in known[:_MOST_POOLS]]
    if shared is not None:
        found.append(_grow_shared(frames, shared))
    return frames["semicolon"].join(found)


def _grow_shared(frames: Mapping[str, str], shared: SharedLimit) -> str:
    if shared.fits is None:
        frame = "grow_shared_unknown"
    else:
        frame = "grow_shared_to" if shared.fits > shared.most else "grow_shared_full"
    return frames[frame].format(most=shared.most, fits=shared.fits)


def _grow(frames: Mapping[str, str], one: PoolSize) -> str:
    fits, most = one.capacity.fits or 0, one.max_children or 0
    frame = "grow_to" if fits > most else "grow_full" if fits else "grow_none"
    return frames[frame].format(pool=one.pool, fits=fits, most=most)


def lower(frames: Mapping[str, str], sizes: Sequence[PoolSize]) -> str:
    """Return what to do with pools that use too much memory."""
    known = [one for one in sizes if one.capacity.fits is not None]
    if not known:
        return frames["lower_unknown"]
    above = [one for one in known if (one.capacity.fits or 0) < (one.max_children or 0)]
    if not above:
        return frames["lower_fits"]
    if not all(one.capacity.fits for one in above):
        none = next(one.pool for one in above if not one.capacity.fits)
        return frames["lower_none"].format(pool=none)
    return frames["lower_to"].format(pools=_listed(frames, above))


def _listed(frames: Mapping[str, str], sizes: Sequence[PoolSize]) -> str:
    shown: Iterable[str] = (
        frames["lower_pool"].format(fits=one.capacity.fits, pool=one.pool)
        for one in sizes[:_MOST_POOLS]
    )
    more = len(sizes) - _MOST_POOLS
    rest = frames["lower_more"].format(count=more) if more > 0 else ""
    return frames["comma"].join(shown) + rest


def _where(frames: Mapping[str, str], where: str) -> str:
    names = {"cgroup /": "size_container", "this host": "size_host"}
    return frames[names[where]] if where in names else where


def _utc(wall_s: float) -> str:
    return f"{datetime.fromtimestamp(wall_s, timezone.utc):%Y-%m-%d %H:%M} UTC"
