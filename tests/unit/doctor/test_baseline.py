"""Known findings: recognised again after other changes of a file, and only then."""

from __future__ import annotations

import json

import pytest

from fpm_listener.doctor import baseline
from fpm_listener.doctor.fingerprints import fingerprints
from fpm_listener.doctor.rule import Finding, FindingSeverity

ONE = Finding(
    *("FPM014", FindingSeverity.ERROR, "a/s.conf:7 [program:x]", "killasgroup is false", "w", "f"),
    file="a/s.conf",
    line=7,
    section="program:x",
    key="killasgroup",
)
FREE = ONE._replace(id="FPM068", key="", what="/etc/x: 3 problems", section="")


def test_what_a_fingerprint_ignores() -> None:
    """A moved line, another value, and another severity."""
    moved = ONE._replace(
        line=70, where="a/s.conf:70 [program:x]", what="is 3", severity=FindingSeverity.HINT
    )

    assert fingerprints([moved]) == fingerprints([ONE])
    assert fingerprints([FREE._replace(what="/etc/x: 4 problems")]) == fingerprints([FREE])


@pytest.mark.parametrize(
    "change",
    [{"id": "FPM015"}, {"file": "b/s.conf"}, {"section": "program:y"}, {"key": "stopasgroup"}],
)
def test_what_a_fingerprint_contains(change: dict[str, str]) -> None:
    """The rule, the file, the section and the key."""
    changed = ONE._replace(**change)  # type: ignore[arg-type]  # texts only

    assert fingerprints([changed]) != fingerprints([ONE])
    assert fingerprints([FREE._replace(what="another problem")]) != fingerprints([FREE])


def test_equal_findings() -> None:
    """They are numbered by their lines, so that no two fingerprints are equal."""
    second = ONE._replace(line=9)
    both = fingerprints([second, ONE])

    assert len(set(both)) == 2
    assert both[1] == fingerprints([ONE])[0]
    assert fingerprints([ONE, second]) == both[::-1]


def test_the_file() -> None:
    """It survives writing and reading, and contains neither lines nor values."""
    known = baseline.entries([ONE, FREE])
    text = baseline.render(known)

    assert baseline.parse(text) == frozenset(known)
    assert text == baseline.render(reversed(known))
    assert text.endswith("}\n")
    assert "false" not in text
    assert {*json.loads(text)["findings"][0]} == {"id", "file", "section", "fingerprint"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "line 1 is not JSON"),
        ("[\n{]", "line 2 is not JSON"),
        ("[]", "not an object with a list"),
        ('{"version": 1}', "not an object with a list"),
        ('{"version": 1, "findings": {}}', "not an object with a list"),
        ('{"version": 2, "findings": []}', "its version is not 1"),
        ('{"findings": []}', "its version is not 1"),
        ('{"version": 1, "findings": [1]}', "finding 1 has not the texts id, file"),
        ('{"version": 1, "findings": [{"id": "FPM014"}]}', "finding 1 has not the texts"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_broken_file(text: str, why: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(ValueError, match=why):
        baseline.parse(text)
