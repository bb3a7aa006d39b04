"""Real Alertmanagers, three in a cluster, are told by the listeners of two hundred hosts."""

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
    """Return the path of a program that `scripts/setup.sh` has installed."""
    path = shutil.which(name)
    assert path, f"no {name} on this machine: run scripts/setup.sh"
    return path


class Alertmanager:
    """A real Alertmanager, which can be ended and started again; it keeps its ports and folder."""

    def __init__(
        self, folder: Path, hook: str, gossip: str = "", peers: Sequence[str] = ()
    ) -> None:
        """`hook`: whom it notifies; `gossip`: its address in the cluster, if it is in one."""
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

    def end(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal, if it runs."""
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
        """Return how many are in its cluster, itself included, once it has settled."""
        cluster = self._get("/api/v2/status")["cluster"]
        return len(cluster["peers"]) if cluster["status"] == "ready" else 0

    def alerts(self) -> list[dict[str, Any]]:
        """Return what fires as an operator sees it, with amtool."""
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
    """Whom the cluster notifies."""

    def __init__(self, server: ReceiverServer) -> None:
        self.server = server
        self._read = 0
        self._told: dict[str, set[str]] = {"firing": set(), "resolved": set()}

    def told(self, status: str) -> set[str]:
        """Return the hosts of which it was told that they fire, or that it is over."""
        new = self.server.requests[self._read :]
        self._read += len(new)
        for request in new:
            for alert in request.json["alerts"]:
                self._told[alert["status"]].add(alert["labels"]["instance"])
        return self._told[status]


class Fleet:
    """The listeners of many hosts, each with an outbox and a database; they share the senders."""

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
        """Return the moment, on the clocks of the hosts."""
        return Instant(time.monotonic() + self._passed_s, time.time() + self._passed_s)

    def let_pass(self, seconds: float) -> None:
        """Let time pass for the hosts, though not for Alertmanager."""
        self._passed_s += seconds

    def enqueue(self, host: str, *alerts: Alert) -> None:
        """Enqueue and commit on one host, and send what is due there."""
        harness = self.harnesses[host]
        harness.now = self.now()
        harness.enqueue(*alerts)
        self._send(harness)

    def fire(self, hosts: Iterable[str]) -> None:
        """Begin the incident of each of these hosts."""
        for host in hosts:
            self.enqueue(host, incident(host))

    def resolve(self, hosts: Iterable[str]) -> None:
        """End it."""
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
        """Do the owners' work until `condition` holds."""
        deadline_s, sweep_s = time.monotonic() + DEADLINE_S, 0.0
        while not condition():
            assert time.monotonic() < deadline_s, f"waited in vain for {what}"
            with suppress(Empty):
                item = self._inbox.get(timeout=0.02)
                assert isinstance(item, AttemptResult), item
                harness = self.harnesses[item.attempt.alerts[0].labels["instance"]]
                harness.outbox.record_result(item, self.now())
            if time.monotonic() >= sweep_s:
                for harness in self.harnesses.values():
                    self._send(harness)
                sweep_s = time.monotonic() + 0.1

    def run_until_delivered(self, *queues: str) -> None:
        """Do the owners' work until these Alertmanagers know the latest of everything."""
        self.run_until(lambda: not any(map(self.waiting, queues)), f"all that {queues} are owed")

    def waiting(self, queue: str) -> set[str]:
        """Return the hosts of which an Alertmanager does not know the latest."""
        return {
            host
            for host, harness in self.harnesses.items()
            if harness.outbox._queues[queue].pending()
        }

    def notified(self, queue: str) -> set[str]:
        """Return the hosts whose incidents an Alertmanager has taken, and that are not over."""
        return {
            host
            for host, harness in self.harnesses.items()
            if harness.outbox._queues[queue].notified
        }

    def firing(self, queue: str) -> dict[str, dict[str, str]]:
        """Return the annotations of what fires, by host."""
        return {
            host: dict(alert.annotations)
            for host, harness in self.harnesses.items()
            for alert in harness.alerts(queue)
            if alert.status is Status.FIRING
        }

    def dropped(self) -> dict[str, int]:
        """Return the counts of drops that are not 0, over all hosts."""
        views = [view for harness in self.harnesses.values() for view in harness.outbox.views()]
        counts = {name: sum(view.dropped[name] for view in views) for name in views[0].dropped}
        return {name: count for name, count in counts.items() if count}

    def end(self) -> None:
        """Stop all threads and let the databases go."""
        for senders in self._senders.values():
            for sender in senders:
                sender.stop()
        for harness in self.harnesses.values():
            harness.database.close()

    def _send(self, harness: OutboxHarness) -> None:
        for attempt in harness.outbox.start_attempts(self.now()):
            next(self._turns[attempt.queue]).send(attempt)


def incident(host: str, process: str = "php-fpm") -> Alert:
    """Return the first alert of an incident that begins now, with all that people read."""
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


def picture(member: Alertmanager) -> dict[str, dict[str, str]]:
    """Return the annotations of what fires at an Alertmanager, by host."""
    return {alert["labels"]["instance"]: alert["annotations"] for alert in member.alerts()}


def moment_s(text: str) -> float:
    """Return the wall seconds of a moment in an answer of Alertmanager."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


@pytest.fixture
def pager() -> Iterator[Pager]:
    """Return whom all Alertmanagers of a test notify."""
    with ReceiverServer() as server:
        yield Pager(server)


@pytest.fixture
def cluster(tmp_path: Path, pager: Pager) -> Iterator[list[Alertmanager]]:
    """Run three Alertmanagers that know each other."""
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
            member.end()


@pytest.fixture
def alone(tmp_path: Path, pager: Pager) -> Iterator[Alertmanager]:
    """Run one Alertmanager that is in no cluster."""
    member = Alertmanager(tmp_path / "alertmanager", pager.server.url)
    try:
        member.start()
        yield member
    finally:
        member.end()


@pytest.fixture
def assemble(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Return a function that makes the listeners of hosts; all of them are ended."""
    made: list[Fleet] = []
    # A database has four files open, and 1024 is a common limit.
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def assembler(members: Sequence[Alertmanager], hosts: Sequence[str]) -> Fleet:
        made.append(Fleet(tmp_path, members, hosts))
        return made[-1]

    yield assembler
    for fleet in made:
        fleet.end()
    resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))


Assemble = Callable[[Sequence[Alertmanager], Sequence[str]], Fleet]


def test_no_incident_of_200_hosts_is_lost(
    cluster: list[Alertmanager],
    pager: Pager,
    assemble: Assemble,
) -> None:
    """One Alertmanager dies on the way, another one is restarted; people hear of everything."""
    dies, restarts, stays = cluster
    fleet = assemble(cluster, HOSTS)

    fleet.fire(HOSTS[:70])
    fleet.run_until(lambda: len(fleet.notified("am")) >= 20, "some hosts to be heard")
    dies.end(signal.SIGKILL)
    fleet.fire(HOSTS[70:140])
    fleet.run_until(lambda: len(fleet.notified("am#2")) >= 90, "more hosts to be heard")
    restarts.end(signal.SIGTERM)
    fleet.fire(HOSTS[140:])
    # Two that do not answer do not hinder the delivery to the third one.
    fleet.run_until_delivered("am#3")
    assert set(picture(stays)) == set(HOSTS)
    assert fleet.waiting("am") >= set(HOSTS[70:])
    assert fleet.waiting("am#2") >= set(HOSTS[140:])

    restarts.start()
    fleet.run_until_delivered("am#2")
    fleet.run_until(lambda: len(pager.told("firing")) == len(HOSTS), "all to be notified")
    assert pager.told("firing") == set(HOSTS)
    assert pager.told("resolved") == set()
    # Who was restarted had forgotten what it had been told before; it is told again in time.
    fleet.let_pass(max(RESEND_S, FAILING_AFTER_S))
    fleet.run_until(lambda: picture(restarts) == fleet.firing("am#2"), "what was forgotten")

    over, lasting = set(HOSTS[::2]), set(HOSTS[1::2])
    fleet.resolve(sorted(over))
    fleet.run_until_delivered("am#2", "am#3")
    for member, queue in ((restarts, "am#2"), (stays, "am#3")):
        assert picture(member) == fleet.firing(queue)
        assert set(fleet.firing(queue)) == lasting
    fleet.run_until(lambda: pager.told("resolved") >= over, "the ends to be notified")
    assert pager.told("resolved") == over

    # What cannot be told to the dead one is still owed, but for ends whose beginning it never got.
    assert fleet.waiting("am") >= lasting - set(HOSTS[:70])
    assert set(fleet.dropped()) == {"not_notified"}
    assert not any(view.failing for one in fleet.harnesses.values() for view in one.outbox.views())


def test_a_firing_incident_is_told_again(alone: Alertmanager, assemble: Assemble) -> None:
    """Before Alertmanager takes it to be over, and with everything that people read."""
    fleet = assemble([alone], ["host"])
    fleet.fire(["host"])
    fleet.run_until_delivered("am")
    (first,) = alone.alerts()
    fleet.let_pass(RESEND_S)
    fleet.run_until(lambda: alone.alerts()[0]["endsAt"] != first["endsAt"], "a second telling")
    (again,) = alone.alerts()

    assert moment_s(again["endsAt"]) > moment_s(first["endsAt"])
    left_s = moment_s(again["endsAt"]) - time.time()
    assert LASTS_S - DEADLINE_S < left_s <= LASTS_S
    alert = incident("host")
    assert again["labels"] == alert.labels
    assert again["annotations"] == alert.annotations
    assert again["startsAt"] == first["startsAt"]
    assert again["generatorURL"] == PAGE


def test_one_alert_that_is_refused(
    alone: Alertmanager,
    assemble: Assemble,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Alertmanager answers 400 to the message that holds it; the others are taken all the same."""
    caplog.set_level(logging.ERROR)
    fleet = assemble([alone], ["host"])
    good, poison, other = (incident("host", process) for process in ("a", "poison", "c"))
    poison = replace(poison, labels={**poison.labels, "": "a label without a name"})
    fleet.harnesses["host"].now = fleet.now()
    fleet.harnesses["host"].enqueue(good, poison, other)
    fleet.run_until_delivered("am")

    assert sorted(alert["labels"]["process"] for alert in alone.alerts()) == ["a", "c"]
    assert fleet.dropped() == {"rejected": 1}
    (view,) = fleet.harnesses["host"].outbox.views()
    assert (view.sent, view.failed["client_error"]) == (4, 2), "together, then one by one"
    together, by_itself, *_ = caplog.messages
    assert "several alerts in one message" in together
    assert "rejected an alert, which is dropped" in by_itself
    assert "status 400" in by_itself
    assert "invalid label" in by_itself
    assert poison.alert_id in by_itself
