"""The findings as text, JSON or a diff, and the exit status."""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.doctor.ini_edits import apply, lines_of
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.doctor.selection import FAIL_ON
from fpm_listener.doctor.sources import LONGEST
from fpm_listener.untrusted_text import plain
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.doctor.ini_edits import Edit
    from fpm_listener.doctor.rule import Finding


def exit_status(findings: Iterable[Finding], fail_on: str = "warning") -> int:
    """Return 1 if a finding is as bad as `fail_on` or worse, otherwise 0."""
    return int(any(finding.severity in FAIL_ON[fail_on] for finding in findings))


def to_json(findings: Iterable[Finding]) -> str:
    """Return the findings as JSON."""
    return json.dumps([finding.to_json() for finding in findings], indent=2)


def preview(findings: Iterable[Finding]) -> str:
    """Return the edits of the findings as a unified diff.

    It is for `patch -p0` or `git apply` in the root directory, because it has absolute paths. Lines
    next to a change may contain secrets. Raises FpmListenerError.
    """
    by_file: dict[str, list[Edit]] = {}
    for edit in (edit for finding in findings for edit in finding.edits):
        by_file.setdefault(os.path.realpath(edit.file), []).append(edit)
    parts = []
    for path, edits in sorted(by_file.items()):
        try:
            text = regular_file.read(path, LONGEST).decode("utf-8", "surrogateescape")
        except OSError as error:
            raise FpmListenerError(f"{path} cannot be read: {error.strerror}") from error
        name = f"{path}\t" if " " in path else path
        old, new = lines_of(text), lines_of(apply(text, edits))
        lines = difflib.unified_diff(old, new, name, name)
        parts += [
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        ]
    return "".join(parts)


def to_text(findings: list[Finding], *, is_all: bool = True) -> str:
    """Return the findings for people.

    is_all: False = one line for all hints about unchanged defaults of a package.
    """
    if not findings:
        return "nothing found"
    shown = [one for one in findings if is_all or not one.package]
    blocks = [
        f"{one.severity.value.upper()} {one.id} {plain(one.where)}\n"
        f"  what  {plain(one.what)}\n  why   {one.why}\n  fix   {one.fix}"
        for one in shown
    ]
    packages = Counter() if is_all else Counter(one.package for one in findings if one.package)
    blocks += [
        f"{count} {'hint' if count == 1 else 'hints'} about unchanged defaults of {package}:"
        " --all shows them"
        for package, count in packages.items()
    ]
    counts = [
        f"{count} {severity.value}{'s' * (count != 1)}"
        for severity in FindingSeverity
        for count in [sum(one.severity is severity for one in findings)]
    ]
    more = [f"fpm-listener explain {one.id} shows more" for one in shown[:1]]
    return "\n\n".join([*blocks, "\n".join([", ".join(counts), *more])])
