"""The listener with an engine that fails at some inputs: `faulty_listener.py SETTINGS`.

No input is known that makes the real engine fail. This shows what happens if there is one.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fpm_listener.__main__ import main
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.messages import Tick
from fpm_listener.supervisor.protocol import Event

if TYPE_CHECKING:
    from fpm_listener.monitor.engine import Input
    from fpm_listener.monitor.messages import Effect
    from fpm_listener.values import Instant

#: An event with this in its payload fails, and every tick after the first such event.
POISON = "poison"


def break_engine() -> None:
    """Make the engine fail."""
    step, deadline_s = Engine.step, Engine.deadline_s
    poisoned = False

    def fail_over_poison(self: Engine, now: Instant, given: Input) -> list[Effect]:
        nonlocal poisoned
        bad = isinstance(given, Event) and POISON in given.payload
        poisoned = poisoned or bad
        if bad or (poisoned and isinstance(given, Tick)):
            raise LookupError("no such thing")
        return step(self, now, given)

    def due_at_once(self: Engine) -> float | None:
        return 0.0 if poisoned else deadline_s(self)

    Engine.step = fail_over_poison  # type: ignore[method-assign]
    Engine.deadline_s = due_at_once  # type: ignore[method-assign]


if __name__ == "__main__":
    break_engine()
    sys.exit(main(["listen", "--config", sys.argv[1]]))
