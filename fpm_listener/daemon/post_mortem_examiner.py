"""Examines the machine after an exit that no log line explains.

The causes come from `machine_checks`, from `address_check`, and from supervisord's own reason.

Law: supervisord's reason proves that there was no run. Then no other cause counts.
"""

from __future__ import annotations

import glob
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.file_access import account_of_process
from fpm_listener.host.oom_counters import OomKills
from fpm_listener.host.procfs import read_stat
from fpm_listener.incidents.effects import ExitExamined, Gone
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.supervisor import spawn_error
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.host.obstacles import Obstacle
    from fpm_listener.incidents.effects import CheckGone, ExamineExit
    from fpm_listener.supervisor.process import ProcessName
    from fpm_listener.supervisor.rpc import SupervisorRpc

#: Seconds by which supervisord can report an exit late: its poll, and our own delay.
_LATE_S = 3.0


class Sample(NamedTuple):
    """Request: remember the present number of OOM kills."""


class PostMortemExaminer:
    """Used by one thread."""

    def __init__(
        self, supervisord_pid: int, rpc: SupervisorRpc | None = None, root: str = "/"
    ) -> None:
        self._supervisord_pid = supervisord_pid
        self._rpc = rpc
        self._kills = OomKills(supervisord_pid, root)
        self._kills.look(time.monotonic())

    def work(
        self,
        requests: tuple[ExamineExit | Sample, ...],
        put: Callable[[ExitExamined], None],
    ) -> None:
        """Perform the requests."""
        for request in dict.fromkeys(requests):
            if isinstance(request, Sample):
                self._kills.look(time.monotonic())
            else:
                put(ExitExamined(request.process, request.exited_at_s, self.examine(request)))

    def examine(self, request: ExamineExit) -> PostMortem:
        """Return the facts about one exit."""
        from fpm_listener.daemon.machine_checks import MachineChecks  # noqa: PLC0415 - late, see ADR 044

        oom = self._kills.since(request.exited_at_s - _LATE_S, time.monotonic())
        supervisord = account_of_process(self._supervisord_pid)
        checks = MachineChecks(request.needs, supervisord, os.environ.get("PATH", ""))
        obstacles = checks.obstacles or _find_conflicts(request)
        refusal = None if request.has_status else self._spawn_error(request.process)
        if refusal is not None:
            # The machine shows more about the same cause: which folder, or which mount.
            obstacles = [one for one in obstacles if one.cause is refusal.cause]
            named = obstacles[0] if obstacles else refusal
            obstacles = [named._replace(evidence=refusal.evidence), *obstacles]
        missing = [one.named for one in obstacles if one.fault is Fault.NO_PROGRAM and one.named]
        visible = [Cause.OUT_OF_MEMORY] if self._kills.visible else []
        return PostMortem(
            oom=oom,
            obstacles=tuple(dict.fromkeys(obstacles)),
            program_instead=_instead(missing[0]) if missing else (),
            worker_folders_missing=tuple(filter(_is_missing, request.needs.worker_folders)),
            looked_for=(*visible, *checks.looked_for),
        )

    def _spawn_error(self, process: ProcessName) -> Obstacle | None:
        """Return why supervisord could not start a process; None = it does not say so."""
        answer = self._rpc.spawn_error(process) if self._rpc else ""
        return spawn_error.parse(answer) if isinstance(answer, str) else None


def find_gone(request: CheckGone) -> Gone:
    """Return the pids whose process has exited."""
    gone = {pid for pid in request.pids if read_stat(pid) is None}
    for pid, started in request.started:
        stat = read_stat(pid)
        if stat is None or stat.has_ended or stat.started != started:
            gone.add(pid)
    return Gone(request.process, frozenset(gone))


def _instead(program: str) -> tuple[str, ...]:
    """Return programs of other versions in the same directory as the missing one."""
    stem = program.rstrip("0123456789.")
    return tuple(sorted(glob.glob(f"{glob.escape(stem)}*"))) if "/" in program else ()  # noqa: PTH207 - a text stays a text


def _is_missing(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - a text stays a text
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # it may be there
    return False


def _find_conflicts(request: ExamineExit) -> list[Obstacle]:
    from fpm_listener.daemon import address_check  # noqa: PLC0415 - late, see ADR 044

    return address_check.find_conflicts(request)
