"""The supervisord that runs with a configuration: its environment, its options, its user.

Law: a fact that this user may not see is unknown (None), and no rule uses it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from fpm_listener.doctor.running_facts import Running
from fpm_listener.host import procfs
from fpm_listener.supervisor import config_path

_NAME = re.compile(r"supervisord(?:\.py)?|supervisor\.supervisord")


def is_supervisord(words: list[str]) -> bool:
    """Return whether a command line is that of supervisord; its file alone proves nothing."""
    return any(_NAME.fullmatch(word.rpartition("/")[2]) for word in words[:4])


def find(path: str, proc: str = "/proc") -> tuple[Running | None, bool]:
    """Return the supervisord that runs with the configuration at `path`, and whether one may run.

    None and True: the configuration of a supervisord is not visible for this user.
    """
    try:
        pids = procfs.pids(proc)
    except OSError:
        return None, True
    wanted, is_possible = os.path.realpath(path), False
    for pid in sorted(pids):
        words = config_path.command_of(pid, proc)
        if is_supervisord(words):
            conf = config_path.find_conf(pid, proc)
            if conf is None:
                is_possible = True
            elif os.path.realpath(conf) == wanted:
                return _facts(pid, words, proc), True
    return None, is_possible


def confs(proc: str = "/proc") -> list[str]:
    """Return the configurations of the supervisords that run on the files of this machine."""
    try:
        pids = sorted(procfs.pids(proc))
    except OSError:
        return []
    found = {
        os.path.realpath(conf): conf
        for pid in pids
        if is_supervisord(config_path.command_of(pid, proc)) and _has_our_root(pid, proc)
        if (conf := config_path.find_conf(pid, proc)) is not None
    }
    return [conf for conf in found.values() if os.access(conf, os.R_OK)]


def _has_our_root(pid: int, proc: str) -> bool:
    """Return whether a process is in no container, as far as this user may see it."""
    try:
        return os.path.samestat(Path(proc, str(pid), "root").stat(), Path("/").stat())
    except OSError:
        return True


def _facts(pid: int, words: list[str], proc: str) -> Running:
    pairs = (pair.partition("=") for pair in _environment(pid, proc).split("\0"))
    environ = {name: value for name, equals, value in pairs if equals}
    try:
        uid: int | None = Path(proc, str(pid)).stat().st_uid
    except OSError:
        uid = None
    options = config_path.options_of(words)
    level = options.get("-e") or options.get("--loglevel")
    return Running(pid, environ or None, uid, level)


def _environment(pid: int, proc: str) -> str:
    return os.fsdecode(procfs.environment(pid, proc))
