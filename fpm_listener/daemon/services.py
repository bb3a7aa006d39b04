"""Everything around the owner: the threads that look, send and serve, and the database.

Laws:
1. Called by the owner only; each call returns at once.
2. What a thread has found comes back through the inbox, never in another way.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from fpm_listener.daemon import startup_check
from fpm_listener.daemon.control_socket import ControlSocket
from fpm_listener.daemon.discovery import Discovery
from fpm_listener.daemon.former_masters import FormerMasters
from fpm_listener.daemon.log_file import restore_positions
from fpm_listener.daemon.log_follower import LogFollower
from fpm_listener.daemon.persistence import StateStore
from fpm_listener.daemon.post_mortem_examiner import PostMortemExaminer, Sample
from fpm_listener.daemon.process_query import ProcessQuery
from fpm_listener.daemon.startup_check import Examined
from fpm_listener.daemon.supervisor_actions import SupervisorActions
from fpm_listener.daemon.worker import Starter, Worker
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.outbox import Outbox
from fpm_listener.delivery.queue_settings import Limits
from fpm_listener.delivery.sender import Sender
from fpm_listener.host.holder_search import find_holders
from fpm_listener.incidents.effects import CheckGone, ExamineExit, FindHolder, HolderFound, Notify
from fpm_listener.monitor.messages import Discover, ProgramsKnown, ReadExits, SaveState, SelfHeal
from fpm_listener.monitor.self_healing import Act
from fpm_listener.settings.receiver_check import ReceiverCheck, ReceiversChecked
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.rpc import SupervisorRpc
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from fpm_listener.daemon.control_socket import Asked
    from fpm_listener.daemon.inbox import Inbox
    from fpm_listener.daemon.pool_poller import PoolPoller
    from fpm_listener.daemon.socket_keeper import SocketKeeper
    from fpm_listener.delivery.attempt import AttemptResult
    from fpm_listener.delivery.database_schema import Statement
    from fpm_listener.delivery.receiver_counters import ReceiverView
    from fpm_listener.settings.settings import ReceiverSettings, Settings
    from fpm_listener.status.snapshot import Snapshot
    from fpm_listener.status.textfile import TextfileWriter
    from fpm_listener.values import Instant
    from fpm_listener.web.server import WebServer

log = logging.getLogger(__name__)

_PROCESS, _POSITIONS, _STAMP, _TIMELINE = "process ", "positions", "event", "timeline"


class _Visit(NamedTuple):
    """Request to the doctor's thread: look at receivers, and at supervisord's configuration."""

    receivers: tuple[ReceiverSettings, ...]
    supervisord: bool


class _Look(NamedTuple):
    """Request to the supervisor thread: ask how all processes are."""


class Services:
    """Owned by the daemon."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        keeper: SocketKeeper,
        snapshot: Callable[[], Snapshot],
        now: Instant,
    ) -> None:
        self._settings = settings
        self._inbox = inbox
        self._snapshot = snapshot
        self.database = Database(settings.state_dir)
        self._memory = StateStore(self.database)
        self.former_masters = FormerMasters(self.database, self._memory)
        self._outbox = Outbox(
            self.database, settings.receivers, _limits(settings), settings.instance
        )
        self.database.open(now)
        self.under_way = 0  #: attempts that senders have in hand
        self._sending = True
        self._senders: dict[str, Sender] = {}
        self._sites_at_s = float("-inf")
        self._starter = Starter(inbox.errors)
        positions = restore_positions(self._memory.values.get(_POSITIONS))
        self.tail = LogFollower(inbox.put, inbox.failed, positions, inbox.errors.caught)
        rpc = SupervisorRpc.from_environment(os.environ)
        self.has_rpc = rpc is not None
        self._rpc = rpc
        self._healer = SupervisorActions(rpc, settings.state_dir, inbox.put, self._are_alerts_owed)
        self._query = ProcessQuery(rpc, inbox.put)
        self._programs = Discovery(rpc, os.getppid(), inbox.errors.caught)
        self._supervisor = self._worker("supervisor", self._ask_supervisor, Where.SUPERVISOR)
        self._discovery = self._worker("programs", self._read_programs, Where.PROGRAMS)
        self._holders = self._worker("holders", self._find_holders, Where.HOLDER)
        self._examiner = PostMortemExaminer(os.getppid())
        self._deaths = self._worker("deaths", self._examine_deaths, Where.EXIT)
        self._receiver_check = ReceiverCheck()
        self.examined, self.receivers_checked = Examined({}), ReceiversChecked(())
        self._doctor = self._worker("doctor", self._visit, Where.CHECK)
        self.keeper = keeper
        self._control = ControlSocket(
            str(settings.state_dir), inbox.put, inbox.failed, inbox.errors.caught
        )
        self._pools: PoolPoller | None = None
        self._web: WebServer | None = None
        self._textfile: TextfileWriter | None = None

    def start(self) -> None:
        """Start all threads."""
        workers = (self._supervisor, self._discovery, self._holders, self._deaths)
        for thread in (*workers, self._doctor, self.tail):
            self._starter.start(thread.start)
        self._doctor.ask(_Visit(self._settings.receivers, supervisord=True))
        self._healer.begin()
        self._watch_pools()
        self._make_senders(self._settings.receivers)
        self.tail.follow(str(path) for path in self._settings.error_log)
        self._discovery.ask(Discover())
        self._starter.start(self._start_keeper)
        self._serve()

    def _worker(
        self, name: str, work: Callable[[tuple[Any, ...]], None], where: Where
    ) -> Worker[Any]:
        return Worker(name, work, self._inbox.failed, self._inbox.errors, where)

    def _start_keeper(self) -> None:
        if self.keeper.start(self.former_masters.read()):
            self._starter.start(self._control.start)

    # -- what must last ----------------------------------------------------------------------------

    def memory(self) -> dict[ProcessName, Any]:
        """Return what the engine wanted remembered."""
        found = {}
        for key, value in self._memory.values.items():
            group, colon, process = key.removeprefix(_PROCESS).partition(":")
            if key.startswith(_PROCESS) and colon:
                found[ProcessName(group, process)] = value
        return found

    def past(self) -> object:
        """Return what had happened before the listener was started."""
        return self._memory.values.get(_TIMELINE)

    def committed(self) -> object:
        """Return the stamp of the event that was committed last."""
        return self._memory.values.get(_STAMP)

    def ledger_path(self) -> Path | None:
        """Return where the last event is remembered; None where nothing can be written."""
        return self.database.folder / "ledger" if self.database.persistent else None

    def commit(
        self,
        effects: Sequence[Notify | SaveState],
        now: Instant,
        stamp: list[int] | None = None,
    ) -> None:
        """Have this on disk before returning; alerts outlive a power failure, the rest kill -9.

        stamp: of the event that has led to it, so that it is not counted twice.
        """
        statements: list[Statement] = []
        durable = False
        for effect in effects:
            if isinstance(effect, Notify):
                statements += self._outbox.notify(effect, now)
                durable = True
            else:
                name = f"{_PROCESS}{effect.process}"
                statements.append(self._memory.put(name, effect.memory, now))
        if stamp is not None:
            statements.append(self._memory.put(_STAMP, stamp))
        self.database.write(statements, durable=durable)

    def upkeep(self, now: Instant, timeline: list[Any]) -> None:
        """Do what is due every half minute."""
        self._starter.try_again()
        self.database.open(now)
        if self.database.persistent:
            self._inbox.errors.survive(Where.THREAD, self._control.start)
        self._save(timeline)
        self.ask_processes()
        self._doctor.ask(_Visit(self._settings.receivers, supervisord=False))
        self._deaths.ask(Sample())

    def _save(self, timeline: list[Any]) -> None:
        """Keep what may lose its last half minute when the listener is killed."""
        positions = {path: at.to_json() for path, at in self.tail.positions.items()}
        kept: dict[str, object] = {_POSITIONS: positions, _TIMELINE: timeline}
        changed = [name for name, value in kept.items() if value != self._memory.values.get(name)]
        if changed:
            statements = [self._memory.put(name, kept[name]) for name in changed]
            self.database.write(statements, durable=False)

    # -- alerts ------------------------------------------------------------------------------------

    def send_due(self, now: Instant) -> None:
        """Give the senders what is due."""
        if not self._sending:
            return
        for attempt in self._outbox.start_attempts(now):
            self.under_way += 1
            self._senders[attempt.queue].send(attempt)

    def next_due_s(self, now: Instant) -> float | None:
        """Return the monotonic moment of the next attempt."""
        return self._outbox.next_due_s(now)

    def record_result(self, result: AttemptResult, now: Instant) -> None:
        """Apply the result of an attempt."""
        self.under_way -= 1
        self._outbox.record_result(result, now)

    def receiver_views(self) -> tuple[ReceiverView, ...]:
        """Return the receivers with their counters."""
        return self._outbox.views()

    def _make_senders(self, receivers: Sequence[ReceiverSettings]) -> None:
        url = self._settings.page_url
        for queue, receiver in [pair for one in receivers for pair in one.queues.items()]:
            inbox = self._inbox
            self._senders[queue] = Sender(
                receiver, inbox.put, inbox.failed, url, inbox.errors.caught
            )

    def answer(self, asked: Asked, now: Instant) -> None:
        """Do what an operator asks for, and say what came of it."""
        outbox, request = self._outbox, asked.request
        match request.action:
            case "status":
                result: Any = self._snapshot()
            case "list":
                result = outbox.list_alerts(now)
            case "retry":
                result = outbox.retry_now(request.receiver)
            case "worked":
                result = outbox.test_delivered(request.receiver or "", now)
            case _:
                result = outbox.drop(request.receiver, request.number)
        asked.reply.put(result)

    # -- what threads do ---------------------------------------------------------------------------

    def hurry(self, now: Instant) -> None:
        """Look at the logs at once, and at php-fpm's configuration if that was long ago."""
        self.tail.hurry()
        if now.monotonic_s - self._sites_at_s >= 10.0:
            self._sites_at_s = now.monotonic_s
            self._discovery.ask(Discover(anew=False))

    def discover(self, request: Discover) -> None:
        """Read configurations again: they may have changed."""
        self._discovery.ask(request)

    def find_holder(self, look: FindHolder) -> None:
        """Find out who has an address."""
        self._holders.ask(look)

    def examine(self, request: ExamineExit | CheckGone) -> None:
        """Look what the machine shows."""
        self._deaths.ask(request)

    def read_exits(self, request: ReadExits) -> None:
        """Find out how processes ended."""
        self._supervisor.ask(request)

    def ask_processes(self) -> None:
        """Find out how all processes are."""
        self._supervisor.ask(_Look())

    def heal(self, order: SelfHeal) -> None:
        """Have supervisord start or stop a process, or end."""
        self._supervisor.ask(order)

    def start_again(self, processes: Sequence[ProcessName]) -> None:
        """Start what we have stopped for a while: nobody else would, once we have ended."""
        for process in processes:
            self._healer.heal(SelfHeal(process, Act.START))

    def follow(self, known: ProgramsKnown) -> None:
        """Follow the logs of the php-fpm that are known now."""
        logs = [path for site in known.sites.values() for path in site.error_logs]
        self.tail.follow([*logs, *(str(path) for path in self._settings.error_log)])
        if self._pools is not None:
            self._pools.follow({name: site.targets for name, site in known.sites.items()})

    def _find_holders(self, looks: tuple[FindHolder, ...]) -> None:
        for look in dict.fromkeys(looks):
            self._inbox.errors.survive(Where.HOLDER, self._find_holder, look)

    def _find_holder(self, look: FindHolder) -> None:
        report = find_holders(look.address, former_masters=look.former_masters)
        self._inbox.put(HolderFound(look.process, report))

    def _examine_deaths(self, requests: tuple[ExamineExit | CheckGone | Sample, ...]) -> None:
        self._examiner.work(requests, self._inbox.put)

    def checked(self, found: Examined | ReceiversChecked) -> None:
        """Take in what the doctor's thread has found."""
        if isinstance(found, Examined):
            self.examined = found
        else:
            self.receivers_checked = found

    def _visit(self, requests: tuple[_Visit, ...]) -> None:
        wanted = any(request.supervisord for request in requests)
        self._inbox.put(self._receiver_check.look(requests[-1].receivers, again=wanted))
        if wanted and (examined := startup_check.visit(os.getppid())) is not None:
            self._inbox.put(examined)

    def _read_programs(self, requests: tuple[Discover, ...]) -> None:
        self._inbox.put(self._programs.read(anew=any(request.anew for request in requests)))

    def _ask_supervisor(self, requests: tuple[ReadExits | SelfHeal | _Look, ...]) -> None:
        for order in [one for one in requests if isinstance(one, SelfHeal)]:
            self._inbox.errors.survive(Where.SUPERVISOR, self._healer.heal, order)
        if any(isinstance(request, _Look) for request in requests):
            self._query.ask()
        self._query.read_exits([one for one in requests if isinstance(one, ReadExits)])

    def _are_alerts_owed(self) -> bool:
        return any(receiver.pending for receiver in self._snapshot().receivers)

    # -- what is served ----------------------------------------------------------------------------

    def _serve(self) -> None:
        # Imported late: READY was said long before this, and prometheus_client takes its time.
        from fpm_listener.status.metrics import make_registry  # noqa: PLC0415
        from fpm_listener.status.textfile import TextfileWriter  # noqa: PLC0415
        from fpm_listener.web.server import WebServer  # noqa: PLC0415

        registry = make_registry(self._snapshot)
        inbox = self._inbox
        web = self._settings.web
        self._web = WebServer(web, self._snapshot, registry, inbox.failed, inbox.errors.caught)
        self._starter.start(self._web.start)
        if self._settings.textfile is not None:
            self._textfile = TextfileWriter(
                self._settings.textfile, registry, inbox.failed, caught=inbox.errors.caught
            )
            self._starter.start(self._textfile.start)

    # -- changes and the end -----------------------------------------------------------------------

    def adopt(self, settings: Settings) -> None:
        """Go on under new settings."""
        before, self._settings = self._settings, settings
        same_link = before.page_url == settings.page_url
        kept = [r for r in before.receivers if r in settings.receivers and same_link]
        for gone in [r for r in before.receivers if r not in kept]:
            for queue in gone.queues:
                self._senders.pop(queue).stop()
        self._make_senders([r for r in settings.receivers if r not in kept])
        self._outbox.reconfigure(settings.receivers, _limits(settings))
        if before.fpm_status_s != settings.fpm_status_s:
            self._watch_pools()
        self.discover(Discover())
        self.ask_processes()
        self._doctor.ask(_Visit(self._settings.receivers, supervisord=True))
        if self._web is not None and before.web != settings.web:
            self._web.rebind(settings.web)
        if before.textfile != settings.textfile:
            log.warning("textfile is changed only by a restart of the listener")

    def _watch_pools(self) -> None:
        """Ask the pools where that is wanted; `follow` says which there are."""
        if self._pools is not None:
            self._pools.stop()
            self._pools = None
        if self._settings.fpm_status_s is not None:
            from fpm_listener.daemon.pool_poller import PoolPoller  # noqa: PLC0415 - for who asks for it

            inbox = self._inbox
            self._pools = PoolPoller(
                self._settings.fpm_status_s, inbox.put, inbox.failed, inbox.errors.caught
            )
            self._starter.start(self._pools.start)

    def stop_sending(self) -> None:
        """Begin no further attempt."""
        self._sending = False

    def close(self, timeline: list[Any]) -> None:
        """End what can be ended; what is still under way is sent again by the next listener."""
        self._control.stop()
        self.keeper.stop()
        for sender in self._senders.values():
            sender.stop()
        self.tail.stop()
        if self._pools is not None:
            self._pools.stop()
        self._save(timeline)
        if self._textfile is not None:
            self._textfile.stop()
        if self._web is not None:
            self._web.stop()
        self.database.close()


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_age_s=settings.max_age_s,
        max_alerts=settings.max_alerts,
        repeat_interval_s=settings.repeat_interval_s,
    )
