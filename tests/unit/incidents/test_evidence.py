"""A loop says the same again and again: each line is kept once, with its latest time."""

from dataclasses import replace

import pytest

from fpm_listener.incidents import evidence as evidence_module
from fpm_listener.incidents.evidence import EVIDENCE_LINES, Evidence
from fpm_listener.incidents.failure_history import FailureHistory
from fpm_listener.settings.policy import LoopPolicy, Policy
from fpm_listener.vocabulary import Tier


def test_what_is_repeated_is_kept_once() -> None:
    """The line with the cause is not pushed out by repeated lines."""
    evidence = Evidence()
    why = "[23-Nov-2026 10:00:00] ERROR: unable to bind listening socket for address '9000'"
    evidence.add([why])
    for second in range(60):
        evidence.add([f"2026-11-23 10:00:{second:02d},123 WARN exited: php-fpm (exit status 78)"])

    assert evidence.lines == [why, "2026-11-23 10:00:59,123 WARN exited: php-fpm (exit status 78)"]


def test_what_differs_is_kept_up_to_a_number() -> None:
    """The oldest goes first; a line without a time is itself."""
    evidence = Evidence()
    for number in range(20):
        evidence.add([f"line {number}"])

    assert evidence.lines == [f"line {number}" for number in range(20 - EVIDENCE_LINES, 20)]
    evidence.add(["line 19", "line 17"])
    assert evidence.lines[-3:] == ["line 18", "line 19", "line 17"]


def test_new_settings_apply_to_an_open_incident() -> None:
    """`evidence_lines = 0` removes lines that are known already."""
    policy = Policy(loops={tier: LoopPolicy(threshold=3, window_s=60.0) for tier in Tier})
    history = FailureHistory(policy)
    history.evidence.add([f"line {number}" for number in range(6)])
    history.evidence.set_output(["an error of customer 7", "another error"])

    history.reconfigure(replace(policy, evidence_lines=3))
    assert history.evidence.lines == ["line 3", "line 4", "line 5"]
    history.reconfigure(replace(policy, evidence_lines=0))
    assert history.evidence.lines == history.evidence.output == history.evidence.facts == []


def test_the_same_facts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each review of an incident adds its problems again: nothing is read or changed."""
    evidence = Evidence()
    evidence.add(["first"])
    evidence.add(["second", "third"])
    evidence.set_output(["an error"])
    lines = evidence.lines
    monkeypatch.setattr(evidence_module, "readable", lambda _: pytest.fail("it is read again"))

    evidence.add(["second", "third"])
    assert evidence.lines == lines == ["first", "second", "third", "an error"]
