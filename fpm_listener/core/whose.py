"""Whose line it is, where several processes write to one log."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.core.facts import LogFact
    from fpm_listener.core.watched import Watched


def choose(fact: LogFact, candidates: Iterable[Watched]) -> Watched | None:
    """Return the process that a line of a shared log belongs to; None where there is none.

    By address, by pid, by pool; then who is starting up rather than who runs; then the first.
    """
    left = list(candidates)
    if len(left) > 1:
        for matches in (
            lambda w: fact.address is not None and fact.address in w.site.addresses,
            lambda w: fact.pid is not None and fact.pid == w.life.pid,
            lambda w: fact.pool is not None and fact.pool in w.site.pools,
            lambda w: w.starting_up,
        ):
            matching = [watched for watched in left if matches(watched)]
            left = matching or left
    return left[0] if left else None
