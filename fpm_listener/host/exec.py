"""Replaces this process by another program, as if it had been started directly.

Law: the program gets the environment and the priority of our start, and default signals. Changes of
ours and of Python are undone.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # no stubs; `signal` imports enum
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

#: By how much the priority rises.
_BOOST = 10

#: Signals that Python ignores, and exec keeps that.
IGNORED_BY_PYTHON = (_signal.SIGPIPE, _signal.SIGXFSZ)

_changed: list[int] = []  # the priority of our start, while it is another


def raise_priority() -> None:
    """Raise our priority until `become`, if that is permitted.

    On a busy machine, our imports and searches can take longer than startsecs.
    """
    own = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, own - _BOOST)
    except OSError:
        return  # it needs root with CAP_SYS_NICE
    _changed.append(own)


def become(command: Sequence[str], environment: Mapping[bytes, bytes]) -> NoReturn:
    """Become the command, searched in PATH. Raises OSError if it cannot be executed."""
    for number in IGNORED_BY_PYTHON:
        _signal.signal(number, _signal.SIG_DFL)
    while _changed:
        os.setpriority(os.PRIO_PROCESS, 0, _changed.pop())
    os.execvpe(command[0], list(command), environment)  # noqa: S606 - to become it is our purpose


def failed_status(error: OSError) -> int:
    """Return the exit status for a command that cannot be executed, as a shell exits."""
    return 127 if isinstance(error, FileNotFoundError) else 126


def original_environment() -> dict[bytes, bytes]:
    """Return the environment that we were started with.

    Not os.environ: Python adds LC_CTYPE to it in the C locale (PEP 538).
    """
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib costs milliseconds
            pairs = [word.partition(b"=") for word in file.read().split(b"\0")]
        return {name: value for name, equals, value in pairs if name and equals}
    except OSError:
        return dict(os.environb)
