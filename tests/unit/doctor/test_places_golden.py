"""Where each mistake is seen, and the edits that correct it, as a golden file.

A test fails when a place or an edit changes. If the change is intended: set
FPM_LISTENER_WRITE_GOLDEN=1, run this file, and read the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from fpm_listener.doctor.rule import Finding, FindingSeverity
from fpm_listener.doctor.rules import examine
from fpm_listener.supervisor.ini_lines import Place
from tests.unit.doctor import (
    test_rules_execution,
    test_rules_fpm_config,
    test_rules_start,
    test_rules_supervisord,
)
from tests.unit.doctor.checked_configs import TEXTS, Case, checkup, found

GOLDEN = Path(__file__).parents[2] / "data" / "places.txt"
CASES = (
    *test_rules_fpm_config.CASES,
    *test_rules_start.CASES,
    *test_rules_execution.CASES,
    *test_rules_supervisord.CASES,
)


def places(case: Case) -> str:
    """Return what a rule points at, how bad it is, and what it would change; all other findings."""
    examined = checkup(case.supervisord, case.fpm, machine=case.machine)
    findings = examine(examined, TEXTS)
    (one,) = [finding for finding in findings if finding.id == case.rule]
    (own,) = found(case.rule, examined)
    edits = {f"[{section}] {key}": value for (section, key), value in own.edits.items()}
    others = ", ".join(finding.id for finding in findings if finding.id != case.rule)
    assert one.where == str(Place(one.file, one.line, one.section))
    lines = [f"{case.rule} {one.severity.value} {one.where}", f"    {json.dumps(edits)}"]
    return "\n".join([*lines, *([f"    beside {others}"] if others else [])])


def test_the_places() -> None:
    """Of the mistakes that the other tests make; the sentences are theirs."""
    text = "\n".join([*map(places, CASES), ""])
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text.splitlines() == GOLDEN.read_text(encoding="utf-8").splitlines()


def test_a_finding_as_a_document() -> None:
    """All of it but the edits."""
    finding = Finding("FPM001", FindingSeverity.HINT, "f:1", "what", "why", "fix", ())

    assert finding.to_json() == {
        "id": "FPM001",
        "severity": "hint",
        "where": "f:1",
        "what": "what",
        "why": "why",
        "fix": "fix",
    }
