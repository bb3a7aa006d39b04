"""`fpm-listener healthy --direct`: asks php-fpm itself, without a listener.

supervisord's configuration names the programs. If it cannot be found, the titles of the php-fpm
processes that run lead to php-fpm's configuration.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from fpm_listener.cli.healthy_options import NoVerdict
from fpm_listener.daemon.discovery import Discovery, probe_targets
from fpm_listener.daemon.health_check import Question
from fpm_listener.doctor.running import is_supervisord
from fpm_listener.host import fpm_titles, procfs
from fpm_listener.monitor.process_view import ProcessView
from fpm_listener.phpfpm import config_files, probe
from fpm_listener.phpfpm.command_line import FpmInvocation
from fpm_listener.status import health, health_report
from fpm_listener.status.health import Patience
from fpm_listener.supervisor import config, config_path
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.cli.healthy_options import Options
    from fpm_listener.phpfpm.pool_probe import ProbeTarget


def answer(options: Options) -> str:
    """Return the exit status and the line. Raises NoVerdict."""
    logging.disable()  # one line is printed, the result
    patience = Patience(options.timeout_s, options.start_period_s)
    question = Question(tuple(options.programs), patience, options.nagios)
    targets = _chosen(_programs(options.supervisord_conf), options.programs)
    flat = [one for found in targets.values() for one in found]
    try:
        looks = dict(zip(flat, probe.probe_all(flat, patience.timeout_s), strict=True))
    except (OSError, RuntimeError) as error:
        raise NoVerdict(f"cannot ask php-fpm: {error}") from None
    verdicts = tuple(
        health.judge(
            ProcessView(name=name, is_fpm=True, state=State.RUNNING),
            [looks[one] for one in found],
            patience,
            0.0,
        )
        for name, found in targets.items()
    )
    return question.text(health_report.Report(verdicts=verdicts))


def _programs(conf: str | None) -> Mapping[ProcessName, tuple[ProbeTarget, ...]]:
    """Return the pools of each php-fpm."""
    if conf is not None:
        return _configured(conf)
    try:
        pids = [pid for pid in sorted(procfs.pids()) if _is_near(pid)]
    except OSError as error:
        raise NoVerdict(f"/proc cannot be read: {error.strerror}") from None
    found = {
        path: _configured(path)
        for pid in pids
        if is_supervisord(config_path.command_of(pid)) and (path := config_path.find_conf(pid))
    }
    with_fpm = {path: programs for path, programs in found.items() if programs}
    if len(with_fpm) > 1:
        raise NoVerdict(
            f"several supervisords run a php-fpm ({', '.join(with_fpm)}); name the file of one:"
            " --supervisord-conf FILE"
        )
    if with_fpm:
        return next(iter(with_fpm.values()))
    return {
        ProcessName(config, config): _running(pid, config)
        for pid in pids
        if (config := fpm_titles.config_of(procfs.title(pid)) or "").startswith("/")
    }


def _configured(path: str) -> Mapping[ProcessName, tuple[ProbeTarget, ...]]:
    """Return the pools of each php-fpm of a supervisord. Raises NoVerdict."""
    programs = config.read_programs(path)
    if isinstance(programs, ConfUnreadable):
        raise NoVerdict(programs.why)
    known = Discovery(None, 0, programs=programs).read(all_configs=False)
    return {name: site.probes for name, site in known.sites.items()}


def _running(pid: int, path: str) -> tuple[ProbeTarget, ...]:
    """Return the pools of a php-fpm whose title names its configuration."""
    binary = procfs.executable(pid) or "php-fpm"
    invocation = FpmInvocation(binary, config=path, foreground=True)
    conf = config_files.read(invocation, directory=None, environment=dict(os.environ))
    return probe_targets(conf)


def _is_near(pid: int) -> bool:
    """Return whether a process sees our files: a host also shows the processes of containers."""
    try:
        return os.stat(f"/proc/{pid}/ns/mnt").st_ino == os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116 - procfs
    except OSError:
        return True  # of another user; in a container all processes are near


def _chosen(
    programs: Mapping[ProcessName, tuple[ProbeTarget, ...]], names: Sequence[str]
) -> Mapping[ProcessName, tuple[ProbeTarget, ...]]:
    if not programs:
        raise NoVerdict(
            "no php-fpm is found: no running supervisord has such a program in a configuration that"
            " this user may read, and no php-fpm runs"
        )
    chosen: dict[ProcessName, tuple[ProbeTarget, ...]] = {}
    for word in names:
        found = {one: t for one, t in programs.items() if health_report.is_named(one, word)}
        if not found:
            known = ", ".join(sorted(one.shown for one in programs))
            raise NoVerdict(f"no php-fpm has the name {word!r}; their names: {known}")
        chosen |= found
    return chosen or programs
