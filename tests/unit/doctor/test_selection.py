"""Which rules count, and when a run fails."""

from __future__ import annotations

import pytest

from fpm_listener.doctor import selection
from fpm_listener.doctor.report import exit_status
from fpm_listener.doctor.rule import Finding, FindingSeverity
from fpm_listener.doctor.selection import FAIL_ON, Selection, parse_ids

IDS = ("FPM001", "FPM014", "FPM015", "FPM101", "FPM104")


@pytest.mark.parametrize(
    ("select", "ignore", "left"),
    [
        ("", "", IDS),
        ("FPM1", "", ("FPM101", "FPM104")),
        ("FPM1,FPM001", "", ("FPM001", "FPM101", "FPM104")),
        ("", "FPM0", ("FPM101", "FPM104")),
        ("FPM0", "FPM01", ("FPM001",)),
        ("FPM014", "FPM0", ("FPM014",)),
        ("FPM014", "FPM014", ()),
        ("FPM", "FPM1", ("FPM001", "FPM014", "FPM015")),
        (" fpm014 , FPM101\n", "", ("FPM014", "FPM101")),
    ],
)
def test_the_rules_that_count(select: str, ignore: str, left: tuple[str, ...]) -> None:
    """The longest beginning decides; of two equal ones, it is the ignored one."""
    selection = Selection(parse_ids(select, IDS), parse_ids(ignore, IDS))

    assert tuple(one for one in IDS if selection.has(one)) == left


@pytest.mark.parametrize("word", ["FPM9", "FPM0014", "X", "FPM014.option", "*"])
def test_an_unknown_id(word: str) -> None:
    """It is an error, because a typing error would hide findings or change nothing."""
    with pytest.raises(ValueError, match=r"."):
        parse_ids(f"FPM014,{word}", IDS)


@pytest.mark.parametrize(
    ("pattern", "is_excluded"),
    [
        ("docker/old/s.conf", True),
        ("docker/old", True),
        ("docker/old/", True),
        ("docker/*/s.conf", True),
        ("*.conf", True),
        ("old", False),
        ("docker/ol", False),
        ("Docker", False),
    ],
)
def test_excluded_files(pattern: str, is_excluded: bool) -> None:  # noqa: FBT001
    """A pattern matches the file or a directory above it."""
    assert selection.is_excluded("docker/old/s.conf", [pattern]) == is_excluded


def test_the_exit_status() -> None:
    """A finding that is as bad as `fail_on`, or worse, makes it 1."""
    found = {
        severity: [Finding("FPM001", severity, "f", "", "", "")] for severity in FindingSeverity
    }
    failed = {
        name: [severity.value for severity, one in found.items() if exit_status(one, name)]
        for name in FAIL_ON
    }

    assert failed == {
        "error": ["error"],
        "warning": ["error", "warning"],
        "hint": ["error", "warning", "hint"],
        "never": [],
    }
    assert exit_status([], "hint") == 0
