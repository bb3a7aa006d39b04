"""Finds the programs of supervisord, the php-fpm among them, and their configurations.

Laws:
1. supervisord's own file comes first, read by its own parser: it is complete and needs no XML-RPC.
   The live answer of supervisord comes second.
2. An unreadable configuration is logged once, and never stops the listener.
3. An unexpected error about one program is reported; the earlier facts about it stay.
"""

from __future__ import annotations

import logging
import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from fpm_listener.daemon import program_needs
from fpm_listener.daemon.fpm_finder import FpmFinder
from fpm_listener.daemon.output_finder import OutputFinder
from fpm_listener.host.addresses import TcpAddress
from fpm_listener.host.operator_commands import OperatorCommands
from fpm_listener.internal_errors import log_only
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.phpfpm import config_files
from fpm_listener.phpfpm.check_command import check_command
from fpm_listener.phpfpm.config import FpmSite, LogKind
from fpm_listener.phpfpm.pool_probe import ProbeTarget
from fpm_listener.phpfpm.status_page import PoolTarget
from fpm_listener.supervisor import command_search, config_path
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.config_reader import ConfigReader
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.rpc import RpcFailed
from fpm_listener.vocabulary import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.incidents.effects import OutputRead
    from fpm_listener.incidents.post_mortem import Needs
    from fpm_listener.incidents.program_output import ProgramOutput
    from fpm_listener.internal_errors import Caught
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf, Pool
    from fpm_listener.supervisor.process import Program
    from fpm_listener.supervisor.rpc import SupervisorRpc

log = logging.getLogger(__name__)


Value = TypeVar("Value")


class _Facts(NamedTuple):
    """The facts about one program."""

    needs: Needs
    output: ProgramOutput
    site: FpmSite | None = None  #: None = it is not php-fpm


class Discovery:
    """Reads the programs. Used by one thread."""

    def __init__(
        self,
        rpc: SupervisorRpc | None,
        supervisord_pid: int,
        caught: Caught = log_only,
        finder: FpmFinder | None = None,
        programs: tuple[Program, ...] = (),
    ) -> None:
        """`caught`: gets each unexpected error; `programs`: as an earlier reading found them."""
        self._finder = finder or FpmFinder()
        self._caught = caught
        self._rpc = rpc
        self._pid = supervisord_pid
        self._programs = programs
        self._reader = ConfigReader()
        self._commands: OperatorCommands | None = None
        self._outputs = OutputFinder(rpc, supervisord_pid)
        self._logged: set[str] = set()
        self._confs: dict[tuple[ProcessName, str], FpmConf] = {}  # the last that could be read
        self._known: dict[tuple[ProcessName, str], _Facts] = {}

    def read(self, *, all_configs: bool) -> ProgramsKnown:
        """Return the programs; `all_configs`: read supervisord's configuration too."""
        if all_configs or not self._programs:
            found = self._survive(self._find)
            self._programs = self._programs if found is None else found
            self._outputs.know(self._programs, _own_name())
        sites: dict[ProcessName, FpmSite] = {}
        needs: dict[ProcessName, Needs] = {}
        outputs: dict[ProcessName, ProgramOutput] = {}
        if all_configs:
            self._survive(self._outputs.ask)
        known: dict[tuple[ProcessName, str], _Facts] = {}
        for program in self._programs:
            key = program.name, program.command
            facts = self._survive(partial(self._read_program, program)) or self._known.get(key)
            if facts is not None:
                known[key] = facts
                needs[program.name] = facts.needs
                outputs[program.name] = facts.output
                if facts.site is not None:
                    sites[program.name] = facts.site
        self._known = known
        if all_configs or self._commands is None:
            find = partial(command_search.find, self._pid)
            self._commands = self._survive(find) or self._commands
        return ProgramsKnown(
            programs=self._programs,
            sites=sites,
            needs=needs,
            outputs=outputs,
            commands=self._commands or OperatorCommands(),
        )

    def take_output(self, answer: OutputRead) -> bool:
        """Take the output of a failed run; return whether it shows that a program is php-fpm."""
        program = next((one for one in self._programs if one.name == answer.process), None)
        return self._finder.take_messages(program, answer.lines or ())

    def _survive(self, work: Callable[[], Value]) -> Value | None:
        """Return what `work` returns; report its unexpected error, and return None then."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - law 3
            self._caught(Where.PROGRAMS, error)
            return None

    def _read_program(self, program: Program) -> _Facts:
        invocation = self._finder.find(program)
        stderr_log = program.stderr_log or self._outputs.stderr_file(program)
        if invocation is None:
            is_fpm = self._finder.is_named(program)
            logs = (stderr_log,) if stderr_log and Path(stderr_log).is_file() else ()
            site = FpmSite(error_logs=logs) if is_fpm else None
            output = self._outputs.find(program, logs) if is_fpm else self._outputs.find(program)
            return _Facts(program_needs.of_program(program), output, site)
        conf = self._read_conf(program, invocation)
        site = _site(program, invocation, conf, stderr_log)
        output = self._outputs.find(program, site.error_logs)
        return _Facts(program_needs.of_php_fpm(program, invocation, conf), output, site)

    def _find(self) -> tuple[Program, ...]:
        why = ["supervisord's configuration file was not found"]
        path = config_path.find_conf(self._pid)
        if path is not None:
            found = self._reader.programs(path)
            if not isinstance(found, ConfUnreadable):
                return found
            why = [found.why]
        if self._rpc is not None:
            answer = self._rpc.programs()
            if not isinstance(answer, RpcFailed):
                return answer
            why.append(answer.why)
        self._warn_once(
            "programs are unknown: the configuration cannot be read why=%r", "; ".join(why)
        )
        return self._programs

    def _read_conf(self, program: Program, invocation: FpmInvocation) -> FpmConf:
        conf = config_files.read(
            invocation,
            directory=program.directory,
            environment={**os.environ, **program.environment},
        )
        for problem in conf.problems:
            self._warn_once("php-fpm's configuration is not fully understood problem=%r", problem)
        # An unreadable file may be readable soon, and the running php-fpm has read it. So the last
        # readable configuration stays in use; otherwise another log would be followed.
        key = program.name, " ".join((*invocation.arguments, conf.path))
        if not any(" cannot be read: " in problem for problem in conf.problems):
            self._confs[key] = conf
        return self._confs.get(key, conf)

    def _warn_once(self, sentence: str, what: str) -> None:
        if what not in self._logged:
            self._logged.add(what)
            log.warning(sentence, what)


def _own_name() -> ProcessName:
    """Return the name of the listener in supervisord, which sets these variables."""
    names = ("SUPERVISOR_GROUP_NAME", "SUPERVISOR_PROCESS_NAME")
    return ProcessName(*(os.environ.get(name, "") for name in names))


def _site(
    program: Program, invocation: FpmInvocation, conf: FpmConf, stderr_log: str | None
) -> FpmSite:
    logs = (conf.error_log,) if conf.log_kind is LogKind.FILE and conf.error_log else ()
    if logs and not os.path.isabs(logs[0]):  # noqa: PTH117 - a text stays a text
        logs = (f"{program.directory or ''}/{logs[0]}",)
    # Before its log is open, php-fpm writes to stderr only.
    if stderr_log and stderr_log not in logs and Path(stderr_log).is_file():
        logs = (*logs, stderr_log)
    return FpmSite(
        addresses=conf.addresses,
        pools=tuple(pool.name for pool in conf.pools),
        error_logs=logs,
        user=next((pool.user for pool in conf.pools if pool.user), None),
        targets=tuple(target for pool in conf.pools if (target := _target(pool, conf))),
        probes=probe_targets(conf),
        config=conf.path,
        check_command=check_command(invocation, conf.path),
        listen_places=tuple(
            (pool.name, pool.listen_place) for pool in conf.pools if pool.listen_place
        ),
        rivals=conf.rivals,
        php_ini=invocation.php_ini,
        refused=invocation.refused or None,
    )


def probe_targets(conf: FpmConf) -> tuple[ProbeTarget, ...]:
    """Return where to ask each pool whether it is alive."""
    return tuple(
        ProbeTarget(
            pool=pool.name,
            address=pool.listen.text,
            ping_path=pool.options.get("ping.path") or None,
            # php-fpm does not apply it to a unix socket.
            is_restricted=isinstance(pool.listen, TcpAddress)
            and bool(pool.options.get("listen.allowed_clients")),
        )
        for pool in conf.pools
        if pool.listen is not None
    )


def _target(pool: Pool, conf: FpmConf) -> PoolTarget | None:
    """Return how to poll a pool; None if it has no address."""
    if pool.listen is None:
        return None
    status, ping = pool.options.get("pm.status_path"), pool.options.get("ping.path")
    return PoolTarget(
        pool=pool.name,
        address=pool.listen.text,
        status_path=status or None,
        status_address=pool.status_listen.text if pool.status_listen else None,
        ping_path=ping or None,
        ping_response=pool.options.get("ping.response") or "pong",
        max_children=_whole(pool.options.get("pm.max_children", "")),
        process_max=_whole(conf.options.get("process.max", "")) or 0,
        chroot=pool.options.get("chroot") or None,
        config=conf.path,
    )


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,8}", text) else None
