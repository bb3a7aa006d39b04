"""The options of `fpm-listener guard`, with their defaults: the only place that declares them.

The guard's own parser, `fpm-listener guard --help`, the doctor and the reader of command lines use
this table.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from fpm_listener import durations

#: Names of our program: of the command, of the module, and of the one file `make dist` creates.
PROGRAM = re.compile(r"fpm[-_]listener(?:-\d[\d.]*\d)?(?:\.pyz)?", re.ASCII)


class GuardOption(NamedTuple):
    """One option, such as `--wait 2s`."""

    name: str
    help: str
    value: str | None = None  #: as the usage shows it; None = a flag
    choices: tuple[str, ...] = ()
    default: str | None = None


WAIT = GuardOption("wait", "longest wait for an address", "2s", default="2s")
ORPHANS = GuardOption(
    "orphans",
    "end or report workers that a dead master of this program left",
    "quit|report",
    choices=("quit", "report"),
    default="quit",
)
HOLD = GuardOption("hold", "let the listener keep the listening sockets while php-fpm restarts")
CONFIG = GuardOption("config", "the listener's settings", "FILE")

OPTIONS = (WAIT, ORPHANS, HOLD, CONFIG)

_SHOWN = (f"[--{option.name}{f' {option.value}' * bool(option.value)}]" for option in OPTIONS)
#: Without the name of the program.
USAGE = f"{' '.join(_SHOWN)} -- php-fpm ARGUMENTS"


def wait_s(text: str) -> float:
    """Return the seconds of `--wait`; a number alone is seconds. Raises ValueError."""
    return float(text) if text.isdecimal() else durations.parse(text)
