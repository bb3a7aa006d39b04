"""Arguments and dispatch: `fpm-listener listen|guard|run|after|init|check|explain|status|alerts|…`.

Law: each command imports its modules itself, after fd 1 is safe. So a listener says READY before
it loads the rest, and `version` loads nothing.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; return the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    silent = False  # whether the listener did not answer the fast start
    if words[:1] == ["guard"]:
        _raise_priority()  # first: on a busy machine the imports are most of the work
        from fpm_listener.guard import fast_start

        try:
            silent = fast_start.attempt(words[1:])
        except Exception:  # noqa: BLE001 - the guard starts again, and reports what it finds
            silent = False
    if words[:1] == ["healthy"] and not {"-h", "--help"} & {*words}:
        from fpm_listener.cli import healthy

        return healthy.run(words[1:])
    sink = -1
    if words[:1] == ["listen"]:
        from fpm_listener.supervisor.stdout import protect_stdout

        sink = protect_stdout()
    from fpm_listener.values import FpmListenerError

    try:
        if words[:1] == ["guard"] and words[1:] not in (["-h"], ["--help"]):
            return _guard(words[1:], listener_is_silent=silent)
        if words[:1] == ["run"] and words[1:] not in (["-h"], ["--help"]):
            from fpm_listener.cli import run

            return run.run(words[1:])
        if words[:1] == ["after"] and words[1:] not in (["-h"], ["--help"]):
            from fpm_listener.cli import after

            return after.run(words[1:])
        if words[:2] == ["listen", "--config"] and len(words) == 3:
            return _listen(words[2], sink)  # as supervisord calls it: argparse costs 1.4 MiB
        return _for_people(words, sink)
    except FpmListenerError as error:
        from fpm_listener.cli import output

        output.complain(error)
        return 2


def _for_people(words: list[str], sink: int) -> int:
    """Run a command that prints something; return its exit status."""
    from fpm_listener.cli import arguments, output

    output.prepare()
    try:
        options = arguments.make_parser().parse_args(words)
        if options.command == "listen":
            return _listen(options.config, sink)
        return _COMMANDS[options.command](options)
    except output.PipeClosed:
        return output.PIPE_CLOSED
    except KeyboardInterrupt:
        return 130  # as a shell reports Ctrl-C


def _raise_priority() -> None:
    """Raise the priority of a guard that supervisord has started."""
    import os

    from fpm_listener.host import exec as host_exec

    if "SUPERVISOR_PROCESS_NAME" in os.environ:
        host_exec.raise_priority()


def _guard(words: list[str], *, listener_is_silent: bool) -> int:
    """Become php-fpm as soon as its addresses are free."""
    from fpm_listener.guard import guard

    return guard.run(words, listener_is_silent=listener_is_silent)


def _listen(config: str, sink: int) -> int:
    """Run the listener until supervisord goes away."""
    import contextlib
    import os

    if os.isatty(0):
        from fpm_listener.cli.arguments import SNIPPET

        print(SNIPPET, file=sys.stderr)
        return 2
    from fpm_listener.settings import settings
    from fpm_listener.supervisor.pipe import Pipe

    loaded = settings.load(config)
    _log_to_stderr(loaded.log_level)
    pipe = Pipe(0, sink)
    pipe.say_ready()  # before the rest is loaded: what waits in supervisord's buffer can be lost
    from fpm_listener.daemon.unix_listener import GuardSockets
    from fpm_listener.guard import handover_channel
    from fpm_listener.host.fallback_directory import StateDirectory, fallbacks

    directory = StateDirectory(loaded.state_dir, fallbacks(os.environ))
    with contextlib.suppress(OSError):
        directory.choose()  # otherwise the database reports it
    # Guards find us now.
    sockets = GuardSockets(directory, handover_channel.own_channel_name())
    from fpm_listener.daemon.daemon import Daemon

    return Daemon(loaded, pipe, sockets).run()


def _log_to_stderr(level: str) -> None:
    """Log to stderr, which supervisord keeps in a file."""
    import logging

    logging.raiseExceptions = False  # a broken stderr must not stop the listener
    logging.basicConfig(
        level=level.upper(),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(message)s",
    )


def _status(options: argparse.Namespace) -> int:
    """Print the state of a running listener."""
    from fpm_listener.cli import status

    return status.run(
        options.url,
        options.config,
        sys.stdout,
        as_json=options.json,
        insecure=options.insecure,
    )


def _check(options: argparse.Namespace) -> int:
    """Print the findings of `check`."""
    from fpm_listener.cli import check

    return check.run(options)


def _explain(options: argparse.Namespace) -> int:
    """Explain rules of `check` and causes of incidents."""
    from fpm_listener.cli import explain

    return explain.run(options)


def _alerts(options: argparse.Namespace) -> int:
    """Test a receiver, or show and change undelivered alerts."""
    import json

    from fpm_listener.cli import alerts, output
    from fpm_listener.values import FpmListenerError

    if options.json and options.action != "list":
        raise FpmListenerError("--json is an option of `fpm-listener alerts list` only")
    _log_to_stderr("warning")
    settings = alerts.load(options.config)
    if options.action == "test":
        return alerts.test(settings, options.name, output.say)
    if options.action == "drop":
        return alerts.drop(settings, options.which, output.say)
    if options.action == "retry":
        output.say(alerts.retry(settings, options.name))
    else:
        found = alerts.listing(settings)
        output.say(json.dumps(found, indent=2) if options.json else alerts.to_table(found))
    return 0


def _leave(options: argparse.Namespace) -> int:
    """Stop self-healing of a program."""
    from fpm_listener.cli import alerts, output

    _log_to_stderr("warning")
    output.say(alerts.leave(alerts.load(options.config), options.program))
    return 0


def _init(options: argparse.Namespace) -> int:
    """Write the two configuration files, or change the one file of an image."""
    from fpm_listener.cli import arguments, init, output

    if arguments.is_container_init(options):
        from fpm_listener.cli import container

        own = {name: getattr(options, name) for name in container.Options._fields}
        return container.run(container.Options(**own), output.say, output.write_exactly)
    return init.write(options.folder, output.say)


def _unpack(options: argparse.Namespace) -> int:
    """Install the one file as files, for a fast start."""
    from fpm_listener.cli import output, unpack

    return unpack.run(options.folder, output.say)


def _version(_: argparse.Namespace) -> int:
    """Print the version."""
    from fpm_listener import __version__
    from fpm_listener.cli import output

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
    "explain": _explain,
    "alerts": _alerts,
    "leave": _leave,
    "unpack": _unpack,
    "version": _version,
    "help": _help,
}

if __name__ == "__main__":
    sys.exit(main())
