"""`fpm-listener check`: its arguments, and its output."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from fpm_listener.cli import output
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
    form = check.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of text")
    form.add_argument(
        "--fix-preview",
        action="store_true",
        help="print the fixes as a diff for patch -p0 -d /; nothing is written",
    )
    form.add_argument(
        "--all", action="store_true", help="also print hints about unchanged defaults of packages"
    )


def run(options: argparse.Namespace) -> int:
    """Print the findings, and return the exit status."""
    from fpm_listener.doctor import check, report  # noqa: PLC0415 - only this command needs them

    try:
        findings = check.check(check.find_conf(options.supervisord_conf), live=True)
    except FpmListenerError as error:
        raise check.name_running(error, os.environ) from error
    if options.json:
        output.write(report.to_json(findings))
    elif options.fix_preview:
        output.write_exactly(report.preview(findings))
        fixed = sum(bool(one.edits) for one in findings)
        print(  # noqa: T201 - what is not part of the diff
            f"fpm-listener: this diff fixes {fixed} of {len(findings)} findings; the others need a"
            " decision: run fpm-listener check",
            file=sys.stderr,
        )
    else:
        output.say(report.to_text(findings, is_all=options.all))
    return report.exit_status(findings)
