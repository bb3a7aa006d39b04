"""Answers what the engine asks of the machine: from the logs, or as not known.

Law: the machine that replays is another one, or it is later. So nothing is looked up, and no cause
is ruled out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.host.address_holders import HolderReport
from fpm_listener.incidents.effects import (
    CheckGone,
    ExamineExit,
    ExitExamined,
    FindHolder,
    Gone,
    HolderFound,
    OutputRead,
    ReadOutput,
)
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.monitor.messages import AskProcesses
from fpm_listener.supervisor import spawn_error

if TYPE_CHECKING:
    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.messages import Effect
    from fpm_listener.replay.reconstruction import Reconstruction

#: What an incident says about the process that has the address.
UNKNOWN_HOLDER = "the logs do not show it"


def answer(effect: Effect, runs: Reconstruction) -> Input | None:
    """Return the answer to an effect; None = it asks for nothing."""
    match effect:
        case FindHolder():
            return HolderFound(
                effect.process, HolderReport(effect.address, (), blind=UNKNOWN_HOLDER)
            )
        case ExamineExit():
            return ExitExamined(effect.process, effect.exited_at_s, _post_mortem(effect, runs))
        case ReadOutput():
            return OutputRead(effect.process, None, effect.exited_at_s)
        case CheckGone():
            # Live, this refutes forged lines: a worker that still exists has not exited.
            return Gone(effect.process, effect.pids)
        case AskProcesses():
            return runs.states()
        case _:
            return None


def _post_mortem(effect: ExamineExit, runs: Reconstruction) -> PostMortem:
    """Return why supervisord could not start the program, if its log says so."""
    seen = runs.seen.get(effect.process)
    lines = seen.refused if seen is not None and not effect.has_status else ()
    obstacles = [found for line in lines if (found := spawn_error.parse(line)) is not None]
    return PostMortem(obstacles=tuple(obstacles[-1:]))
