"""The part of the settings that the engine needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.monitor.messages import Identity
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.settings.policy import Policy

if TYPE_CHECKING:
    from fpm_listener.settings.settings import Settings


def engine_settings(settings: Settings) -> EngineSettings:
    """Return the engine's settings."""
    repeats = [r.repeat_interval_s for r in settings.receivers if r.repeat_interval_s is not None]
    return EngineSettings(
        policy=Policy(
            loops=settings.loops,
            stable_for_s=settings.stable_for_s,
            repeat_interval_s=min([settings.repeat_interval_s, *repeats]),
            healing=settings.healing,
            evidence_lines=settings.evidence_lines,
            exit_loop=settings.exit_loop,
        ),
        identity=Identity(instance=settings.instance),
        fast_restart=settings.fast_restart,
        hold_linger_s=settings.hold_linger_s,
        programs=settings.programs,
        keeps_requests=settings.fpm_requests,
        reads_opcache=settings.opcache_status,
        extra_logs=tuple(str(path) for path in settings.error_log),
    )
