"""`fpm-listener check`: its arguments, and its output."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from fpm_listener import __version__
from fpm_listener.cli import check_report, endpoint, output
from fpm_listener.daemon import control_client
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    import argparse

    from fpm_listener.doctor.check import CheckResult

#: Seconds for each step of the question for the version of the listener.
_PATIENCE_S = 2.0
#: Characters of a version: another user's process can answer.
_LONGEST = 40


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the arguments of `check` to the command line."""
    check = commands.add_parser("check", help="find mistakes in the configuration")
    check.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="files, directories or patterns to check without their machine",
    )
    check.add_argument(
        "--root", metavar="DIR", help="check the unpacked image in DIR: its files, users and groups"
    )
    check.add_argument(
        "--offline",
        action="store_true",
        help="use only the files, even if a supervisord runs with one of them",
    )
    check.add_argument(
        "--supervisord-conf",
        metavar="FILE",
        help="configuration of supervisord (default: the file that supervisord finds)",
    )
    check_report.add_arguments(check)


def run(options: argparse.Namespace) -> int:
    """Print the findings, and return the exit status."""
    paths = list(options.paths)
    if options.root and not paths:
        choices = check_report.choose(options, [options.root])
    else:
        choices = check_report.choose(options, paths or None)
    if not paths and not options.root and not options.offline:
        return _this_machine(options, choices)
    result = _checked(options, paths)
    is_text = choices.format == "text" and not options.fix_preview
    for line in (result.mode, *result.notes):
        (output.say if is_text else check_report.note)(line)
    return check_report.report(result, choices, is_preview=options.fix_preview)


def _this_machine(options: argparse.Namespace, choices: check_report.Choices) -> int:
    from fpm_listener.doctor import check  # noqa: PLC0415 - as in run

    try:
        result = check.check_machine(check.find_conf(options.supervisord_conf), live=True)
    except FpmListenerError as error:
        raise check.name_running(error, os.environ) from error
    status = check_report.report(result, choices, is_preview=options.fix_preview)
    if choices.format == "text":
        note_old_listener()
    return status


def note_old_listener() -> None:
    """Say if the listener that runs has another version than this command."""
    with contextlib.suppress(FpmListenerError, LookupError, TypeError):
        found = endpoint.usual(None, None, os.environ)
        document = control_client.ask(
            found.state_dir,
            control_client.ControlRequest(action="status"),
            any_state_dir=found.is_default,
            patience_s=_PATIENCE_S,
        )
        running = str(document["listener"]["version"])[:_LONGEST]
        if running != __version__:
            check_report.note(
                f"the listener that runs is version {running}, and this is version {__version__};"
                " after an upgrade, restart it: supervisorctl restart fpm-listener"
            )


def _checked(options: argparse.Namespace, paths: list[str]) -> CheckResult:
    """Return the result for files without their machine. Raises FpmListenerError."""
    from fpm_listener.doctor import check, check_paths  # noqa: PLC0415 - as in run

    if options.supervisord_conf and (paths or options.root):
        raise FpmListenerError("--supervisord-conf checks this machine; name the file as PATH")
    if not paths and not options.root:
        # The file that it would check on this machine.
        paths = [check.find_conf(options.supervisord_conf)]
    return check_paths.check_paths(paths, root=options.root, is_offline=options.offline)
