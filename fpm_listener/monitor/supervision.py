"""What all processes of one supervisord share: the settings, and the state of supervisord."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from fpm_listener.monitor.event_gap import Gap
from fpm_listener.monitor.exit_matcher import ExitMatcher
from fpm_listener.monitor.output_rate import OutputRate

if TYPE_CHECKING:
    from fpm_listener.incidents.pending_lookups import Lookup
    from fpm_listener.monitor.messages import Identity
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.process import ProcessName


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """The settings that decisions depend on."""

    policy: Policy
    identity: Identity
    programs: tuple[str, ...] = ()  #: globs over group:name; empty = every program
    fast_restart: bool = True  #: wake supervisord when a process exits
    hold_linger_s: float = 5.0  #: seconds that sockets of a stopped process are held
    keeps_requests: bool = True  #: keep what the workers are doing, for alerts
    reads_opcache: bool = True  #: php-fpm is asked for the numbers of its OPcache
    extra_logs: tuple[str, ...] = ()  #: log files that php-fpm's configuration does not name

    def choose(self, name: ProcessName) -> bool:
        """Return whether the listener follows a process."""
        return any(fnmatchcase(str(name), glob) for glob in self.programs or ("*",))


@dataclass(slots=True)
class Supervision:
    """The engine changes it; each ProcessMonitor reads it."""

    settings: EngineSettings
    id_token: str  #: random, new for each start of the listener; makes ids of incidents unique
    is_stopping: bool = False  #: supervisord stops
    #: What each alert waits for: the programs, while the listener starts.
    awaited: frozenset[Lookup] = frozenset()
    gap: Gap = field(default_factory=Gap)
    exits: ExitMatcher = field(default_factory=ExitMatcher)
    output_rate: OutputRate = field(default_factory=OutputRate)
