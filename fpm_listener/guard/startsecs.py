"""The longest wait of a guard: less than startsecs, so that supervisord sees a failed start.

Both count from the start of the process, so the start of Python is part of it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fpm_listener.host import procfs
from fpm_listener.supervisor import conf_texts, config_path, startsecs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.supervisor.process import ProcessName

#: Longest seconds for supervisord's answer; the second one where the file has no startsecs.
_ANSWER_S, _SHORT_ANSWER_S = 0.5, 0.2
#: supervisord is asked only if this much of the wait is left: the request is slow under load.
_AMPLE_S = 2.0
#: The whole wait where startsecs is unknown.
UNKNOWN_S = startsecs.longest_wait_s(None)


def longest_wait_s(environment: Mapping[str, str], name: ProcessName, passed_s: float) -> float:
    """Return the longest time from the start of the process to its exit or its exec of php-fpm.

    It is read from the file. If the file has no startsecs, and passed_s allow it, supervisord is
    asked.
    """
    seconds = _in_file(environment, name)
    if seconds is None and passed_s < startsecs.longest_wait_s(None):
        seconds = _loaded(environment, name, _SHORT_ANSWER_S)
    return startsecs.longest_wait_s(seconds)


def confirmed_wait_s(
    environment: Mapping[str, str], name: ProcessName, left_s: float
) -> float | None:
    """Return the same from supervisord, since its file can have changed.

    None: it does not answer, or too little time is left to ask it.
    """
    if left_s < _AMPLE_S:
        return None
    seconds = _loaded(environment, name, _ANSWER_S)
    return None if seconds is None else startsecs.longest_wait_s(seconds)


def _loaded(environment: Mapping[str, str], name: ProcessName, timeout_s: float) -> float | None:
    """Return startsecs from supervisord; None if it does not answer."""
    from fpm_listener.supervisor import server_login  # noqa: PLC0415 - slow, and rarely needed
    from fpm_listener.supervisor.rpc import RpcFailed, SupervisorRpc  # noqa: PLC0415 - the same

    login = server_login.of_running(procfs.supervisor_of(os.getpid()), environment)
    rpc = SupervisorRpc.from_environment(environment, timeout_s, login)
    answer = rpc.programs() if rpc is not None else ()
    if isinstance(answer, RpcFailed):
        return None
    return next((program.startsecs for program in answer if program.name == name), None)


def _in_file(environment: Mapping[str, str], name: ProcessName) -> float | None:
    """Return startsecs from supervisord's file; None if it is not found or not readable."""
    supervisord = procfs.supervisor_of(os.getpid())
    path = config_path.find_conf(supervisord) if supervisord is not None else None
    if path is None:
        return None
    try:
        conf = conf_texts.read(path, environment)
    except OSError:
        return None
    texts = (text for _, text in conf.files)
    return startsecs.find(texts, name.group, name.process, conf.expansions)
