"""`fpm-listener check`: its arguments, and its output."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fpm_listener.cli import check_report
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    import argparse


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the arguments of `check` to the command line."""
    check = commands.add_parser("check", help="find mistakes in the configuration")
    check.add_argument(
        "--supervisord-conf",
        metavar="FILE",
        help="configuration of supervisord (default: the file that supervisord finds)",
    )
    check_report.add_arguments(check)


def run(options: argparse.Namespace) -> int:
    """Print the findings, and return the exit status."""
    from fpm_listener.doctor import check  # noqa: PLC0415 - only this command needs it

    choices = check_report.choose(options)
    try:
        path = check.find_conf(options.supervisord_conf)
        findings = check.check(path, live=True)
    except FpmListenerError as error:
        raise check.name_running(error, os.environ) from error
    files = check.texts_of_findings(path, findings)
    return check_report.report(findings, files, choices, is_preview=options.fix_preview)
