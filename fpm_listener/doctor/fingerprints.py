"""Recognises a finding again in a later run, even if its line has moved.

Law: a fingerprint consists of the rule, the file, the section and the key. It has no line and no
value: a value can be a secret, and a finding with another number is the same finding.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fpm_listener.doctor.rule import Finding


def fingerprints(findings: Sequence[Finding]) -> list[str]:
    """Return a text of 32 hexadecimal digits for each finding; no two are equal.

    Findings with the same rule, file, section and key are numbered by their lines.
    """
    order = sorted(range(len(findings)), key=lambda at: (findings[at].line, findings[at].what))
    seen: Counter[tuple[str, ...]] = Counter()
    found = [""] * len(findings)
    for at in order:
        parts = _identity(findings[at])
        seen[parts] += 1
        text = "\0".join((*parts, str(seen[parts])))
        found[at] = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return found


def _identity(finding: Finding) -> tuple[str, ...]:
    """Return what stays the same; without a key, also the text without its numbers."""
    subject = finding.key or re.sub(r"[0-9]+", "0", finding.what)
    return finding.id, finding.file, finding.section, subject
