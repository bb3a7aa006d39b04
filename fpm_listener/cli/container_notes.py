"""What `fpm-listener init --container` says beside the changed file: a Dockerfile, and decisions.

All of it can be copied into a Dockerfile: what is not an instruction is a comment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.cli import dockerfile
from fpm_listener.doctor import container_plan
from fpm_listener.doctor.checked_config import folder_of, listeners
from fpm_listener.doctor.container_plan import is_official_elsewhere
from fpm_listener.doctor.guarded_command import GUARD
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.phpfpm.config import STDERR
from fpm_listener.phpfpm.script_files import LONGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fpm_listener.cli.container_draft import Draft
    from fpm_listener.cli.dockerfile import Image
    from fpm_listener.doctor.checked_config import Fpm
    from fpm_listener.doctor.ini_edits import Edit
    from fpm_listener.doctor.rule import Finding

#: Findings about files, directories and users that an image has and another machine has not.
_OF_IMAGE = {
    *("FPM023", "FPM030", "FPM031", "FPM033", "FPM034", "FPM044", "FPM049", "FPM061", "FPM063"),
    *("FPM068", "FPM082", "FPM083", "FPM113"),
}
#: Events of a program that stays down.
_DOWN = {"PROCESS_STATE", "PROCESS_STATE_FATAL", "PROCESS_STATE_EXITED", "EVENT"}
_ACCESS_LOG, _MISSING, _CONTROL = "FPM119", "FPM023", "process_control_timeout"


def lines(draft: Draft, image: Image, path: str, guesses: Sequence[str] = ()) -> list[str]:
    """Return the lines, each without its end; guesses: further decisions."""
    found = ["", *_dockerfile(draft, image)]
    notes = [*_decisions(draft), *_remaining(draft), *guesses]
    if draft.others:
        notes.append("Apply the other diffs yourself: --write changes only " + path)
    if notes:
        found += ["", "# What needs your decision:", *(f"# - {note}" for note in notes)]
    return found


def _dockerfile(draft: Draft, image: Image) -> Iterator[str]:
    systems = [image.system] if image.system else list(dockerfile.SYSTEMS)
    yield "# Add to the Dockerfile, before USER and CMD:"
    for system in systems:
        yield f"# {system}, with pip:"
        yield from dockerfile.install(system)
        yield f"# {system}, with the one file fpm-listener.pyz instead:"
        yield from dockerfile.install_file(system)
    for folder, values in _php_settings(draft).items():
        if any(key == "access.log" for _, key, _ in values):
            yield "# Each line of the access log on stderr would be an event of supervisord."
            yield "# (php-fpm's own /proc/self/fd/1 is /dev/null, too.)"
        yield from dockerfile.drop_in(folder, values)
    if draft.choices.token_file:
        yield f"# Mount the token when the container starts: {draft.choices.token_file}"
    if draft.choices.uid != 0:
        yield "# No directory is needed: supervisord's user can create its socket and state_dir."
    if not image.has_healthcheck:
        state_dir = container_plan.places(draft.choices.uid, draft.config.machine).state_dir
        yield from dockerfile.health(image.file if state_dir else "")


def _php_settings(draft: Draft) -> dict[str, list[tuple[str, str, str]]]:
    """Return settings of php-fpm that fix findings, by the directory of its pools."""
    found: dict[str, dict[tuple[str, str], str]] = {}
    for fpm in draft.config.fpms:
        folder = _pools(fpm)
        if folder is None:
            continue
        values = found.setdefault(folder, {})
        for edit in (one for finding in draft.findings for one in _php_edits(finding)):
            if edit.file in fpm.conf.files:
                values[edit.section, edit.key] = edit.value or ""
        if fpm.is_read:
            logged = [one.name for one in fpm.pools if one.section.get("access.log") in STDERR]
        else:  # the official image, on another machine
            values["global", _CONTROL] = "10s"
            logged = ["www"]
        values |= {(name, "access.log"): "/dev/null" for name in logged}
    return {
        folder: [(*place, value) for place, value in values.items()]
        for folder, values in found.items()
        if values
    }


def _php_edits(finding: Finding) -> list[Edit]:
    """Return the changes of php-fpm's settings that a rule asks for.

    Other values than a package's defaults are an improvement only, except for QUIT: init sets it.
    """
    is_wanted = finding.severity is not FindingSeverity.HINT
    return [
        edit
        for edit in finding.edits
        if edit.php and edit.value is not None and (is_wanted or edit.key == _CONTROL)
    ]


def _pools(fpm: Fpm) -> str | None:
    """Return the directory whose files php-fpm includes; None if there is none that is known."""
    if not fpm.is_read:
        return dockerfile.OFFICIAL_POOLS if is_official_elsewhere(fpm) else None
    files = [one for one in fpm.conf.files if one != fpm.conf.path and one.endswith(".conf")]
    return folder_of(files[-1]) if files else None


def _decisions(draft: Draft) -> Iterator[str]:
    """Say what this command does not decide."""
    if not draft.before.fpms and not draft.before.unknown:
        yield "No program starts php-fpm. fpm-listener still watches the other programs."
    yield from _guards(draft)
    for fpm in draft.config.fpms:
        if not fpm.is_read and not is_official_elsewhere(fpm):
            yield (
                f"[{fpm.program.name}] php-fpm's configuration is not here. Set {_CONTROL} = 10s in"
                " its [global], otherwise each stop cuts requests. Its access.log must not be"
                " stderr, because each request would be an event"
            )
    for fpm in draft.before.fpms:
        if fpm.process.settings["autorestart"] == "false":
            yield (
                f"[{fpm.program.name}] autorestart was false and is now true. If the container must"
                " end when a program fails, write on_fatal = shutdown in [fpm-listener], and start"
                " supervisord with: fpm-listener run -- supervisord -n -c FILE"
            )
    for one in listeners(draft.config):
        if not one.is_our_listener and _DOWN & set(one.settings["events"]):
            yield (
                f"[{one.section.name}] also gets events of failed programs. If it ends the"
                " container, write on_fatal = shutdown in [fpm-listener] and remove it"
            )
    if draft.unset:
        names = ", ".join(sorted(draft.unset))
        yield f"Values with {names} were not checked: this shell does not have these variables"


def _guards(draft: Draft) -> Iterator[str]:
    command = f"{draft.choices.command} guard --hold --"
    for fpm in draft.config.fpms:
        if fpm.script is not None:
            if not GUARD.search(_text(fpm.script.path)):
                yield (
                    f"[{fpm.program.name}] starts php-fpm in {fpm.script.path}. Write there:"
                    f" exec {command} {fpm.script.runs}"
                )
        elif not GUARD.search(fpm.process.command) and not GUARD.search(_other(fpm, draft)):
            yield (
                f"[{fpm.program.name}] command: there is no safe place for the guard."
                f" Write before php-fpm: {command}"
            )


def _other(fpm: Fpm, draft: Draft) -> str:
    """Return the changed text of the included file that has the command."""
    line = fpm.program.lines.get("command")
    return draft.others.get(line.file, "") if line else ""


def _text(path: str) -> str:
    try:
        return regular_file.read_text(path, LONGEST)
    except OSError:
        return ""


def _remaining(draft: Draft) -> Iterator[str]:
    """Say in one line each what the doctor finds in the result."""
    foreign = 0
    for finding in draft.findings:
        if not draft.is_image and finding.id in _OF_IMAGE:
            foreign += 1
        elif not _is_fixed(finding, draft) and not finding.package:
            kind = (
                "" if finding.severity is FindingSeverity.HINT else f" ({finding.severity.value})"
            )
            yield f"{finding.id}{kind} {finding.where}: {finding.what}. {finding.fix}"
    if foreign:
        yield (
            "The php-fpm of this file is not on this machine, so its files and users were not"
            f" checked ({foreign} findings). Run this command, or fpm-listener check, in the image"
        )


def _is_fixed(finding: Finding, draft: Draft) -> bool:
    """Return whether the lines of the Dockerfile, or the diffs of included files, fix it."""
    if finding.id == _MISSING and finding.what.startswith("fpm-listener "):
        return True
    php = _php_edits(finding)
    others = [edit for edit in finding.edits if edit.file in draft.others]
    left = len(finding.edits) - len(php) - len(others)
    return finding.id == _ACCESS_LOG or (bool(finding.edits) and left == 0)
