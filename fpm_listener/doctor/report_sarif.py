"""The findings as SARIF 2.1.0, for code scanning of GitHub and for editors.

Source: docs.oasis-open.org/sarif/sarif/v2.1.0, and GitHub's "SARIF support for code scanning".
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fpm_listener.doctor.explanations import without_values
from fpm_listener.doctor.fingerprints import fingerprints
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.doctor.rule import Finding
    from fpm_listener.doctor.texts import Text

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_LEVELS = {
    FindingSeverity.ERROR: "error",
    FindingSeverity.WARNING: "warning",
    FindingSeverity.HINT: "note",
}
#: The name of our fingerprint: its version changes if `doctor.fingerprints` changes.
_FINGERPRINT = "fpmListenerFinding/v1"


def to_sarif(
    findings: Sequence[Finding], texts: Mapping[str, Text], version: str, project_url: str
) -> str:
    """Return the log; the files must be relative to the repository.

    version: of this program. project_url: its address; empty = unknown, so nothing has a link.
    """
    ids = sorted({one.id for one in findings})
    url = project_url.rstrip("/")
    driver: dict[str, Any] = {"name": "fpm-listener", "version": version}
    if url:
        driver["informationUri"] = url
    driver["rules"] = [_rule(identity, texts[identity], url) for identity in ids]
    results = [
        _result(one, ids.index(one.id), fingerprint)
        for one, fingerprint in zip(findings, fingerprints(findings), strict=True)
    ]
    runs = [{"tool": {"driver": driver}, "results": results}]
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}, indent=2)


def _rule(identity: str, text: Text, url: str) -> dict[str, Any]:
    """Return what all findings of a rule have in common."""
    reason = without_values(text.why)
    parts = {"Why": reason, "Measured": text.measured, "When to ignore it": text.ignore}
    plain = [f"{name}: {part}." for name, part in parts.items() if part] or [f"{text.title}."]
    marked = [f"**{name}:** {part}." for name, part in parts.items() if part] or [f"{text.title}."]
    for name, example in (("Before", text.before), ("After", text.after)):
        if example:
            plain.append(f"{name}:\n{example}")
            marked.append(f"**{name}:**\n```ini\n{example}\n```")
    rule = {
        "id": identity,
        "name": identity,
        "shortDescription": {"text": text.title},
        "fullDescription": {"text": f"{text.title}. {reason}".strip()},
        "help": {"text": "\n\n".join(plain), "markdown": "\n\n".join(marked)},
        "defaultConfiguration": {"level": _LEVELS[text.severity]},
        "properties": {"tags": ["php-fpm", "supervisord"]},
    }
    if url:
        anchor = re.sub(r"[^\w -]", "", f"{identity}: {text.title}".lower()).replace(" ", "-")
        rule["helpUri"] = f"{url}/blob/HEAD/docs/checks.md#{anchor}"
    return rule


def _result(finding: Finding, index: int, fingerprint: str) -> dict[str, Any]:
    message = f"{finding.what}. {finding.why}. Fix: {finding.fix}"
    region = {"startLine": finding.line or 1}  # GitHub shows no result without a line
    location: dict[str, Any] = {
        "physicalLocation": {"artifactLocation": _artifact(finding.file), "region": region}
    }
    if finding.section:
        location["logicalLocations"] = [{"name": clean(finding.section), "kind": "member"}]
    return {
        "ruleId": finding.id,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": clean(message)},
        "locations": [location],
        "partialFingerprints": {_FINGERPRINT: fingerprint},
    }


def _artifact(file: str) -> dict[str, str]:
    """Return the URI of a file; its bytes can be no UTF-8."""
    uri = quote(file.encode("utf-8", "surrogateescape"))
    if uri.startswith("/"):
        return {"uri": f"file://{uri}"}
    return {"uri": uri, "uriBaseId": "%SRCROOT%"}
