"""Workers that fail while their master runs are an incident if the processes are really gone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fpm_listener.host.oom_kills import OomKill
from fpm_listener.incidents.effects import CheckGone, ExamineExit, ExitExamined, Gone
from fpm_listener.incidents.live_view import WorkersView
from fpm_listener.incidents.post_mortem import PostMortem
from fpm_listener.monitor.messages import SaveState, Tick
from fpm_listener.settings.policy import LoopPolicy
from fpm_listener.vocabulary import Cause, Tier
from tests.unit.monitor.engine_scenario import FPM, POLICY, Scenario, moment

LINE = "[23-Nov-2026 10:00:{second:02d}] WARNING: [pool www] child {pid} exited on signal {signal}"


def running() -> Scenario:
    return Scenario().play("0 starting", "0.2 log ready", "1 running")


def crash(
    scenario: Scenario, at_s: float, pid: int, *, true: bool = True, signal: int = 11
) -> None:
    """Let a line come, and the machine's answer to what is asked of it."""
    before = len(scenario.effects)
    line = LINE.format(second=int(at_s) % 60, pid=pid, signal=signal)
    scenario.log(at_s, f"{line} (SIGSEGV) after 1.0 seconds from start")
    for effect in scenario.effects[before:]:
        if isinstance(effect, CheckGone):
            scenario.give(at_s + 0.01, Gone(FPM, effect.pids if true else frozenset()))


def test_workers_that_crash_again_and_again() -> None:
    """They are reported as a warning while the master runs, and resolved when all is calm."""
    scenario = running()
    for number in range(4):
        crash(scenario, 10.0 + 2 * number, 500 + number)
    assert scenario.sent == ["first: crash_signal"]
    alert = scenario.alerts[0]
    assert alert.labels["severity"] == "warning"
    assert "its workers crash (SIGSEGV)" in alert.annotations["summary"]
    assert (
        "workers crashed in this incident; the master keeps running"
        in alert.annotations["description"]
    )
    assert "child 50" in alert.annotations["evidence"]
    assert "extension" in alert.annotations["remedy"]

    scenario.play("130 tick")
    assert len(scenario.sent) == 1
    scenario.play("140 tick")
    assert scenario.sent[-1] == "resolved: crash_signal"
    assert "its workers crashed (SIGSEGV)" in scenario.alerts[-1].annotations["summary"]


def test_an_application_that_prints_the_line() -> None:
    """A worker that still exists has not crashed."""
    scenario = running()
    for number in range(20):
        crash(scenario, 10.0 + 2 * number, 500, true=False)

    assert scenario.sent == []


def test_what_is_no_crash() -> None:
    """Now and then one, and what was ended on purpose."""
    scenario = running()
    for number in range(20):
        crash(scenario, 10.0 + 2 * number, 500 + number, signal=3)
        crash(scenario, 10.5 + 2 * number, 600 + number, signal=15)
    crash(scenario, 100, 700)
    crash(scenario, 170, 701)

    assert scenario.sent == []


def test_a_storm_is_asked_for_once_a_second() -> None:
    """Each question names all that wait; more than so many lines are not kept."""
    scenario = running()
    for number in range(100):
        at_s = 10.0 + number * 0.05
        line = LINE.format(second=10 + number % 40, pid=500 + number, signal=11)
        scenario.log(at_s, f"{line} (SIGSEGV) after {number}.0 seconds from start")
    asked = [effect for effect in scenario.effects if isinstance(effect, CheckGone)]

    assert 5 <= len(asked) <= 9
    assert max(len(one.pids) for one in asked) <= 64


def test_the_master_fails_in_the_end() -> None:
    """One incident: the master's own failures are its cause from then on."""
    scenario = running()
    for number in range(4):
        crash(scenario, 10.0 + 2 * number, 500 + number)
    scenario.play("20 crash")
    for at in (21, 23, 25):
        scenario.play(f"{at} starting", f"{at + 0.1} log bind failed", f"{at + 0.5} backoff")

    assert scenario.sent == ["first: crash_signal", "cause changed: bind_conflict"]
    assert len({alert.incident_id for alert in scenario.alerts}) == 1


# -- workers that exit with an error, or are killed ------------------------------------------------

EXIT = "[23-Nov-2026 10:{:02d}:{:02d}] WARNING: [pool www] child {} exited with code {} after {} "
KILL = "[23-Nov-2026 10:00:{:02d}] WARNING: [pool www] child {} exited on signal 9 (SIGKILL) after "
LIMIT = OomKill(kills=7, where="cgroup /fpm", limit=128 << 20, peak=None)


def answer(scenario: Scenario, at_s: float, found: PostMortem | None = None) -> None:
    """Answer what was asked since the last call: the processes are gone."""
    at = getattr(scenario, "seen_effects", 0)
    while at < len(scenario.effects):
        effect = scenario.effects[at]
        at += 1
        if isinstance(effect, CheckGone):
            scenario.give(at_s, Gone(FPM, effect.pids))
        elif isinstance(effect, ExamineExit):
            scenario.give(at_s, ExitExamined(FPM, effect.exited_at_s, found or PostMortem()))
    scenario.seen_effects = at  # type: ignore[attr-defined]


def exits(
    scenario: Scenario,
    *at_s: float,
    code: int = 70,
    lasted_s: float = 0.003,
    found: PostMortem | None = None,
) -> Scenario:
    """Let a worker exit at each of these moments."""
    for at in at_s:
        line = EXIT.format(int(at) // 60, int(at) % 60, 500 + int(at * 10), code, lasted_s)
        scenario.log(at, f"{line}seconds from start")
        answer(scenario, at + 0.01, found)
    scenario.give(at_s[-1] + 1.1, Tick())
    answer(scenario, at_s[-1] + 1.2, found)
    return scenario


@pytest.mark.parametrize("code", [1, 70, 124, 255])
def test_workers_that_exit_with_an_error(code: int) -> None:
    """Five in a minute are an incident, with the status; it is resolved when they stop."""
    scenario = exits(running(), 10, 12, 14, 16, code=code, lasted_s=2.0)
    assert scenario.sent == []
    exits(scenario, 18, code=code, lasted_s=2.0)

    assert scenario.sent == ["first: worker_failure"]
    alert = scenario.alerts[0]
    assert alert.labels["severity"] == "warning"
    assert f"its workers fail (exit status {code})" in alert.annotations["summary"]
    assert "keeps failing" not in alert.annotations["summary"]
    assert f"exited with code {code}" in alert.annotations["evidence"]
    assert "catch_workers_output" in alert.annotations["remedy"]
    scenario.play("137 tick")
    assert len(scenario.sent) == 1
    scenario.play("139 tick")
    assert scenario.sent[-1] == "resolved: worker_failure"


def test_workers_that_do_not_start() -> None:
    """The site is down, so it is critical; the directory that chdir names is missing."""
    gone = PostMortem(worker_folders_missing=("/srv/release",))
    scenario = exits(running(), 10, 10.4, 11.1, 12.2, 13.3, found=gone)
    alert = scenario.alerts[0]

    assert scenario.sent == ["first: worker_failure"]
    assert alert.labels["severity"] == "critical"
    assert "do not start, because /srv/release does not exist" in alert.annotations["summary"]
    assert "Create /srv/release again" in alert.annotations["remedy"]
    assert "chdir and chroot of pool www" in alert.annotations["remedy"]
    assert "supervisorctl restart" not in alert.annotations["remedy"]
    assert "seen: /srv/release does not exist" in alert.annotations["evidence"]


def test_a_flood_is_cheap_and_counted() -> None:
    """A thousand lines a second: a check each second, of the last ones; the text has the number."""
    scenario = running()
    for second in range(10, 15):
        for part in range(4):
            at_s = second + part / 4
            lines = [
                EXIT.format(0, second, second * 1000 + part * 250 + number, 70, f"0.00{number:03d}")
                for number in range(250)
            ]
            scenario.log(at_s, *(f"{line}seconds from start" for line in lines))
            answer(scenario, at_s + 0.01)
    checks = [effect for effect in scenario.effects if isinstance(effect, CheckGone)]

    assert len(checks) <= 6
    assert max(len(check.pids) for check in checks) <= 64
    assert scenario.sent == ["first: worker_failure"]
    incident = scenario.view().incident
    assert incident is not None
    assert 4000 <= incident.facts.live.workers.failures <= 5000
    assert len(incident.facts.evidence) == 1


def kills(scenario: Scenario, found: PostMortem, *at_s: float) -> Scenario:
    for at in at_s:
        scenario.log(at, KILL.format(int(at), 500 + int(at * 10)) + "1.5 seconds from start")
        answer(scenario, at + 0.01, found)
    return scenario


def test_workers_that_are_killed() -> None:
    """It is a warning, and says whether the kernel was short of memory."""
    looked = PostMortem(looked_for=(Cause.OUT_OF_MEMORY,))
    scenario = kills(running(), looked, 10, 12, 14, 16, 18)
    alert = scenario.alerts[0]
    assert scenario.sent == ["first: worker_failure"]
    assert alert.labels["severity"] == "warning"
    assert "Find the sender of SIGKILL" in alert.annotations["remedy"]

    scenario = kills(running(), PostMortem(), 10, 12, 14, 16, 18)
    assert "dmesg" in scenario.alerts[0].annotations["remedy"]


def test_workers_that_the_kernel_kills() -> None:
    """The cause is the memory, from the first alert."""
    scenario = kills(running(), PostMortem(oom=LIMIT), 10, 12, 14, 16, 18)

    assert scenario.sent == ["first: out_of_memory"]
    assert "kills its workers" in scenario.alerts[0].annotations["summary"]
    assert "seen: cgroup /fpm" in scenario.alerts[0].annotations["evidence"]


def test_the_kernel_kills_something_else() -> None:
    """A worker that exits with a status was not killed."""
    scenario = exits(running(), 10, 12, 14, 16, 18, found=PostMortem(oom=LIMIT))

    assert scenario.sent == ["first: worker_failure"]


ENDINGS = [
    "NOTICE: Finishing ...",
    "NOTICE: Terminating ...",
    "NOTICE: Reloading in progress ...",
    "WARNING: failed processes threshold (10 in 60 sec) is reached, initiating reload",
]


@pytest.mark.parametrize("line", ENDINGS)
def test_a_master_that_ends_its_workers(line: str) -> None:
    """With process_control_timeout it kills those that do not end. That is no failure."""
    scenario = running()
    scenario.log(9, f"[23-Nov-2026 10:00:09] {line}")
    kills(scenario, PostMortem(), 10, 12, 14, 16, 18)
    assert scenario.sent == []

    scenario.log(30, "[23-Nov-2026 10:00:30] NOTICE: fpm is running, pid 100")
    kills(scenario, PostMortem(), 31, 33, 35, 37, 39)
    assert scenario.sent == ["first: worker_failure"]


@pytest.mark.parametrize("line", ENDINGS)
def test_failures_while_a_master_seems_to_end(line: str) -> None:
    """They count: log_level=warning hides the end of a reload, and applications print lines."""
    scenario = running()
    scenario.log(9, f"[23-Nov-2026 10:00:09] {line}")
    exits(scenario, 20, 22, 24, 26, 28)
    assert scenario.sent == ["first: worker_failure"]

    scenario = running()
    for number in range(100):
        if number % 10 == 0:
            scenario.log(9.5 + 2 * number, f"[23-Nov-2026 10:00:{10 + number % 40}] {line}")
        crash(scenario, 10.0 + 2 * number, 500 + number)
    assert scenario.sent == ["first: crash_signal"]


def test_a_stop_by_the_operator() -> None:
    """What php-fpm logs while it stops, and afterwards, is no failure."""
    scenario = running().play("9 stopping")
    kills(scenario, PostMortem(), 10, 12, 14)
    scenario.play("15 stopped")
    kills(scenario, PostMortem(), 16, 18)

    assert scenario.sent == []


def test_an_application_that_prints_a_failure() -> None:
    """The name of a pool that does not exist is not shown."""
    scenario = running()
    for at in (10, 12, 14, 16, 18):
        line = EXIT.format(0, at, 500 + at, 70, 0.003).replace("pool www", "pool `reboot`")
        scenario.log(at, f"{line}seconds from start")
        answer(scenario, at + 0.01)

    assert "`reboot`" not in scenario.alerts[0].annotations["summary"]


def test_other_loop_settings_after_a_reload() -> None:
    """They count for crashes of workers, too."""
    scenario = running()
    loops = {Tier.FAST: LoopPolicy(threshold=2, window_s=60.0), Tier.SLOW: POLICY.loops[Tier.SLOW]}
    settings = scenario.engine._shared.settings
    scenario.engine.reconfigure(replace(settings, policy=replace(POLICY, loops=loops)))
    crash(scenario, 10.0, 500)
    crash(scenario, 12.0, 501)

    assert scenario.sent == ["first: crash_signal"]


def test_the_listener_starts_again() -> None:
    """The incident is restored, with its text."""
    scenario = exits(running(), 10, 12, 14, 16, 18)
    assert scenario.sent == ["first: worker_failure"]
    after = restored(scenario).play("121.5 tick")

    assert after.sent == ["resolved: worker_failure"]
    summary = after.alerts[0].annotations["summary"]
    assert "its workers of pool www failed at their start (exit status 70)" in summary


def restored(scenario: Scenario, **changes: object) -> Scenario:
    """Return a scene in which another listener goes on with the last saved state."""
    saved = [effect for effect in scenario.effects if isinstance(effect, SaveState)][-1]
    assert saved.memory is not None
    memory = json.loads(json.dumps({**saved.memory, **changes}))
    after = Scenario()
    after.engine.restore(moment(0.0), {FPM: memory})
    return after.play("1 running")


def test_the_text_after_a_start_of_the_listener() -> None:
    """It is about the workers as before, with at least the number that was reported."""
    scenario = running()
    for number in range(4):
        crash(scenario, 10.0 + 2 * number, 500 + number)
    assert scenario.sent == ["first: crash_signal"]
    after = restored(scenario)
    incident = after.view().incident
    assert incident is not None
    assert incident.facts.only_workers_fail
    assert incident.facts.live.workers.failures >= 3
    crash(after, 20.0, 600)
    after.play("141 tick")

    assert after.sent == ["resolved: crash_signal"]
    resolved = after.alerts[0].annotations
    assert "its workers crashed (SIGSEGV)" in resolved["summary"]
    assert "workers crashed in this incident; the master keeps running" in resolved["description"]


def test_workers_that_the_kernel_kills_after_a_start_of_the_listener() -> None:
    """The cause stays, and more kills are examined."""
    after = restored(kills(running(), PostMortem(oom=LIMIT), 10, 12, 14, 16, 18))
    incident = after.view().incident
    assert incident is not None
    assert incident.facts.cause is Cause.OUT_OF_MEMORY
    kills(after, PostMortem(oom=LIMIT), 30, 32)
    after.play("153 tick")

    assert after.sent == ["resolved: out_of_memory"]
    assert "kill" in after.alerts[0].annotations["summary"]
    assert "its workers" in after.alerts[0].annotations["summary"]


def test_workers_that_did_not_start_before_the_listener_started_again() -> None:
    """The directory that is missing is still known."""
    gone = PostMortem(worker_folders_missing=("/srv/release",))
    after = restored(exits(running(), 10, 10.4, 11.1, 12.2, 13.3, found=gone)).play("121.5 tick")

    assert after.sent == ["resolved: worker_failure"]
    assert "/srv/release" in after.alerts[0].annotations["summary"]


@pytest.mark.parametrize(
    "workers", [None, {}, 5, {"failures": 3}, {**WorkersView()._asdict(), "signal": 10**400}]
)
def test_a_state_without_workers(workers: object) -> None:
    """An older listener did not save them; a damaged state is forgotten as a whole."""
    scenario = exits(running(), 10, 12, 14, 16, 18)
    after = restored(scenario, workers=workers)
    is_restored = after.view().incident is not None
    after.play("121.5 tick")

    assert is_restored is not bool(workers)
    assert after.sent == ["resolved: worker_failure"] * is_restored
    assert all("its workers failed" in alert.annotations["summary"] for alert in after.alerts)
