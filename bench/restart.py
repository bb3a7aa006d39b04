"""What clients of php-fpm see while its master is restarted, side by side: `make bench-restart`.

Nothing here passes or fails. Every scene has a folder, ports, a supervisord and a php-fpm of its
own, and clients that count every request. The three scenes of a set-up come up together, and are
measured one after the other.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor import childutils

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]  # the tests are no packages

from fpm_listener.host import procfs  # noqa: E402 - after the path
from tests.e2e.lab import Lab, kill, php_fpm  # noqa: E402 - the same
from tests.fastcgi_clients import Load, LoadReport, ask  # noqa: E402 - the same
from tests.ports import free_port  # noqa: E402 - the same

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACTS = {"QUIT": signal.SIGQUIT, "KILL": signal.SIGKILL, "restart": None}
#: As users write it; `python -m fpm_listener` takes some milliseconds longer.
COMMAND = Path(sys.executable).with_name("fpm-listener")
CLIENTS = 4
#: Seconds between two requests of a client: thousands a second, and processor time left for what
#: is measured. Without it, the worst latency is that of the machine's scheduler.
PAUSE_S = 0.001
_LOAD_BEFORE_S = 1.0
#: A master that has not come back by then will not come back.
_FOR_EVER_S = 15.0
_LOOK_EVERY_S = 0.02
_STARTS, _GUARD_RUNS = 5, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """One way to run php-fpm under supervisord."""

    name: str
    title: str
    keys: Mapping[str, str]
    guard: Sequence[str] | None = None  #: its options; None = no guard
    fast_restart: bool | None = None  #: None = no listener
    recipe: bool = False
    unix: bool = False
    load_after_s: float = 4.0

    @property
    def startsecs(self) -> int:
        """Return supervisord's startsecs of php-fpm."""
        return int(self.keys.get("startsecs", "1"))


_PLAIN = {"autorestart": "true", "stopsignal": "QUIT", "startsecs": "1"}
_GUARDED = {**_PLAIN, "startsecs": "3"}
_RECIPE = {
    "autorestart": "true",
    "startretries": "5",
    "exitcodes": "0,2,70",
    "stopsignal": "QUIT",
    "stopwaitsecs": "2",
}
RECIPE = SetUp(name="recipe", title="recipe of 2015", keys=_RECIPE, recipe=True, load_after_s=8.0)
PLAIN = SetUp(name="plain", title="php-fpm -F", keys=_PLAIN)
HOLD = SetUp(
    name="hold",
    title="guard --hold, fast restart",
    keys=_GUARDED,
    guard=("--hold",),
    fast_restart=True,
)
HOLD_UNIX = SetUp(
    name="hold-unix",
    title="guard --hold, fast restart, unix",
    keys=_GUARDED,
    guard=("--hold",),
    fast_restart=True,
    unix=True,
)
SET_UPS = (
    RECIPE,
    PLAIN,
    SetUp(name="fast-restart", title="php-fpm -F, fast restart", keys=_PLAIN, fast_restart=True),
    SetUp(name="guard", title="guard", keys=_GUARDED, guard=(), fast_restart=False),
    HOLD,
    HOLD_UNIX,
)


class Scene(Lab):
    """A supervisord with one php-fpm, and the listener where the set-up has one."""

    def __init__(self, folder: Path, set_up: SetUp) -> None:
        super().__init__(folder)
        folder.chmod(0o755)  # workers run as somebody else
        self.set_up = set_up
        self.address = f"{folder}/php-fpm.sock" if set_up.unix else f"127.0.0.1:{free_port()}"
        self.receiver = {}
        self.settings["fast_restart"] = str(bool(set_up.fast_restart)).lower()
        self.conf = self.fpm_conf(self.address, pool="pm.max_children = 4")
        give_requests_time(self.conf)
        self.program("php-fpm", self._command(), **set_up.keys)

    def _command(self) -> str:
        if self.set_up.recipe:
            pid = self.folder / "php-fpm.pid"
            return f'bash -c "sleep 1 && {php_fpm()} --fpm-config {self.conf} --pid {pid}"'
        command = f"{php_fpm()} -F -y {self.conf}"
        if self.set_up.guard is None:
            return command
        settings = self.folder / "supervisord.d" / "fpm_listener.conf"
        options = " ".join((*self.set_up.guard, "--config", str(settings)))
        return f"{COMMAND} guard {options} -- {command}"

    def write(self) -> Path:
        """Write supervisord's configuration; return its path."""
        path = super().write()
        if self.set_up.fast_restart is None:
            (self.folder / "supervisord.d" / "fpm_listener.conf").unlink()
        return path

    def is_ready(self) -> bool:
        """Return whether supervisord is up, and its listener too where it has one."""
        if self.set_up.fast_restart is None:
            return (self.folder / "s.sock").exists()
        return super().is_ready()

    def come_up(self) -> None:
        """Return once php-fpm answers and has been RUNNING for longer than startsecs.

        With `--hold`, its socket is held then: php-fpm can start without held sockets.
        """
        self.start(webhook=False)
        if "--hold" in (self.set_up.guard or ()):
            self.wait_for_held_sockets(1)
        wait_until(lambda: self.has_run(self.set_up.startsecs + 1), "php-fpm to be RUNNING")
        ask(self.address)

    def has_run(self, seconds: float) -> bool:
        """Return whether php-fpm has been RUNNING for so long."""
        url = f"unix://{self.folder}/s.sock"
        rpc = childutils.getRPCInterface({"SUPERVISOR_SERVER_URL": url})
        info = rpc.supervisor.getProcessInfo("php-fpm")
        return info["statename"] == "RUNNING" and bool(info["now"] - info["start"] > seconds)

    def masters(self) -> list[int]:
        """Return supervisord's php-fpm masters that have workers."""
        children = defaultdict(list)
        for stat in filter(None, map(procfs.read_stat, procfs.pids())):
            children[stat.ppid].append(stat.pid)
        return [
            pid
            for pid in children[self.supervisord_pid]
            if any(title(child).startswith("php-fpm: pool") for child in children[pid])
        ]

    def act(self, act: str, master: int) -> None:
        """Have php-fpm restarted in this way."""
        number = ACTS[act]
        if number is None:
            self.ctl("restart", "php-fpm")
        else:
            kill(master, number)

    def wait_for_another(self, master: int) -> float | None:
        """Return the seconds until another master has workers; None = it never has."""
        began_at_s = time.monotonic()
        while (took_s := time.monotonic() - began_at_s) < _FOR_EVER_S:
            if set(self.masters()) - {master}:
                return took_s
            time.sleep(_LOOK_EVERY_S)
        return None


def give_requests_time(conf: Path) -> None:
    """Let requests finish for ten seconds when the master ends."""
    text = conf.read_text()
    conf.write_text(text.replace("[global]\n", "[global]\nprocess_control_timeout = 10s\n"))


def title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    except OSError:
        return ""


# -- what clients see ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one scene has shown."""

    load: LoadReport
    master_s: float | None  #: from the act until a new master had workers; None = for ever


def play(scene: Scene, act: str, pause_s: float) -> Seen:
    """Act on a scene while clients ask; return what was seen."""
    master = wait_until(scene.masters, "a master with workers under supervisord")[0]
    with ThreadPoolExecutor() as threads:
        with Load([scene.address], clients=CLIENTS, pause_s=pause_s) as load:
            time.sleep(_LOAD_BEFORE_S)
            acting = threads.submit(scene.act, act, master)
            another = threads.submit(scene.wait_for_another, master)
            time.sleep(scene.set_up.load_after_s)
        acting.result()
        return Seen(load=load.report, master_s=another.result())


def play_all(set_up: SetUp, pause_s: float) -> dict[str, Seen]:
    """Play and print each act on a php-fpm of this set-up; return what was seen."""
    seen = {}
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        scenes = [Scene(Path(stack.enter_context(new_folder())), set_up) for _ in ACTS]
        try:
            list(threads.map(Scene.come_up, scenes))
            for scene, act in zip(scenes, ACTS, strict=True):
                seen[act] = play(scene, act, pause_s)
                show(set_up, act, seen[act])
        finally:
            list(threads.map(Scene.close, scenes))
    return seen


def new_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="restart-", ignore_cleanup_errors=True)


def row(set_up: str, act: str, *figures: str) -> None:
    line = " ".join((f"{set_up:<33}", f"{act:<8}", *(f"{figure:>9}" for figure in figures)))
    print(line.rstrip(), flush=True)


def show(set_up: SetUp, act: str, seen: Seen) -> None:
    load = seen.load
    failures = ", ".join(f"{count} {name}" for name, count in sorted(load.failures.items()))
    row(
        set_up.title,
        act,
        f"{load.requests}",
        f"{sum(load.failures.values())}",
        in_ms(load.worst_s),
        "for ever" if is_out_for_ever(set_up, seen) else in_ms(load.outage_s),
        "for ever" if seen.master_s is None else in_ms(seen.master_s),
        f" {failures}",
    )


def is_out_for_ever(set_up: SetUp, seen: Seen) -> bool:
    """Return whether nobody answered at the end, not even orphans, and no master was to come."""
    return seen.master_s is None and seen.load.outage_s > set_up.load_after_s / 2


def in_ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms"


# -- yardsticks ------------------------------------------------------------------------------------


def php_fpm_start_s() -> float:
    """Return the seconds from php-fpm's exec to its first answer, at best."""
    with new_folder() as folder:
        scene = Scene(Path(folder), PLAIN)
        try:
            return min(one_start_s(scene) for _ in range(_STARTS))
        finally:
            scene.close()


def one_start_s(scene: Scene) -> float:
    began_s = time.monotonic()
    child = scene.stray(php_fpm(), "-F", "-y", str(scene.conf))
    while True:
        try:
            ask(scene.address)
        except ConnectionRefusedError:
            assert child.poll() is None, "php-fpm does not start"
            time.sleep(0.0002)
        else:
            break
    took_s = time.monotonic() - began_s
    child.send_signal(signal.SIGQUIT)
    child.wait(10)
    return took_s


def guard_runs_s() -> tuple[float, float]:
    """Return the seconds of a guard that finds its address free, and of Python alone."""
    with new_folder() as folder:
        scene = Scene(Path(folder), PLAIN)
        fake = Path(folder) / "php-fpm"
        fake.write_text("#!/bin/sh\nexit 0\n")
        fake.chmod(0o755)
        command = f"{COMMAND} guard -- {fake} -F -y {scene.conf}".split()
        environment = {**os.environ, "FPM_LISTENER_STATE_DIR": str(scene.folder / "state")}
        pairs = [
            (run_s(command, environment), run_s([sys.executable, "-c", "pass"], environment))
            for _ in range(_GUARD_RUNS)
        ]
    guard, python = zip(*pairs, strict=True)
    return statistics.median(guard), statistics.median(python)


def run_s(command: Sequence[str], environment: Mapping[str, str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, env=environment, check=True, cwd="/")
    return time.perf_counter() - began_s


def show_ratios(all_seen: Mapping[str, Mapping[str, Seen]]) -> None:
    """Print php-fpm's own start, and what was seen in terms of it."""
    start_s = php_fpm_start_s()
    print()
    figure(f"php-fpm's start: exec to first answer, best of {_STARTS}", None, in_ms(start_s))
    for set_up in (HOLD, HOLD_UNIX):
        for act, seen in all_seen.get(set_up.name, {}).items():
            figure(f"worst of {set_up.title}, {act} / php-fpm's start", seen.load.worst_s / start_s)
    for act, seen in all_seen.get(RECIPE.name, {}).items():
        held = all_seen.get(HOLD.name, {}).get(act)
        if held is not None:
            # Without a new master, orphans answer for as long as nothing happens to them.
            ratio = seen.load.outage_s / held.load.worst_s if seen.master_s else None
            figure("outage of the recipe / worst of guard --hold, " + act, ratio)


def show_guard() -> None:
    """Print what the guard itself costs."""
    guard_s, python_s = guard_runs_s()
    what = f"guard, free address / python -c pass, median of {_GUARD_RUNS}"
    figure(what, guard_s / python_s, f"{in_ms(guard_s)} / {in_ms(python_s)}")


def figure(what: str, ratio: float | None, seconds: str = "") -> None:
    shown = "-" if ratio is None else f"{ratio:.1f}"
    print(f"{what:<66} {shown:>9}  {seconds}".rstrip(), flush=True)


def main() -> None:
    """Play all set-ups, or those that are named, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [set_up.name for set_up in SET_UPS]
    parser.add_argument("--only", action="append", choices=names, help="may be given again")
    parser.add_argument("--pause", type=float, default=PAUSE_S, help="seconds between requests")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended
    print(
        f"{CLIENTS} clients, {in_ms(options.pause)} between requests; load from 1 s before to 4 s "
        f"({RECIPE.title}: 8 s) after\n",
    )
    row("set-up", "master", "requests", "failed", "worst", "outage", "new after", " failures")
    all_seen = {
        set_up.name: play_all(set_up, options.pause)
        for set_up in SET_UPS
        if not options.only or set_up.name in options.only
    }
    show_ratios(all_seen)
    show_guard()


if __name__ == "__main__":
    main()
