"""Alerts: what a hanging receiver costs the others, what a storm costs: `make bench-alerts`.

Figures stand beside their yardstick, measured in the same run; nothing passes or fails here. The
storm's clock is simulated: it is moved by hand, and a minute of it takes about a second.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from run import hanging_receiver, quantile, row

from fpm_listener.delivery.attempt import AttemptResult, Delivered
from fpm_listener.delivery.sender import Sender, make_receiver
from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.values import Instant
from tests.outbox_harness import OutboxHarness
from tests.receiver_samples import firing_alert, many_alerts
from tests.receiver_server import ReceiverServer, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fpm_listener.incidents.alert import Alert

ROOT = Path(__file__).resolve().parent.parent
APPRISE = "apprise==2.2.0"
BOTS = ("dingtalk", "wecom", "feishu")
NO = {"errcode": 310000, "errmsg": "sign not match", "code": 19021, "msg": "sign match fail"}
YES = {"errcode": 0, "errmsg": "ok", "code": 0, "msg": "success"}
#: Asks Apprise to notify each of the three bots at a stub; prints which it says it has told.
ASK_APPRISE = """\
import json, sys, apprise
from apprise.plugins import dingtalk, feishu, wecombot
stub = sys.argv[1]
dingtalk.NotifyDingTalk.notify_url = stub + "/robot/send?access_token={token}"
feishu.NotifyFeishu.notify_url = stub + "/hook/{token}/"
wecombot.NotifyWeComBot.notify_url = stub + "/send?key={key}"
for cls in (dingtalk.NotifyDingTalk, feishu.NotifyFeishu, wecombot.NotifyWeComBot):
    cls.request_rate_per_sec = 0
bots = {
    "dingtalk": "dingtalk://" + "a" * 64,
    "wecom": "wecombot://" + "a" * 36,
    "feishu": "feishu://" + "a" * 36,
}
told = []
for bot, url in bots.items():
    one = apprise.Apprise()
    assert one.add(url), url
    if one.notify(title="x", body="y"):
        told.append(bot)
print(json.dumps([apprise.__version__, told]))
"""
#: Alerts before those that count: they load what the first of a process loads.
_WARM_UP = 5


class Deliverer:
    """An outbox with its senders, on the real clock."""

    def __init__(self, folder: Path, *receivers: ReceiverSettings) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.harness = OutboxHarness(folder, *receivers, now=now())
        self.senders = {one.name: Sender(one, self.inbox.put, self.inbox.put) for one in receivers}

    def end(self) -> None:
        """End the threads that can be ended, and let the database go."""
        for sender in self.senders.values():
            sender.stop()
        self.harness.database.close()

    def tell(self, number: int, server: ReceiverServer) -> float:
        """Return the seconds from the creation of an alert to its arrival at the receiver."""
        began = time.monotonic()
        self.harness.now = now()
        self.harness.enqueue(replace(firing_alert(), incident_id=f"i{number}"))
        while len(server.requests) <= number or self.harness.ids("fine"):
            for attempt in self.harness.outbox.start_attempts(now()):
                self.senders[attempt.queue].send(attempt)
            try:
                item = self.inbox.get(timeout=0.05)
            except Empty:
                continue
            if not isinstance(item, AttemptResult):
                raise item
            self.harness.outbox.record_result(item, now())
        return server.requests[number].at_s - began


def now() -> Instant:
    """Return the moment."""
    return Instant(time.monotonic(), time.time())


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder, and remove it."""
    with tempfile.TemporaryDirectory(prefix="bench-") as path:
        yield Path(path)


def hanging(alerts: int) -> None:
    """One receiver that never answers, beside a fine one."""
    latencies: dict[bool, list[float]] = {False: [], True: []}
    with hanging_receiver() as server:
        bad = ReceiverSettings(
            name="bad",
            url=f"http://127.0.0.1:{server.getsockname()[1]}/",
            timeout_s=3600.0,
        )
        with (
            folder() as alone,
            folder() as beside,
            ReceiverServer() as one,
            ReceiverServer() as other,
        ):
            fine = ReceiverSettings(name="fine", url=one.url)
            scenes = {
                False: (Deliverer(alone, fine), one),
                True: (Deliverer(beside, replace(fine, url=other.url), bad), other),
            }
            for number in range(_WARM_UP + alerts):
                # In turns: who comes second meets a machine that the first has woken.
                for hindered in (False, True) if number % 2 else (True, False):
                    deliverer, receiver = scenes[hindered]
                    took = deliverer.tell(number, receiver)
                    if number >= _WARM_UP:
                        latencies[hindered].append(took)
            for deliverer, _ in scenes.values():
                deliverer.end()
    for share in (0.5, 0.99):
        ours, theirs = (quantile(latencies[hindered], share) for hindered in (True, False))
        row(
            f"{alerts} alerts beside a hanging one, p{share * 100:.0f}",
            f"{ours * 1e3:.1f} ms",
            f"{theirs * 1e3:.1f} ms",
            f"{ours / theirs:.2f}",
            "< 2 x alone",
        )


def storms(incidents: int) -> None:
    """Incidents in a minute, told to bots that take twenty messages a minute."""
    for kind in ("wecom", "dingtalk"):
        with folder() as path, ReceiverServer() as server:
            server.otherwise = status(200, body=b'{"errcode":0,"errmsg":"ok"}')
            bot = ReceiverSettings(name="bot", kind=kind, url=server.url, rates=KINDS[kind].rates)
            harness, speaker = OutboxHarness(path, bot), make_receiver(bot)
            alerts, began = programs(incidents), harness.now.monotonic_s
            waiting, told_at = alerts[::-1], began
            while waiting or harness.ids("bot"):
                if waiting:
                    harness.enqueue(waiting.pop())
                for attempt in harness.outbox.start_attempts(harness.now):
                    outcome = speaker.send(attempt.alerts)
                    harness.record_result(AttemptResult(attempt=attempt, outcome=outcome))
                    told_at = harness.now.monotonic_s
                harness.wait(60.0 / incidents)
            messages = [said(request.json["markdown"]) for request in server.requests]
            named = sum(is_named(alert, messages) for alert in alerts)
            harness.database.close()
        row(
            f"storm of {incidents} in a minute, {kind}",
            f"{len(messages)} messages",
            f"{incidents} alerts",
            f"{len(messages) / incidents:.3f}",
            f"<= 18; names {named} of {incidents}, all told after {told_at - began:.0f} s"
            " (simulated clock)",
        )


def programs(count: int) -> list[Alert]:
    """Return an incident of each of as many programs, from www:php-fpm-0 on."""
    return [
        replace(
            alert,
            incident_id=alert.incident_id.replace("pool:", "www:"),
            labels={**alert.labels, "group": "www"},
            annotations={
                **alert.annotations,
                "summary": alert.annotations["summary"].replace("pool:", "www:"),
            },
        )
        for alert in many_alerts(count)
    ]


def said(markdown: Mapping[str, str]) -> str:
    """Return what people read of a message: WeCom has it in `content`, DingTalk in `text`."""
    return markdown.get("content") or markdown["text"]


def is_named(alert: Alert, messages: Sequence[str]) -> bool:
    """Return whether a message names the whole program: php-fpm-1 is not php-fpm-12."""
    name = f"{alert.labels['group']}:{alert.labels['process']}"
    whole = re.compile(rf"(?<![\w.-]){re.escape(name)}(?![\w.\N{{HORIZONTAL ELLIPSIS}}-])")
    return any(whole.search(message) for message in messages)


def imports(_: int) -> None:
    """What is loaded before anybody is told of anything."""
    script = (
        "import sys, fpm_listener.daemon.daemon, fpm_listener.daemon.services\n"
        "print(*sorted(m for m in sys.modules if m.startswith('fpm_listener.delivery.receivers.')\n"
        "  or m in {'requests', 'urllib3', 'smtplib', 'email.message'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    aim = "none: no kind, nor requests, urllib3, smtplib, email.message"
    row("modules of kinds that nobody uses", done.stdout.strip() or "none", "", "", aim)


def noticed(_: int) -> None:
    """Bots that answer 200 with a no in the body; beside it, whether a yes is taken for one."""
    figure = "200 with a no in the body: noticed"
    with folder() as path, ReceiverServer() as no, ReceiverServer() as yes:
        no.otherwise = status(200, body=json.dumps(NO).encode())
        yes.otherwise = status(200, body=json.dumps(YES).encode())
        assert we_told(yes) == [*BOTS], "a yes is taken for a yes"
        ours = len(BOTS) - len(we_told(no))
        python = install(path / "venv", APPRISE)
        if python is None:
            row(figure, f"{ours} of 3", "-", "", f"{APPRISE} could not be installed")
            return
        assert apprise_told(python, yes) == [*BOTS], "a yes is taken for a yes, by Apprise too"
        theirs = len(BOTS) - len(apprise_told(python, no))
    row(figure, f"{ours} of 3", f"{theirs} of 3", "", f"3 of 3; yardstick: {APPRISE}")
    print(f"{', '.join(BOTS)}: we notice {ours} of 3, Apprise {theirs} of 3", flush=True)


def we_told(server: ReceiverServer) -> list[str]:
    """Return the bots of which we say that they were told."""
    receivers = {
        kind: make_receiver(ReceiverSettings(name=kind, kind=kind, url=server.url)) for kind in BOTS
    }
    told = [
        kind for kind, one in receivers.items() if isinstance(one.send([firing_alert()]), Delivered)
    ]
    assert len(server.requests) == len(BOTS), "each bot is asked once"
    return told


def apprise_told(python: Path, server: ReceiverServer) -> list[str]:
    """Return the bots of which Apprise says that they were told."""
    before, stub = len(server.requests), server.url.partition("/hook")[0]
    done = subprocess.run(
        [python, "-c", ASK_APPRISE, stub],
        env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert len(server.requests) - before == len(BOTS), "Apprise asks each bot once"
    version, told = json.loads(done.stdout.splitlines()[-1])
    assert APPRISE.endswith(f"=={version}"), version
    return list(told)


def install(venv: Path, what: str) -> Path | None:
    """Return the Python of a new environment that has `what`; None where pip cannot get it."""
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    python = venv / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", what]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return python
    print(done.stderr, file=sys.stderr)
    return None


BENCHES: dict[str, tuple[Callable[[int], None], int]] = {
    "hanging": (hanging, 200),
    "storm": (storms, 500),
    "imports": (imports, 0),
    "noticed": (noticed, 0),
}


def main() -> None:
    """Run all benches, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", choices=BENCHES, help="may be given again")
    options = parser.parse_args()
    row("figure", "ours", "yardstick", "ratio", "aim")
    for name, (bench, size) in BENCHES.items():
        if not options.only or name in options.only:
            bench(size)


if __name__ == "__main__":
    main()
