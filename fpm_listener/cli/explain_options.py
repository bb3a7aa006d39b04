"""The options of `explain --logs`. They are apart, because each command loads all options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    import argparse


_FILES = (
    ("--supervisord-log", "supervisord's own log"),
    ("--fpm-log", "error_log of php-fpm"),
    ("--stderr", "output of a program that supervisord keeps in a file"),
)
_OPTIONS = ("supervisord_log", "fpm_log", "stderr", "config", "rotated", "since", "until", "tz")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of --logs."""
    logs = parser.add_argument_group("options of --logs")
    logs.add_argument(
        "--logs",
        action="store_true",
        help="diagnose an outage from logs; NAME is then a file with lines of several programs, or"
        " - for standard input (default: the logs of this machine)",
    )
    for option, whose in _FILES:
        logs.add_argument(option, action="append", default=[], metavar="FILE", help=whose)
    logs.add_argument(
        "--config",
        metavar="FILE",
        help="settings with the windows of restart loops (default: the file in supervisord.d)",
    )
    logs.add_argument(
        "--rotated",
        action="store_true",
        help="also read the older files of each log: FILE.1, FILE-20261128.gz",
    )
    logs.add_argument(
        "--since",
        metavar="TIME",
        help="use lines from this time on: 2h (ago), or '2026-11-23 08:00' (default: all lines)",
    )
    logs.add_argument(
        "--until", metavar="TIME", help="use lines up to this time; TIME as for --since"
    )
    logs.add_argument(
        "--tz",
        metavar="ZONE",
        help="time zone of the logs, such as Europe/Berlin, UTC or +01:00 (default: that of this"
        " machine)",
    )


def refuse(options: argparse.Namespace) -> None:
    """Raise FpmListenerError for an option that only --logs has."""
    given = [name for name in _OPTIONS if getattr(options, name)]
    if given:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise FpmListenerError(f"explain: {names} needs --logs")
