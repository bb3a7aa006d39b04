"""The command line: all commands except the guard's own parsing of its options."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from fpm_listener import __version__
from fpm_listener.cli import check, explain, output
from fpm_listener.phpfpm import guard_command
from fpm_listener.values import FpmListenerError

SNIPPET = """\
supervisord starts `fpm-listener listen`, which uses supervisord's event-listener protocol on stdin
and stdout. Write this to a file in supervisord's include directory (`fpm-listener init` writes it
for you), then run: supervisorctl update

    [eventlistener:fpm-listener]
    command=fpm-listener listen --config %(here)s/fpm_listener.conf
    events=PROCESS_STATE,PROCESS_LOG,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE
    buffer_size=1024
    priority=-50
    autorestart=true
    startretries=1000000

    [fpm-listener]
    listen = 127.0.0.1:19253

    [fpm-listener:receiver:ops]
    url_file = /etc/fpm-listener/ops.url

Then `fpm-listener status` shows the state. Metrics are at http://127.0.0.1:19253/metrics.
"""


#: How most commands take `--config`.
_CONFIG: dict[str, Any] = {
    "metavar": "FILE",
    "help": "the settings (default: the file in supervisord.d)",
}


class _Commands(argparse._SubParsersAction):  # type: ignore[type-arg]  # noqa: SLF001 - action=
    """Commands whose own help begins with the sentence that the list has about them."""

    def add_parser(self, name: str, *, help: str | None = None, **how: Any) -> Any:  # noqa: A002, ANN401 - argparse
        about = f"{help[:1].upper()}{help[1:]}." if help else None
        return super().add_parser(name, help=help, description=about, **how)


class _Parser(argparse.ArgumentParser):
    """A parser whose help on standard output is printed as the output of all commands."""

    def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401 - argparse
        if file is sys.stdout:
            output.write(message.rstrip("\n"))
        elif message:
            super()._print_message(message, file)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = _Parser(
        prog="fpm-listener",
        description="Watches php-fpm under supervisord: restart loops, causes, alerts.",
    )
    parser.add_argument("--version", action="version", version=f"fpm-listener {__version__}")
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", action=_Commands
    )
    listen = commands.add_parser(
        "listen", help="run as event listener of supervisord, in a section [eventlistener:NAME]"
    )
    listen.add_argument("--config", required=True, metavar="FILE", help="the settings")
    status = commands.add_parser("status", help="show the current state, problems first")
    status.add_argument(
        "--url",
        metavar="URL",
        help="URL of the listener (default: from its settings)",
    )
    status.add_argument(
        "--config",
        metavar="FILE",
        help="settings with address and authentication (default: the file in supervisord.d)",
    )
    status.add_argument("--json", action="store_true", help="print JSON instead of a table")
    status.add_argument(
        "--insecure",
        action="store_true",
        help="send a password or token over http://, in clear text",
    )
    guard = commands.add_parser(
        "guard",
        help="wait until the addresses of php-fpm are free, then become php-fpm",
        usage=f"%(prog)s {guard_command.USAGE}",
    )
    for option in guard_command.OPTIONS:  # printed only: the guard parses them itself
        default = f" (default: {option.default})" if option.default else ""
        how: dict[str, Any] = {"metavar": option.value}
        if option.value is None:
            how = {"action": "store_true"}
        guard.add_argument(f"--{option.name}", help=f"{option.help}{default}", **how)
    guard.add_argument("command", nargs="+", metavar="php-fpm", help="php-fpm and its arguments")
    _add_container_commands(commands)
    _add_init(commands)
    check.add_parser(commands)
    explain.add_parser(commands)
    _add_healthy(commands)
    _add_alerts(commands)
    leave = commands.add_parser(
        "leave", help="stop self-healing of a program until it is started by hand"
    )
    leave.add_argument("--config", **_CONFIG)
    leave.add_argument("program", metavar="PROGRAM", help="name, or group:name")
    unpack = commands.add_parser(
        "unpack", help="install fpm-listener.pyz in a directory, so that it starts faster"
    )
    unpack.add_argument("folder", metavar="DIR", help="a new directory")
    commands.add_parser("version", help="print the version")
    help_ = commands.add_parser("help", help="print the help of a command")
    help_.add_argument("topic", nargs="?", choices=sorted(commands.choices), metavar="COMMAND")
    help_.set_defaults(parsers={None: parser, **commands.choices})
    return parser


def _add_init(commands: argparse._SubParsersAction[Any]) -> None:
    init = commands.add_parser(
        "init", help="write the configuration files for this machine, or for an image"
    )
    init.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="include directory of supervisord (default: that of the system's package)",
    )
    init.add_argument(
        "--container",
        action="store_true",
        help="print what to add to the one supervisord.conf of an image, and to its Dockerfile",
    )
    image = init.add_argument_group("options of --container")
    for names, key, help_ in _CONTAINER:
        how: dict[str, Any] = {"metavar": key} if key else {"action": "store_true"}
        image.add_argument(*names, help=help_, **how)


_CONTAINER = (
    (("-c", "--conf"), "FILE", "supervisord.conf (default: the file that supervisord finds)"),
    (("--write",), "", "write the file; the old one is kept beside it"),
    (("--dockerfile",), "FILE", "Dockerfile of the image: its system, its user and its files"),
    (("--user",), "NAME", "user that supervisord starts as (default: USER of the Dockerfile)"),
    (("--path",), "PATH", "path of fpm-listener in the image (default: its path on this machine)"),
    (("--token-file",), "FILE", "serve metrics on every address, to clients with this token"),
    (("--textfile",), "FILE", "also write the metrics to this file"),
)


def is_container_init(options: argparse.Namespace) -> bool:
    """Return whether `init` is for an image. Raises FpmListenerError for a wrong mixture."""
    given = [
        names[-1] for names, *_ in _CONTAINER if getattr(options, names[-1][2:].replace("-", "_"))
    ]
    if options.container and options.folder:
        raise FpmListenerError("init --container changes one file: name it with -c, not as DIR")
    if given and not options.container:
        raise FpmListenerError(f"init: {', '.join(given)} needs --container")
    return bool(options.container)


def _add_healthy(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `healthy`, whose options `cli.healthy` parses: argparse costs it milliseconds."""
    healthy = commands.add_parser(
        "healthy",
        help="exit with 0 if php-fpm serves requests, otherwise with 1: for HEALTHCHECK and probes",
    )
    healthy.add_argument(
        "programs", nargs="*", metavar="PROGRAM", help="name, or group:name (default: each php-fpm)"
    )
    healthy.add_argument(
        "--direct", action="store_true", help="ask php-fpm itself; no listener is needed"
    )
    healthy.add_argument(
        "--supervisord-conf",
        metavar="FILE",
        help="with --direct: configuration of supervisord (default: that of the running one)",
    )
    healthy.add_argument(
        "--timeout", metavar="S", help="seconds within which a pool must accept (default: 5)"
    )
    healthy.add_argument(
        "--start-period",
        metavar="S",
        help="seconds during which a start counts as healthy (default: 0)",
    )
    healthy.add_argument(
        "--nagios", action="store_true", help="print as a Nagios plugin; exit with 0, 2 or 3"
    )
    healthy.add_argument("--config", **_CONFIG)


def _add_container_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `run` and `after`. They are printed only: both parse their words themselves."""
    run = commands.add_parser(
        "run",
        help="run supervisord as PID 1 of a container, and exit with 1 after on_fatal",
        usage="%(prog)s -- supervisord -n -c FILE",
    )
    run.add_argument("command", nargs="+", metavar="COMMAND", help="supervisord and its arguments")
    after = commands.add_parser(
        "after",
        help="wait until php-fpm answers, then become another command, such as nginx",
        usage="%(prog)s PROGRAM [--timeout 30s] [--config FILE] [--supervisord-conf FILE]"
        " -- COMMAND",
    )
    after.add_argument(
        "program",
        metavar="PROGRAM",
        help="name of a php-fpm in supervisord's configuration, or its address",
    )
    after.add_argument(
        "--timeout", metavar="30s", help="longest wait (default: 30s); then the exit status is 75"
    )
    after.add_argument("--config", metavar="FILE", help="the listener's settings")
    after.add_argument("--supervisord-conf", metavar="FILE", help="configuration of supervisord")
    after.add_argument("command", nargs="+", metavar="COMMAND", help="the command that it becomes")


def _add_alerts(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `alerts`; its options can be before and after the action."""
    as_json: dict[str, Any] = {
        "action": "store_true",
        "help": "with list: print JSON instead of a table",
    }
    alerts = commands.add_parser(
        "alerts", help="test a receiver; show, retry or drop undelivered alerts"
    )
    alerts.add_argument("--config", **_CONFIG)
    alerts.add_argument("--json", **as_json)
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", **_CONFIG)
    actions = alerts.add_subparsers(
        dest="action", required=True, metavar="ACTION", action=_Commands
    )
    test = actions.add_parser(
        "test", parents=[common], help="send a test alert now and show the result"
    )
    test.add_argument("name", metavar="NAME", help="name of the receiver")
    listing = actions.add_parser("list", parents=[common], help="show undelivered alerts")
    listing.add_argument("--json", default=argparse.SUPPRESS, **as_json)
    retry = actions.add_parser("retry", parents=[common], help="retry undelivered alerts now")
    retry.add_argument(
        "name", nargs="?", metavar="NAME", help="name of the receiver (default: all)"
    )
    drop = actions.add_parser(
        "drop", parents=[common], help="drop one alert, or all alerts of a receiver"
    )
    drop.add_argument(
        "which", metavar="NUMBER|NAME", help="a number that `list` shows, or the name of a receiver"
    )
