"""The settings that decisions about a process depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.vocabulary import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.vocabulary import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopPolicy:
    """When a program counts as looping."""

    threshold: int  #: failed starts + crashes that make a loop; at least 2
    window_s: float  #: seconds that they must fall in


#: Starts of one program in a day.
MOST_A_DAY = 50


class Span(NamedTuple):
    """From the first delay to the longest: `10s..5m`."""

    first_s: float
    longest_s: float


class HealingPolicy(NamedTuple):
    """What the operator wants; nothing, unless asked for."""

    restart_fatal: Span | None = None  #: start again what supervisord gave up on
    loop_delay: Span | None = None  #: stop what loops, and start it again later
    shutdown_on_fatal: bool = False  #: end supervisord when it gives up on a program


NO_HEALING = HealingPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator has set."""

    loops: Mapping[Tier, LoopPolicy]
    stable_for_s: float = 120.0
    repeat_interval_s: float = 4 * 3600.0
    healing: HealingPolicy = NO_HEALING
