"""What the guard prints, and why it refuses to start php-fpm.

Each message is one line with a code that the listener reads; see phpfpm/guard_messages.py.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypeVar

from fpm_listener import durations
from fpm_listener.guard.bind import AddressState
from fpm_listener.phpfpm import guard_messages
from fpm_listener.phpfpm.guard_messages import GuardCode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from fpm_listener.guard.bind import Availability
    from fpm_listener.host.address_holders import HolderReport

Value = TypeVar("Value")

#: sysexits.h; php-fpm itself exits with 78 where waiting does not help.
EX_TEMPFAIL, EX_CONFIG = 75, 78
#: Unexpected errors that were printed, by step.
_reported: set[tuple[str, str]] = set()


class StartRefused(Exception):  # noqa: N818 - it is not an error of ours
    """php-fpm must not start; the text is the whole line."""

    def __init__(
        self, status: int, code: GuardCode, why: str, remedy: str = "", **fields: object
    ) -> None:
        """`why`: a clause; `remedy`: a sentence without its full stop."""
        self.status = status
        end = f". {remedy}" if remedy else ""
        sentence = f"{why}; php-fpm was not started (exit {status}){end}"
        super().__init__(guard_messages.write(code, sentence, **fields))


def say(code: GuardCode, sentence: str, **fields: object) -> None:
    """Print one message."""
    print_line(guard_messages.write(code, sentence, **fields))


def print_line(line: str) -> None:
    """Print one line on stderr; an error is ignored, because it must not keep php-fpm down."""
    if sys.stderr is None:
        return  # it was closed when we were started
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        return


def optional(step: str, work: Callable[[], Value], otherwise: Value) -> Value:
    """Return the result of a step; after an unexpected error, print it and return `otherwise`.

    So php-fpm starts. The text of the error is left out: it can quote a configuration.
    """
    try:
        return work()
    except StartRefused:
        raise
    except Exception as error:  # noqa: BLE001 - no error of ours keeps php-fpm down
        kind = type(error).__name__
        why = f"{kind}{_place(error)}"
        if (step, why) not in _reported:
            _reported.add((step, why))
            sentence = f"unexpected error in {step}: {why}; php-fpm is started anyway"
            say(GuardCode.UNEXPECTED_ERROR, sentence, step=step, error=kind)
        return otherwise


def _place(error: Exception) -> str:
    """Return where an error was raised, such as ` at guard.py:12`."""
    found = error.__traceback__
    while found is not None and found.tb_next is not None:
        found = found.tb_next
    if found is None:
        return ""
    return f" at {found.tb_frame.f_code.co_filename.rpartition('/')[2]}:{found.tb_lineno}"


def not_free_in_time(
    found: Availability,
    report: HolderReport | None,
    waited_s: float,
    *,
    address: str,
    conf_path: str,
    own_masters: Collection[int],
) -> StartRefused:
    """Return the refusal after a wait.

    report: who listens there; None = the search did not finish, or nobody can.
    own_masters: masters of this program that still run.
    """
    waited = f"waited {durations.short(round(waited_s, 1))}"
    if found.answer is not AddressState.BUSY:
        why = f"{address} is unavailable: {found.why}; {waited}"
        return StartRefused(EX_TEMPFAIL, GuardCode.ADDRESS_ABSENT, why, address=address)
    if report is None or not report.holders:
        unseen = "the search for it did not finish"
        remedy = ""
        if report is not None:
            from fpm_listener.host import holder_remedies  # noqa: PLC0415 - AddressWait has imported it

            unseen = report.blind or "no visible process has it"
            from fpm_listener.supervisor import command_search  # noqa: PLC0415 - the same

            tools = command_search.find_tools()
            remedy = f"Find the holder: {holder_remedies.look(address, tools)}"
        why = f"{address} is in use; the holder is unknown: {unseen}; {waited}"
        return StartRefused(EX_TEMPFAIL, GuardCode.BIND_CONFLICT, why, remedy, address=address)
    from fpm_listener.host import holder_remedies  # noqa: PLC0415 - the same

    first = report.holders[0]
    why = f"{address} is in use by {report}; {waited}"
    remedy = holder_remedies.free(report.holders, conf_path)
    if first.pid in own_masters and first.supervisor is None:
        why += "; it is this program's own php-fpm, which an earlier supervisord left running"
        remedy = f"Stop it: kill -QUIT {first.pid}"
    return StartRefused(
        EX_TEMPFAIL, GuardCode.BIND_CONFLICT, why, remedy, address=address, pid=first.pid
    )
