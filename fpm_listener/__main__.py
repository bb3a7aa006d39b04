"""Arguments and dispatch: `fpm-listener listen|guard|init|check|status|alerts|help|version`.

Law: what a command needs is imported by that command, after fd 1 is safe: a listener says READY
before it loads the rest, and `version` loads nothing.
"""

from __future__ import annotations

import sys

from fpm_listener.stdout import protect_stdout

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

SNIPPET = """\
fpm-listener listen is started by supervisord, not by hand: it speaks supervisord's event-listener
protocol on stdin and stdout. Put this into a file of its own in supervisord.d/ (the project ships
supervisord.d/fpm_listener.conf), then type: supervisorctl update

    [eventlistener:fpm-listener]
    command=fpm-listener listen --config %(here)s/fpm_listener.conf
    events=PROCESS_STATE,PROCESS_LOG_STDERR,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE
    buffer_size=1024
    priority=-50
    autorestart=true
    startretries=1000000

    [fpm-listener]
    listen = 127.0.0.1:19253

    [fpm-listener:receiver:ops]
    url_file = /etc/fpm-listener/ops.url

Then `fpm-listener status` shows what it knows; its metrics are on http://127.0.0.1:19253/metrics.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    silent = False  # the listener, towards the quick start
    if words[:1] == ["guard"]:
        from fpm_listener import quickstart

        try:
            silent = quickstart.attempt(words[1:])
        except Exception:  # noqa: BLE001 - the guard begins again, and reports what it finds
            silent = False
    sink = protect_stdout() if words[:1] == ["listen"] else -1
    from fpm_listener.core.values import FpmListenerError

    try:
        if words[:1] == ["guard"] and words[1:] not in (["-h"], ["--help"]):
            return _guard(words[1:], listener_is_silent=silent)
        if words[:2] == ["listen", "--config"] and len(words) == 3:
            return _listen(words[2], sink)  # as supervisord calls it: argparse costs 1.4 MiB
        return _for_people(words, sink)
    except FpmListenerError as error:
        from fpm_listener import output

        output.complain(error)
        return 2


def _for_people(words: list[str], sink: int) -> int:
    """Run a command that prints something; return its exit status."""
    from fpm_listener import output

    output.prepare()
    try:
        options = _parser().parse_args(words)
        if options.command == "listen":
            return _listen(options.config, sink)
        return _COMMANDS[options.command](options)
    except output.PipeClosed:
        return output.PIPE_CLOSED
    except KeyboardInterrupt:
        return 130  # as a shell reports Ctrl-C


def _parser() -> argparse.ArgumentParser:
    import argparse

    from fpm_listener import __version__, output

    class Parser(argparse.ArgumentParser):
        """Prints what it prints on standard output as all commands do."""

        def _print_message(self, message: str, file: Any = None) -> None:  # noqa: ANN401 - argparse
            if file is sys.stdout:
                output.write(message.rstrip("\n"))
            elif message:
                super()._print_message(message, file)

    parser = Parser(
        prog="fpm-listener",
        description="Notices php-fpm restart loops under supervisord, says why, tells somebody.",
    )
    parser.add_argument("--version", action="version", version=f"fpm-listener {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listen = commands.add_parser("listen", help="run as an [eventlistener:...] of supervisord")
    listen.add_argument("--config", required=True, metavar="FILE", help="the settings")
    status = commands.add_parser("status", help="show what the listener knows now")
    status.add_argument(
        "--url",
        metavar="URL",
        help="where the listener serves (default: as its settings say)",
    )
    status.add_argument(
        "--config",
        metavar="FILE",
        help="its settings: where it serves, and what it wants to be told (default: the drop-in "
        "file)",
    )
    status.add_argument("--json", action="store_true", help="print JSON instead of a table")
    status.add_argument(
        "--insecure",
        action="store_true",
        help="send a password or token in clear text, if http:// is the only way",
    )
    guard = commands.add_parser(
        "guard",
        help="wait until php-fpm's addresses are free, and become php-fpm",
        usage="%(prog)s [--wait 2s] [--orphans quit|report] [--hold] [--config FILE] -- "
        "php-fpm ARGUMENTS",
    )
    guard.add_argument("--wait", metavar="2s", help="for the address, at most (default: 2s)")
    guard.add_argument(
        "--orphans",
        choices=("quit", "report"),
        help="what to do with workers that a dead master of this program has left (default: quit)",
    )
    guard.add_argument(
        "--hold",
        action="store_true",
        help="have the listener keep the listening sockets while php-fpm is away",
    )
    guard.add_argument("--config", metavar="FILE", help="the listener's settings")
    guard.add_argument("command", nargs="+", metavar="php-fpm", help="php-fpm and its arguments")
    init = commands.add_parser("init", help="write the files to drop in, for this machine")
    init.add_argument(
        "folder",
        nargs="?",
        metavar="DIR",
        help="that supervisord includes files from (default: the one of this system's package)",
    )
    check = commands.add_parser("check", help="find what will go wrong, before it does")
    check.add_argument(
        "--supervisord-conf",
        metavar="FILE",
        help="supervisord's configuration (default: where supervisord looks for it)",
    )
    form = check.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of text")
    form.add_argument(
        "--fix-preview",
        action="store_true",
        help="print what mends them as a diff, for patch -p0 -d /; nothing is written",
    )
    _add_alerts(commands)
    leave = commands.add_parser("leave", help="start a program no more by healing")
    leave.add_argument("--config", metavar="FILE", help="the settings (default: the drop-in file)")
    leave.add_argument("program", metavar="PROGRAM", help="name, or group:name")
    commands.add_parser("version", help="print the version")
    help_ = commands.add_parser("help", help="print the help of a command")
    help_.add_argument("topic", nargs="?", choices=sorted(commands.choices), metavar="COMMAND")
    help_.set_defaults(parsers={None: parser, **commands.choices})
    return parser


def _add_alerts(commands: argparse._SubParsersAction[Any]) -> None:
    """Add `alerts`; its options may stand before and after the action."""
    import argparse

    config: dict[str, Any] = {
        "metavar": "FILE",
        "help": "the settings (default: the drop-in file)",
    }
    as_json: dict[str, Any] = {
        "action": "store_true",
        "help": "of list: print JSON instead of a table",
    }
    alerts = commands.add_parser("alerts", help="try a receiver; show and mend what is owed")
    alerts.add_argument("--config", **config)
    alerts.add_argument("--json", **as_json)
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--config", **config)
    actions = alerts.add_subparsers(dest="action", required=True, metavar="ACTION")
    test = actions.add_parser(
        "test", parents=[common], help="send a test alert now, and show what came of it"
    )
    test.add_argument("name", metavar="NAME", help="of the receiver")
    listing = actions.add_parser("list", parents=[common], help="show what receivers are owed")
    listing.add_argument("--json", default=argparse.SUPPRESS, **as_json)
    retry = actions.add_parser(
        "retry", parents=[common], help="try again at once what waits for its retry"
    )
    retry.add_argument("name", nargs="?", metavar="NAME", help="of the receiver (default: all)")
    drop = actions.add_parser(
        "drop", parents=[common], help="give up an alert, or all that a receiver is owed"
    )
    drop.add_argument("which", metavar="NUMBER|NAME", help="as `list` shows them")


def _guard(words: list[str], *, listener_is_silent: bool) -> int:
    """Become php-fpm as soon as its addresses are free."""
    import os

    from fpm_listener import becoming

    if "SUPERVISOR_PROCESS_NAME" in os.environ:
        becoming.hurry()
    from fpm_listener import guard

    return guard.run(words, listener_is_silent=listener_is_silent)


def _listen(config: str, sink: int) -> int:
    """Run the listener until supervisord goes away."""
    import os

    from fpm_listener import settings
    from fpm_listener.listener import Pipe

    if os.isatty(0):
        print(SNIPPET, file=sys.stderr)
        return 2
    loaded = settings.load(config)
    _log_to_stderr(loaded.log_level)
    pipe = Pipe(0, sink)
    pipe.say_ready()  # before the rest is loaded: what waits in supervisord's buffer can be lost
    from fpm_listener import procfs, rendezvous
    from fpm_listener.door import Doors

    supervisord = procfs.supervisor_of(os.getpid()) or os.getppid()
    doors = Doors(str(loaded.state_dir), rendezvous.channel_name(supervisord))  # guards find us now
    from fpm_listener.daemon import Daemon

    return Daemon(loaded, pipe, doors).run()


def _log_to_stderr(level: str) -> None:
    """Log one line an event to stderr, which supervisord keeps."""
    import logging

    logging.raiseExceptions = False  # a broken stderr is no reason to stop watching
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )


def _status(options: argparse.Namespace) -> int:
    """Print what a running listener knows."""
    from fpm_listener import status_command

    return status_command.run(
        options.url,
        options.config,
        sys.stdout,
        as_json=options.json,
        insecure=options.insecure,
    )


def _check(options: argparse.Namespace) -> int:
    """Print what the doctor finds."""
    import os

    from fpm_listener import check, output
    from fpm_listener.core.values import FpmListenerError

    try:
        findings = check.check(check.find_conf(options.supervisord_conf), live=True)
    except FpmListenerError as error:
        raise check.could_not(error, os.environ) from error
    if options.json:
        output.write(check.to_json(findings))
    elif options.fix_preview:
        output.write_exactly(check.preview(findings))
        mended = sum(bool(one.edits) for one in findings)
        print(
            f"fpm-listener: this mends {mended} of {len(findings)} findings; the others need a"
            " decision: fpm-listener check says which",
            file=sys.stderr,
        )
    else:
        output.say(check.to_text(findings))
    return check.exit_status(findings)


def _alerts(options: argparse.Namespace) -> int:
    """Try a receiver, or show and mend what receivers are owed."""
    import json

    from fpm_listener import alerts_command, output
    from fpm_listener.core.values import FpmListenerError

    if options.json and options.action != "list":
        raise FpmListenerError("--json is an option of `fpm-listener alerts list`")
    _log_to_stderr("warning")
    settings = alerts_command.load(options.config)
    if options.action == "test":
        return alerts_command.test(settings, options.name, output.say)
    if options.action == "list":
        owed = alerts_command.listing(settings)
        output.say(json.dumps(owed, indent=2) if options.json else alerts_command.to_table(owed))
    elif options.action == "retry":
        output.say(f"{alerts_command.retry(settings, options.name)} alerts are tried again now")
    else:
        return alerts_command.drop_and_say(settings, options.which, output.say)
    return 0


def _leave(options: argparse.Namespace) -> int:
    """Have the listener leave a program alone."""
    from fpm_listener import alerts_command, leave_command, output

    _log_to_stderr("warning")
    output.say(leave_command.leave(alerts_command.load(options.config), options.program))
    return 0


def _init(options: argparse.Namespace) -> int:
    """Write the files to drop in."""
    from fpm_listener import init_command, output

    return init_command.write(options.folder, output.say)


def _version(_: argparse.Namespace) -> int:
    """Print the version."""
    from fpm_listener import __version__, output

    output.say(f"fpm-listener {__version__}")
    return 0


def _help(options: argparse.Namespace) -> int:
    """Print the help, or that of one command."""
    options.parsers[options.topic].print_help()
    return 0


_COMMANDS = {
    "status": _status,
    "init": _init,
    "check": _check,
    "alerts": _alerts,
    "leave": _leave,
    "version": _version,
    "help": _help,
}

if __name__ == "__main__":
    sys.exit(main())
