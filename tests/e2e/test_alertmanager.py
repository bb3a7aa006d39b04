"""The listeners of 200 hosts send to three real Alertmanagers in a cluster."""

from __future__ import annotations

import json
import logging
import resource
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from itertools import cycle
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.delivery.alertmanager_queue import LASTS_S, RESEND_S
from fpm_listener.delivery.attempt import AttemptResult
from fpm_listener.delivery.receiver_failure import FAILING_AFTER_S
from fpm_listener.delivery.sender import Sender
from fpm_listener.incidents.alert import Alert, Status
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import Instant
from tests.outbox_harness import OutboxHarness
from tests.ports import free_port
from tests.receiver_server import ReceiverServer
from tests.samples import fires, resolves
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

#: Seconds that anything here may take; machines are busy.
DEADLINE_S = 60.0
#: Senders of one queue, shared by all hosts.
SENDERS = 4
HOSTS = [f"host{number}" for number in range(200)]
#: This listener's page, as the alerts name it.
PAGE = "http://listener.example:19253/"

#: A group is one incident here, so that each is notified by itself.
CONF = """\
route:
  receiver: pager
  group_by: [instance, group, process]
  group_wait: 1s
  group_interval: 2s
  repeat_interval: 1h
receivers:
- name: pager
  webhook_configs:
  - {{url: '{url}', send_resolved: true}}
"""


def program(name: str) -> str:
    """Return the path of a program that `scripts/setup.sh` installed."""
    path = shutil.which(name)
    assert path, f"no {name} on this machine: run scripts/setup.sh"
    return path


class Alertmanager:
    """A real Alertmanager; after a restart it has the same ports and folder."""

    def __init__(
        self, folder: Path, hook: str, gossip: str = "", peers: Sequence[str] = ()
    ) -> None:
        """hook: URL for its notifications; gossip: its address in the cluster, if it is in one."""
        self.folder = folder
        self._place = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self._place}"
        self._cluster = [
            f"--cluster.listen-address={gossip}",
            *(f"--cluster.peer={p}" for p in peers),
        ]
        self._child: subprocess.Popen[bytes] | None = None
        folder.mkdir()
        (folder / "conf.yml").write_text(CONF.format(url=hook))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._child = subprocess.Popen(
                [
                    program("prometheus-alertmanager"),
                    f"--config.file={self.folder}/conf.yml",
                    f"--storage.path={self.folder}/data",
                    f"--web.listen-address={self._place}",
                    *self._cluster,
                    "--cluster.gossip-interval=50ms",
                    "--cluster.pushpull-interval=1s",
                    "--cluster.peer-timeout=1s",
                    "--cluster.reconnect-interval=1s",
                    "--cluster.settle-timeout=5s",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, f"the Alertmanager in {self.folder}", deadline_s=DEADLINE_S)

    def close(self, number: int = signal.SIGKILL) -> None:
        """Stop it with a signal, if it runs."""
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(number)
        try:
            child.wait(DEADLINE_S)
        finally:
            child.kill()
            child.wait()

    def peers(self) -> int:
        """Return the number of members of its cluster, itself included, after it has settled."""
        cluster = self._get("/api/v2/status")["cluster"]
        return len(cluster["peers"]) if cluster["status"] == "ready" else 0

    def alerts(self) -> list[dict[str, Any]]:
        """Return the firing alerts as an operator sees them with amtool."""
        done = subprocess.run(
            [program("amtool"), "alert", "query", f"--alertmanager.url={self.url}", "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    def _answers(self) -> bool:
        assert self._child is not None
        assert self._child.poll() is None, (self.folder / "log").read_text()
        with suppress(OSError):
            self._get("/api/v2/status")
            return True
        return False

    def _get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.loads(answer.read())


class Pager:
    """The receiver of the cluster's notifications."""

    def __init__(self, server: ReceiverServer) -> None:
        self.server = server
        self._read = 0
        self._told: dict[str, set[str]] = {"firing": set(), "resolved": set()}

    def notified(self, status: str) -> set[str]:
        """Return the hosts of the firing and of the resolved notifications."""
        new = self.server.requests[self._read :]
        self._read += len(new)
        for request in new:
            for alert in request.json["alerts"]:
                self._told[alert["status"]].add(alert["labels"]["instance"])
        return self._told[status]


class Fleet:
    """The listeners of many hosts: each has an outbox and a database; the senders are shared."""

    def __init__(self, folder: Path, members: Sequence[Alertmanager], hosts: Sequence[str]) -> None:
        self._passed_s = 0.0
        urls = tuple(member.url for member in members)
        settings = ReceiverSettings(name="am", kind="alertmanager", urls=urls)
        self.harnesses = {
            host: OutboxHarness(folder / host, settings, now=self.now()) for host in hosts
        }
        for harness in self.harnesses.values():
            # Delays of a fifth of the longest one instead of half of it, on the average.
            harness.outbox._random = lambda: 0.2
        self._inbox: SimpleQueue[AttemptResult | BaseException] = SimpleQueue()
        self._senders = {
            queue: [Sender(one, self._inbox.put, self._inbox.put, PAGE) for _ in range(SENDERS)]
            for queue, one in settings.queues.items()
        }
        self._turns = {queue: cycle(senders) for queue, senders in self._senders.items()}

    def now(self) -> Instant:
        """Return the present time on the clocks of the hosts."""
        return Instant(time.monotonic() + self._passed_s, time.time() + self._passed_s)

    def advance(self, seconds: float) -> None:
        """Advance the clocks of the hosts, not the clock of Alertmanager."""
        self._passed_s += seconds

    def enqueue(self, host: str, *alerts: Alert) -> None:
        """Enqueue and commit on one host, and send its due alerts."""
        harness = self.harnesses[host]
        harness.now = self.now()
        harness.enqueue(*alerts)
        self._send(harness)

    def fire(self, hosts: Iterable[str]) -> None:
        """Start an incident on each of these hosts."""
        for host in hosts:
            self.enqueue(host, incident(host))

    def resolve(self, hosts: Iterable[str]) -> None:
        """Resolve it."""
        for host in hosts:
            (begun, *_) = self.harnesses[host].alerts("am#3")
            over = resolves(begun.incident_id)
            self.enqueue(
                host,
                replace(
                    over,
                    labels=begun.labels,
                    starts_at_s=begun.starts_at_s,
                    ends_at_s=time.time(),
                ),
            )

    def run_until(self, condition: Callable[[], object], what: str) -> None:
        """Run the listeners until `condition` holds."""
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"waited in vain for {what}"
            for harness in self.harnesses.values():
                self._send(harness)
            self._take_results(0.2)

    def _take_results(self, seconds: float) -> None:
        """Record the results of the senders for so long."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            with suppress(Empty):
                item = self._inbox.get(timeout=left_s)
                assert isinstance(item, AttemptResult), item
                harness = self.harnesses[item.attempt.alerts[0].labels["instance"]]
                harness.outbox.record_result(item, self.now())

    def run_until_sent(self, *queues: str) -> None:
        """Run the listeners until these Alertmanagers have the latest state of everything."""
        self.run_until(
            lambda: not any(map(self.hosts_with_pending, queues)), f"the alerts for {queues}"
        )

    def hosts_with_pending(self, queue: str) -> set[str]:
        """Return the hosts whose latest state an Alertmanager does not have."""
        return {
            host
            for host, harness in self.harnesses.items()
            if harness.outbox._queues[queue].pending()
        }

    def hosts_with_firing(self, queue: str) -> set[str]:
        """Return the hosts whose open incidents an Alertmanager has accepted."""
        return {
            host
            for host, harness in self.harnesses.items()
            if harness.outbox._queues[queue].notified
        }

    def firing_annotations_of(self, queue: str) -> dict[str, dict[str, str]]:
        """Return the annotations of the firing incidents, by host."""
        return {
            host: dict(alert.annotations)
            for host, harness in self.harnesses.items()
            for alert in harness.alerts(queue)
            if alert.status is Status.FIRING
        }

    def dropped(self) -> dict[str, int]:
        """Return the counts of drops that are not 0, of all hosts together."""
        views = [view for harness in self.harnesses.values() for view in harness.outbox.views()]
        counts = {name: sum(view.dropped[name] for view in views) for name in views[0].dropped}
        return {name: count for name, count in counts.items() if count}

    def close(self) -> None:
        """Stop all threads and close the databases."""
        for senders in self._senders.values():
            for sender in senders:
                sender.stop()
        for harness in self.harnesses.values():
            harness.database.close()

    def _send(self, harness: OutboxHarness) -> None:
        for attempt in harness.outbox.start_attempts(self.now()):
            next(self._turns[attempt.queue]).send(attempt)


def incident(host: str, process: str = "php-fpm") -> Alert:
    """Return the first alert of an incident that starts now, with all its texts."""
    return fires(
        f"{host}:www:{process}",
        labels={
            "alertname": "PhpFpmFailing",
            "severity": "critical",
            "group": "www",
            "process": process,
            "instance": host,
        },
        annotations={
            "summary": f"www:{process} of {host}: 127.0.0.1:9000 is in use by pid 812",
            "description": "It failed 3 times in 60 s.\nAnother php-fpm lives.",
            "cause": "bind_conflict",
            "evidence": "ERROR: unable to bind listening socket for address '127.0.0.1:9000'",
            "remedy": 'End it: kill -QUIT 812 — "its requests" end first',
        },
        starts_at_s=time.time(),
        known_at_s=time.time(),
    )


def firing_annotations(member: Alertmanager) -> dict[str, dict[str, str]]:
    """Return the annotations of the alerts that fire at an Alertmanager, by host."""
    return {alert["labels"]["instance"]: alert["annotations"] for alert in member.alerts()}


def moment_s(text: str) -> float:
    """Return the wall seconds of a time in an answer of Alertmanager."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


@pytest.fixture
def pager() -> Iterator[Pager]:
    """Return the receiver of all notifications of the Alertmanagers."""
    with ReceiverServer() as server:
        yield Pager(server)


@pytest.fixture
def cluster(tmp_path: Path, pager: Pager) -> Iterator[list[Alertmanager]]:
    """Run three Alertmanagers in one cluster."""
    places = [f"127.0.0.1:{free_port()}" for _ in range(3)]
    members = [
        Alertmanager(
            tmp_path / f"alertmanager{number}",
            pager.server.url,
            place,
            [other for other in places if other != place],
        )
        for number, place in enumerate(places)
    ]
    try:
        for member in members:
            member.start()
        wait_until(
            lambda: all(one.peers() == 3 for one in members), "the cluster", deadline_s=DEADLINE_S
        )
        yield members
    finally:
        for member in members:
            member.close()


@pytest.fixture
def single(tmp_path: Path, pager: Pager) -> Iterator[Alertmanager]:
    """Run one Alertmanager without a cluster."""
    member = Alertmanager(tmp_path / "alertmanager", pager.server.url)
    try:
        member.start()
        yield member
    finally:
        member.close()


@pytest.fixture
def create_fleet(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Return a function that creates the listeners of hosts; the fixture ends them."""
    made: list[Fleet] = []
    # A database has four files open, and 1024 is a common limit.
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def assembler(members: Sequence[Alertmanager], hosts: Sequence[str]) -> Fleet:
        made.append(Fleet(tmp_path, members, hosts))
        return made[-1]

    yield assembler
    for fleet in made:
        fleet.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


Assemble = Callable[[Sequence[Alertmanager], Sequence[str]], Fleet]


def test_an_alertmanager_exits_and_another_restarts(
    cluster: list[Alertmanager],
    pager: Pager,
    create_fleet: Assemble,
) -> None:
    """Every incident of 200 hosts is notified as firing and as resolved."""
    dies, restarts, stays = cluster
    fleet = create_fleet(cluster, HOSTS)

    fleet.fire(HOSTS[:70])
    fleet.run_until(lambda: len(fleet.hosts_with_firing("am")) >= 20, "the alerts of some hosts")
    dies.close(signal.SIGKILL)
    fleet.fire(HOSTS[70:140])
    fleet.run_until(lambda: len(fleet.hosts_with_firing("am#2")) >= 90, "the alerts of more hosts")
    restarts.close(signal.SIGTERM)
    fleet.fire(HOSTS[140:])
    # Two Alertmanagers that do not answer do not delay the delivery to the third one.
    fleet.run_until_sent("am#3")
    assert set(firing_annotations(stays)) == set(HOSTS)
    assert fleet.hosts_with_pending("am") >= set(HOSTS[70:])
    assert fleet.hosts_with_pending("am#2") >= set(HOSTS[140:])

    restarts.start()
    fleet.run_until_sent("am#2")
    fleet.run_until(lambda: len(pager.notified("firing")) == len(HOSTS), "all notifications")
    assert pager.notified("firing") == set(HOSTS)
    assert pager.notified("resolved") == set()
    # The restarted Alertmanager has forgotten its alerts; they are sent again in time.
    fleet.advance(max(RESEND_S, FAILING_AFTER_S))
    fleet.run_until(
        lambda: firing_annotations(restarts) == fleet.firing_annotations_of("am#2"),
        "the forgotten alerts",
    )

    over, lasting = set(HOSTS[::2]), set(HOSTS[1::2])
    fleet.resolve(sorted(over))
    fleet.run_until_sent("am#2", "am#3")
    for member, queue in ((restarts, "am#2"), (stays, "am#3")):
        assert firing_annotations(member) == fleet.firing_annotations_of(queue)
        assert set(fleet.firing_annotations_of(queue)) == lasting
    fleet.run_until(lambda: pager.notified("resolved") >= over, "the resolved notifications")
    assert pager.notified("resolved") == over

    # The alerts for the dead one are still pending, except resolved ones whose firing it never got.
    assert fleet.hosts_with_pending("am") >= lasting - set(HOSTS[:70])
    assert set(fleet.dropped()) == {"not_notified"}
    assert not any(view.failing for one in fleet.harnesses.values() for view in one.outbox.views())


def test_an_alertmanager_forgets_a_firing_alert(
    single: Alertmanager, create_fleet: Assemble
) -> None:
    """It is sent again with all its texts before Alertmanager would resolve it."""
    fleet = create_fleet([single], ["host"])
    fleet.fire(["host"])
    fleet.run_until_sent("am")
    (first,) = single.alerts()
    fleet.advance(RESEND_S)
    fleet.run_until(lambda: single.alerts()[0]["endsAt"] != first["endsAt"], "another sending")
    (again,) = single.alerts()

    assert moment_s(again["endsAt"]) > moment_s(first["endsAt"])
    left_s = moment_s(again["endsAt"]) - time.time()
    assert LASTS_S - DEADLINE_S < left_s <= LASTS_S
    alert = incident("host")
    assert again["labels"] == alert.labels
    assert again["annotations"] == alert.annotations
    assert again["startsAt"] == first["startsAt"]
    assert again["generatorURL"] == PAGE


def test_one_alert_of_a_message_is_rejected(
    single: Alertmanager,
    create_fleet: Assemble,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Alertmanager answers 400 to the message; the other alerts are delivered."""
    caplog.set_level(logging.ERROR)
    fleet = create_fleet([single], ["host"])
    good, poison, other = (incident("host", process) for process in ("a", "poison", "c"))
    poison = replace(poison, labels={**poison.labels, "": "a label without a name"})
    fleet.harnesses["host"].now = fleet.now()
    fleet.harnesses["host"].enqueue(good, poison, other)
    fleet.run_until_sent("am")

    assert sorted(alert["labels"]["process"] for alert in single.alerts()) == ["a", "c"]
    assert fleet.dropped() == {"rejected": 1}
    (view,) = fleet.harnesses["host"].outbox.views()
    assert (view.sent, view.failed["client_error"]) == (4, 2), "together, then one by one"
    together, by_itself, *_ = caplog.messages
    assert "a message with several alerts" in together
    assert "rejected an alert; the alert is dropped" in by_itself
    assert "status 400" in by_itself
    assert "invalid label" in by_itself
    assert poison.alert_id in by_itself
