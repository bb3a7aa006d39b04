"""The findings as workflow commands of GitHub Actions, which show them at their lines.

Source: actions/toolkit, packages/core/src/command.ts, and actions/runner, ActionCommand.cs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fpm_listener.doctor.rule import Finding
    from fpm_listener.doctor.texts import Text

_COMMANDS = {
    FindingSeverity.ERROR: "error",
    FindingSeverity.WARNING: "warning",
    FindingSeverity.HINT: "notice",
}
#: The percent sign is first: the other replacements contain it.
_DATA = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY = (*_DATA, (":", "%3A"), (",", "%2C"))


def to_github(findings: Iterable[Finding], texts: Mapping[str, Text]) -> str:
    """Return one command for each finding; the files must be relative to the repository."""
    return "\n".join(_command(one, texts[one.id].title) for one in findings)


def _command(finding: Finding, title: str) -> str:
    properties = {
        "file": finding.file,
        "line": str(finding.line or 1),
        "title": f"{finding.id} {title}",
    }
    pairs = ",".join(
        f"{key}={_escaped(value, _PROPERTY)}" for key, value in properties.items() if value
    )
    message = f"{finding.what}\nWhy: {finding.why}\nFix: {finding.fix}"
    return f"::{_COMMANDS[finding.severity]} {pairs}::{_escaped(message, _DATA)}"


def _escaped(text: str, replacements: Iterable[tuple[str, str]]) -> str:
    text = clean(text)
    for old, new in replacements:
        text = text.replace(old, new)
    return text
