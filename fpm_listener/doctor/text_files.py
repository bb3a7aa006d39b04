"""Reads the files with the texts of rules and causes."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from fpm_listener.doctor.texts import parse_causes, parse_texts

if TYPE_CHECKING:
    from fpm_listener.doctor.texts import CauseText, Text
    from fpm_listener.vocabulary import Cause


@cache
def texts() -> dict[str, Text]:
    """Return the texts of all rules, by id."""
    return parse_texts(_read("findings.txt"))


@cache
def causes() -> dict[Cause, CauseText]:
    """Return the texts of all causes."""
    return parse_causes(_read("causes.txt"))


def _read(name: str) -> str:
    return resources.files("fpm_listener.doctor").joinpath(name).read_text(encoding="utf-8")
