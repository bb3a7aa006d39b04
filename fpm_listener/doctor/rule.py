"""Rules, and findings.

A simple rule compares one key with one value: a row of a table (`KeyRule`).
Every other rule is a function with the decorator `rule`.
Both return matches: places, and values for the rule's text in findings.txt.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from fpm_listener.doctor.package_defaults import package_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Section
    from fpm_listener.doctor.ini_edits import Edit
    from fpm_listener.supervisor.ini_lines import Place

Subject = TypeVar("Subject")


class FindingSeverity(Enum):
    """How bad a finding is."""

    ERROR = "error"  #: breaks something
    WARNING = "warning"  #: breaks something under load, at a restart, or after another failure
    HINT = "hint"  #: an improvement


class Finding(NamedTuple):
    """One result of `check`."""

    id: str
    severity: FindingSeverity
    where: str  #: file, line and section, as far as they are known
    what: str
    why: str
    fix: str
    edits: tuple[Edit, ...] = ()  #: that fix it, if that needs no decision
    package: str = ""  #: whose unchanged default it is about
    file: str = ""  #: `where` in parts
    line: int = 0  #: 0 = the whole file
    section: str = ""
    key: str = ""  #: empty if it is about no key, or about several

    def to_json(self) -> dict[str, str]:
        """Return the finding as a document."""
        return {
            "id": self.id,
            "severity": self.severity.value,
            "where": self.where,
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
        }


class Match(NamedTuple):
    """One place at which a rule applies."""

    where: Place
    values: Mapping[str, object]  #: of the text
    edits: tuple[Edit, ...] = ()
    variant: str = ""  #: of the text
    package: str = ""  #: as Finding.package


class Rule(NamedTuple):
    """One thing that the doctor looks for."""

    id: str
    check: Callable[[CheckedConfig], Iterable[Match]]


class KeyRule(NamedTuple):
    """A rule that compares the value of one key."""

    id: str
    key: str
    is_wrong: Callable[[Any], object]  #: gets the value; None = the key is not set
    change: Mapping[str, str | None] = {}  #: new values that fix it, by key; None = remove the key


def key_rules(
    sections: Callable[[CheckedConfig], Iterable[Section]], *rows: KeyRule
) -> tuple[Rule, ...]:
    """Return the rules of a table, for these sections of a configuration."""

    def rule_of(row: KeyRule) -> Rule:
        def check(config: CheckedConfig) -> Iterator[Match]:
            for section in sections(config):
                value = section.values.get(row.key)
                if row.is_wrong(value):
                    yield match(section, row.key, row.change, value=_shown(value))

        return Rule(row.id, check)

    return tuple(map(rule_of, rows))


def rule(
    identity: str, subjects: Callable[[CheckedConfig], Iterable[Subject]]
) -> Callable[[Callable[[Subject], Iterable[Match]]], Rule]:
    """Return a decorator that makes a rule of a function over one subject."""

    def make(check: Callable[[Subject], Iterable[Match]]) -> Rule:
        return Rule(identity, lambda config: (m for one in subjects(config) for m in check(one)))

    return make


def match(
    section: Section,
    key: str,
    change: Mapping[str, str | None] | None = None,
    variant: str = "",
    /,
    **values: object,
) -> Match:
    """Return a match at a key; change: see KeyRule."""
    change = change or {}
    known = {"key": key, "section": section.name, "change": section.assignments(change)}
    edits = section.edits(change)
    return Match(section.where(key), known | values, edits, variant, _package(section, key))


def _package(section: Section, key: str) -> str:
    """Return whose unchanged default the value of a key is."""
    if not section.php:
        return ""
    line = section.lines.get(key)
    file, written = (line.file, line.value) if line else (section.place.file, None)
    return package_of(file, key, written, includes="include" in section.lines)


def _shown(value: object) -> str:
    """Return a value as it is written in a file."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)
