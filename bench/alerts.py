"""Alerts: what a hanging receiver costs the others, what a storm costs, what we notice.

Figures stand beside their yardstick, measured in the same run; nothing passes or fails here. The
storm's clock is moved by hand: a minute of it takes about a second.
"""

from __future__ import annotations

import argparse
import json
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

from fpm_listener.core.kinds import KINDS
from fpm_listener.core.retry import Attempted, Delivered
from fpm_listener.core.values import Instant
from fpm_listener.delivery import Sender, make_receiver
from fpm_listener.receiver_settings import ReceiverSettings
from tests.kinds import storm, trouble
from tests.owners import Owner
from tests.sinks import Sink, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

APPRISE = "apprise==2.2.0"
BOTS = ("dingtalk", "wecom", "feishu")
NO = {"errcode": 310000, "errmsg": "sign not match", "code": 19021, "msg": "sign match fail"}
#: Asks Apprise to notify each of the three bots at a stub; prints how many it says it has told.
ASK_APPRISE = """\
import sys, apprise
from apprise.plugins import dingtalk, feishu, wecombot
stub, told = sys.argv[1], 0
dingtalk.NotifyDingTalk.notify_url = stub + "/robot/send?access_token={token}"
feishu.NotifyFeishu.notify_url = stub + "/hook/{token}/"
wecombot.NotifyWeComBot.notify_url = stub + "/send?key={key}"
for cls in (dingtalk.NotifyDingTalk, feishu.NotifyFeishu, wecombot.NotifyWeComBot):
    cls.request_rate_per_sec = 0
for url in ("dingtalk://" + "a" * 64, "feishu://" + "a" * 36, "wecombot://" + "a" * 36):
    one = apprise.Apprise()
    assert one.add(url), url
    told += bool(one.notify(title="x", body="y"))
print(told)
"""


class Deliverer:
    """An outbox with its senders, on the real clock."""

    def __init__(self, folder: Path, *receivers: ReceiverSettings) -> None:
        self.inbox: SimpleQueue[Any] = SimpleQueue()
        self.owner = Owner(folder, *receivers, now=now())
        self.senders = {one.name: Sender(one, self.inbox.put, self.inbox.put) for one in receivers}

    def tell(self, number: int, sink: Sink) -> float:
        """Return the seconds from an alert's birth to the sink's having it."""
        began = time.monotonic()
        self.owner.now = now()
        self.owner.owe(replace(trouble(), incident_id=f"i{number}"))
        while len(sink.requests) <= number or self.owner.ids("fine"):
            for attempt in self.owner.outbox.due(now()):
                self.senders[attempt.lane].send(attempt)
            try:
                item = self.inbox.get(timeout=0.05)
            except Empty:
                continue
            if not isinstance(item, Attempted):
                raise item
            self.owner.outbox.settle(item, now())
        return sink.requests[number].at_s - began


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
        with folder() as alone, folder() as beside, Sink() as one, Sink() as other:
            fine = ReceiverSettings(name="fine", url=one.url)
            plain = Deliverer(alone, fine)
            hindered = Deliverer(beside, replace(fine, url=other.url), bad)
            for number in range(alerts):
                latencies[False].append(plain.tell(number, one))
                latencies[True].append(hindered.tell(number, other))
    for share in (0.5, 0.99):
        ours, theirs = (quantile(latencies[hindered], share) for hindered in (True, False))
        row(
            f"alert beside a hanging receiver, p{share * 100:.0f}",
            f"{ours * 1e3:.1f} ms",
            f"{theirs * 1e3:.1f} ms",
            f"{ours / theirs:.2f}",
            "< 2 x alone" if share > 0.9 else "",
        )


def storms(incidents: int) -> None:
    """Incidents in a minute, told to bots that take twenty messages a minute."""
    for kind in ("wecom", "dingtalk"):
        with folder() as path, Sink() as sink:
            sink.otherwise = status(200, body=b'{"errcode":0,"errmsg":"ok"}')
            bot = ReceiverSettings(name="bot", kind=kind, url=sink.url, rates=KINDS[kind].rates)
            owner, speaker = Owner(path, bot), make_receiver(bot)
            waiting = storm(incidents)
            while waiting or owner.ids("bot"):
                if waiting:
                    owner.owe(waiting.pop())
                for attempt in owner.outbox.due(owner.now):
                    outcome = speaker.send(attempt.alerts)
                    owner.outbox.settle(Attempted(attempt=attempt, outcome=outcome), owner.now)
                owner.wait(60.0 / incidents)
            text = " ".join(request.body.decode() for request in sink.requests)
            names = [f"{alert.labels['process']}" for alert in storm(incidents)]
            named = sum(f"{name}:" in text or f"{name} " in text for name in names)
            owner.database.close()
        row(
            f"storm of {incidents} in a minute, {kind}",
            f"{len(sink.requests)} messages",
            f"{incidents} alerts",
            "",
            f"<= 18; named: {named} of {incidents}",
        )


def imports(_: int) -> None:
    """What is loaded before anybody is told of anything."""
    script = (
        "import sys, fpm_listener.daemon, fpm_listener.surroundings\n"
        "print(*sorted(m for m in sys.modules if m.startswith('fpm_listener.receivers.')\n"
        "  or m in {'requests', 'urllib3', 'smtplib', 'email.message'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    row("modules of kinds loaded before an alert", done.stdout.strip() or "none", "", "", "none")


def noticed(_: int) -> None:
    """Bots that answer 200 with a no in the body."""
    with folder() as path, Sink() as sink:
        sink.otherwise = status(200, body=json.dumps(NO).encode())
        outcomes = [
            make_receiver(ReceiverSettings(name=kind, kind=kind, url=sink.url)).send([trouble()])
            for kind in BOTS
        ]
        ours = sum(not isinstance(outcome, Delivered) for outcome in outcomes)
        subprocess.run([sys.executable, "-m", "venv", path / "venv"], check=True)
        python = str(path / "venv" / "bin" / "python")
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", APPRISE]
        subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
        before = len(sink.requests)
        stub = sink.url.partition("/hook")[0]
        done = subprocess.run(
            [python, "-c", ASK_APPRISE, stub],
            capture_output=True,
            text=True,
            check=True,
        )
        asked = len(sink.requests) - before
    theirs = asked - int(done.stdout.split()[-1])
    row(
        "200 with a no in the body, noticed",
        f"{ours} of 3",
        f"Apprise {theirs} of {asked}",
        "",
        "3, Apprise 0",
    )


BENCHES: dict[str, tuple[Callable[[int], None], int]] = {
    "hanging": (hanging, 200),
    "storm": (storms, 500),
    "imports": (imports, 0),
    "noticed": (noticed, 0),
}


def main() -> None:
    """Run all benches, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], help=" ".join(BENCHES))
    options = parser.parse_args()
    row("figure", "ours", "yardstick", "ratio", "aim")
    for name, (bench, size) in BENCHES.items():
        if not options.names or name in options.names:
            bench(size)


if __name__ == "__main__":
    main()
