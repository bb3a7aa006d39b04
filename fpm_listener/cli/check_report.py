"""The second half of `check`: which findings count, and how they are printed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import PROJECT_URL, __version__
from fpm_listener.cli import output
from fpm_listener.untrusted_text import plain
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from fpm_listener.doctor.check import CheckResult
    from fpm_listener.doctor.project_settings import ProjectSettings
    from fpm_listener.doctor.rule import Finding
    from fpm_listener.doctor.selection import Selection

#: Here because the doctor is loaded only by the commands that need it.
FORMATS = ("text", "json", "github", "gitlab", "sarif")
FAIL_ON = ("error", "warning", "hint", "never")


def add_arguments(check: argparse.ArgumentParser) -> None:
    """Add the arguments to the command line."""
    form = check.add_mutually_exclusive_group()
    form.add_argument("--format", choices=FORMATS, help="format of the output (default: text)")
    form.add_argument("--json", action="store_true", help="the same as --format json")
    form.add_argument(
        "--fix-preview",
        action="store_true",
        help="print the fixes as a diff for patch -p0 -d /; nothing is written",
    )
    check.add_argument(
        "--all", action="store_true", help="also print hints about unchanged defaults of packages"
    )
    check.add_argument(
        "--select",
        metavar="IDS",
        action="append",
        help="only these rules: ids or their beginnings, such as FPM014,FPM1",
    )
    check.add_argument(
        "--ignore", metavar="IDS", action="append", help="skip these rules; IDS as for --select"
    )
    check.add_argument(
        "--fail-on", choices=FAIL_ON, help="least severity for exit status 1 (default: warning)"
    )
    known = check.add_mutually_exclusive_group()
    known.add_argument("--baseline", metavar="FILE", help="do not report the findings in this file")
    known.add_argument(
        "--write-baseline", metavar="FILE", help="write all findings to this file, and exit with 0"
    )


class Choices(NamedTuple):
    """What the command line and the settings of the project ask for."""

    selection: Selection
    format: str
    fail_on: str
    baseline: str | None
    write_baseline: str | None
    is_all: bool
    settings: ProjectSettings


def choose(options: argparse.Namespace, paths: Sequence[str] | None = None) -> Choices:
    """Return what counts: the command line, then the settings. Raises FpmListenerError.

    paths: files and directories to check; None = this machine.
    """
    from fpm_listener.doctor import project, project_settings, text_files  # noqa: PLC0415 - heavy
    from fpm_listener.doctor.selection import Selection  # noqa: PLC0415

    for name in ("baseline", "write_baseline"):
        if getattr(options, name) == "":
            raise FpmListenerError(f"--{name.replace('_', '-')} is empty; name a file")
    known = text_files.texts()
    settings, remark = project.find_settings(os.getcwd(), paths, known)  # noqa: PTH109 - a text
    if remark:
        note(remark)
    lists = {}
    for key, default in (("select", settings.select), ("ignore", settings.ignore)):
        words = getattr(options, key)
        given = project_settings.ids(f"--{key}", ",".join(words) if words else None, known)
        lists[key] = (default or ()) if words is None else (given or ())
    baseline = options.baseline
    if baseline is None and settings.baseline and not options.write_baseline:
        baseline = str(Path(settings.path).parent / settings.baseline)
    is_text = options.fix_preview
    return Choices(
        selection=Selection(**lists),
        format="json"
        if options.json
        else options.format or (not is_text and settings.format) or "text",
        fail_on=options.fail_on or settings.fail_on or "warning",
        baseline=baseline,
        write_baseline=options.write_baseline,
        is_all=options.all,
        settings=settings,
    )


def report(result: CheckResult, choices: Choices, *, is_preview: bool = False) -> int:
    """Print the findings that count, and return the exit status. Raises FpmListenerError."""
    from fpm_listener.doctor import (  # noqa: PLC0415 - as in choose
        baseline_file,
        project,
        report,
        suppressions,
        text_files,
    )

    texts = text_files.texts()
    if choices.settings.exclude:
        result = project.without_excluded(result, choices.settings)
    is_whole = not result.mode
    found = suppressions.apply(result.findings, result.texts, texts, is_whole=is_whole)
    found = [one for one in found if choices.selection.has(one.id)]
    if choices.write_baseline:
        baseline_file.write(choices.write_baseline, found)
        note(f"wrote known findings to {choices.write_baseline}: {len(found)}")
        return 0
    before = len(found)
    if choices.baseline:
        entries = baseline_file.read(choices.baseline)
        known = frozenset(one for one in entries if choices.selection.has(one.id))
        found, gone = baseline_file.compare(choices.baseline, known, found, list(result.texts))
        if gone:
            count = "1 known finding does" if gone == 1 else f"{gone} known findings do"
            note(
                f"{choices.baseline}: {count} not occur any more; to remove them, use"
                " --write-baseline instead of --baseline"
            )
    if is_preview:
        _preview(found)
    elif choices.format == "text":
        output.say(_text(found, choices, known=before - len(found)))
    elif choices.format == "json":
        output.write(report.to_json(found))
    else:
        _print_for_ci(found, choices)
    counted = [one for one in found if choices.is_all or not one.package]
    return report.exit_status(counted, choices.fail_on)


def _text(findings: list[Finding], choices: Choices, known: int) -> str:
    """Return the findings for people; known: how many the baseline has."""
    from fpm_listener.doctor import report  # noqa: PLC0415

    text = report.to_text(findings, is_all=choices.is_all)
    if not known:
        return text
    counted = f"{choices.baseline} has {known} known finding{'' if known == 1 else 's'}"
    return f"{text}\n{counted}" if findings else f"nothing new found; {counted}"


def _print_for_ci(findings: Sequence[Finding], choices: Choices) -> None:
    from fpm_listener.doctor import (  # noqa: PLC0415 - one of them is used
        project,
        report_github,
        report_gitlab,
        report_sarif,
        text_files,
    )

    texts = text_files.texts()
    shown = [one for one in findings if choices.is_all or not one.package]
    shown = project.relative(shown, os.getcwd())  # noqa: PTH109 - a text
    if choices.format == "github":
        if shown:
            output.say(report_github.to_github(shown, texts))
    elif choices.format == "gitlab":
        output.write(report_gitlab.to_gitlab(shown, texts))
    else:
        output.write(report_sarif.to_sarif(shown, texts, __version__, PROJECT_URL))


def _preview(findings: Sequence[Finding]) -> None:
    from fpm_listener.doctor import report  # noqa: PLC0415

    output.write_exactly(report.preview(findings))
    fixed = sum(bool(one.edits) for one in findings)
    note(
        f"this diff fixes {fixed} of {len(findings)} findings; the others need a decision: run"
        " fpm-listener check"
    )


def note(text: str) -> None:
    """Print a line that is not part of the findings."""
    print(f"fpm-listener: {plain(text)}", file=sys.stderr)  # noqa: T201 - not a part of the output
