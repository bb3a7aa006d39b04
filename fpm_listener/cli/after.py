"""`fpm-listener after php-fpm -- nginx …`: waits until php-fpm answers, then becomes nginx.

Laws:
1. It becomes the command: same pid and environment, and no further descriptor.
2. Any FastCGI answer of each pool counts. A pool that has answered is not asked again.
3. A stop ends the wait at once, also as PID 1.
4. It runs before each start of nginx, so it imports little.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from fpm_listener.cli import after_targets
from fpm_listener.cli.after_targets import Options
from fpm_listener.host import exec as host_exec
from fpm_listener.phpfpm import guard_command, ping
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Sequence

USAGE = (
    "fpm-listener after PROGRAM|ADDRESS [--timeout 30s] [--config FILE] [--supervisord-conf FILE]"
    " -- COMMAND..."
)
#: Exit status after the timeout: EX_TEMPFAIL, as of the guard.
NOT_IN_TIME = 75
#: Seconds for one question, and between two of them.
_QUESTION_S, _PAUSE_S, _LONGEST_PAUSE_S = 1.0, 0.02, 0.2
_OPTIONS = ("--timeout", "--config", "--supervisord-conf")


def run(words: Sequence[str]) -> int:
    """Become the command; or return the exit status. Raises FpmListenerError."""
    environment = host_exec.original_environment()
    options = parse(words)
    _let_signals_end_us()
    addresses = after_targets.find(options.program, options.supervisord_conf)
    missing = wait(addresses, time.monotonic() + options.timeout_s)
    if missing is not None:
        from fpm_listener.cli import after_timeout  # noqa: PLC0415 - law 4

        _say(after_timeout.sentence(options, *missing))
        return NOT_IN_TIME
    try:
        host_exec.become(options.command, environment)
    except OSError as error:
        status = host_exec.failed_status(error)
        _say(f"cannot execute {options.command[0]}: {error.strerror} (exit {status})")
        return status


def parse(words: Sequence[str]) -> Options:
    """Return the options. Raises FpmListenerError."""
    at = list(words).index("--") if "--" in words else len(words)
    rest, command = iter(words[:at]), tuple(words[at + 1 :])
    found: dict[str, str] = {}
    names: list[str] = []
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _OPTIONS:
            found[name] = value if equals else next(rest, "")
            if not found[name]:
                raise FpmListenerError(f"after: {name} needs a value; usage: {USAGE}")
        elif word.startswith("-"):
            raise FpmListenerError(f"after: {word!r} is not an option; usage: {USAGE}")
        else:
            names.append(word)
    if len(names) != 1 or not command:
        problem = "the command after -- is missing" if len(names) == 1 else "name one program"
        raise FpmListenerError(f"after: {problem}; usage: {USAGE}")
    timeout = found.get("--timeout", "30s")
    try:
        timeout_s = guard_command.wait_s(timeout)
    except ValueError as error:
        raise FpmListenerError(f"after: --timeout {timeout!r}: write {error}") from None
    return Options(
        names[0], command, timeout_s, found.get("--config"), found.get("--supervisord-conf")
    )


def wait(addresses: Sequence[str], deadline_s: float) -> tuple[str, str] | None:
    """Wait until each address answers; return the address that does not, and why not."""
    for address in addresses:
        pause_s = _PAUSE_S
        while True:
            question_ends_s = min(deadline_s, time.monotonic() + _QUESTION_S)
            pong = ping.ping(address, max(question_ends_s, time.monotonic() + _PAUSE_S))
            if pong.is_alive:
                break
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return address, pong.why
            time.sleep(min(pause_s, left_s))
            pause_s = min(_LONGEST_PAUSE_S, 1.5 * pause_s)
    return None


def _let_signals_end_us() -> None:
    """Let a stop end us; the kernel drops it for PID 1 unless there is a handler."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if os.getpid() == 1:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, _exit)


def _exit(number: int, _: object) -> NoReturn:
    os._exit(128 + number)


def _say(sentence: str) -> None:
    with suppress(OSError):  # a closed stderr changes no status
        os.write(2, f"fpm-listener after: {sentence}\n".encode("utf-8", "replace"))
