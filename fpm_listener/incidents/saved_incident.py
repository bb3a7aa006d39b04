"""The JSON in which the failures and the incident of a process survive a restart.

Laws:
1. All moments are wall seconds, so the state survives a restart of the machine.
2. Keys that an older version does not know, or did not write, have a default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.incidents.failure_history import explanations
from fpm_listener.incidents.incident import Incident
from fpm_listener.incidents.process_news import ProcessExit
from fpm_listener.incidents.restart_loops import LoopDetector
from fpm_listener.vocabulary import Cause, Fault, Tier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.incidents.failure_history import FailureHistory
    from fpm_listener.settings.policy import Policy
    from fpm_listener.values import Instant


def to_json(
    now: Instant, failures: FailureHistory, incident: Incident | None
) -> dict[str, Any] | None:
    """Return the state to save; None = nothing."""
    offset_s = now.wall_s - now.monotonic_s
    if not failures.exits and not incident:
        return None
    return {
        "failures": [at + offset_s for at in failures.loops.recent],
        "tiers": sorted(tier.value for tier in failures.loops.tiers),
        "causes": [ended.cause.value if ended.cause else None for ended in failures.exits],
        "address": failures.address,
        "named": failures.subject,
        "fault": failures.fault.value if failures.fault else None,
        "line": failures.line,
        "evidence": failures.evidence.facts,
        "output": failures.evidence.output,
        "incident": _incident_to_json(incident, offset_s) if incident else None,
    }


def _incident_to_json(incident: Incident, offset_s: float) -> dict[str, Any]:
    return {
        "id": incident.incident_id,
        "started_at": incident.started_at_s,
        "labels": incident.labels,
        "cause": incident.cause.value,
        "failed_lives": incident.failures,
        "gave_up": incident.gave_up,
        "address": incident.address,
        "told_cause": incident.sent_cause.value if incident.sent_cause else None,
        "told_gave_up": incident.sent_gave_up,
        "told_worn_out": incident.sent_exhausted,
        "told_at": incident.sent_at_s + offset_s,
        "sequence": incident.sequence,
        "known_at": incident.known_at_s,
    }


def restore(
    now: Instant, saved: Mapping[str, Any], failures: FailureHistory, policy: Policy
) -> Incident | None:
    """Restore what `to_json` returned. Raises KeyError, ValueError or TypeError."""
    offset_s = now.wall_s - now.monotonic_s
    moments = [min(float(at) - offset_s, now.monotonic_s) for at in saved["failures"]]
    tiers = [Tier(word) for word in saved["tiers"]]
    failures.loops = LoopDetector(policy.loops, moments, tiers)
    causes = [Cause(word) if word else None for word in saved["causes"]]
    failures.exits.extend(
        ProcessExit(at, failed=True, cause=cause)
        for at, cause in zip(moments[-len(causes) :], causes, strict=False)
    )
    failures.explanations = explanations(failures.exits)
    failures.address = _text(saved["address"])
    failures.subject = _text(saved.get("named"))
    failures.fault = Fault(saved["fault"]) if saved.get("fault") else None
    failures.line = _text(saved.get("line"))
    failures.evidence.add(str(line) for line in saved["evidence"])
    failures.evidence.set_output(str(line) for line in saved.get("output", ()))
    return _incident(now, saved["incident"]) if saved["incident"] else None


def _incident(now: Instant, saved: Mapping[str, Any]) -> Incident:
    sent = saved["told_cause"]
    labels = {str(name): str(value) for name, value in saved["labels"].items()}
    if missing := {"group", "process", "severity"} - labels.keys():
        raise KeyError(*missing)  # all views of an incident use them
    return Incident(
        incident_id=str(saved["id"]),
        started_at_s=float(saved["started_at"]),
        labels=labels,
        cause=Cause(saved["cause"]),
        failures=int(saved["failed_lives"]),
        gave_up=bool(saved["gave_up"]),
        address=_text(saved["address"]),
        sent_cause=Cause(sent) if sent else None,
        sent_gave_up=bool(saved["told_gave_up"]),
        sent_exhausted=bool(saved.get("told_worn_out")),
        sent_at_s=now.monotonic_s - max(0.0, now.wall_s - float(saved["told_at"])),
        sequence=int(saved["sequence"]),
        known_at_s=float(saved["known_at"]),
    )


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value
