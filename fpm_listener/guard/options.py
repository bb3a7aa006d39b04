"""The guard's command line, parsed without argparse, which costs 1.4 MiB and 10 ms."""

from __future__ import annotations

import getopt
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm.guard_command import CONFIG, HOLD, OPTIONS, ORPHANS, USAGE, WAIT, wait_s
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Options(NamedTuple):
    """What the command line contains."""

    words: tuple[str, ...]  #: all of it
    command: tuple[str, ...]  #: php-fpm's own
    wait_s: float
    end_orphans: bool  #: --orphans quit; False: report
    hold: bool
    config: str | None  #: the listener's settings


def parse(words: Sequence[str]) -> Options:
    """Return the options. Raises FpmListenerError where they are wrong."""
    usage = f"usage: fpm-listener guard {USAGE}"
    try:
        pairs, command = getopt.getopt(
            list(words), "", [f"{option.name}{'=' * bool(option.value)}" for option in OPTIONS]
        )
    except getopt.GetoptError as error:
        raise FpmListenerError(f"guard: {error}; {usage}") from None
    if not command:
        raise FpmListenerError(f"guard: php-fpm's own command is missing; {usage}")
    given = {f"--{option.name}": option.default for option in OPTIONS} | dict(pairs)
    for option in OPTIONS:
        value = given[f"--{option.name}"]
        if option.choices and value not in option.choices:
            allowed = ", ".join(option.choices)
            raise FpmListenerError(f"guard: --{option.name} {value!r}: allowed: {allowed}")
    return Options(
        words=tuple(words),
        command=tuple(command),
        wait_s=_wait_s(given[f"--{WAIT.name}"] or ""),
        end_orphans=given[f"--{ORPHANS.name}"] == ORPHANS.default,
        hold=given[f"--{HOLD.name}"] is not None,
        config=given[f"--{CONFIG.name}"],
    )


def _wait_s(text: str) -> float:
    try:
        return wait_s(text)
    except ValueError as error:
        raise FpmListenerError(f"guard: --wait {text!r}: allowed: {error}") from None
