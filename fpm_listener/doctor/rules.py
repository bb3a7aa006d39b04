"""All rules of the doctor, and the findings that they return."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor import (
    rules_address,
    rules_capacity,
    rules_command,
    rules_environment,
    rules_execution,
    rules_foreground,
    rules_fpm_config,
    rules_fpm_rejections,
    rules_listener,
    rules_logs,
    rules_neighbours,
    rules_program,
    rules_running,
    rules_servers,
    rules_shells,
    rules_supervisord,
    rules_workers,
    unknown_keys,
)
from fpm_listener.doctor.checked_config import our_listeners
from fpm_listener.doctor.rule import Finding, FindingSeverity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig
    from fpm_listener.doctor.rule import Match, Rule
    from fpm_listener.doctor.texts import Text
    from fpm_listener.supervisor.ini_lines import Place

RULES: tuple[Rule, ...] = (
    *rules_command.RULES,
    *rules_execution.RULES,
    *rules_program.RULES,
    *rules_address.RULES,
    *rules_fpm_config.RULES,
    *rules_capacity.RULES,
    *rules_fpm_rejections.RULES,
    *rules_supervisord.RULES,
    *rules_listener.RULES,
    *rules_running.RULES,
    *rules_workers.RULES,
    *rules_foreground.RULES,
    *rules_shells.RULES,
    *rules_neighbours.RULES,
    *rules_logs.RULES,
    *rules_servers.RULES,
    *rules_environment.RULES,
    unknown_keys.unknown_key,
)
_ORDER = list(FindingSeverity)
#: Rules on what our listener reads. Nobody needs their findings without a listener.
_FOR_LISTENER = {"FPM019", "FPM021", "FPM054", "FPM055", "FPM069", "FPM120"}

#: Rules about a program that need the configuration of its php-fpm, which can be elsewhere.
NEED_PHP_FPM = frozenset(
    {
        *("FPM003", "FPM010", "FPM011", "FPM012", "FPM013", "FPM020", "FPM021", "FPM040", "FPM041"),
        *("FPM058", "FPM064", "FPM084", "FPM119"),
    }
)
#: Rules that ask the machine or the supervisord that runs: elsewhere they find less.
ASK_MACHINE = frozenset(
    {
        *("FPM001", "FPM002", "FPM003", "FPM006", "FPM023", "FPM025", "FPM027", "FPM030", "FPM031"),
        *(
            "FPM033",
            "FPM034",
            "FPM042",
            "FPM044",
            "FPM045",
            "FPM047",
            "FPM048",
            "FPM049",
            "FPM057",
            "FPM058",
            "FPM061",
        ),
        *("FPM063", "FPM067", "FPM068", "FPM080", "FPM081", "FPM082", "FPM083", "FPM085"),
        *("FPM101", "FPM111", "FPM113", "FPM115", "FPM117", "FPM122", "FPM126", "FPM127"),
        "FPM169",
    }
)


def examine(
    config: CheckedConfig, texts: Mapping[str, Text], *, plans_listener: bool = False
) -> list[Finding]:
    """Return the findings of all rules, the worst first.

    texts: by id, as in findings.txt. plans_listener: our listener is about to be added.
    """
    has_listener = plans_listener or bool(our_listeners(config))
    unknown = set() if config.is_environment_known else _unknown_values(config)
    found = {
        finding_of(rule.id, match, texts)
        for rule in RULES
        if has_listener or rule.id not in _FOR_LISTENER
        for match in rule.check(config)
        if match.where not in unknown or rule.id == rules_fpm_rejections.unset_variable.id
        if config.partial is None or not config.partial.hides(rule.id, match.where)
    }
    return in_order(found)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order in which they are printed: the worst first."""
    return sorted(findings, key=_place)


def _unknown_values(config: CheckedConfig) -> set[Place]:
    """Return the places of php-fpm's values with a variable that this shell does not have."""
    return {match.where for match in rules_fpm_rejections.unset_variable.check(config)}


def finding_of(identity: str, match: Match, texts: Mapping[str, Text]) -> Finding:
    """Return what a rule says about a match; texts: as for examine."""
    text = texts[f"{identity}.{match.variant}".rstrip(".")]
    what, why, fix = (part.format(**match.values) for part in (text.what, text.why, text.fix))
    is_default = match.package and text.severity is not FindingSeverity.ERROR
    severity = FindingSeverity.HINT if is_default else text.severity
    package = match.package if is_default else ""
    said = (str(match.where), what, why, fix)
    key = str(match.values.get("key", ""))
    return Finding(identity, severity, *said, match.edits, package, *match.where, key)


def _place(finding: Finding) -> tuple[int, list[tuple[str, int]], str, str]:
    """Return the sort key: the worst first; line numbers are compared as numbers."""
    parts = re.findall(r"(\D+)(\d*)", finding.where)
    where = [(text, int(number or 0)) for text, number in parts]
    return _ORDER.index(finding.severity), where, finding.id, finding.what
