"""The exposition: names, labels, zeros, and what promtool thinks of it."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition, parser

from fpm_listener.delivery.attempt import DropReason, FailureReason
from fpm_listener.delivery.receiver_counters import ReceiverView
from fpm_listener.histogram import Histogram
from fpm_listener.incidents.incident import IncidentView
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.monitor.process_view import ProcessView
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.phpfpm.opcache import NUMBERS as OPCACHE_NUMBERS
from fpm_listener.phpfpm.opcache import OpcacheView
from fpm_listener.phpfpm.pool_capacity import Capacity
from fpm_listener.phpfpm.status_page import NUMBERS, PoolView
from fpm_listener.status.metrics import SnapshotCollector, make_registry
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.supervisor.events import EVENT_NAMES
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause, State, Tier

GOLDEN = Path(__file__).parent.parent.parent / "data" / "metrics-golden.txt"

FPM = {"group": "php-fpm", "process": "php-fpm"}
JOB = {"group": "job", "process": "job"}


def histogram(*values: float) -> Histogram:
    made = Histogram((0.1, 1.0))
    for value in values:
        made.observe(value)
    return made


FRESH = Snapshot(
    processes=(
        ProcessView(
            name=ProcessName("php-fpm", "php-fpm"),
            is_fpm=True,
            state=State.UNKNOWN,
            restart_seconds=histogram().view(),
        ),
        ProcessView(name=ProcessName("job", "job"), is_fpm=False, state=State.RUNNING),
    ),
    receivers=(ReceiverView(name="ops", kind="webhook", seconds=histogram().view()),),
    events=dict.fromkeys((*EVENT_NAMES, "other"), 0),
    ack_seconds=histogram().view(),
)


def registry_of(snapshot: Snapshot) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(lambda: snapshot))
    return registry


def value(snapshot: Snapshot, name: str, **labels: str) -> float | None:
    return registry_of(snapshot).get_sample_value(f"fpm_listener_{name}", labels)


def test_every_series_is_there_from_the_first_scrape() -> None:
    """All series of the closed sets stand at 0 before anything has happened."""
    counters = ("starts", "exits", "unexpected_exits", "failed_starts", "fatal", "restarts")
    for labels in (FPM, JOB):
        for name in counters:
            assert value(FRESH, f"process_{name}_total", **labels) == 0
        for tier in Tier:
            assert value(FRESH, "restart_loop", **labels, tier=tier.value) == 0
    for fact in FactKind:
        assert value(FRESH, "fpm_log_facts_total", **FPM, fact=fact.value) == 0
    for cause in Cause:
        assert value(FRESH, "incident_firing", **FPM, cause=cause.value) == 0
    assert value(FRESH, "bind_conflicts_total", **FPM) == 0
    for name in EVENT_NAMES:
        assert value(FRESH, "events_total", event=name) == 0
    for reason in FailureReason:
        labels = {"receiver": "ops", "reason": reason.value}
        assert value(FRESH, "notifications_failed_total", **labels) == 0
    for drop in DropReason:
        assert value(FRESH, "alerts_dropped_total", receiver="ops", reason=drop.value) == 0
    for name in (
        "events_missed_total",
        "log_bytes_read_total",
        "log_bytes_skipped_total",
        "log_read_errors_total",
    ):
        assert value(FRESH, name) == 0
    assert value(FRESH, "process_restart_seconds_count", **FPM) == 0
    assert value(FRESH, "event_ack_seconds_count") == 0
    assert value(FRESH, "notification_seconds_count", receiver="ops") == 0


def test_php_fpms_own_series_are_php_fpms_only() -> None:
    """Another program has no facts of php-fpm's log; it always answers, as far as is known."""
    assert value(FRESH, "bind_conflicts_total", **JOB) is None
    assert value(FRESH, "incident_firing", **JOB, cause="not_answering") is None
    assert value(FRESH, "incident_firing", **JOB, cause="bind_conflict") == 0
    assert value(FRESH, "incident_firing", **JOB, cause="restart_loop") == 0


def test_moments_that_never_were_are_left_out() -> None:
    """A timestamp of 0 would be the year 1970."""
    assert value(FRESH, "process_last_exit_timestamp_seconds", **FPM) is None
    assert value(FRESH, "process_last_exit_status", **FPM) is None


def test_states_as_one_and_zeros() -> None:
    """Exactly the present state is 1."""
    states = {s: value(FRESH, "process_state", **JOB, state=s.value) for s in State}

    assert states == {state: float(state is State.RUNNING) for state in State}


TROUBLED = ProcessView(
    name=ProcessName("php-fpm", "php-fpm"),
    is_fpm=True,
    state=State.BACKOFF,
    failed_starts=3,
    last_exit=ExitReason(signal=9),
    last_exit_s=1.7e9,
    loops=frozenset({Tier.FAST}),
    facts={FactKind.BIND_CONFLICT: 3},
    incident=IncidentView(
        incident_id="x",
        severity="critical",
        started_at_s=1.0,
        facts=IncidentFacts(
            name=ProcessName("php-fpm", "php-fpm"), cause=Cause.BIND_CONFLICT, failures=3
        ),
    ),
    restart_seconds=histogram(0.05, 0.5, 7.0).view(),
)


def test_values_of_a_process_in_trouble() -> None:
    """Counts, exit, loop, cause and histogram are those of the snapshot."""
    snapshot = Snapshot(processes=(TROUBLED,))

    assert value(snapshot, "process_failed_starts_total", **FPM) == 3
    assert value(snapshot, "process_last_exit_status", **FPM) == -9
    assert value(snapshot, "restart_loop", **FPM, tier="fast") == 1
    assert value(snapshot, "restart_loop", **FPM, tier="slow") == 0
    assert value(snapshot, "bind_conflicts_total", **FPM) == 3
    assert value(snapshot, "incident_firing", **FPM, cause="bind_conflict") == 1
    assert value(snapshot, "incident_firing", **FPM, cause="restart_loop") == 0
    buckets = [
        value(snapshot, "process_restart_seconds_bucket", **FPM, le=le)
        for le in ("0.1", "1.0", "+Inf")
    ]
    assert buckets == [1, 2, 3]
    assert value(snapshot, "process_restart_seconds_sum", **FPM) == 7.55


def everything() -> Snapshot:
    """Return a snapshot with each family of the table."""
    pool = PoolView(
        pool="www",
        up=True,
        numbers={name: float(at) for at, name in enumerate(NUMBERS.values())},
        max_children=50,
        own_requests=1,
        capacity=Capacity(fits=14, memory=(20 << 20, 32 << 20)),
    )
    opcache = OpcacheView(numbers={name: float(at) for at, name in enumerate(OPCACHE_NUMBERS)})
    return dataclasses.replace(
        FRESH,
        processes=(
            dataclasses.replace(TROUBLED, pools=(pool,), opcache=opcache),
            FRESH.processes[1],
        ),
        receivers=(ReceiverView(name="ops", kind="webhook", seconds=histogram(0.5).view()),),
        last_event_s=1.7e9,
        config_reload_s=1.7e9,
    )


def test_promtool_has_nothing_to_say() -> None:
    """`promtool check metrics` is silent; a missing promtool is a failure."""
    promtool = shutil.which("promtool")
    assert promtool, "no promtool on this machine: run scripts/setup.sh"
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=generate_latest(make_registry(everything)),
        capture_output=True,
        check=False,
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_openmetrics_parses() -> None:
    """A strict parser of OpenMetrics takes it."""
    generate: Any = exposition.generate_latest  # the library has no types here
    parse: Any = parser.text_string_to_metric_families
    text = generate(make_registry(everything)).decode()
    families = {family.name for family in parse(text)}

    assert "fpm_listener_process_restarts" in families
    assert "fpm_listener_self_process_resident_memory_bytes" in families


@pytest.mark.parametrize(
    ("capacity", "recommended"),
    [
        (Capacity(), None),
        (Capacity(fits=0, memory=(1, 2)), None),  # 0 is no valid pm.max_children
        (Capacity(fits=1, memory=(1, 2)), 1),
    ],
)
def test_a_size_that_is_not_known(capacity: Capacity, recommended: int | None) -> None:
    """It has no series, so no dashboard shows a wrong number."""
    pool = PoolView(pool="www", up=None, capacity=capacity)
    process = dataclasses.replace(FRESH.processes[0], pools=(pool,))
    registry = registry_of(Snapshot(processes=(process,)))
    labels = {**FPM, "pool": "www"}
    found = registry.get_sample_value("phpfpm_recommended_max_children", labels)
    memory = registry.get_sample_value("phpfpm_worker_memory_bytes", {**labels, "quantile": "0.95"})
    assert (found, memory) == (recommended, capacity.memory and capacity.memory[1])


def test_the_text_is_the_golden_one() -> None:
    """Names, labels, help and order are part of the contract: a change of them breaks dashboards.

    Where one is wanted, write it into the golden file, and into the CHANGELOG.
    """
    text = generate_latest(registry_of(everything())).decode()
    text = re.sub(r'version="[^"]*"', 'version="X"', text)
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        GOLDEN.write_text(text)

    assert text == GOLDEN.read_text()


def test_a_family_can_be_asked_for() -> None:
    """`/metrics?name[]=…` finds each family by its name, those of receivers and programs too."""
    registry = make_registry(lambda: FRESH)
    for name in (
        "process_state",
        "alerts_pending",
        "event_ack_seconds_count",
        "events_missed_total",
    ):
        asked = registry.restricted_registry([f"fpm_listener_{name}"])
        text = generate_latest(asked).decode()

        assert f"\nfpm_listener_{name}" in text
        assert "build_info" not in text


def test_no_series_comes_twice() -> None:
    """Our own process's metrics have names of their own, and no `_created` series are there."""
    lines = generate_latest(make_registry(lambda: FRESH)).decode().splitlines()
    series = [line.rpartition(" ")[0] for line in lines if not line.startswith("#")]

    assert len(series) == len(set(series))
    assert not [one for one in series if "_created" in one]
    assert any(one.startswith("fpm_listener_self_process_cpu_seconds_total") for one in series)
