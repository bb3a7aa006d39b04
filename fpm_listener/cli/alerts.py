"""`fpm-listener alerts test|list|retry|drop` and `fpm-listener leave`.

Law: a running listener alone changes its alerts, on request. Without one, the database is opened
here, under the lock that keeps a second listener out.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener import durations
from fpm_listener.cli import output
from fpm_listener.daemon.control_client import ControlRequest, ask
from fpm_listener.daemon.persistence import Persistence
from fpm_listener.delivery.attempt import Delivered, RetryLater
from fpm_listener.delivery.sender import make_receiver
from fpm_listener.host.fallback_directory import StateDirectory, fallbacks, read_owner
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.incidents.incident_ids import incident_id
from fpm_listener.settings import settings as settings_file
from fpm_listener.settings.ini_section import suggestion
from fpm_listener.settings.receiver_types import KINDS
from fpm_listener.settings.settings import USUAL_FILES
from fpm_listener.untrusted_text import plain
from fpm_listener.values import FpmListenerError, Instant

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.settings.receivers import ReceiverSettings
    from fpm_listener.settings.settings import Settings

#: The usual places of supervisord's own file.
_MAIN_FILES = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")


def load(config: str | None) -> Settings:
    """Return the settings of `config`, or those at a usual place. Raises FpmListenerError."""
    found = config or next((path for path in USUAL_FILES if Path(path).is_file()), None)
    found = found or next((path for path in _MAIN_FILES if _has_settings(path)), None)
    if found is None:
        places = ", ".join((*USUAL_FILES, *_MAIN_FILES))
        raise FpmListenerError(f"no settings file found at {places}; name it with --config FILE")
    return settings_file.load(found)


def _has_settings(path: str) -> bool:
    """Return whether this supervisord.conf, the only one of many images, has our settings."""
    if not Path(path).is_file():
        return False
    lines = settings_file.read_text(path).splitlines()
    return any(line.startswith(f"[{settings_file.SECTION}]") for line in lines)


class _Trace:
    """Prints the requests and responses of an attempt."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def sent(self, what: str, body: str) -> None:
        """Print a request."""
        self._say(f"sent:     {what}\n{_indented(body)}")

    def received(self, what: str, body: str) -> None:
        """Print a response."""
        self._say(f"received: {what}\n{_indented(body) if body.strip() else '    (no body)'}")


def test(settings: Settings, name: str, say: Callable[[str], None]) -> int:
    """Send a test alert to a receiver; return the exit status: 0 = delivered, 1 = not.

    A running listener is notified of the success, and retries pending alerts at once.
    """
    _refuse_unknown(settings, name)
    (receiver,) = (one for one in settings.receivers if one.name == name)
    delivered = [_try(queue, one, settings, say) for queue, one in receiver.queues.items()]
    if not all(delivered):
        return 1
    pending = ask(settings.state_dir, ControlRequest(action="worked", receiver=name))
    if pending:
        say(f"{name}: retrying {_alerts(pending)} now")
    return 0


def _try(
    queue: str,
    receiver: ReceiverSettings,
    settings: Settings,
    say: Callable[[str], None],
) -> bool:
    client = make_receiver(receiver, settings.page_url, _Trace(say))
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
        outcome = client.send([alert])
        if not isinstance(outcome, Delivered):
            retry = "is" if isinstance(outcome, RetryLater) else "is not"
            why = f"{outcome.reason.value}: {outcome.detail}"
            say(f"{queue}: FAILED ({why}); an alert with this result {retry} retried")
            return False
        say(f"{queue}: delivered ({alert.status.value})")
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
            "summary": f"Test of receiver {receiver.name} from {settings.instance}",
            "description": "Sent by this command: fpm-listener alerts test",
            "cause": "test",
            "evidence": "",
            "remedy": "Nothing to do",
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
    """Return all undelivered alerts. Raises FpmListenerError."""
    found: list[dict[str, Any]] = _request(settings, ControlRequest(action="list"))
    return found


def to_table(alerts: list[dict[str, Any]]) -> str:
    """Return the undelivered alerts for people."""
    if not alerts:
        return "no undelivered alerts"
    rows = [["NUMBER", "RECEIVER", "STATUS", "STATE", "AGE", "ATTEMPTS", "SUMMARY"]]
    for one in alerts:
        failure = f"  [{one['last_failure']}]" if one["last_failure"] else ""
        cells = [one[key] for key in ("number", "receiver", "status", "state")]
        cells += [durations.age(one["age_s"]), one["attempts"], one["summary"] + failure]
        rows.append([str(cell) for cell in cells])
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:-1]]
    return "\n".join(plain("  ".join([*map(str.ljust, row[:-1], widths), row[-1]])) for row in rows)


def retry(settings: Settings, receiver: str | None) -> str:
    """Retry pending alerts now; return what was done."""
    _refuse_unknown(settings, receiver)
    count: int = _request(settings, ControlRequest(action="retry", receiver=receiver))
    return f"retrying {_alerts(count)} now"


def drop(settings: Settings, which: str, say: Callable[[str], None]) -> int:
    """Drop one alert (its number) or all of a receiver (its name); return the exit status."""
    is_number = which.isascii() and which.isdigit() and len(which) <= 18
    if is_number:
        request = ControlRequest(action="drop", number=int(which))
    else:
        _refuse_unknown(settings, which)
        request = ControlRequest(action="drop", receiver=which)
    dropped: int = _request(settings, request)
    if dropped or not is_number:
        say(f"{_alerts(dropped)} dropped")
        return 0
    if any(one["number"] == int(which) for one in listing(settings)):
        why = f"alert {which} is being sent now; try again"
    else:
        why = f"no alert has the number {which}; list them with: fpm-listener alerts list"
    output.complain(FpmListenerError(why))
    return 1


def _alerts(count: int) -> str:
    return f"{count} alert" if count == 1 else f"{count} alerts"


def _refuse_unknown(settings: Settings, receiver: str | None) -> None:
    names = tuple(one.name for one in settings.receivers)
    if receiver is not None and receiver not in names:
        hint = suggestion(receiver, names)
        raise FpmListenerError(f"{settings.source}: no receiver has the name {receiver!r}; {hint}")


def _request(settings: Settings, request: ControlRequest) -> Any:  # noqa: ANN401 - JSON
    """Let the listener perform the request, or perform it here. Raises FpmListenerError."""
    answer = ask(settings.state_dir, request)
    if answer is not None:
        return answer
    where = f"{settings.state_dir}: no listener runs with this state_dir"
    state_dir = str(settings.state_dir)
    used = [one for one in fallbacks(os.environ) if read_owner(one) == state_dir]
    if not (used or settings.state_dir.is_dir()):
        raise FpmListenerError(f"{where}, and the directory does not exist; start the listener")
    if request.action == "retry":
        raise FpmListenerError(f"{where}; it retries all alerts when it starts")
    now = Instant(time.monotonic(), time.time())
    stored = Persistence(settings, StateDirectory(state_dir, used), now)
    try:
        if not stored.is_writable:
            raise FpmListenerError(f"{where}, and the database cannot be opened (see above)")
        if request.action == "list":
            return stored.outbox.list_alerts(now)
        return stored.outbox.drop(request.receiver, request.number)
    finally:
        stored.close()


def leave(settings: Settings, program: str) -> str:
    """Stop self-healing of a program; return what was done. Raises FpmListenerError."""
    known = ask(settings.state_dir, ControlRequest(action="leave", receiver=program))
    if known is None:
        raise FpmListenerError(
            f"no listener runs with the settings {settings.source}, so there is no self-healing"
        )
    if not known:
        raise FpmListenerError(
            f"the listener knows no program {program!r}; list them with: fpm-listener status"
        )
    return f"no self-healing of {program} until you start it by hand"
