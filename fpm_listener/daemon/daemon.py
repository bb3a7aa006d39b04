"""Wires threads, inbox, clock and signals; performs effects; has no policy.

Laws:
1. One owner, the main thread: it alone steps the engine and writes the database.
2. An event is answered after what must last is committed, and before anything slow.
3. The owner sleeps until something comes or something is due; it does not tick.
4. Threads exchange frozen values; a thread that dies takes the process down.
5. An unexpected error over one event is counted and logged. The event is answered, or supervisord
   would send it to the next listener too; the next upkeep asks supervisord for all states.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import time
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon.clocks import read_clocks
from fpm_listener.daemon.control_socket import Asked
from fpm_listener.daemon.engine_settings import engine_settings
from fpm_listener.daemon.exit_watch import ExitWatch
from fpm_listener.daemon.inbox import Failed, Inbox, SupervisorAnswered, Survived
from fpm_listener.daemon.lost_events import LostEvents
from fpm_listener.daemon.services import Services
from fpm_listener.daemon.signals import Signals
from fpm_listener.daemon.socket_keeper import SocketKeeper
from fpm_listener.daemon.startup_check import Examined
from fpm_listener.daemon.unreadable_events import UnreadableEvents
from fpm_listener.delivery.attempt import AttemptResult
from fpm_listener.histogram import Histogram
from fpm_listener.incidents.effects import CheckGone, ExamineExit, FindHolder, Notify
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.messages import (
    AnswerGuard,
    AskProcesses,
    Discover,
    GuardAsks,
    LeaveProgram,
    ProcessesSeen,
    ProcessExited,
    ProgramsKnown,
    ReadExits,
    ReadLogsNow,
    ReleaseSockets,
    SaveState,
    SelfHeal,
    Tick,
    WakeSupervisord,
    WatchPid,
)
from fpm_listener.settings import settings as settings_file
from fpm_listener.settings.receiver_check import ReceiversChecked
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.supervisor.deduplication import EventDeduplicator, supervisord_identity
from fpm_listener.supervisor.pipe import wake
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.protocol import Event, Garbage
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.daemon.unix_listener import Doors
    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.messages import Effect
    from fpm_listener.settings.settings import Settings
    from fpm_listener.supervisor.pipe import Pipe
    from fpm_listener.values import Instant


def tell(effect: Notify) -> None:
    """Log what is sent to the receivers."""
    from fpm_listener.delivery.alert_texts import with_texts  # noqa: PLC0415 - after READY

    alert = with_texts(effect.alert, effect.facts)
    log.warning(
        "incident %s program=%s reason=%r cause=%s summary=%r",
        alert.status.value,
        effect.facts.name,
        alert.reason.value,
        alert.annotations["cause"],
        alert.annotations["summary"],
    )


log = logging.getLogger(__name__)

#: Seconds between two snapshots while events pour in.
SNAPSHOT_EVERY_S = 0.02

#: Seconds between two tries to write the database again, and between two looks at supervisord.
UPKEEP_EVERY_S = 30.0

#: Seconds until what failed unexpectedly is tried again.
ERROR_PAUSE_S = 1.0

#: Seconds that alerts under way have to be taken before the listener ends.
PARTING_S = 1.0

#: Events after which a guard is started, or can be.
_ENDS = {f"PROCESS_STATE_{state}" for state in ("EXITED", "BACKOFF", "STOPPED", "FATAL")}

_ACK_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0)


class Daemon:
    """The listener: one owner, its threads around it."""

    def __init__(self, settings: Settings, pipe: Pipe, doors: Doors) -> None:
        """`doors`: the sockets that guards connect to."""
        self._settings = settings
        self._pipe = pipe
        self._inbox = Inbox()
        self._errors = self._inbox.errors
        self._poller = select.poll()
        self._deaths = ExitWatch(self._poller)
        self._engine = Engine(engine_settings(settings), secrets.token_hex(16))
        self._snapshot = Snapshot()
        self._snapshot_due_s: float | None = 0.0
        self._snapshot_at_s = 0.0
        self._upkeep_at_s = 0.0
        self._unreadable = UnreadableEvents(pipe)
        self._lost = LostEvents()
        self._internal_errors = {where.value: 0 for where in Where}
        self._pause_until_s = 0.0  # monotonic; nothing that is due by time is done before
        self._ready = False
        self._supervisor_up = False
        self._reload_ok, self._reload_at_s = True, time.time()
        self._started_at_s = time.time()
        self._ack_seconds = Histogram(_ACK_BUCKETS_S)
        self._stop = False
        self._signals = Signals()
        self._exit_status = 0
        self._around = Services(
            settings,
            self._inbox,
            SocketKeeper(doors, self._inbox.put, self._inbox.failed, self._inbox.errors.caught),
            lambda: self._snapshot,
            read_clocks(),
        )
        self._performers = self._make_performers()
        self._ledger = EventDeduplicator(
            self._around.ledger_path(),
            supervisord_identity(os.getppid()),
            self._around.committed(),
        )

    # -- the loop ----------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve supervisord until it goes away or says so; return the exit status."""
        self._signals.catch(self._inbox.wake_fd)
        for warning in self._settings.warnings:
            log.warning("settings doubtful: %s", warning)
        now = read_clocks()
        self._engine.reads_exits(possible=self._around.has_rpc)
        timeline = self._engine.timeline
        self._errors.survive(Where.MEMORY, timeline.restore, self._around.past())
        timeline.began(now)
        memory = self._around.memory()
        effects = self._errors.result(Where.MEMORY, self._engine.restore, now, memory) or []
        effects += self._engine.missed(now)  # how things are is not known yet
        self._commit(now, effects)
        self._around.start()
        self._hand_out(effects)
        log.info("listener started events_missed=0 supervisord=%s", os.getppid())
        self._poller.register(self._pipe, select.POLLIN)
        self._poller.register(self._inbox, select.POLLIN)
        try:
            while not (self._stop or self._signals.stop):
                for descriptor, _ in self._poller.poll(self._timeout_ms()):
                    if descriptor == self._pipe.fileno():
                        self._read_events()
                    elif descriptor == self._inbox.fileno():
                        for item in self._inbox.take():
                            self._errors.survive(Where.INPUT, self._from_inbox, item)
                    else:
                        self._errors.survive(Where.INPUT, self._died, descriptor)
                self._turn()
        finally:
            self._close()
        return self._exit_status

    def _turn(self) -> None:
        """Do what is due; a part that fails delays no other part, and is tried again later."""
        now = read_clocks()
        if self._signals.hang_up:
            self._errors.survive(Where.SETTINGS, self._reload)
        if now.monotonic_s < self._pause_until_s:
            return
        parts = (self._tick, self._upkeep, self._check_unreadable, self._send_due, self._publish)
        if not all([self._errors.survive(Where.INPUT, part, now) for part in parts]):  # noqa: C419 - all run
            self._pause_until_s = now.monotonic_s + ERROR_PAUSE_S

    def _died(self, descriptor: int) -> None:
        self._step(read_clocks(), ProcessExited(*self._deaths.take(descriptor)))

    def _tick(self, now: Instant) -> None:
        deadline_s = self._engine.deadline_s()
        due = deadline_s is not None and deadline_s <= now.monotonic_s
        if due and not self._step(now, Tick()):
            self._pause_until_s = now.monotonic_s + ERROR_PAUSE_S

    def _upkeep(self, now: Instant) -> None:
        if now.monotonic_s >= self._upkeep_at_s:
            self._upkeep_at_s = now.monotonic_s + UPKEEP_EVERY_S
            self._around.keeper.look_at_doors()
            self._around.upkeep(now, self._engine.timeline.memory())
            self._ledger.keep_at(self._around.ledger_path())
            self._deaths.retry(lambda one: self._watch(WatchPid(*one)))

    def _check_unreadable(self, now: Instant) -> None:
        before = self._unreadable.count
        self._unreadable.check(now)
        if self._unreadable.count > before:
            self._hand_out(self._engine.missed(now))

    def _send_due(self, now: Instant) -> None:
        due_s = self._around.next_due_s(now)
        if due_s is not None and due_s <= now.monotonic_s:
            self._around.send_due(now)

    def _timeout_ms(self) -> int:
        now = read_clocks()
        if now.monotonic_s < self._pause_until_s:
            return int((self._pause_until_s - now.monotonic_s) * 1000) + 1
        due_ms = self._errors.result(Where.INPUT, self._until_due_ms, now)
        return int(ERROR_PAUSE_S * 1000) if due_ms is None else due_ms

    def _until_due_ms(self, now: Instant) -> int:
        moments = [
            self._engine.deadline_s(),
            self._snapshot_due_s,
            self._upkeep_at_s,
            self._around.next_due_s(now),
            self._unreadable.due_s,
        ]
        due_s = min(moment for moment in moments if moment is not None)
        # A millisecond more than needed: who wakes too early wakes twice.
        return max(0, int((due_s - now.monotonic_s) * 1000) + 1)

    # -- supervisord -------------------------------------------------------------------------------

    def _read_events(self) -> None:
        for item in self._pipe.read():
            if isinstance(item, Garbage):
                self._unreadable.note(item)
                self._hand_out(self._engine.missed(read_clocks()))
            else:
                self._event(item)
        if self._pipe.closed:
            log.info("supervisord has gone away, the listener ends")
            self._stop = True

    def _event(self, event: Event) -> None:
        now = read_clocks()
        verdict = self._ledger.judge(event)
        effects: list[Effect] = []
        if verdict.missed:
            self._lost.log(now, verdict.missed, event)
            effects = self._engine.missed(now, verdict.missed)
        if not verdict.repeated:
            effects += self._errors.result(Where.EVENT, self._engine.step, now, event) or []
        self._commit(now, effects, self._ledger.stamp(event))
        self._ledger.mark(event)
        self._pipe.acknowledge()
        if event.name in _ENDS:
            self._around.keeper.look_at_doors()  # the next guard comes soon
        self._ack_seconds.observe(time.monotonic() - now.monotonic_s)
        self._hand_out(effects)
        self._soil(now)

    # -- steps and effects -------------------------------------------------------------------------

    def _step(self, now: Instant, given: Input) -> bool:
        """Return False after an unexpected error."""
        effects = self._errors.result(Where.INPUT, self._engine.step, now, given)
        self._commit(now, effects or [])
        self._hand_out(effects or [])
        self._soil(now)
        return effects is not None

    def _commit(
        self,
        now: Instant,
        effects: list[Effect],
        stamp: list[int] | None = None,
    ) -> None:
        lasting = [effect for effect in effects if isinstance(effect, Notify | SaveState)]
        if lasting:
            self._errors.survive(Where.DATABASE, self._around.commit, lasting, now, stamp)

    def _hand_out(self, effects: list[Effect]) -> None:
        """Wake the threads that do what is slow; after an answer, since waking takes time too."""
        for effect in effects:
            perform = self._performers.get(type(effect))
            if perform is not None:  # what must last was committed before
                self._errors.survive(Where.EFFECT, perform, effect)

    def _make_performers(self) -> dict[type, Callable[[Any], None]]:
        around = self._around
        return {
            ReadLogsNow: lambda _: around.hurry(read_clocks()),
            Discover: around.discover,
            FindHolder: around.find_holder,
            ExamineExit: around.examine,
            CheckGone: around.examine,
            ReadExits: around.read_exits,
            AskProcesses: lambda _: around.ask_processes(),
            SelfHeal: self._heal,
            WatchPid: self._watch,
            WakeSupervisord: lambda effect: wake(effect.process),
            AnswerGuard: lambda effect: around.keeper.answer(*effect),
            ReleaseSockets: lambda effect: around.keeper.release(*effect),
            Notify: tell,
        }

    def _heal(self, effect: SelfHeal) -> None:
        # Who waits for alerts to be sent before supervisord ends must see those of this very step.
        now = read_clocks()
        self._snapshot_due_s = now.monotonic_s
        self._publish(now)
        self._around.heal(effect)

    def _watch(self, effect: WatchPid) -> None:
        if not self._deaths.watch(*effect):
            self._inbox.put(ProcessExited(*effect))

    def _from_inbox(self, item: Any) -> None:  # noqa: ANN401 - each kind is told apart here
        now = read_clocks()
        if isinstance(item, AttemptResult):
            self._around.record_result(item, now)
            self._soil(now)
        elif isinstance(item, Examined | ReceiversChecked):
            self._around.checked(item)
            self._soil(now)
        elif isinstance(item, Asked):
            self._answer(now, item)
        elif isinstance(item, SupervisorAnswered):
            self._supervisor_up = item.up
            self._engine.reads_exits(possible=item.up)
            self._soil(now)
        elif isinstance(item, Survived):
            self._internal_errors[item.where.value] += 1
            self._soil(now)
        elif isinstance(item, Failed):
            log.critical("a thread has died, the listener ends", exc_info=item.error)
            self._exit_status, self._stop = 1, True
        else:
            if isinstance(item, ProgramsKnown):
                self._ready = True
                self._around.follow(item)
            elif isinstance(item, ProcessesSeen):
                self._supervisor_up = True
            self._step(now, item)
            if isinstance(item, GuardAsks):
                self._around.former_masters.add(item)

    def _answer(self, now: Instant, asked: Asked) -> None:
        if asked.request.action == "leave":
            self._leave_alone(now, asked)
        else:
            self._around.answer(asked, now)
        self._soil(now)

    def _leave_alone(self, now: Instant, asked: Asked) -> None:
        group, _, process = (asked.request.receiver or "").partition(":")
        name = ProcessName(group, process or group)
        known = any(view.name == name for view in self._engine.views())
        if known:
            self._step(now, LeaveProgram(name))
        asked.reply.put(known)

    # -- what others read --------------------------------------------------------------------------

    def _soil(self, now: Instant) -> None:
        """Have a new snapshot made, soon but not for every event of a storm."""
        if self._snapshot_due_s is None:
            self._snapshot_due_s = max(now.monotonic_s, self._snapshot_at_s + SNAPSHOT_EVERY_S)

    def _publish(self, now: Instant) -> None:
        if self._snapshot_due_s is None or now.monotonic_s < self._snapshot_due_s:
            return
        self._snapshot_due_s, self._snapshot_at_s = None, now.monotonic_s
        counts = self._engine.counts
        self._snapshot = Snapshot(
            processes=self._engine.views(),
            receivers=self._around.receiver_views(),
            events=dict(counts.events),
            events_missed=counts.missed,
            protocol_garbage=self._unreadable.count,
            findings=self._around.examined.counts,
            found=self._around.examined.found,
            timeline=self._engine.timeline.view(),
            windows=self._settings.loops,
            failures=self._engine.timeline.failures(),
            instance=self._settings.instance,
            last_event_s=counts.last_event_s,
            ack_seconds=self._ack_seconds.view(),
            ready=self._ready,
            supervisor_up=self._supervisor_up,
            supervisor=self._engine.supervisor,
            fast_restart=self._settings.fast_restart and self._deaths.can_watch,
            log_bytes_read=self._around.tail.bytes_read,
            log_bytes_skipped=self._around.tail.bytes_skipped,
            log_read_errors=self._around.tail.read_errors,
            internal_errors=dict(self._internal_errors),
            receiver_problems=self._around.receivers_checked.problems,
            outbox_persistent=self._around.database.persistent,
            config_reload_ok=self._reload_ok,
            config_reload_s=self._reload_at_s,
            started_s=self._started_at_s,
        )

    # -- changes and the end -----------------------------------------------------------------------

    def _reload(self) -> None:
        """Take up changed settings; a file with a mistake in it changes nothing."""
        self._signals.hang_up = False
        now = read_clocks()
        self._soil(now)
        try:
            fresh = settings_file.load(self._settings.source)
        except FpmListenerError as error:
            self._reload_ok = False
            log.error("settings not taken over, the old ones stay: %s", error)  # noqa: TRY400
            return
        if fresh.state_dir != self._settings.state_dir:
            self._reload_ok = False
            log.error(
                "reload rejected, keeping all old settings: state_dir can only change with a "
                "restart of the listener file=%s old=%s new=%s",
                *(fresh.source, self._settings.state_dir, fresh.state_dir),
            )
            self._around.keeper.look_at_doors()
            return
        self._reload_ok, self._reload_at_s = True, now.wall_s
        self._settings = fresh
        self._around.keeper.look_at_doors()
        self._engine.adopt(engine_settings(fresh))
        self._around.adopt(fresh)
        log.info("settings read anew file=%s", fresh.source)

    def _close(self) -> None:
        end_s = time.monotonic() + PARTING_S
        self._around.stop_sending()
        while self._around.under_way and time.monotonic() < end_s:
            select.select([self._inbox], [], [], max(0.0, end_s - time.monotonic()))
            for item in self._inbox.take():
                if isinstance(item, AttemptResult):
                    self._around.record_result(item, read_clocks())
        self._around.start_again([view.name for view in self._engine.views() if view.paused])
        ledger_path = self._around.ledger_path()
        self._around.close(self._engine.timeline.memory())  # which makes a missing folder again
        self._ledger.keep_at(ledger_path)
        self._deaths.close()
