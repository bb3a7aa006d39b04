"""Failures from public reports, and what their alerts say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.case_lab import CaseLab, running_case_lab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("cases")  # one process: they share a lab


@pytest.fixture(scope="module")
def cases() -> Iterator[CaseLab]:
    """Run all failures at once."""
    with running_case_lab() as lab:
        lab.add_case("L13")
        lab.start()
        yield lab


def test_segmentation_fault_of_another_program(cases: CaseLab) -> None:
    """A program that is no php-fpm is killed by SIGSEGV."""
    alert = cases.alert("L13", cause="crash_signal")
    assert "SIGSEGV" in alert["annotations"]["description"]
