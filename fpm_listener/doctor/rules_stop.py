"""Rules on how supervisord stops a php-fpm, and on what becomes of requests and workers then.

Each consequence was measured with supervisor 4.3.0 and php-fpm 8.2; see docs/checks.md.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from fpm_listener.doctor.rule import FindingSeverity, Said, for_each_fpm, rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import Fpm
    from fpm_listener.supervisor.ini_lines import Edit

_E, _W = FindingSeverity.ERROR, FindingSeverity.WARNING
_QUIT, _TERM, _INT = signal.SIGQUIT, signal.SIGTERM, signal.SIGINT
_DRAINS_S = 10.0


def _stopwaitsecs(drains_s: float) -> int:
    """Return how long supervisord has to wait, also when requests come to be finished."""
    return max(20, int(drains_s) + 5)


def _graceful(fpm: Fpm) -> tuple[Edit, ...]:
    """Return what makes QUIT finish requests, and supervisord wait for that."""
    drains_s = fpm.conf.process_control_timeout_s
    edits: tuple[Edit, ...] = ()
    if not drains_s:
        drains_s = _DRAINS_S
        edits = fpm.edits_in_fpm("global", {"process_control_timeout": f"{drains_s:g}s"})
    if float(fpm.process.settings["stopwaitsecs"]) <= drains_s + 2:
        edits += fpm.edits(stopwaitsecs=str(_stopwaitsecs(drains_s)))
    return edits


@rule("FPM010", _W, "the stop signal cuts requests")
@for_each_fpm
def stopsignal(fpm: Fpm) -> Iterator[Said]:
    """TERM and INT never let requests be finished."""
    number = int(fpm.process.settings["stopsignal"])
    if number in {_TERM, _INT}:
        yield Said(
            fpm.at("stopsignal"),
            f"stopsignal is {signal.Signals(number).name.removeprefix('SIG')}",
            "every stop and restart cuts the requests that are being answered",
            "stopsignal=QUIT, and process_control_timeout = 10s in php-fpm.conf",
            fpm.edits(stopsignal="QUIT") + _graceful(fpm),
        )


@rule("FPM011", _E, "the stop signal does not stop")
@for_each_fpm
def wrong_stopsignal(fpm: Fpm) -> Iterator[Said]:
    """HUP and USR2 reload, USR1 opens logs anew."""
    number = int(fpm.process.settings["stopsignal"])
    if number not in {_QUIT, _TERM, _INT, signal.SIGKILL}:
        yield Said(
            fpm.at("stopsignal"),
            f"stopsignal is {signal.Signals(number).name.removeprefix('SIG')}",
            "php-fpm does not end by it: supervisord kills the master after stopwaitsecs, and its"
            " workers keep the address",
            "stopsignal=QUIT",
            fpm.edits(stopsignal="QUIT") + _graceful(fpm),
        )


@rule("FPM012", _W, "QUIT is not graceful")
@for_each_fpm
def control_timeout(fpm: Fpm) -> Iterator[Said]:
    """process_control_timeout is 0 by default."""
    quits = int(fpm.process.settings["stopsignal"]) == _QUIT
    if quits and not fpm.conf.process_control_timeout_s:
        yield Said(
            fpm.in_fpm("global", "process_control_timeout"),
            "process_control_timeout is 0",
            "php-fpm ends its workers at once on QUIT, too: requests in their hands are cut",
            "process_control_timeout = 10s; stopwaitsecs must be longer than that by 3 or more",
            _graceful(fpm),
        )


@rule("FPM013", _E, "supervisord kills php-fpm while it drains")
@for_each_fpm
def stopwaitsecs(fpm: Fpm) -> Iterator[Said]:
    """KILL of the master leaves workers behind."""
    waits_s = float(fpm.process.settings["stopwaitsecs"])
    drains_s = fpm.conf.process_control_timeout_s
    if waits_s <= drains_s + 2:
        least = _stopwaitsecs(drains_s)
        yield Said(
            fpm.at("stopwaitsecs"),
            f"stopwaitsecs is {waits_s:g}, process_control_timeout {drains_s:g} s",
            "supervisord sends KILL to the master before its workers have ended: they live on and"
            " keep the address, and the next start fails",
            f"stopwaitsecs={least}",
            fpm.edits(stopwaitsecs=str(least)),
        )


@rule("FPM014", _E, "workers outlive a KILL")
@for_each_fpm
def killasgroup(fpm: Fpm) -> Iterator[Said]:
    """killasgroup is false by default."""
    if not fpm.process.settings["killasgroup"]:
        yield Said(
            fpm.at("killasgroup"),
            "killasgroup is false",
            "supervisord's KILL reaches the master only: its workers live for ever, and the next"
            " start fails (Address already in use)",
            "killasgroup=true",
            fpm.edits(killasgroup="true"),
        )


@rule("FPM015", _W, "workers are signalled around their master")
@for_each_fpm
def stopasgroup(fpm: Fpm) -> Iterator[Said]:
    """The master tells its workers itself."""
    if fpm.process.settings["stopasgroup"] and not fpm.in_shell:
        yield Said(
            fpm.at("stopasgroup"),
            "stopasgroup is true",
            "the stop signal reaches the workers before their master knows of it, which takes them"
            " for crashed",
            "stopasgroup=false",
            fpm.edits(stopasgroup=None),
        )
