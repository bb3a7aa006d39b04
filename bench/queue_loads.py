"""The loads of `saturated.py`: how long the queue is at each moment, and how long a request lasts.

The clients are steered to a queue of that length, so that its course does not depend on the speed
of the machine. They come at random moments.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds with a third of the clients that the workers can serve, before the load begins.
CALM_S = 20.0
#: Seconds within which the queue comes to the length that it should have.
_STEER_S = 3.0
_CALM_PART = 0.3
#: The part of the queue that is used; the part of the time that has passed is given.
GROWTH: dict[str, Callable[[float], float]] = {
    "linear": lambda part: part,
    "convex": lambda part: part * part,
    "concave": lambda part: 1 - (1 - part) ** 2 if part < 0.85 else part + 0.13,
    "steps": lambda part: (int(part * 8) + min(1.0, part * 8 % 1 * 2)) / 8,
    "late": lambda part: part / 2 if part < 0.75 else 3 * part - 1.875,
    "waves": lambda part: part + (1 - math.cos(part * 30)) / 38,
}


class Load(NamedTuple):
    """One pool with its clients."""

    name: str
    places: int  #: listen.backlog
    workers: int
    busy_s: float  #: seconds of one request
    refuses: bool
    lasts_s: float  #: without the calm seconds
    shape: Callable[[float], float]  #: the part of the queue that is used after so many seconds
    unix: bool = False
    pm: str = "static"
    patience_s: float = 600.0  #: after so many seconds a client goes away
    pools: int = 1  #: of the same php-fpm
    slower: bool = False  #: the load begins because requests last twice as long

    @property
    def served(self) -> float:
        """Return the requests that the workers can serve in a second."""
        return self.workers / self.busy_s

    def rate(self, passed_s: float, waiting: int) -> float:
        """Return the clients that come in a second; waiting: clients in the queue."""
        at_s = passed_s - CALM_S
        if at_s < 0:
            return self.served * _CALM_PART
        wanted = self.shape(at_s + _STEER_S) * self.places
        if not wanted:
            return self.served * 0.9 if not waiting else 0.0
        return max(0.0, self.workers / self.request_s(passed_s) + (wanted - waiting) / _STEER_S)

    def request_s(self, passed_s: float) -> float:
        """Return the seconds that a request lasts."""
        return self.busy_s * 2 if self.slower and passed_s > CALM_S else self.busy_s


def _refusing(name: str, places: int, growth: str, lasts_s: float, **more: object) -> Load:
    given = {"workers": 3, "busy_s": 1.0, **more}
    part = GROWTH[growth]
    return Load(  # more than full, because the queue is sometimes shorter than it should be
        name,
        places,
        refuses=True,
        lasts_s=lasts_s,
        shape=lambda at_s: 1.1 * part(at_s / lasts_s),
        **given,  # type: ignore[arg-type]
    )


def _calm(
    name: str, places: int, shape: Callable[[float], float], lasts_s: float, **more: object
) -> Load:
    given = {"workers": 3, "busy_s": 1.0, **more}
    return Load(name, places, refuses=False, lasts_s=lasts_s, shape=shape, **given)  # type: ignore[arg-type]


def hill(top: float, up_s: float, stay_s: float, down_s: float) -> Callable[[float], float]:
    """Return a queue that grows to `top`, stays there, and becomes empty."""

    def shape(at_s: float) -> float:
        if at_s < up_s:
            return top * at_s / up_s
        left_s = up_s + stay_s + down_s - at_s
        return top * max(0.0, min(1.0, left_s / down_s))

    return shape


def peaks(
    top: float, up_s: float, down_s: float, every_s: float, *, least: float = 0.0
) -> Callable[[float], float]:
    """Return a queue with a peak every so many seconds."""
    one = hill(top - least, up_s, 0, down_s)
    return lambda at_s: least + one(at_s % every_s)


REFUSING = (
    _refusing("linear, 80 s", 32, "linear", 80),
    _refusing("linear, 80 s, unix", 64, "linear", 80, unix=True),
    _refusing("linear, 90 s, ondemand", 64, "linear", 90, pm="ondemand"),
    _refusing("linear, 90 s, dynamic, unix", 64, "linear", 90, pm="dynamic", unix=True),
    _refusing("linear, 180 s", 128, "linear", 180, workers=4, busy_s=2.0),
    _refusing("linear, 240 s, unix", 128, "linear", 240, unix=True, workers=2),
    _refusing("convex, 100 s", 32, "convex", 100),
    _refusing("convex, 120 s, unix", 128, "convex", 120, unix=True, workers=5, busy_s=2.0),
    _refusing("convex, 150 s, dynamic", 64, "convex", 150, pm="dynamic"),
    _refusing("concave, 90 s", 64, "concave", 90),
    _refusing("concave, 120 s, ondemand, unix", 64, "concave", 120, pm="ondemand", unix=True),
    _refusing("steps, 100 s", 64, "steps", 100),
    _refusing("steps, 160 s, unix, 3 pools", 128, "steps", 160, unix=True, pools=3),
    _refusing("late, 80 s", 64, "late", 80),
    _refusing("late, 120 s, unix", 128, "late", 120, unix=True, workers=4),
    _refusing("waves, 100 s, 2 pools", 64, "waves", 100, pools=2),
    _refusing("waves, 100 s, unix", 128, "waves", 100, unix=True),
    _refusing("clients go after 4 s, 90 s", 64, "linear", 90, patience_s=4.0),
    _refusing("clients go after 4 s, unix", 64, "linear", 90, patience_s=4.0, unix=True),
    _refusing("requests become slower, 80 s", 64, "linear", 80, slower=True),
    _refusing("requests become slower, unix", 64, "linear", 120, slower=True, unix=True),
    _refusing("small queue, 200 s", 16, "linear", 200, workers=4),
    _refusing("long requests, 120 s, unix", 32, "linear", 120, unix=True, workers=4, busy_s=5.0),
    _refusing("long requests, dynamic", 64, "linear", 120, pm="dynamic", workers=5, busy_s=4.0),
)
CALM = (
    _calm("40 % within 30 s, stays", 64, hill(0.4, 30, 150, 20), 210),
    _calm("40 % within 30 s, stays, unix", 64, hill(0.4, 30, 150, 20), 210, unix=True),
    _calm("40 % within 120 s, dynamic", 128, hill(0.4, 120, 60, 30), 220, pm="dynamic"),
    _calm("45 % within 60 s, stays, unix", 128, hill(0.45, 60, 120, 30), 220, unix=True),
    _calm("45 % within 20 s, ondemand", 64, hill(0.45, 20, 150, 30), 210, pm="ondemand"),
    _calm("20 % and 45 % in turn", 128, peaks(0.45, 10, 10, 20, least=0.2), 200),
    _calm("80 % in 10 s, every 50 s", 32, peaks(0.8, 8, 10, 50), 220, workers=6),
    _calm("80 % in 10 s, every 50 s, unix", 64, peaks(0.8, 8, 10, 50), 220, unix=True, workers=6),
    _calm("85 % in 5 s, empty 10 s later", 128, peaks(0.85, 5, 10, 80), 200, workers=10),
    _calm("85 % in 20 s, empty 15 s later", 64, peaks(0.85, 20, 15, 90), 200, workers=6),
    _calm(
        "70 % in 25 s, empty 20 s later, unix", 64, hill(0.7, 25, 0, 20), 120, unix=True, workers=5
    ),
    _calm("55 % for 15 s", 64, hill(0.55, 15, 15, 15), 120, workers=5),
    _calm("60 % every 30 s", 64, peaks(0.6, 6, 10, 30), 200, workers=6),
    _calm(
        "60 % every 30 s, dynamic, unix",
        64,
        peaks(0.6, 6, 10, 30),
        200,
        pm="dynamic",
        unix=True,
        workers=6,
    ),
    _calm("slow growth to 40 %, slow end", 128, hill(0.4, 100, 0, 100), 220, unix=True),
    _calm("long requests, 30 %", 64, hill(0.3, 40, 120, 40), 220, busy_s=6.0, workers=5),
    _calm("clients go after 4 s, 40 %", 64, hill(0.4, 40, 120, 30), 220, patience_s=4.0),
    _calm(
        "clients go after 4 s, 40 %, unix",
        64,
        hill(0.4, 40, 120, 30),
        220,
        patience_s=4.0,
        unix=True,
    ),
    _calm("busy, hardly any queue", 64, lambda _: 0.0, 200),
    _calm("busy, hardly any queue, unix", 32, lambda _: 0.0, 200, unix=True, pools=2),
    _calm("30 % for ever, 3 pools", 128, hill(0.3, 40, 160, 20), 220, pools=3),
    _calm("two peaks of 20 s", 64, peaks(0.75, 12, 12, 70), 150, pm="ondemand", workers=6),
    _calm("small queue, 20 %", 32, hill(0.2, 30, 150, 20), 200, unix=True),
)
