"""Rule, finding."""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fpm_listener.doctor.checked_config import (
        CheckedConfig,
        Fpm,
    )
    from fpm_listener.supervisor.ini_lines import Edit


class FindingSeverity(Enum):
    """How bad it is."""

    ERROR = "error"  #: will break
    WARNING = "warning"  #: breaks under load, at a restart, or when something else breaks
    HINT = "hint"  #: would be better otherwise


class Finding(NamedTuple):
    """One result of the doctor."""

    id: str
    severity: FindingSeverity
    where: str  #: file, line and section, as far as they are known
    what: str
    why: str
    mend: str
    edits: tuple[Edit, ...] = ()  #: that make it go away, where that needs no decision

    def to_json(self) -> dict[str, str]:
        """Return it as a document, without the edits."""
        document = {**self._asdict(), "severity": self.severity.value}
        del document["edits"]
        return document


class Said(NamedTuple):
    """What a rule says of one place."""

    where: str
    what: str
    why: str
    mend: str
    edits: tuple[Edit, ...] = ()
    severity: FindingSeverity | None = None  #: None = that of the rule


class Rule(NamedTuple):
    """One thing that the doctor looks for."""

    id: str
    severity: FindingSeverity
    title: str
    look: Callable[[CheckedConfig], Iterator[Said]]


RULES: dict[str, Rule] = {}


def rule(
    identity: str, severity: FindingSeverity, title: str
) -> Callable[
    [Callable[[CheckedConfig], Iterator[Said]]], Callable[[CheckedConfig], Iterator[Said]]
]:
    """Return what puts a function into the list."""

    def put(
        look: Callable[[CheckedConfig], Iterator[Said]],
    ) -> Callable[[CheckedConfig], Iterator[Said]]:
        if identity in RULES:
            raise ValueError(f"two rules are called {identity}")
        RULES[identity] = Rule(identity, severity, title, look)
        return look

    return put


def for_each_fpm(
    look: Callable[[Fpm], Iterator[Said]],
) -> Callable[[CheckedConfig], Iterator[Said]]:
    """Return a rule over all of a rule over one php-fpm."""

    def over_all(checkup: CheckedConfig) -> Iterator[Said]:
        for fpm in checkup.fpms:
            yield from look(fpm)

    return over_all


def examine(checkup: CheckedConfig) -> list[Finding]:
    """Return what all rules find, the worst first."""
    order = list(FindingSeverity)

    def place(finding: Finding) -> tuple[int, list[tuple[str, int]], str, str]:
        """Return what to sort by: lines by their numbers, not letter by letter."""
        parts = re.findall(r"(\D+)(\d*)", finding.where)
        where = [(text, int(number or 0)) for text, number in parts]
        return order.index(finding.severity), where, finding.id, finding.what

    found = {
        Finding(one.id, said.severity or one.severity, *said[:5])
        for one in RULES.values()
        for said in one.look(checkup)
    }
    return sorted(found, key=place)
