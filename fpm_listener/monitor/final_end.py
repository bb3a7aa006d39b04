"""Which ends of a program are the end of the container (`on_fatal = shutdown`).

Laws:
1. Only an end that supervisord does not undo counts. A stop never counts.
2. An expected exit counts only for the programs of `on_fatal_programs`. A job that exits with 0 is
   done, even if supervisord calls it FATAL because it was faster than startsecs.
3. An unknown fact never ends a container, with one exception: FATAL that an event reported counts
   although the exit status is unknown, unless autorestart=false shows that it can be a job.
"""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.monitor.lifecycle import Outcome
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.settings.policy import HealingPolicy
    from fpm_listener.supervisor.process import ProcessName, Program

#: Settings of autorestart with which supervisord does not start a program again after such an exit.
_NOT_RESTARTED = {
    Outcome.CRASH: frozenset({"false"}),
    Outcome.EXPECTED_EXIT: frozenset({"false", "unexpected"}),
}


class FinalEnd(Enum):
    """How a program has ended; `{}` is its name."""

    FATAL = "supervisord gave up on {} (FATAL)"
    CRASH = "{} crashed, and supervisord does not restart it (autorestart=false)"
    EXPECTED_EXIT = "{} exited as expected, and on_fatal_programs names it"


class Ended(NamedTuple):
    """The last end of a program."""

    outcome: Outcome | None = None  #: of its event; None = unknown
    is_success: bool | None = None  #: the last known exit status was 0; None = unknown
    is_explained: bool = False  #: its log or the machine shows why it failed


def is_named(name: ProcessName, globs: Iterable[str]) -> bool:
    """Return whether a setting with globs over `group:name` names a process."""
    return any(fnmatchcase(text, glob) for text in (str(name), name.shown) for glob in globs)


def is_abandoned(
    name: ProcessName, policy: HealingPolicy, program: Program | None, outcome: Outcome
) -> bool:
    """Return whether nobody starts a program again after this exit, and that is a problem."""
    restart = program.autorestart if program else None
    if restart not in _NOT_RESTARTED.get(outcome, ()):
        return False
    return outcome is Outcome.CRASH or (
        policy.shutdown_on_fatal and is_named(name, policy.fatal_programs)
    )


def final_end(
    name: ProcessName,
    policy: HealingPolicy,
    program: Program | None,
    state: State,
    ended: Ended,
    *,
    is_fpm: bool,
) -> FinalEnd | None:
    """Return how a program has ended for good; None = the container continues.

    Its caller knows that nobody starts the program again.
    """
    is_chosen = is_named(name, policy.fatal_programs)
    is_left_out = policy.fatal_programs or (
        program is not None and _is_extra(program, is_fpm=is_fpm)
    )
    if not policy.shutdown_on_fatal or not (is_chosen or not is_left_out):
        return None
    if state is State.FATAL:
        is_service = is_chosen or is_fpm
        return FinalEnd.FATAL if is_service or not _is_done_job(program, ended) else None
    if state is not State.EXITED:
        return None
    if ended.outcome is Outcome.CRASH:
        restart = program.autorestart if program else None
        return FinalEnd.CRASH if restart in _NOT_RESTARTED[Outcome.CRASH] else None
    if ended.outcome is Outcome.EXPECTED_EXIT and is_chosen:
        return FinalEnd.EXPECTED_EXIT
    return None


def _is_extra(program: Program, *, is_fpm: bool) -> bool:
    """Return whether the container works without it: an event listener, or a tool for operators."""
    is_tool = not program.autostart and program.autorestart != "true" and not is_fpm
    return bool(program.events) or is_tool


def _is_done_job(program: Program | None, ended: Ended) -> bool:
    """Return whether a FATAL program can be a job that is done: its last run may have succeeded."""
    restart = program.autorestart if program else None
    if restart == "true":
        return False
    if ended.is_success is None:  # a listener that starts again finds a FATAL of days ago
        return not ended.is_explained and (restart == "false" or ended.outcome is None)
    return ended.is_success
