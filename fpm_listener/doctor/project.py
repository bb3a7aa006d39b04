"""The project that `check` runs in: its directory, its settings, and paths relative to it.

Laws:
1. Settings are searched from the working directory upward, to the directory with .git. Without
   .git only the working directory counts.
2. Settings of another user apply only to files below their directory. Otherwise a user could hide
   findings of this machine from root.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import regular_file
from fpm_listener.doctor import project_settings, selection
from fpm_listener.doctor.project_settings import ProjectSettings
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from fpm_listener.doctor.check import CheckResult
    from fpm_listener.doctor.rule import Finding


class FoundSettings(NamedTuple):
    """The settings of the project."""

    settings: ProjectSettings
    note: str = ""  #: why a file was not read


def root(start: str) -> str:
    """Return the directory with .git above a directory, or the directory itself."""
    return next((one for one in _upward(start) if _has_git(one)), start)


def find_settings(start: str, paths: Sequence[str] | None, known: Collection[str]) -> FoundSettings:
    """Return the settings for a working directory. Raises FpmListenerError.

    paths: files and directories to check; None = this machine. known: the ids of all rules.
    """
    for folder in _upward(start, to=root(start)):
        for name in project_settings.SECTIONS:
            path = os.path.join(folder, name)  # noqa: PTH118 - a text
            if not os.path.lexists(path):
                continue
            try:
                others = _owners(folder, path) - {0, os.geteuid()}
                text = regular_file.read_text(path)
            except OSError as error:
                raise FpmListenerError(f"{path} cannot be read: {error.strerror}") from error
            if not project_settings.are_in(name, text):
                continue
            if others and not _are_below(folder, paths):
                note = (
                    f"{path} is not used: it belongs to another user (uid {min(others)}), and its"
                    " settings apply only to files in its directory"
                )
                return FoundSettings(ProjectSettings(), note)
            return FoundSettings(project_settings.parse(path, name, text, known))
    return FoundSettings(ProjectSettings())


def _owners(folder: str, path: str) -> set[int]:
    """Return the owners of a directory, of a name in it, and of the file after all links."""
    return {os.lstat(path).st_uid, *(os.stat(one).st_uid for one in (path, folder))}  # noqa: PTH116 - texts


def _are_below(folder: str, paths: Sequence[str] | None) -> bool:
    """Return whether all paths are in a directory, after all links."""
    whole = os.path.realpath(folder)
    real = [os.path.realpath(path) for path in paths or ()]
    return bool(real) and all(os.path.commonpath([whole, one]) == whole for one in real)


def without_excluded(result: CheckResult, settings: ProjectSettings) -> CheckResult:
    """Return the result without the files that the settings exclude."""
    folder = os.path.dirname(settings.path)  # noqa: PTH120 - a text
    excluded = {
        file
        for file in {*result.texts, *(one.file for one in result.findings)}
        if selection.is_excluded(_below(folder, os.path.realpath(file)), settings.exclude)
    }
    return result._replace(
        findings=[one for one in result.findings if one.file not in excluded],
        texts={file: text for file, text in result.texts.items() if file not in excluded},
    )


def relative(findings: Sequence[Finding], start: str) -> list[Finding]:
    """Return the findings with paths relative to the project; others stay absolute.

    CI servers expect this. A path in a text changes too.
    """
    base = root(start)
    return [_relative(one, base, start) for one in findings]


def _relative(finding: Finding, base: str, start: str) -> Finding:
    whole = os.path.normpath(os.path.join(start, finding.file))  # noqa: PTH118 - a text
    inside = _below(base, whole) or _below(base, os.path.realpath(whole))
    known = finding._replace(file=inside or whole) if finding.file else finding
    if base == "/":
        return known
    what, why, fix = (
        text.replace(f"{base}/", "") for text in (finding.what, finding.why, finding.fix)
    )
    return known._replace(what=what, why=why, fix=fix)


def _below(base: str, path: str) -> str:
    """Return a path relative to a directory; empty if it is not in it."""
    prefix = base if base.endswith("/") else f"{base}/"
    return path.removeprefix(prefix) if path.startswith(prefix) else ""


def _upward(start: str, to: str = "/") -> Iterator[str]:
    """Return a directory and those above it."""
    folder = start
    while True:
        yield folder
        above = os.path.dirname(folder)  # noqa: PTH120 - a text
        if folder in {to, above}:
            return
        folder = above


def _has_git(folder: str) -> bool:
    return os.path.lexists(os.path.join(folder, ".git"))  # noqa: PTH118 - a text
