"""The findings as a Code Quality report of GitLab.

Source: docs.gitlab.com/ci/testing/code_quality, and GitLab's app/validators/json_schemas.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fpm_listener.doctor.fingerprints import fingerprints
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.doctor.rule import Finding
    from fpm_listener.doctor.texts import Text

_SEVERITIES = {
    FindingSeverity.ERROR: "critical",
    FindingSeverity.WARNING: "major",
    FindingSeverity.HINT: "info",
}


def to_gitlab(findings: Sequence[Finding], texts: Mapping[str, Text]) -> str:
    """Return the report; the files must be relative to the repository."""
    report = [
        {
            "description": clean(f"{texts[one.id].title}: {one.what}. {one.fix}"),
            "check_name": one.id,
            "fingerprint": fingerprint,
            "severity": _SEVERITIES[one.severity],
            "location": {"path": clean(one.file), "lines": {"begin": one.line or 1}},
        }
        for one, fingerprint in zip(findings, fingerprints(findings), strict=True)
    ]
    return json.dumps(report, indent=2)
