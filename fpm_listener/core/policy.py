"""The settings that decisions about a process depend on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm_listener.core.healing import NO_HEALING, HealingPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.loops import LoopPolicy
    from fpm_listener.core.snapshot import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What the operator has set."""

    loops: Mapping[Tier, LoopPolicy]
    stable_for_s: float = 120.0
    repeat_interval_s: float = 4 * 3600.0
    chinese: bool = False  #: a receiver wants to read Chinese
    healing: HealingPolicy = NO_HEALING
