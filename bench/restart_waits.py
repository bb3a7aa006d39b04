"""The longest wait of a client on held sockets, in terms of php-fpm's own start, part by part.

`make bench-waits`. One php-fpm is restarted again and again, with QUIT and with `supervisorctl
restart` in turn, while clients ask. Between two restarts, another php-fpm with the same settings
starts without supervisord: the yardstick. Machines are shared and noisy, so the medians of all
rounds count. Nothing here passes or fails. The parts need root.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import itertools
import signal
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]  # the tests are no packages

from proc_events import Kind, ProcEvents  # noqa: E402 - after the path
from restart import (  # noqa: E402 - the same
    CLIENTS,
    HOLD,
    HOLD_UNIX,
    PAUSE_S,
    PLAIN,
    Scene,
    in_ms,
    new_folder,
    one_start_s,
)

from tests.fastcgi_clients import Load  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from proc_events import ProcEvent

ROUNDS = 10
ACTS = ("QUIT", "restart")
#: Seconds of load before a restart and after it, and of a run before the next restart: supervisord
#: is woken only after a run of a second.
_BEFORE_S, _AFTER_S, _RUN_S = 0.3, 0.6, 1.5
PARTS = (
    "the old php-fpm exits",
    "supervisord starts the guard",
    "fork to exec in supervisord",
    "the guard becomes php-fpm",
    "php-fpm starts and answers",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """The longest wait of a client in one restart; all in seconds."""

    wait_s: float
    parts_s: tuple[float, ...] | None  #: of PARTS; None = unknown


def parts(
    events: Sequence[ProcEvent], master: int, supervisord: int, began_s: float, ended_s: float
) -> tuple[float, ...] | None:
    """Return the seconds of each part of a wait; None if an event is missing."""
    exited = _first(events, lambda one: (one.kind, one.pid) == (Kind.EXIT, master))
    if exited is None:
        return None
    forked = _first(
        events,
        lambda one: (one.kind, one.parent) == (Kind.FORK, supervisord) and one.at_s > exited.at_s,
    )
    if forked is None:
        return None
    execs = [one.at_s for one in events if (one.kind, one.pid) == (Kind.EXEC, forked.pid)]
    if len(execs) < 2:
        return None
    moments = (began_s, exited.at_s, forked.at_s, execs[0], execs[-1], ended_s)
    return tuple(after - before for before, after in itertools.pairwise(moments))


def _first(events: Sequence[ProcEvent], is_wanted: Callable[[ProcEvent], bool]) -> ProcEvent | None:
    return next(filter(is_wanted, events), None)


class Repeated(Scene):
    """A php-fpm that is restarted again and again, and another one that only starts."""

    def __init__(self, folder: Path, set_up: str) -> None:
        wanted = {"tcp": HOLD, "unix": HOLD_UNIX}[set_up]
        super().__init__(folder, replace(wanted, keys={**wanted.keys, "startsecs": "1"}))
        (folder / "plain").mkdir(mode=0o755)
        self.plain = Scene(folder / "plain", PLAIN)

    def restart_once(self, act: str, events: ProcEvents | None) -> Wait:
        """Restart php-fpm while clients ask; return the longest wait."""
        master = wait_until(self.masters, "a master with workers under supervisord")[0]
        wait_until(lambda: self.has_run(_RUN_S), "php-fpm to have run for a while")
        with Load([self.address], clients=CLIENTS, pause_s=PAUSE_S) as load:
            time.sleep(_BEFORE_S)
            if events is not None:
                events.take()
            self.act(act, master)
            time.sleep(_AFTER_S)
        if load.report.failures:
            print(f"failed requests: {load.report.failures}")
        began_s, wait_s = load.report.worst_began_at_s, load.report.worst_s
        taken = events.take() if events is not None else []
        return Wait(
            wait_s=wait_s,
            parts_s=parts(taken, master, self.supervisord_pid, began_s, began_s + wait_s),
        )


def measure(set_up: str, rounds: int) -> tuple[dict[str, list[Wait]], list[float]]:
    """Return the waits of each act, and the seconds of php-fpm's own starts."""
    waits: dict[str, list[Wait]] = defaultdict(list)
    starts_s = []
    with new_folder() as name, _proc_events() as events:
        Path(name).chmod(0o755)
        scene = Repeated(Path(name), set_up)
        try:
            scene.come_up()
            for _ in range(rounds):
                for act in ACTS:
                    waits[act].append(scene.restart_once(act, events))
                    starts_s.append(one_start_s(scene.plain))
        finally:
            scene.plain.close()
            scene.close()
    return waits, starts_s


@contextlib.contextmanager
def _proc_events() -> Iterator[ProcEvents | None]:
    try:
        events = ProcEvents()
    except OSError as error:
        print(f"the parts are unknown, the kernel does not report processes to us: {error}")
        yield None
        return
    with events:
        yield events


def show(set_up: str, waits: dict[str, list[Wait]], starts_s: list[float]) -> None:
    """Print the figures of one set-up."""
    start_s = statistics.median(starts_s)
    print(f"\n{set_up}: php-fpm's own start, exec to first answer: {_figures(starts_s)}")
    for act, found in waits.items():
        all_s = [one.wait_s for one in found]
        ratios = f"{statistics.median(all_s) / start_s:.2f}, worst {max(all_s) / start_s:.2f}"
        print(f"  {act}: longest wait {_figures(all_s)}; / php-fpm's start: median {ratios}")
        known = [one.parts_s for one in found if one.parts_s is not None]
        for name, values in zip(PARTS, zip(*known, strict=True), strict=False):
            share = statistics.median(values) / start_s
            print(f"    {name:<30} {_figures(list(values)):<40} {share:5.2f}")


def _figures(seconds: list[float]) -> str:
    middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
    return f"median {in_ms(middle)}, {in_ms(least)} to {in_ms(most)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=("tcp", "unix"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    compileall.compile_dir(ROOT / "fpm_listener", quiet=1)  # as pip does, whatever the environment
    for set_up in (options.only,) if options.only else ("tcp", "unix"):
        show(set_up, *measure(set_up, options.rounds))


if __name__ == "__main__":
    main()
