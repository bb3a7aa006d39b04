"""Senders, an outbox and real servers together: nothing is lost, and no receiver waits."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import pytest

from fpm_listener.delivery.attempt import Attempt, AttemptResult, Delivered, RetryLater
from fpm_listener.delivery.sender import Sender
from fpm_listener.incidents.alert import Alert
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import Instant
from tests import receiver_server
from tests.outbox_harness import OutboxHarness
from tests.receiver_server import PATIENCE_S, ReceiverServer, status
from tests.samples import fires, resolves


def receiver(server: ReceiverServer, name: str = "ops", **others: Any) -> ReceiverSettings:  # noqa: ANN401 - its fields
    """Return the settings of a receiver."""
    return replace(ReceiverSettings(name=name, url=server.url, timeout_s=20.0), **others)


class Daemon:
    """What the daemon does for delivery, on the real clock."""

    def __init__(self, folder: Path, *receivers: ReceiverSettings) -> None:
        self.inbox: SimpleQueue[AttemptResult | BaseException] = SimpleQueue()
        self.harness = OutboxHarness(folder, *receivers, now=self.now())
        # Delays of a tenth of a second instead of half a one, on the average.
        self.harness.outbox._random = lambda: 0.1
        self.senders = {one.name: Sender(one, self.inbox.put, self.inbox.put) for one in receivers}

    @staticmethod
    def now() -> Instant:
        """Return the moment."""
        return Instant(time.monotonic(), time.time())

    def enqueue(self, *alerts: Alert) -> None:
        """Enqueue, commit, and send what is due."""
        self.harness.now = self.now()
        self.harness.enqueue(*alerts)
        self.send()

    def send(self) -> None:
        """Hand what is due to the senders."""
        for attempt in self.harness.outbox.start_attempts(self.now()):
            self.senders[attempt.queue].send(attempt)

    def run_until(self, condition: Callable[[], object], what: str) -> None:
        """Do the owner's work until `condition` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            next_s = self.harness.outbox.next_due_s(self.now())
            wait_s = 1.0 if next_s is None else min(1.0, max(0.0, next_s - time.monotonic()))
            try:
                item = self.inbox.get(timeout=max(0.001, wait_s))
            except Empty:
                pass
            else:
                assert isinstance(item, AttemptResult), item
                self.harness.outbox.record_result(item, self.now())
            self.send()

    def run_until_empty(self, *names: str) -> None:
        """Do the work of the main thread until the queues are empty."""
        self.run_until(lambda: not any(self.harness.ids(name) for name in names), "empty queues")

    def end(self) -> None:
        """Stop all threads and let the database go."""
        for sender in self.senders.values():
            sender.stop()
        self.harness.database.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Return a function that starts a daemon with receivers; all are stopped after the test."""
    started: list[Daemon] = []

    def starter(*receivers: ReceiverSettings) -> Daemon:
        if started:
            started[-1].end()
        started.append(Daemon(tmp_path / "state", *receivers))
        return started[-1]

    yield starter
    for daemon in started:
        daemon.end()


Start = Callable[..., Daemon]


def keys(server: ReceiverServer) -> list[str]:
    """Return the ids of the alerts that a server got, in order."""
    return [request.headers["idempotency-key"] for request in server.requests]


def test_from_the_incident_to_the_receiver(start: Start) -> None:
    """Firing, then resolved, each once; the counters show both."""
    with ReceiverServer() as server:
        daemon = start(receiver(server))
        daemon.enqueue(fires("a"), resolves("a"))
        daemon.run_until_empty("ops")

        assert keys(server) == ["a-1", "a-2"]
        assert [request.json["status"] for request in server.requests] == ["firing", "resolved"]
    (view,) = daemon.harness.outbox.views()
    assert (view.sent, view.pending, sum(view.failed.values())) == (2, 0, 0)
    assert view.seconds is not None
    assert sum(view.seconds.counts) == 2


def test_a_hanging_receiver_delays_no_other(start: Start) -> None:
    """Another receiver gets everything, and the main thread never waits."""
    with ReceiverServer(*[receiver_server.hang] * 3) as bad, ReceiverServer() as good:
        daemon = start(receiver(bad, "bad"), receiver(good, "good"))
        daemon.enqueue(*(fires(str(index)) for index in range(50)))
        daemon.run_until_empty("good")

        assert keys(good) == [f"{index}-1" for index in range(50)]
        assert len(daemon.harness.ids("bad")) == 50
        assert len(bad.wait_for(1)) == 1, "one attempt at a time"


def test_the_same_key_until_delivery(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """A retry has the same body and key; the failure and its end are logged."""
    caplog.set_level(logging.INFO)
    with ReceiverServer(
        status(503), status(503), receiver_server.reset, receiver_server.silent_close
    ) as server:
        daemon = start(receiver(server))
        daemon.enqueue(fires("a"), resolves("a"))
        daemon.run_until_empty("ops")

        assert keys(server) == ["a-1"] * 5 + ["a-2"]
        assert len({request.body for request in server.requests[:5]}) == 1
    assert [message.split(" receiver=")[0] for message in caplog.messages] == [
        "delivery failed and will be retried",
        "delivery failed and will be retried",  # for another reason: connection
        "delivery works again",
    ]
    (view,) = daemon.harness.outbox.views()
    assert (view.failed["server_error"], view.failed["connection"]) == (2, 2)


def test_a_receiver_that_requests_a_delay(start: Start) -> None:
    """There is no attempt before Retry-After."""
    with ReceiverServer(status(429, {"Retry-After": "1"})) as server:
        daemon = start(receiver(server))
        daemon.enqueue(fires("a"))
        daemon.run_until_empty("ops")
        first, second = server.requests

    assert second.at_s - first.at_s >= 1.0


def test_a_receiver_that_starts_late(start: Start) -> None:
    """The alerts wait; then all arrive, each once, in order."""
    with ReceiverServer() as place:
        port = place.port
    down = ReceiverSettings(name="ops", url=f"http://127.0.0.1:{port}/", timeout_s=20.0)
    daemon = start(down)
    daemon.enqueue(fires("a"), fires("b"), resolves("a"))
    daemon.run_until(lambda: daemon.harness.outbox.views()[0].sent >= 3, "some failures")
    with ReceiverServer(port=port) as server:
        daemon.run_until_empty("ops")

        assert sorted(keys(server)) == ["a-1", "a-2", "b-1"]
        assert keys(server).index("a-1") < keys(server).index("a-2")
    assert daemon.harness.outbox.views()[0].failed["refused"] >= 3


def test_a_listener_that_exits_during_an_attempt(start: Start) -> None:
    """The next one sends the undelivered alert again, under the same key."""
    with ReceiverServer(receiver_server.hang) as server:
        first = start(receiver(server))
        first.enqueue(fires("a"))
        server.wait_for(1)
        second = start(receiver(server))
        second.send()
        second.run_until_empty("ops")

        assert keys(server) == ["a-1", "a-1"]


def test_a_hanging_receiver_does_not_delay_the_exit(start: Start) -> None:
    """The listener waits for the sender until a deadline only."""
    with ReceiverServer(receiver_server.hang) as bad, ReceiverServer() as good:
        daemon = start(receiver(bad, "bad"), receiver(good, "good"))
        daemon.enqueue(fires("a"))
        bad.wait_for(1)
        daemon.run_until_empty("good")

        assert not daemon.senders["bad"].stop()
        assert daemon.senders["good"].stop(time.monotonic() + PATIENCE_S)
        (thread,) = [one for one in threading.enumerate() if one.name == "sender-bad"]
        assert thread.daemon


def test_a_sender_that_never_sent() -> None:
    """It has no thread yet, and stops at once."""
    with ReceiverServer() as server:
        sender = Sender(receiver(server), print, print)
        assert "sender-ops" not in [thread.name for thread in threading.enumerate()]
        assert sender.stop(time.monotonic() + PATIENCE_S)


def test_an_unexpected_error_affects_one_receiver_only(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged without its text, and the alert is retried; the listener continues."""
    answers: SimpleQueue[Any] = SimpleQueue()
    broken = fires("a", labels=None)
    with ReceiverServer() as server:
        sender = Sender(receiver(server), answers.put, answers.put)
        for number, alert in enumerate((broken, fires("b"))):
            sender.send(Attempt(queue="ops", number=1, alert_numbers=(number,), alerts=(alert,)))
        first, second = (answers.get(timeout=PATIENCE_S) for _ in range(2))

        assert first.outcome.detail == "internal error: AttributeError"
        assert isinstance(second.outcome, Delivered)
        assert sender.stop(time.monotonic() + PATIENCE_S)
    assert "where=receiver thread=sender-ops error=AttributeError text='(not shown)'" in caplog.text
    assert "NoneType" not in caplog.text


def test_each_attempt_has_one_result_in_order() -> None:
    """Attempts wait in the queue of the sender."""
    answers: SimpleQueue[Any] = SimpleQueue()
    with ReceiverServer(status(500), status(200)) as server:
        sender = Sender(receiver(server), answers.put, answers.put)
        attempts = [
            Attempt(queue="ops", number=1, alert_numbers=(row,), alerts=(fires(str(row)),))
            for row in range(3)
        ]
        for attempt in attempts:
            sender.send(attempt)
        assert sender.stop(time.monotonic() + PATIENCE_S)
        answered = [answers.get(timeout=PATIENCE_S) for _ in attempts]

    assert [one.attempt for one in answered] == attempts
    kinds = [type(one.outcome) for one in answered]
    assert kinds == [RetryLater, Delivered, Delivered]
    assert answers.empty()


def test_no_secret_is_logged_or_stored(
    start: Start,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From the first failure to the rejection, at DEBUG, and in every file of the state folder."""
    caplog.set_level(logging.DEBUG)
    faults = [
        status(503),
        receiver_server.reset,
        receiver_server.garbage,
        receiver_server.redirect("http://s3cret.invalid/"),
    ]
    with ReceiverServer(*faults) as server:
        daemon = start(receiver(server))
        daemon.enqueue(fires("a"))
        daemon.run_until_empty("ops")
        daemon.enqueue(fires("b"))
        content = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())

        for secret in ("s3cret", "t0ken", str(server.port)):
            assert secret not in caplog.text
            assert secret.encode() not in content
    assert "receiver rejected an alert" in caplog.text
