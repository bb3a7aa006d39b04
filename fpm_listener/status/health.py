"""The health of a program: the state that supervisord reports, and a look at php-fpm's pools.

Laws:
1. A busy pool is never reported as dead, and a pool that accepts nothing is never reported as fine.
2. What cannot be known is `unknown`, with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.phpfpm.pool_probe import Outcome
from fpm_listener.supervisor.exit_log import how
from fpm_listener.vocabulary import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.monitor.process_view import ProcessView
    from fpm_listener.phpfpm.pool_probe import PoolProbe


class Health(Enum):
    """A verdict; a later member is worse."""

    FINE = "fine"
    BUSY = "busy"  #: clients wait for a free worker, and the queue moves
    SATURATED = "saturated"  #: so, and the queue is full or more than half full
    STOPPED = "stopped"  #: by an operator
    STARTING = "starting"
    UNKNOWN = "unknown"
    EXITED = "exited"  #: and nothing starts it again
    NOT_LISTENING = "not listening"
    WRONG_SERVER = "wrong server"  #: another program answers at the address
    DEAD = "dead"  #: nothing was accepted within the timeout
    LOOPING = "looping"
    FATAL = "FATAL"


#: The smaller, the better.
RANK = {health: rank for rank, health in enumerate(Health)}
_OK = frozenset({Health.FINE, Health.BUSY, Health.SATURATED})
#: What a php-fpm can show while it starts.
_NOT_YET = frozenset({Health.DEAD, Health.NOT_LISTENING})
#: Seconds between failures of one start.
_SAME_START_S = 60.0


class Patience(NamedTuple):
    """The limits of one question, in seconds."""

    timeout_s: float = 5.0
    start_period_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The health of one program."""

    name: str  #: as supervisorctl accepts it
    health: Health
    why: str  #: one clause
    ok: bool
    probes: tuple[PoolProbe, ...] = ()


def judge(
    view: ProcessView,
    probes: Sequence[PoolProbe],
    patience: Patience,
    now_s: float,
    failures: Sequence[float] = (),
) -> Verdict:
    """Return the health of one program.

    probes: of its pools, if it is a php-fpm that runs; now_s: wall seconds; failures: wall seconds
    of its failed starts and crashes.
    """
    by_state, by_pools = _judge_state(view), _judge_pools(view, probes)
    # Without a state, only a pool that accepts connections proves something.
    is_proven = needs_probe(view) and by_pools[0] in _OK
    health, why = by_pools if by_state is None or is_proven else by_state
    age_s = _start_age_s(view, now_s, failures)
    is_young = age_s is not None and age_s < patience.start_period_s
    if health in _NOT_YET and is_young:
        health, why = Health.STARTING, f"it does not answer yet: {why}"
    ok = health in _OK
    if health is Health.STARTING:
        ok = is_young
        if age_s is not None:
            why = f"{why}; since {age_s:.0f} s, start period {patience.start_period_s:g} s"
    return Verdict(name=view.name.shown, health=health, why=why, ok=ok, probes=tuple(probes))


def _judge_state(view: ProcessView) -> tuple[Health, str] | None:
    """Return the verdict that the state alone gives; None = it runs."""
    is_recovering = view.incident is not None and view.incident.recovering_s is not None
    last = f"; last exit: {how(view.last_exit)}" if view.last_exit else ""
    if view.state is State.FATAL:
        return Health.FATAL, f"supervisord has given up{last}; fpm-listener status shows the cause"
    if view.paused or (view.loops and not is_recovering):
        return Health.LOOPING, f"it is in a restart loop{last}; fpm-listener status shows the cause"
    by_state = {
        State.STARTING: (Health.STARTING, "supervisord has started it, and it is not RUNNING yet"),
        State.BACKOFF: (Health.STARTING, f"its last start failed{last}; supervisord tries again"),
        State.EXITED: (Health.EXITED, f"it has exited, and does not run{last}"),
        State.STOPPED: (Health.STOPPED, "it is stopped; start it with supervisorctl start"),
        State.STOPPING: (Health.STOPPED, "supervisord is stopping it"),
        State.UNKNOWN: (Health.UNKNOWN, "its state is unknown: no event about it has come yet"),
    }
    return by_state.get(view.state)


def _judge_pools(view: ProcessView, probes: Sequence[PoolProbe]) -> tuple[Health, str]:
    if not view.is_fpm:
        return Health.FINE, "it is RUNNING"
    if not probes:
        return Health.UNKNOWN, (
            "it is RUNNING, and its listen addresses are unknown; fpm-listener check shows why"
        )
    results = [judge_pool(probe) for probe in probes]
    health = max((health for health, _ in results), key=RANK.__getitem__)
    words = [
        f"pool {probe.target.pool} ({probe.target.address}) {why}"
        for probe, (found, why) in zip(probes, results, strict=True)
        if found is health
    ]
    if health is Health.FINE and len(words) > 1:
        return health, f"{len(words)} pools answer"
    return health, ", ".join(words)


def is_alive(probe: PoolProbe) -> bool:
    """Return whether a worker accepted a connection."""
    outcome = probe.pong.outcome if probe.pong else None
    is_rejected = outcome is Outcome.CLOSED and probe.target.is_restricted
    return probe.moved or outcome is Outcome.ANSWERED or is_rejected


def judge_pool(probe: PoolProbe) -> tuple[Health, str]:
    """Return the health of one pool, and a clause about it."""
    outcome = probe.pong.outcome if probe.pong else None
    if is_alive(probe):
        return _judge_queue(probe)
    if outcome in {None, Outcome.SILENT, Outcome.QUEUE_FULL}:
        within = f"within {probe.looked_s:.1f} s"
        if outcome is Outcome.SILENT and not probe.waiting:
            return Health.DEAD, f"does not answer {within}"
        hint = "; if requests can last longer, raise --timeout"
        return Health.DEAD, f"accepted no connection {within}{_queue(probe)}{hint}"
    why = f"cannot be asked: {probe.pong.why}" if probe.pong else ""
    match outcome:
        case Outcome.REFUSED | Outcome.NO_SOCKET:
            return Health.NOT_LISTENING, why.replace("cannot be asked", "does not listen", 1)
        case Outcome.NOT_FASTCGI:
            return Health.WRONG_SERVER, why
        case Outcome.CLOSED:
            return Health.DEAD, why
        case _:
            return Health.UNKNOWN, why


def _judge_queue(probe: PoolProbe) -> tuple[Health, str]:
    waiting, limit = probe.waiting or 0, probe.limit
    if probe.waited and limit is not None and waiting and waiting * 2 > limit:
        return Health.SATURATED, f"accepts connections, and no worker is free{_queue(probe)}"
    if probe.waited and probe.pong is not None:
        return Health.BUSY, f"answers after {probe.looked_s:.1f} s{_queue(probe)}"
    if probe.waited:
        return Health.BUSY, f"accepts connections, and no worker is free{_queue(probe)}"
    return Health.FINE, "answers"


def _queue(probe: PoolProbe) -> str:
    if probe.waiting is None or probe.limit is None:
        return ""
    return f"; {probe.waiting} of {probe.limit} places in its queue are used"


def _start_age_s(view: ProcessView, now_s: float, failures: Sequence[float]) -> float | None:
    """Return the seconds since its start began; failed starts shortly before belong to it."""
    began_s = view.start_time_s
    if began_s is None:
        return None
    for failed_s in sorted(failures, reverse=True):
        if 0 <= began_s - failed_s <= _SAME_START_S:
            began_s = failed_s
    return max(0.0, now_s - began_s)


def needs_probe(view: ProcessView) -> bool:
    """Return whether the pools decide about a program."""
    by_state = _judge_state(view)
    return view.is_fpm and (by_state is None or by_state[0] is Health.UNKNOWN)
