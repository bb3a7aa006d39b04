"""`fpm-listener alerts test|list|retry|drop`: tries a receiver, shows and mends what is owed.

Law: what the listener has in hand is changed by the listener alone, on request; without one, the
database is opened here, under the lock that keeps a second listener out.
"""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener import durations
from fpm_listener.cli import output
from fpm_listener.daemon.control_socket import ControlRequest, ask
from fpm_listener.delivery.attempt import Delivered, RetryLater
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.outbox import Outbox
from fpm_listener.delivery.queue_settings import Limits
from fpm_listener.delivery.sender import make_receiver
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.incidents.incident_ids import incident_id
from fpm_listener.settings import settings as settings_file
from fpm_listener.settings.ini_section import closest
from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.untrusted_text import plain
from fpm_listener.values import FpmListenerError, Instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.settings.receivers import ReceiverSettings
    from fpm_listener.settings.settings import Settings

#: Where the drop-in file lies.
USUAL_FILES = settings_file.USUAL_FILES


def load(config: str | None) -> Settings:
    """Return the settings of `config`, or of the drop-in file at its usual place.

    Raises FpmListenerError.
    """
    found = config or next((path for path in USUAL_FILES if Path(path).is_file()), None)
    if found is None:
        raise FpmListenerError(
            f"no settings at {', '.join(USUAL_FILES)}; say where they are: --config FILE",
        )
    return settings_file.load(found)


class _Told:
    """Prints an attempt as it goes on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def sent(self, what: str, body: str) -> None:
        """As Trace."""
        self._say(f"sent:      {what}\n{_indented(body)}")

    def received(self, what: str, body: str) -> None:
        """As Trace."""
        self._say(f"came back: {what}\n{_indented(body) if body.strip() else '    (no body)'}")


def test(settings: Settings, name: str, say: Callable[[str], None]) -> int:
    """Send a test alert to a receiver; return the exit status: 0 = it took it, 1 = it did not.

    A listener that runs is told that it did: it may have given up hope.
    """
    _known(settings, name)
    (receiver,) = (one for one in settings.receivers if one.name == name)
    taken = [_try(lane, one, settings, say) for lane, one in receiver.queues.items()]
    if not all(taken):
        return 1
    owed = ask(settings.state_dir, ControlRequest(action="worked", receiver=name))
    if owed:
        say(f"{name}: {owed} alerts that wait for it are tried again now")
    return 0


def _try(
    lane: str,
    receiver: ReceiverSettings,
    settings: Settings,
    say: Callable[[str], None],
) -> bool:
    speaker = make_receiver(receiver, settings.page_url, _Told(say))
    now_s = time.time()
    test_id = incident_id(
        settings.instance,
        f"test:{receiver.name}",
        started_at_s=now_s,
        token=secrets.token_hex(16),
    )
    alerts = [_test_alert(settings, receiver, now_s, test_id)]
    if KINDS[receiver.kind].stays_open:
        alerts.append(_test_alert(settings, receiver, now_s, test_id, over=True))
    for alert in alerts:
        outcome = speaker.send([alert])
        if isinstance(outcome, Delivered):
            say(f"{lane}: it was taken ({alert.status.value})")
            continue
        again = "it would be tried again" if isinstance(outcome, RetryLater) else "it is for ever"
        say(f"{lane}: FAILED ({outcome.reason.value}: {outcome.detail}); {again}")
        return False
    return True


def _test_alert(
    settings: Settings,
    receiver: ReceiverSettings,
    now_s: float,
    test_id: str,
    *,
    over: bool = False,
) -> Alert:
    return Alert(
        incident_id=test_id,
        sequence=2 if over else 1,
        reason=Reason.TEST,
        status=Status.RESOLVED if over else Status.FIRING,
        labels={
            "alertname": "FpmListenerTest",
            "severity": "info",
            "group": "fpm-listener",
            "process": "test",
            "instance": settings.instance,
        },
        annotations={
            "summary": f"A test of receiver {receiver.name}, from {settings.instance}",
            "description": "Somebody typed: fpm-listener alerts test",
            "cause": "test",
            "evidence": "",
            "remedy": "There is nothing to do",
        },
        starts_at_s=now_s,
        ends_at_s=now_s if over else None,
        known_at_s=now_s,
        translations={
            "zh": {
                "summary": f"\u63a5\u6536\u7aef {receiver.name} \u7684\u6d4b\u8bd5\u6d88\u606f",
                "remedy": "\u65e0\u9700\u5904\u7406",
            },
        },
    )


def _indented(text: str) -> str:
    try:
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        text = text[:4000]
    return "\n".join(f"    {plain(line)}" for line in text.split("\n"))


def listing(settings: Settings) -> list[dict[str, Any]]:
    """Return all that is owed. Raises FpmListenerError."""
    found: list[dict[str, Any]] = _do(settings, ControlRequest(action="list"))
    return found


def to_table(owed: list[dict[str, Any]]) -> str:
    """Return what is owed, for people."""
    if not owed:
        return "nothing is owed"
    head = ("NUMBER", "RECEIVER", "STATUS", "STATE", "AGE", "ATTEMPTS", "SUMMARY")
    rows = [
        (
            str(one["number"]),
            one["receiver"],
            one["status"],
            one["state"],
            durations.age(one["age_s"]),
            str(one["attempts"]),
            one["summary"] + (f"  [{one['last_failure']}]" if one["last_failure"] else ""),
        )
        for one in owed
    ]
    widths = [max(len(row[at]) for row in [head, *rows]) for at in range(len(head) - 1)]
    lines = []
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        lines.append(plain("  ".join([*cells, row[-1]])))
    return "\n".join(lines)


def retry(settings: Settings, receiver: str | None) -> int:
    """Try again at once what waits; return for how many alerts that is so."""
    _known(settings, receiver)
    done: int = _do(settings, ControlRequest(action="retry", receiver=receiver))
    return done


def drop_and_say(settings: Settings, which: str, say: Callable[[str], None]) -> int:
    """Give up alerts and say how many; return the exit status: 1 = there is no such alert."""
    dropped = drop(settings, which)
    if dropped or not _is_number(which):
        say("1 alert dropped" if dropped == 1 else f"{dropped} alerts dropped")
        return 0
    sending = any(one["number"] == int(which) for one in listing(settings))
    why = (
        f"alert {which} is being sent at this moment; try again"
        if sending
        else (f"no alert has the number {which}; `fpm-listener alerts list` shows them")
    )
    output.complain(FpmListenerError(why))
    return 1


def _is_number(which: str) -> bool:
    return which.isascii() and which.isdigit() and len(which) <= 18


def drop(settings: Settings, which: str) -> int:
    """Give up one alert (its number) or all of a receiver (its name); return how many."""
    if _is_number(which):
        request = ControlRequest(action="drop", number=int(which))
    else:
        _known(settings, which)
        request = ControlRequest(action="drop", receiver=which)
    done: int = _do(settings, request)
    return done


def _known(settings: Settings, receiver: str | None) -> None:
    names = tuple(one.name for one in settings.receivers)
    if receiver is not None and receiver not in names:
        close = closest(receiver, names)
        known = f"did you mean {close!r}?" if close else f"known: {', '.join(names) or 'none'}"
        raise FpmListenerError(f"{settings.source}: no receiver is called {receiver!r}; {known}")


def _do(settings: Settings, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON
    answer = ask(settings.state_dir, request)
    return _do_alone(settings, request) if answer is None else answer


def _do_alone(settings: Settings, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON
    """Do it without a listener. Raises FpmListenerError where the database cannot be had."""
    if not settings.state_dir.is_dir():
        raise FpmListenerError(
            f"{settings.state_dir}: there is no such folder: no listener ran yet"
        )
    now = Instant(time.monotonic(), time.time())
    database = Database(settings.state_dir)
    limits = Limits(
        max_age_s=settings.max_age_s,
        max_alerts=settings.max_alerts,
        repeat_interval_s=settings.repeat_interval_s,
    )
    outbox = Outbox(database, settings.receivers, limits, settings.instance)
    database.open(now)
    try:
        if not database.persistent:
            raise FpmListenerError(
                f"{settings.state_dir}: the database cannot be opened, see above"
            )
        if request.action == "list":
            return outbox.list_alerts(now)
        if request.action == "retry":
            raise FpmListenerError("no listener runs here; it tries everything when it starts")
        return outbox.drop(request.receiver, request.number)
    finally:
        database.close()


def leave(settings: Settings, program: str) -> str:
    """Return what was done. Raises FpmListenerError where that was nothing."""
    known = ask(settings.state_dir, ControlRequest(action="leave", receiver=program))
    if known is None:
        raise FpmListenerError(
            f"no listener runs with {settings.source}, so that nothing is started by one"
        )
    if not known:
        raise FpmListenerError(
            f"the listener knows no program {program!r}; `fpm-listener status` lists them"
        )
    return f"{program} is left alone until somebody starts it: supervisorctl start {program}"
