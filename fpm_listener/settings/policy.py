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
    """When failures or restarts count as a loop."""

    threshold: int  #: failures or restarts; at least 2
    window_s: float  #: seconds in which they must happen


#: No failures are a loop.
NEVER = LoopPolicy(threshold=2, window_s=0.0)

#: The most starts of one program by self-healing in a day.
MOST_A_DAY = 50


class Span(NamedTuple):
    """From the first delay to the longest: `10s..5m`."""

    first_s: float
    longest_s: float


class HealingPolicy(NamedTuple):
    """The self-healing that the operator has switched on."""

    restart_fatal: Span | None = None  #: start a FATAL program again
    loop_delay: Span | None = None  #: stop a program in a restart loop, and start it again later
    shutdown_on_fatal: bool = False  #: shut supervisord down if a program has ended for good
    fatal_programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program

    @property
    def after_fatal(self) -> tuple[str, ...]:
        """Return globs over group:name of the programs whose FATAL has a consequence."""
        if self.shutdown_on_fatal:
            return self.fatal_programs or ("*",)
        return ("*",) if self.restart_fatal else ()


NO_HEALING = HealingPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The settings that the engine decides by."""

    loops: Mapping[Tier, LoopPolicy]
    stable_for_s: float = 120.0
    repeat_interval_s: float = 4 * 3600.0
    healing: HealingPolicy = NO_HEALING
    evidence_lines: int = 8  #: lines of output in an alert, 0 to 20
    exit_loop: LoopPolicy = NEVER  #: restarts after expected exits that are a loop
