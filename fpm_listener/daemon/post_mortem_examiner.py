"""Examines the machine after an exit that no log line explains.

Laws:
1. It changes nothing and runs nothing; an examination costs some file system calls.
2. A path that may not be read counts as present, and no cause is ruled out because of it.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import time
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.oom_counters import OomKills
from fpm_listener.host.procfs import read_stat
from fpm_listener.incidents.effects import CheckGone, ExamineExit, ExitExamined, Gone
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: Seconds by which supervisord can report an exit late: its poll, and our own delay.
_LATE_S = 3.0


class Sample(NamedTuple):
    """Request: remember the present number of OOM kills."""


class PostMortemExaminer:
    """Used by one thread."""

    def __init__(self, supervisord_pid: int, root: str = "/") -> None:
        self._kills = OomKills(supervisord_pid, root)
        self._kills.look(time.monotonic())

    def work(
        self,
        requests: tuple[ExamineExit | CheckGone | Sample, ...],
        put: Callable[[ExitExamined | Gone], None],
    ) -> None:
        """Perform the requests."""
        for request in dict.fromkeys(requests):
            if isinstance(request, Sample):
                self._kills.look(time.monotonic())
            elif isinstance(request, CheckGone):
                put(Gone(request.process, _gone(request)))
            else:
                put(ExitExamined(request.process, request.exited_at_s, self.examine(request)))

    def examine(self, request: ExamineExit) -> PostMortem:
        """Return the facts about one exit."""
        needs = request.needs
        oom = self._kills.since(request.exited_at_s - _LATE_S, time.monotonic())
        looked_for = {
            Cause.OUT_OF_MEMORY: self._kills.visible,
            Cause.MISSING_PATH: bool(needs.program or needs.folders),
            Cause.DISK_FULL: bool(needs.folders),
            Cause.UNKNOWN_USER: bool(needs.users or needs.groups),
        }
        missing = needs.program if needs.program and not _is_program(needs.program) else None
        return PostMortem(
            oom=oom,
            program_missing=missing,
            program_instead=_instead(missing) if missing else (),
            folders_missing=tuple(path for path in needs.folders if not _is_there(path)),
            folders_full=tuple(path for path in needs.folders if _is_full(path)),
            unknown=(
                *_unknown("user", needs.users, pwd.getpwnam),
                *_unknown("group", needs.groups, grp.getgrnam),
            ),
            looked_for=tuple(cause for cause, possible in looked_for.items() if possible),
        )


def _gone(request: CheckGone) -> frozenset[int]:
    """Return the pids whose process has exited."""
    gone = {pid for pid in request.pids if read_stat(pid) is None}
    for pid, started in request.started:
        stat = read_stat(pid)
        if stat is None or stat.has_ended or stat.started != started:
            gone.add(pid)
    return frozenset(gone)


def _is_program(name: str) -> bool:
    if "/" in name:
        return os.path.exists(name)  # noqa: PTH110 - a text stays a text
    import shutil  # noqa: PLC0415 - it loads compression modules: half a mebibyte

    return shutil.which(name) is not None


def _instead(program: str) -> tuple[str, ...]:
    """Return programs of other versions in the same directory as the missing one."""
    stem = program.rstrip("0123456789.")
    return tuple(sorted(glob.glob(f"{glob.escape(stem)}*"))) if "/" in program else ()  # noqa: PTH207 - a text stays a text


def _is_there(path: str) -> bool:
    try:
        os.stat(path)  # noqa: PTH116 - a text stays a text
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True  # law 2
    return True


def _is_full(path: str) -> bool:
    try:
        disk = os.statvfs(path)
    except OSError:
        return False
    # Some file systems count no inodes.
    return disk.f_bavail == 0 or (disk.f_files > 0 and disk.f_favail == 0)


def _unknown(kind: str, names: Iterable[str], look: Callable[[str], object]) -> list[str]:
    unknown = []
    for name in names:
        try:
            look(name)
        except KeyError:
            unknown.append(f"{kind} {name}")
        except OSError:
            continue  # law 2
    return unknown
