"""A receiver that cannot be told: an incident of its own, told to all the others.

Laws:
1. Who loses an alert for good is told of at once; who is late, after FAILING_AFTER_S without a yes.
2. It is over with the receiver's next yes.
3. A receiver never hears of its own failing: it would be the last to know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fpm_listener import durations
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.incidents.incident_ids import incident_id
from fpm_listener.incidents.text_zh import (
    NOTHING_TO_DO,
)
from fpm_listener.values import Written
from fpm_listener.vocabulary import NOTIFICATION_FAILING

if TYPE_CHECKING:
    from fpm_listener.values import Clocks, Instant


def receiver_failing_zh(
    name: str, why: str, lasted: str, owed: int, *, over: bool
) -> dict[str, str]:
    """Return what is said of a receiver that cannot be told."""
    return {
        "summary": f"接收端 {name} 已恢复，此前中断 {lasted}"
        if over
        else f"告警无法送达接收端 {name}：{why}",
        "description": f"有 {owed} 条告警等待发送。",
        "remedy": NOTHING_TO_DO if over else f"请在本机手动测试：fpm-listener alerts test {name}",
    }


#: Seconds without a yes, after a failure, from which a receiver counts as failing.
FAILING_AFTER_S = 300.0

_ALERTNAME = "NotificationFailing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """The incident of one receiver."""

    receiver: str
    started_at_s: float  #: wall seconds, as its alerts have it
    started_s: float  #: monotonic seconds
    sequence: int
    told_s: float  #: monotonic seconds
    text: str  #: what its last alert said
    incident_id: str  #: the identity over all its alerts

    def to_json(self, clocks: Clocks) -> str:
        """Return it as text."""
        return json.dumps(
            {
                "receiver": self.receiver,
                "started_at": self.started_at_s,
                "sequence": self.sequence,
                "started": clocks.write(self.started_s),
                "told": clocks.write(self.told_s),
                "text": self.text,
                "id": self.incident_id,
            },
        )

    @classmethod
    def from_json(cls, saved_text: str, clocks: Clocks) -> Failing:
        """Return what `to_json` saved. Raises KeyError, ValueError or TypeError."""
        saved: dict[str, Any] = json.loads(saved_text)
        receiver, started_at_s = str(saved["receiver"]), float(saved["started_at"])
        # Versions before 2 of the database had wall seconds only.
        started = saved.get("started") or (started_at_s, 0.0, "")
        told = saved.get("told") or (saved["told_at"], 0.0, "")
        return cls(
            receiver=receiver,
            started_at_s=started_at_s,
            started_s=clocks.read(_written(*started)),
            sequence=int(saved["sequence"]),
            told_s=clocks.read(_written(*told)),
            text=str(saved["text"]),
            # Versions that saved no id made it like this.
            incident_id=str(saved.get("id") or f"receiver:{receiver}-{started_at_s:.3f}"),
        )


def _written(wall_s: float, monotonic_s: float, boot_id: str) -> Written:
    return Written(float(wall_s), float(monotonic_s), str(boot_id))


def begins(receiver: str, now: Instant, text: str, instance: str, id_token: str) -> Failing:
    """Return the incident of a receiver that fails from now on; `id_token`: random."""
    return Failing(
        receiver=receiver,
        started_at_s=now.wall_s,
        started_s=now.monotonic_s,
        sequence=1,
        told_s=now.monotonic_s,
        text=text,
        incident_id=incident_id(
            instance, f"receiver:{receiver}", started_at_s=now.wall_s, token=id_token
        ),
    )


def again(failing: Failing, now: Instant, text: str | None = None) -> Failing:
    """Return the incident with one more alert."""
    return replace(
        failing,
        sequence=failing.sequence + 1,
        told_s=now.monotonic_s,
        text=text or failing.text,
    )


def alert(failing: Failing, reason: Reason, now: Instant, instance: str, owed: int) -> Alert:
    """Return what the others are told; owed: alerts that wait for the receiver."""
    over = reason is Reason.RESOLVED
    lasted = durations.rough(max(0.0, now.monotonic_s - failing.started_s))
    name = failing.receiver
    return Alert(
        incident_id=failing.incident_id,
        sequence=failing.sequence,
        reason=reason,
        status=Status.RESOLVED if over else Status.FIRING,
        labels={
            "alertname": _ALERTNAME,
            "instance": instance,
            "receiver": name,
            "severity": "warning",
        },
        annotations={
            "summary": f"receiver {name} can be told again, after {lasted}"
            if over
            else f"receiver {name} cannot be told of alerts: {failing.text}",
            "description": f"{owed} alerts wait for it.",
            "cause": NOTIFICATION_FAILING,
            "evidence": failing.text,
            "remedy": "There is nothing to do any more"
            if over
            else f"Try it by hand, on this host: fpm-listener alerts test {name}",
        },
        starts_at_s=failing.started_at_s,
        ends_at_s=now.wall_s if over else None,
        known_at_s=now.wall_s,
        translations={"zh": receiver_failing_zh(name, failing.text, lasted, owed, over=over)},
    )
