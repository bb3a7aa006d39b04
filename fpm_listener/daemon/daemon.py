"""The main loop: reads events and messages, steps the engine, commits, answers, starts effects.

Laws:
1. The main thread owns all state: it alone steps the engine and writes the database.
2. An event is answered after a commit of what must survive a restart, and before anything slow.
3. The main thread sleeps until something comes or is due; there is no periodic tick.
4. Threads exchange frozen values. A thread that fails ends the process.
5. An unexpected error about one event is counted and logged. The event is still answered, or
   supervisord would send it to the next listener too; the next upkeep asks for all states.
"""

from __future__ import annotations

import logging
import os
import select
import time
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon.alert_delivery import AlertDelivery
from fpm_listener.daemon.control_socket import Asked
from fpm_listener.daemon.engine_runner import EngineRunner, read_clocks
from fpm_listener.daemon.engine_settings import engine_settings
from fpm_listener.daemon.event_intake import EventIntake
from fpm_listener.daemon.exit_watch import ExitWatch
from fpm_listener.daemon.inbox import Failed, Inbox, Signals, SupervisorAnswered, Survived
from fpm_listener.daemon.persistence import Persistence
from fpm_listener.daemon.publisher import Publisher, Sources
from fpm_listener.daemon.services import Services
from fpm_listener.daemon.socket_keeper import SocketKeeper
from fpm_listener.daemon.startup_check import ConfigChecked
from fpm_listener.delivery.attempt import AttemptResult
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import GuardAsks, ProcessesSeen, Tick
from fpm_listener.settings import settings as settings_file
from fpm_listener.settings.receiver_check import ReceiversChecked
from fpm_listener.values import FpmListenerError
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.daemon.unix_listener import GuardSockets
    from fpm_listener.monitor.engine import Input
    from fpm_listener.settings.settings import Settings
    from fpm_listener.supervisor.pipe import Pipe
    from fpm_listener.supervisor.protocol import Event
    from fpm_listener.values import Instant

log = logging.getLogger(__name__)

#: Seconds between two checks of files, sockets and process states.
UPKEEP_EVERY_S = 30.0
#: Seconds before the next try after an unexpected error.
ERROR_PAUSE_S = 1.0
#: Seconds that attempts in flight have to end before the listener exits.
EXIT_WAIT_S = 1.0

#: Events after which a guard starts, or can start.
_ENDS = {f"PROCESS_STATE_{state}" for state in ("EXITED", "BACKOFF", "STOPPED", "FATAL")}


class Daemon:
    """The listener: the main thread, with the other threads around it."""

    def __init__(self, settings: Settings, pipe: Pipe, guard_sockets: GuardSockets) -> None:
        """`guard_sockets`: the sockets that guards connect to."""
        self._settings = settings
        self._inbox = inbox = Inbox()
        self._errors = inbox.errors
        self._signals = Signals()
        self._poller = select.poll()
        self._engine = Engine(engine_settings(settings), os.urandom(16).hex())
        self._publisher = Publisher(settings)
        self._persistence = stored = Persistence(settings, guard_sockets.directory, read_clocks())
        self._delivery = AlertDelivery(settings, stored.outbox, inbox)
        self._keeper = SocketKeeper(guard_sockets, inbox.put, inbox.failed, inbox.errors.caught)
        self._services = Services(
            settings, inbox, self._keeper, stored, lambda: self._publisher.snapshot
        )
        self._events = EventIntake(pipe, stored.ledger_path, stored.last_stamp())
        self._exits = exits = ExitWatch(self._poller)
        self._sources = Sources(
            self._engine, self._events, exits, stored, self._delivery, self._services
        )
        self._runner = EngineRunner(self._sources, self._keeper, self._publisher, inbox)
        self._upkeep_at_s = 0.0
        self._pause_until_s = 0.0  # monotonic; until then nothing that is due by time is done
        self._stop = False
        self._exit_status = 0
        self._messages = self._make_messages()

    # -- the loop ----------------------------------------------------------------------------------

    def run(self) -> int:
        """Serve supervisord until it closes the pipe or sends TERM; return the exit status."""
        self._signals.catch(self._inbox.wake_fd)
        for warning in self._settings.warnings:
            log.warning("settings warning: %s", warning)
        now = read_clocks()
        effects = self._runner.restore(now)
        # Before the web server starts: its first answer must not lack the restored programs.
        self._errors.survive(Where.INPUT, self._publisher.publish, now, self._sources)
        self._services.start(self._persistence.former_masters())
        self._runner.perform(effects)
        log.info("listener started events_missed=0 supervisord=%s", os.getppid())
        self._poller.register(self._events, select.POLLIN)
        self._poller.register(self._inbox, select.POLLIN)
        try:
            while not (self._stop or self._signals.stop):
                ready = {descriptor for descriptor, _ in self._poller.poll(self._timeout_ms())}
                self._runner.take_exits()  # first: a zombie is soon reaped
                if self._events.fileno() in ready:
                    self._read_events()
                if self._inbox.fileno() in ready:
                    for item in self._inbox.take():
                        self._errors.survive(Where.INPUT, self._take_message, item)
                self._do_what_is_due()
        finally:
            self._close()
        return self._exit_status

    def _do_what_is_due(self) -> None:
        """Do what is due; a part that fails delays no other part, and is tried again later."""
        now = read_clocks()
        if self._signals.reload:
            self._errors.survive(Where.SETTINGS, self._reload)
        if now.monotonic_s < self._pause_until_s:
            return
        parts = (
            *(self._tick, self._upkeep, self._answer_unreadable),
            *(self._delivery.send_due, self._publish_if_due),
        )
        if not all([self._errors.survive(Where.INPUT, part, now) for part in parts]):  # noqa: C419 - all run
            self._pause_until_s = now.monotonic_s + ERROR_PAUSE_S

    def _tick(self, now: Instant) -> None:
        deadline_s = self._engine.deadline_s()
        due = deadline_s is not None and deadline_s <= now.monotonic_s
        if due and not self._runner.step(Tick(), now):
            self._pause_until_s = now.monotonic_s + ERROR_PAUSE_S

    def _upkeep(self, now: Instant) -> None:
        if now.monotonic_s < self._upkeep_at_s:
            return
        self._upkeep_at_s = now.monotonic_s + UPKEEP_EVERY_S
        stored = self._persistence
        self._keeper.check_socket()
        stored.open(now)
        self._services.upkeep(owns_state_dir=stored.is_writable)
        stored.save(self._engine.timeline.memory(), *self._services.memory)
        self._events.keep_ledger_at(stored.ledger_path)
        self._runner.upkeep()

    def _answer_unreadable(self, now: Instant) -> None:
        if self._events.answer_unreadable(now):
            self._runner.perform(self._runner.missed(now))

    def _publish_if_due(self, now: Instant) -> None:
        due_s = self._publisher.due_s
        if due_s is not None and due_s <= now.monotonic_s:
            self._publisher.publish(now, self._sources)

    def _timeout_ms(self) -> int:
        now = read_clocks()
        if now.monotonic_s < self._pause_until_s:
            return int((self._pause_until_s - now.monotonic_s) * 1000) + 1
        due_ms = self._errors.result(Where.INPUT, self._until_due_ms, now)
        return int(ERROR_PAUSE_S * 1000) if due_ms is None else due_ms

    def _until_due_ms(self, now: Instant) -> int:
        moments = [
            self._engine.deadline_s(),
            self._publisher.due_s,
            self._upkeep_at_s,
            self._delivery.next_due_s(now),
            self._events.due_s,
        ]
        due_s = min(moment for moment in moments if moment is not None)
        # A millisecond more than needed: waking too early means waking twice.
        return max(0, int((due_s - now.monotonic_s) * 1000) + 1)

    # -- inputs ------------------------------------------------------------------------------------

    def _read_events(self) -> None:
        for event in self._events.read():
            if event is None:
                self._runner.perform(self._runner.missed(read_clocks()))
            else:
                self._take_event(event)
        if self._events.closed:
            log.info("supervisord has closed the pipe; the listener exits")
            self._stop = True

    def _take_event(self, event: Event) -> None:
        now = read_clocks()
        verdict = self._events.judge(event, now)
        effects = self._runner.missed(now, verdict.missed) if verdict.missed else []
        if not verdict.repeated:
            effects += self._runner.react(event, now, Where.EVENT) or []
        self._runner.commit(effects, now, self._events.stamp(event))
        self._events.acknowledge(event, now)
        if event.name == "PROCESS_STATE_RUNNING":
            self._runner.look_for_fpm()
        if event.name in _ENDS:
            self._keeper.check_socket()  # the next guard comes soon
        self._runner.perform(effects)
        self._publisher.schedule(now, counters=not effects and "PROCESS_LOG_" in event.name)

    def _take_message(self, item: Any) -> None:  # noqa: ANN401 - the table knows each type
        now = read_clocks()
        handle = self._messages.get(type(item), self._take_input)
        handle(item, now)
        self._publisher.schedule(now)

    def _make_messages(self) -> dict[type, Callable[[Any, Instant], None]]:
        """Return what to do with a message, by its type; all others are inputs of the engine."""
        publisher = self._publisher
        return {
            AttemptResult: self._delivery.record_result,
            ConfigChecked: lambda item, _: setattr(publisher, "config_checked", item),
            ReceiversChecked: lambda item, _: setattr(publisher, "receivers_checked", item),
            Asked: self._answer_operator,
            SupervisorAnswered: self._supervisor_answered,
            Survived: lambda item, _: publisher.count_error(item.where),
            Failed: self._thread_failed,
        }

    def _take_input(self, item: Input, now: Instant) -> None:
        if isinstance(item, ProgramsKnown):
            self._services.follow(item)
        self._publisher.ready |= isinstance(item, ProgramsKnown)
        self._publisher.supervisor_up |= isinstance(item, ProcessesSeen)
        self._runner.step(item, now)
        if isinstance(item, GuardAsks):
            self._persistence.record_guard(item)

    def _supervisor_answered(self, item: SupervisorAnswered, _: Instant) -> None:
        self._publisher.supervisor_up = item.up
        self._engine.set_log_readable(readable=item.up)

    def _thread_failed(self, item: Failed, _: Instant) -> None:
        log.critical("a thread failed; the listener exits", exc_info=item.error)
        self._exit_status, self._stop = 1, True

    def _answer_operator(self, asked: Asked, now: Instant) -> None:
        request = asked.request
        if request.action == "status":
            asked.reply.put(self._publisher.snapshot)
        elif request.action == "leave":
            asked.reply.put(self._runner.leave(request.receiver or "", now))
        else:
            asked.reply.put(self._delivery.perform(request, now))

    # -- changes and the end -----------------------------------------------------------------------

    def _reload(self) -> None:
        """Read the settings again; a file with a mistake changes nothing."""
        self._signals.reload = False
        now = read_clocks()
        self._publisher.schedule(now)
        self._publisher.reload_ok = False
        try:
            fresh = settings_file.load(self._settings.source)
        except FpmListenerError as error:
            log.error("reload failed, keeping the old settings error=%s", error)  # noqa: TRY400
            return
        self._keeper.check_socket()
        if fresh.state_dir != self._settings.state_dir:
            log.error(
                "reload rejected, keeping all old settings: state_dir can only change with a "
                "restart of the listener file=%s old=%s new=%s",
                *(fresh.source, self._settings.state_dir, fresh.state_dir),
            )
            return
        self._publisher.reload_ok, self._publisher.reloaded_at_s = True, now.wall_s
        self._publisher.settings = self._settings = fresh
        self._engine.reconfigure(engine_settings(fresh))
        self._delivery.reconfigure(fresh)
        self._services.reconfigure(fresh)
        log.info("settings reloaded file=%s", fresh.source)

    def _close(self) -> None:
        end_s = time.monotonic() + EXIT_WAIT_S
        self._delivery.stop_sending()
        while self._delivery.in_flight and time.monotonic() < end_s:
            select.select([self._inbox], [], [], max(0.0, end_s - time.monotonic()))
            for item in self._inbox.take():
                if isinstance(item, AttemptResult):
                    self._delivery.record_result(item, read_clocks())
        self._runner.start_paused()
        ledger_path = self._persistence.ledger_path
        self._services.stop()
        self._delivery.close()
        self._persistence.save(self._engine.timeline.memory(), *self._services.memory)
        self._persistence.close()  # which makes a missing directory again
        self._events.keep_ledger_at(ledger_path)
        self._exits.close()
