"""How long a guard may wait: less than startsecs, so that supervisord sees the start fail.

Both times begin when supervisord starts the process. Python and our look-ups count.
"""

from __future__ import annotations

import glob
import os
from typing import TYPE_CHECKING

from fpm_listener import procfs, regular_file, supervisord_path
from fpm_listener.core import startsecs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.core.values import ProcessName

#: supervisord looks at its children once a second. It must see the end before startsecs are over.
#: The rest is for the end itself.
_SUPERVISORD_LOOKS_S = 1.2
#: The whole wait where startsecs is unknown: half of supervisord's default.
UNKNOWN_S = 0.5
#: Seconds for supervisord's answer, at most and at least.
_ANSWER_S, _SHORTEST_ANSWER_S = 0.5, 0.2
#: Files that are read.
_MOST_FILES = 1000


def longest_wait_s(environment: Mapping[str, str], name: ProcessName, passed_s: float) -> float:
    """Return the seconds from the start of the process until it must have ended or become php-fpm.

    supervisord's own answer counts, since its file can have changed. It is asked only if there is
    still time: passed_s are over.
    """
    in_file = _in_file(environment, name)
    wait_s = _wait_s(in_file)
    if in_file is not None and wait_s - passed_s < _ANSWER_S:
        return wait_s  # to ask takes as long on a busy machine
    timeout_s = min(_ANSWER_S, max(_SHORTEST_ANSWER_S, wait_s - passed_s))
    loaded = _loaded(environment, name, timeout_s)
    return _wait_s(in_file if loaded is None else loaded)


def _wait_s(seconds: float | None) -> float:
    if seconds is None:
        return UNKNOWN_S
    return max(seconds / 2, seconds - _SUPERVISORD_LOOKS_S)


def _loaded(environment: Mapping[str, str], name: ProcessName, timeout_s: float) -> float | None:
    """Return what supervisord has read; None where it does not answer."""
    from fpm_listener.supervisor_rpc import RpcFailed, SupervisorRpc  # noqa: PLC0415 - it may be too late

    rpc = SupervisorRpc.from_environment(environment, timeout_s=timeout_s)
    answer = rpc.programs() if rpc is not None else ()
    if isinstance(answer, RpcFailed):
        return None
    return next((program.startsecs for program in answer if program.name == name), None)


def _in_file(environment: Mapping[str, str], name: ProcessName) -> float | None:
    """Return what is in supervisord's configuration; None where it is not found or not read."""
    supervisord = procfs.supervisor_of(os.getpid())
    path = supervisord_path.find_conf(supervisord) if supervisord is not None else None
    if path is None:
        return None
    folder = os.path.dirname(os.path.abspath(path))  # noqa: PTH100, PTH120 - texts stay texts
    expansions = {
        **{f"ENV_{key}": value for key, value in environment.items()},
        "here": folder,
        "host_node_name": os.uname().nodename,
    }
    try:
        texts = [_read(path)]
        for pattern in startsecs.included(texts[0], expansions):
            files = sorted(glob.glob(os.path.join(folder, pattern)))  # noqa: PTH118, PTH207 - the same
            texts += [_read(file) for file in files[:_MOST_FILES]]
    except OSError:
        return None
    return startsecs.find(texts, name.group, name.process, expansions)


def _read(path: str) -> str:
    return regular_file.read_text(path)
