"""Starts, reconfigures and stops the threads around the main thread.

Laws:
1. Only the main thread calls it; each call returns at once.
2. A result of a thread comes back through the inbox and in no other way.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING, Any

from fpm_listener.daemon import control_client
from fpm_listener.daemon.control_socket import ControlSocket
from fpm_listener.daemon.discovery import Discovery
from fpm_listener.daemon.fpm_finder import FpmFinder
from fpm_listener.daemon.log_follower import LogFollower
from fpm_listener.daemon.output_reader import KnowOutputs, OutputReader
from fpm_listener.daemon.own_checks import CheckRequest, OwnChecks
from fpm_listener.daemon.pool_poller import PoolPoller
from fpm_listener.daemon.post_mortem_examiner import PostMortemExaminer, Sample, find_gone
from fpm_listener.daemon.process_query import ProcessQuery
from fpm_listener.daemon.supervisor_actions import SupervisorActions
from fpm_listener.daemon.worker import Starter, Worker
from fpm_listener.incidents.effects import (
    CheckGone,
    ExamineExit,
    FindHolder,
    MarkOutput,
    OutputRead,
    ReadOutput,
)
from fpm_listener.monitor.messages import (
    AskProcesses,
    Discover,
    ReadExits,
    ReadLogsNow,
    SelfHeal,
)
from fpm_listener.monitor.self_healing import Act
from fpm_listener.settings.fpm_status import FpmStatus
from fpm_listener.status.registry import on_demand
from fpm_listener.supervisor import server_login
from fpm_listener.supervisor.rpc import SupervisorRpc
from fpm_listener.vocabulary import Where
from fpm_listener.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fpm_listener.daemon.inbox import Inbox
    from fpm_listener.daemon.log_follower import LogCounts
    from fpm_listener.daemon.log_position import Position
    from fpm_listener.daemon.persistence import Persistence
    from fpm_listener.daemon.socket_keeper import SocketKeeper
    from fpm_listener.guard.orphans import Master
    from fpm_listener.monitor.known_programs import ProgramsKnown
    from fpm_listener.settings.settings import Settings
    from fpm_listener.status.snapshot import Snapshot
    from fpm_listener.status.textfile import TextfileWriter
    from fpm_listener.supervisor.process import ProcessName

log = logging.getLogger(__name__)

#: Seconds between two readings of php-fpm's configuration because a process changed its state.
_DISCOVER_EVERY_S = 10.0


_ExitRequest = CheckGone | KnowOutputs | MarkOutput | ReadOutput


class Services:
    """All threads except the senders. Owned by the daemon."""

    def __init__(
        self,
        settings: Settings,
        inbox: Inbox,
        keeper: SocketKeeper,
        stored: Persistence,
        snapshot: Callable[[], Snapshot],
    ) -> None:
        """`stored`: the data of an earlier listener."""
        errors = inbox.errors
        login = server_login.of_running(os.getppid(), os.environ)
        rpc = SupervisorRpc.from_environment(os.environ, find_login=login)
        self.has_rpc = rpc is not None
        self._settings = settings
        self._inbox = inbox
        self._keeper = keeper
        self._snapshot = snapshot
        self._discovered_at_s = float("-inf")  # monotonic
        self._starter = Starter(errors)
        positions = stored.log_positions()
        self._log_follower = LogFollower(inbox.put, inbox.failed, positions, errors.caught)
        self._actions = SupervisorActions(rpc, settings, stored.directory, inbox.put, snapshot)
        self._query = ProcessQuery(rpc, inbox.put)
        self.finder = FpmFinder(stored.php_fpm(), settings.php_fpm)
        self._programs = Discovery(rpc, os.getppid(), errors.caught, self.finder)
        self._examiner = PostMortemExaminer(os.getppid(), rpc)
        self._output_reader = OutputReader()
        self._own_checks = OwnChecks(inbox.put)
        self._supervisor = self._worker("supervisor", self._ask_supervisor, Where.SUPERVISOR)
        self._discovery = self._worker("programs", self._read_programs, Where.PROGRAMS)
        self._holders = self._worker("holders", self._find_holders, Where.HOLDER)
        self._exits = self._worker("exits", self._examine_exits, Where.EXIT)
        # A dead network file system stops this thread.
        self._machine = self._worker("machine", self._examine, Where.EXIT)
        self._checks = self._worker("checks", self._own_checks.work, Where.CHECK)
        self._control = ControlSocket(
            stored.directory, inbox.put, inbox.failed, errors.caught, control_client.own_name()
        )
        self._pools: PoolPoller | None = None
        self._web: WebServer | None = None
        self._textfile: TextfileWriter | None = None
        #: By the type of an effect of the engine: the call that starts it.
        self.effects: dict[type, Callable[[Any], None]] = {
            ReadLogsNow: self._read_logs_now,
            Discover: self._discovery.ask,
            FindHolder: self._holders.ask,
            ExamineExit: self._machine.ask,
            **dict.fromkeys((MarkOutput, ReadOutput, CheckGone), self._exits.ask),
            **dict.fromkeys((ReadExits, AskProcesses, SelfHeal), self._supervisor.ask),
        }

    def _worker(
        self, name: str, work: Callable[[tuple[Any, ...]], None], where: Where
    ) -> Worker[Any]:
        return Worker(name, work, self._inbox.failed, self._inbox.errors, where)

    def start(self, masters: Mapping[ProcessName, tuple[Master, ...]]) -> None:
        """Start all threads. `masters`: former masters, as an earlier listener recorded them."""
        workers = (self._supervisor, self._discovery, self._holders, self._exits)
        for thread in (*workers, self._machine, self._checks, self._log_follower):
            self._starter.start(thread.start)
        self._actions.clear_mark()
        self._start_pools()
        self._log_follower.follow(str(path) for path in self._settings.error_log)
        self._ask_all()
        self._starter.start(lambda: self._start_keeper(masters))
        self._start_web()

    def _start_keeper(self, masters: Mapping[ProcessName, tuple[Master, ...]]) -> None:
        self._starter.start(self._control.start_abstract)
        if self._keeper.start(masters):
            self._starter.start(self._control.start)

    def _start_web(self) -> None:
        registry = on_demand(self._snapshot)
        failed, caught = self._inbox.failed, self._inbox.errors.caught
        report = self._control.health.report_now
        self._web = WebServer(self._settings.web, self._snapshot, registry, failed, caught, report)
        self._starter.start(self._web.start)
        if self._settings.textfile is not None:
            metrics = registry()  # loads prometheus_client
            from fpm_listener.status.textfile import TextfileWriter  # noqa: PLC0415 - late, see ADR 044

            path = self._settings.textfile
            self._textfile = TextfileWriter(path, metrics, failed, caught=caught)
            self._starter.start(self._textfile.start)

    def _start_pools(self) -> None:
        """Poll the pools; `follow` names them."""
        if self._pools is not None:
            self._pools.stop()
        settings, inbox = self._settings, self._inbox
        given = settings.fpm_status_interval_s, inbox.put, inbox.failed, inbox.errors.caught
        asks, full = settings.fpm_status is not FpmStatus.OFF, settings.fpm_requests
        opcache = settings.opcache_status
        self._pools = PoolPoller(*given, asks=asks, reads_requests=full, opcache=opcache)
        self._starter.start(self._pools.start)

    # -- changes and the end -----------------------------------------------------------------------

    def upkeep(self, *, owns_state_dir: bool) -> None:
        """Do what is due every half minute. `owns_state_dir`: no other listener uses it."""
        self._starter.try_again()
        if owns_state_dir:
            self._inbox.errors.survive(Where.THREAD, self._control.start)
        self._supervisor.ask(AskProcesses())
        self._checks.ask(CheckRequest(self._settings.receivers, supervisord=False))
        self._machine.ask(Sample())

    def reconfigure(self, settings: Settings) -> None:
        """Use other settings."""
        before, self._settings = self._settings, settings
        self._actions.settings = settings
        self.finder.named = settings.php_fpm
        if before.polling != settings.polling:
            self._start_pools()
        self._ask_all()
        if self._web is not None and before.web != settings.web:
            self._web.rebind(settings.web)
        if before.textfile != settings.textfile:
            log.warning("a new value of textfile needs a restart of the listener")

    def _ask_all(self) -> None:
        self._discovery.ask(Discover())
        self._checks.ask(CheckRequest(self._settings.receivers, supervisord=True))

    def follow(self, known: ProgramsKnown) -> None:
        """Follow the logs, and poll the pools, of the php-fpm programs that are known now."""
        self._supervisor.ask(AskProcesses())  # an earlier answer of /proc had no names
        logs = [path for site in known.sites.values() for path in site.error_logs]
        self._exits.ask(KnowOutputs(known.outputs))
        self._control.health.follow(known)
        self._actions.hints.look(self._settings.healing, [one.name for one in known.programs])
        self._log_follower.follow([*logs, *(str(path) for path in self._settings.error_log)])
        if self._pools is not None:
            self._pools.follow({name: site.targets for name, site in known.sites.items()})

    @property
    def log_counts(self) -> LogCounts:
        """Return the bytes of log files that were read and skipped, and the errors."""
        return self._log_follower.counts

    @property
    def installed_version(self) -> str:
        """Return the version in our files; empty = that of this process, or unknown."""
        return self._own_checks.installed.other

    @property
    def memory(self) -> tuple[Mapping[str, Position], object]:
        """Return how far each log file was read, and the programs that are php-fpm."""
        return self._log_follower.positions, self.finder.memory()

    def start_again(self, processes: Sequence[ProcessName]) -> None:
        """Start processes that we stopped for a while: after our exit nothing else starts them."""
        for process in processes:
            self._actions.heal(SelfHeal(process, Act.START))

    def stop(self) -> None:
        """Stop the threads that write or hold something; the others end with the process."""
        self._control.stop()
        self._keeper.stop()
        for thread in (self._log_follower, self._pools, self._textfile, self._web):
            if thread is not None:
                thread.stop()

    # -- the work of the threads -------------------------------------------------------------------

    def _read_logs_now(self, _: ReadLogsNow) -> None:
        """Read the logs at once, and php-fpm's configuration if its last reading was long ago."""
        self._log_follower.poll_fast()
        now_s = time.monotonic()
        if now_s - self._discovered_at_s >= _DISCOVER_EVERY_S:
            self._discovered_at_s = now_s
            self._discovery.ask(Discover(all_configs=False))

    def _find_holders(self, looks: tuple[FindHolder, ...]) -> None:
        for look in dict.fromkeys(looks):
            self._inbox.errors.survive(Where.HOLDER, self._find_holder, look)

    def _find_holder(self, look: FindHolder) -> None:
        from fpm_listener.daemon import address_check  # noqa: PLC0415 - late, see ADR 044

        self._inbox.put(address_check.find_holder(look))

    def _examine_exits(self, requests: tuple[_ExitRequest, ...]) -> None:
        for request in requests:
            if isinstance(request, CheckGone):
                self._inbox.put(find_gone(request))
            else:
                self._inbox.errors.survive(Where.EXIT, self._read_output, request)

    def _examine(self, requests: tuple[ExamineExit | Sample, ...]) -> None:
        self._examiner.work(requests, self._inbox.put)

    def _read_output(self, request: KnowOutputs | MarkOutput | ReadOutput) -> None:
        if isinstance(request, KnowOutputs):
            self._output_reader.know(request.outputs)
        elif isinstance(request, MarkOutput):
            self._output_reader.end_run(request)
        else:
            answer = self._output_reader.read(request)
            is_new_fpm = self._programs.take_output(answer)
            (self._discovery.ask if is_new_fpm else self._inbox.put)(answer)

    def _read_programs(self, requests: tuple[Discover | OutputRead, ...]) -> None:
        everything = any(isinstance(one, Discover) and one.all_configs for one in requests)
        # An output shows a new php-fpm: the alert that waits for it has the labels of php-fpm then.
        outputs = [one for one in requests if isinstance(one, OutputRead)]
        for answer in (self._programs.read(all_configs=everything), *outputs):
            self._inbox.put(answer)

    def _ask_supervisor(self, requests: tuple[ReadExits | SelfHeal | AskProcesses, ...]) -> None:
        for order in [one for one in requests if isinstance(one, SelfHeal)]:
            self._inbox.errors.survive(Where.SUPERVISOR, self._actions.heal, order)
        if any(isinstance(request, AskProcesses) for request in requests):
            self._query.ask()
        self._query.read_exits([one for one in requests if isinstance(one, ReadExits)])
