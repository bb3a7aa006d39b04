"""Steps the engine: commits the effects that must survive a restart, and starts the others.

Law: an unexpected error in one step or effect is counted and logged; the next one runs as usual.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon import supervisor_children
from fpm_listener.delivery.alert_texts import with_texts
from fpm_listener.incidents.effects import Notify
from fpm_listener.monitor.messages import (
    AnswerGuard,
    Discover,
    LeaveProgram,
    MuchOutput,
    ProcessExited,
    ReleaseSockets,
    SaveState,
    SelfHeal,
    WakeSupervisord,
    WatchPid,
)
from fpm_listener.monitor.pid_search import FindPid, StartsSeen
from fpm_listener.supervisor.pipe import wake
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.values import Instant
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.daemon.inbox import Inbox
    from fpm_listener.daemon.publisher import Publisher, Sources
    from fpm_listener.daemon.socket_keeper import SocketKeeper
    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.messages import Effect

log = logging.getLogger(__name__)


def read_clocks() -> Instant:
    """Return the present moment; the engine's only source of time."""
    return Instant(time.monotonic(), time.time())


class EngineRunner:
    """The engine and the calls that its effects become. Owned by the daemon."""

    def __init__(
        self, sources: Sources, keeper: SocketKeeper, publisher: Publisher, inbox: Inbox
    ) -> None:
        self._engine = sources.engine
        self._exits = sources.exits
        self._persistence = sources.persistence
        self._services = sources.services
        self._sources = sources
        self._publisher = publisher
        self._inbox = inbox
        self._errors = inbox.errors
        #: By the type of an effect; SaveState is committed and needs no call.
        self._calls: dict[type, Callable[[Any], None]] = {
            **self._services.effects,
            SelfHeal: self._heal,
            WatchPid: self._watch,
            FindPid: self._find_pid,
            WakeSupervisord: lambda effect: wake(effect.process),
            AnswerGuard: lambda effect: keeper.answer(*effect),
            ReleaseSockets: lambda effect: keeper.release(*effect),
            Notify: log_notification,
            MuchOutput: log_much_output,
        }

    def restore(self, now: Instant) -> list[Effect]:
        """Restore the state of an earlier listener; return the effects, which are committed."""
        timeline, states = self._engine.timeline, self._persistence.process_states()
        self._engine.set_log_readable(readable=self._services.has_rpc)
        self._errors.survive(Where.MEMORY, timeline.restore, self._persistence.timeline())
        timeline.began(now)
        effects = self._errors.result(Where.MEMORY, self._engine.restore, now, states) or []
        effects += self._engine.missed(now)  # the present states are not known yet
        self._engine.expect_programs()
        self.commit(effects, now)
        return effects

    def step(self, given: Input, now: Instant) -> bool:
        """Step the engine, commit, and start the effects; return False after an error."""
        effects = self.react(given, now, Where.INPUT)
        self.commit(effects or [], now)
        self.perform(effects or [])
        self._publisher.schedule(now)
        return effects is not None

    def react(self, given: Input, now: Instant, where: Where) -> list[Effect] | None:
        """Return the effects of an input; None after an unexpected error, counted at `where`."""
        return self._errors.result(where, self._engine.step, now, given)

    def missed(self, now: Instant, count: int = 0) -> list[Effect]:
        """Return the effects of lost or unreadable events; `count`: as far as it is known."""
        return self._engine.missed(now, count)

    def commit(self, effects: list[Effect], now: Instant, stamp: list[int] | None = None) -> None:
        """Write the effects that must survive a restart. `stamp`: of the event, if it is one."""
        kept = [effect for effect in effects if isinstance(effect, Notify | SaveState)]
        if kept:
            self._errors.survive(Where.DATABASE, self._persistence.commit, kept, now, stamp)

    def perform(self, effects: list[Effect]) -> None:
        """Start the effects; after the answer to supervisord, since waking threads takes time."""
        for effect in effects:
            call = self._calls.get(type(effect))
            if call is not None:
                self._errors.survive(Where.EFFECT, call, effect)

    def leave(self, program: str, now: Instant) -> bool:
        """Stop self-healing of a program; return False if it is unknown."""
        group, _, process = program.partition(":")
        name = ProcessName(group, process or group)
        known = any(view.name == name for view in self._engine.views())
        if known:
            self.step(LeaveProgram(name), now)
        return known

    def take_exits(self) -> None:
        """Report the exits that the kernel has announced."""
        for exited in self._errors.result(Where.INPUT, self._exits.take) or []:
            self.step(exited, read_clocks())

    def upkeep(self) -> None:
        """Watch the processes for which no descriptor was left before, and look for php-fpm."""
        self._exits.retry(lambda one: self._watch(WatchPid(*one)))
        self.look_for_fpm()

    def look_for_fpm(self) -> None:
        """Look for php-fpm behind a script: in the processes of programs."""
        pids = {view.name: view.pid for view in self._engine.views() if view.pid}
        if self._services.finder.has_new(pids, time.monotonic()):
            self._services.effects[Discover](Discover(all_configs=False))

    def start_paused(self) -> None:
        """Start the processes that self-healing has stopped for a while."""
        self._services.start_again([view.name for view in self._engine.views() if view.paused])

    def _heal(self, effect: SelfHeal) -> None:
        # A shutdown waits until alerts are sent, so the snapshot must show those of this step.
        self._publisher.publish(read_clocks(), self._sources)
        self._services.effects[SelfHeal](effect)

    def _find_pid(self, _: FindPid) -> None:
        # At once: supervisord's next event can be the exit, which contains no pid.
        children = supervisor_children.look()
        if children:
            self.step(StartsSeen(children), read_clocks())

    def _watch(self, effect: WatchPid) -> None:
        if not self._exits.watch(*effect):
            self._inbox.put(ProcessExited(*effect))


def log_much_output(effect: MuchOutput) -> None:
    """Log which program sends too many events, and what to change."""
    log.warning(
        "supervisord can lose events: a program sends very much output section=[%s] "
        "events_per_s=%.0f fix=%r",
        effect.section,
        effect.rate,
        "write its access log to a file (php-fpm: access.log in the pool), or set "
        f"{effect.channel}_events_enabled=false in [{effect.section}]",
    )


def log_notification(effect: Notify) -> None:
    """Log what is sent to receivers."""
    alert = with_texts(effect.alert, effect.facts)
    log.warning(
        "incident %s program=%s reason=%r cause=%s summary=%r",
        alert.status.value,
        effect.facts.name,
        alert.reason.value,
        alert.annotations["cause"],
        alert.annotations["summary"],
    )
