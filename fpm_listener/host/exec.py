"""Becoming another program, as if we had never been there.

Law: it gets the environment and the priority that we were started with, and signals as they are by
default. What we or Python have changed is undone.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stubs; `signal` brings enum along
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

#: How much the priority is raised.
_NICER = 10

_changed: list[int] = []  # the priority that we were started with, while it is another


def hurry() -> None:
    """Run before others until we become php-fpm; nothing where that is not allowed.

    On a busy machine, our imports and look-ups can take longer than startsecs.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, own - _NICER)
    except OSError:
        return  # root with CAP_SYS_NICE may do it
    _changed.append(own)


def become(command: Sequence[str], environment: Mapping[bytes, bytes]) -> NoReturn:
    """Become the command, looked up in PATH. Raises OSError where it cannot be run."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)  # Python ignores them, and a child would inherit it
    while _changed:
        os.setpriority(os.PRIO_PROCESS, 0, _changed.pop())
    os.execvpe(command[0], list(command), environment)  # noqa: S606 - to become it is our purpose
