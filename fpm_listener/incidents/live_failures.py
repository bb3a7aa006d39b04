"""Problems that are not failures of the program itself, as supervisord sees it.

Its workers fail, its pools do not answer, it exits as expected again and again, or supervisord had
to kill it.
"""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.incidents.exit_loop import ExitLoop
from fpm_listener.incidents.live_view import LiveView, WorkersView
from fpm_listener.incidents.opcache_full import OpcacheFull
from fpm_listener.incidents.pool_sizes import PoolSizes
from fpm_listener.incidents.request_history import RequestHistory
from fpm_listener.incidents.saturation import Saturation
from fpm_listener.incidents.worker_failures import WorkerFailures
from fpm_listener.phpfpm.pool_life import QUEUED, Life
from fpm_listener.vocabulary import Cause, State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.incidents.incident_facts import IncidentFacts
    from fpm_listener.incidents.post_mortem import PostMortem
    from fpm_listener.incidents.process_news import ProcessExit
    from fpm_listener.phpfpm.opcache import OpcacheView
    from fpm_listener.phpfpm.pool_capacity import PoolSize
    from fpm_listener.phpfpm.status_page import PoolView
    from fpm_listener.settings.policy import Policy
    from fpm_listener.supervisor.exit_log import ExitNote
    from fpm_listener.supervisor.process import ProcessName, Program
    from fpm_listener.values import Instant

#: Looks in a row at a pool that accepts nothing, until it is a problem.
SILENT_LOOKS = 3
#: And the seconds that they must last. A worker that runs can be busy with a long request.
#: Who is not visible can be busy too.
SILENT_FOR_S = {
    Life.STOPPED: 4.0,
    Life.NO_WORKERS: 10.0,
    Life.UNKNOWN: 300.0,
    Life.ALIVE: 300.0,
}
_WHY = {
    Life.STOPPED: "; its processes are stopped (state T)",
    Life.NO_WORKERS: "; it has no workers",
    Life.ALIVE: "; its workers are not stopped",
    Life.UNKNOWN: "",
}

#: The states of a process that does not exist.
_ENDED = frozenset({State.STOPPED, State.BACKOFF, State.EXITED, State.FATAL})

#: Seconds by which the listener can hear of a stop later than supervisord began it (0.02 measured).
_HEARD_LATE_S = 0.5


class _Silence(NamedTuple):
    """Looks at a pool that accepted nothing."""

    since_s: float
    looks: int = 0

    @property
    def next(self) -> _Silence:
        return self._replace(looks=self.looks + 1)

    def lasts(self, now_s: float, life: Life) -> bool:
        """Return whether it is a problem."""
        return self.looks >= SILENT_LOOKS and now_s - self.since_s >= SILENT_FOR_S[life]


class LiveFailures:
    """The problems of one process. All moments are monotonic seconds."""

    def __init__(self, name: ProcessName, policy: Policy) -> None:
        self.workers = WorkerFailures(name, policy)
        self.exit_loop = ExitLoop(policy.exit_loop, policy.stable_for_s)
        self.opcache = OpcacheFull(policy.stable_for_s)
        self.requests = RequestHistory()
        self.saturation = Saturation()
        self.sizes = PoolSizes()
        self.problems: dict[Cause, str] = {}  #: each with the line that shows it
        self.program: Program | None = None  #: as configured; None = unknown
        self._pools: tuple[str, ...] = ()
        self._silent_pools: tuple[str, ...] = ()  # that the last line is about
        self._silence = ""  # the line about pools that do not answer; empty = they answer
        self.silent: dict[str, _Silence] = {}  #: by pool, in this run
        self._answered_at_s = float("-inf")  # after a silence
        self._stop_timeout = ""  # the line that shows a kill at the end of stopwaitsecs
        self._killed_pid: int | None = None  # the last one that was killed so

    def configure(self, program: Program | None, pools: tuple[str, ...]) -> None:
        """Set what the configuration of the program contains; `pools`: their names."""
        self.program, self._pools = program, pools
        if program is not None:
            self.exit_loop.configure(program)

    def reconfigure(self, policy: Policy) -> None:
        """Use new settings."""
        self.workers.reconfigure(policy)
        self.exit_loop.reconfigure(policy.exit_loop, policy.stable_for_s)
        self.opcache.reconfigure(policy.stable_for_s)

    def take_pools(self, now_s: float, state: State, pools: tuple[PoolView, ...]) -> None:
        """Take the answers of the pools; they count while supervisord reports RUNNING."""
        self.sizes.take(pools)
        running = pools if state is State.RUNNING else ()
        self.saturation.take(now_s, [one for one in running if not one.life.is_dead])
        self._take_silence(now_s, [pool for pool in running if pool.silent])
        self._set_problems()

    def _take_silence(self, now_s: float, silent: Sequence[PoolView]) -> None:
        if not silent:
            self._end_silence(now_s)
            return
        self.silent = {
            pool.pool: self.silent.get(pool.pool, _Silence(now_s)).next for pool in silent
        }
        dead = [pool for pool in silent if self.silent[pool.pool].lasts(now_s, pool.life)]
        if not self._silence and dead:
            self._silent_pools = tuple(pool.pool for pool in dead)
            names = ", ".join(self._silent_pools)
            lasted_s = now_s - min(self.silent[pool.pool].since_s for pool in dead)
            why = _WHY[dead[0].life]
            self._silence = (
                f"seen: pool {names}: {dead[0].detail or QUEUED} for {lasted_s:.0f} s{why}"
            )

    def take_opcache(self, now_s: float, state: State, view: OpcacheView) -> None:
        """Take a reading of OPcache."""
        if state not in _ENDED:  # else it is of the last run
            self.opcache.take(now_s, view)
            self._set_problems()

    def end_polls(self, now_s: float) -> None:
        """Forget the pools: nobody looks at them any more, or the run has ended."""
        self.saturation.clear(now_s)
        self._end_silence(now_s)
        self._set_problems()

    def _end_silence(self, now_s: float) -> None:
        if self._silence:
            self._answered_at_s = now_s
        self._silence, self.silent = "", {}

    def take_gone(self, now_s: float, pids: frozenset[int]) -> None:
        """Take the processes that do not exist any more."""
        self.workers.take_result(now_s, pids)
        self._set_problems()

    def take_examination(self, found: PostMortem) -> None:
        """Take what the machine shows about the workers."""
        self.workers.take_examination(found)
        self._set_problems()

    def take_restart(self, now_s: float) -> None:
        """Count a start that follows an expected exit."""
        self.exit_loop.take_restart(now_s)
        self._set_problems()

    def take_stop(self, ended: ProcessExit, note: ExitNote | None, *, is_free: bool) -> None:
        """Take a stop that may have ended with SIGKILL when stopwaitsecs were over."""
        if ended.stop_s is None or note is None or note.reason.signal != signal.SIGKILL:
            return
        waits_s = self.program.stopwaitsecs if self.program else None
        if waits_s is not None and ended.stop_s >= waits_s - _HEARD_LATE_S:
            self.take_kill(ended.pid, note.line, is_free=is_free)

    def take_kill(self, pid: int | None, line: str, *, is_free: bool) -> None:
        """Take a stop that SIGKILL has ended; `is_free`: no incident is open.

        The kernel and supervisord's log both report it, and the log can be much later.
        """
        is_known = pid is not None and pid == self._killed_pid
        self._killed_pid = pid
        if is_free and not is_known:
            self.take_stop_timeout(line)

    def take_stop_timeout(self, line: str) -> None:
        """Take the line that proves that supervisord killed the process; empty = forget it."""
        self._stop_timeout = line
        self._set_problems()

    def end_run(self, now_s: float) -> None:
        """Forget the pools, and the lines that wait for a check: the run has ended."""
        self.workers.end_run()
        self.opcache.end_run(now_s)
        self.end_polls(now_s)

    def view(self, cause: Cause) -> LiveView:
        """Return what a text about this cause contains."""
        workers = self.workers.view(cause)
        if workers.pool not in self._pools:
            workers = workers._replace(pool=None)  # an application can write any name
        waits_s = self.program.stopwaitsecs if self.program else None
        return LiveView(workers, self.exit_loop.view, waits_s, self.opcache.setting)

    def with_pools(
        self, now: Instant, facts: IncidentFacts, exits: Sequence[ProcessExit]
    ) -> IncidentFacts:
        """Add what the workers did before an incident, and how many fit; `exits`: failed ones."""
        cause, at_s = facts.cause, now.monotonic_s
        if cause is Cause.NOT_ANSWERING:
            at_s = min((one.since_s for one in self.silent.values()), default=at_s)
        elif cause in {Cause.CRASH_SIGNAL, Cause.OUT_OF_MEMORY}:
            at_s = max((self.workers.failed_at_s, *(ended.at_s for ended in exits)))
        lines, sizes = self.requests.lines(cause, at_s), self.pool_sizes(facts)
        return replace(facts, requests=lines, sizes=sizes, now_s=now.wall_s if sizes else 0.0)

    def pool_sizes(self, facts: IncidentFacts) -> tuple[PoolSize, ...]:
        """Return the sizes of the pools that an incident is about."""
        if facts.cause is Cause.SATURATED:
            return self.sizes.of(self.saturation.pools)
        if facts.cause is Cause.NOT_ANSWERING:
            return self.sizes.of(self._silent_pools)
        return self.sizes.of() if facts.lacks_memory else ()

    def memory(self, cause: Cause) -> dict[str, Any]:
        """Return what `restore` needs of an incident with this cause."""
        is_workers = cause in self.workers.problems
        workers = self.view(cause).workers._asdict() if is_workers else None
        return {"workers": workers, "opcache_setting": self.opcache.setting}

    def restore(
        self, now_s: float, cause: Cause, lines: Sequence[str], saved: Mapping[str, Any]
    ) -> None:
        """Restore the problem of an incident with this cause and evidence.

        `saved`: what `memory` returned. Raises KeyError, ValueError or TypeError.
        """
        if cause is Cause.STOP_TIMEOUT:
            self.take_stop_timeout(next(iter(lines), "seen: supervisord killed it"))
        if cause is Cause.OPCACHE_FULL:
            line, setting = next(iter(lines), "seen: OPcache is full"), saved.get("opcache_setting")
            self.opcache.restore(now_s, line, setting if isinstance(setting, str) else None)
            self._set_problems()
        if saved.get("workers"):
            line = next(iter(lines), "seen: workers failed")
            self.workers.restore(cause, WorkersView.restored(saved["workers"]), line)
            self._set_problems()

    def clear(self) -> None:
        """Forget everything: the incident is over."""
        self.workers.clear()
        self.exit_loop.clear()
        self.opcache.clear()
        self._stop_timeout = ""
        self._set_problems()

    @property
    def is_urgent(self) -> bool:
        """Return whether no request is answered, as far as that is known."""
        return bool(self._silence) or self.workers.cannot_start

    def _set_problems(self) -> None:
        lines = {
            Cause.NOT_ANSWERING: self._silence,
            Cause.EXIT_LOOP: self.exit_loop.line,
            Cause.STOP_TIMEOUT: self._stop_timeout,
            Cause.OPCACHE_FULL: self.opcache.line,
            Cause.SATURATED: self.saturation.line,
        }
        present = {cause: line for cause, line in lines.items() if line}
        self.problems = {**self.workers.problems, **present}

    def calm_since_s(self, settled_at_s: float, state: State) -> float | None:
        """Return since when there is no problem; None = there is one; inf = at the next start.

        settled_at_s: since when the process itself is in the state that its operator wants.
        """
        if self._silence or self.saturation.line:
            return None
        if self._stop_timeout and state is not State.RUNNING:
            return float("inf")
        parts = (self.workers, self.exit_loop, self.opcache)
        calm_since_s = max(part.calm_since_s for part in parts)
        ended_at_s = max(self._answered_at_s, self.saturation.ended_at_s)
        return max(settled_at_s, calm_since_s, ended_at_s)
