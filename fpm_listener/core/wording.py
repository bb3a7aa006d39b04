"""What people read in an alert: what is wrong, and in one sentence what to do."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fpm_listener.core.holders import Holder, HolderKind
from fpm_listener.core.snapshot import Cause
from fpm_listener.core.values import assert_never

if TYPE_CHECKING:
    from fpm_listener.core.exits import ExitReason
    from fpm_listener.core.holders import HolderReport
    from fpm_listener.core.values import ProcessName


#: Our own listener, as its command line stands.
_LISTENER = re.compile(r"fpm[-_]listener listen\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plight:
    """What is known of an incident, before it is put into words."""

    name: ProcessName
    cause: Cause
    gave_up: bool
    address: str | None
    holder: HolderReport | None  #: of the address, where that is the cause
    last_exit: ExitReason | None
    failed_lives: int


def sentences(plight: Plight, *, over: bool) -> dict[str, str]:
    """Return what is read first of an alert, by the names of its annotations."""
    return {
        "summary": _well_again(plight) if over else summary(plight),
        "description": _description(plight),
        "remedy": "There is nothing to do any more" if over else remedy(plight),
    }


def summary(plight: Plight) -> str:
    """Return one line: which program, what happens to it, and why."""
    what = "supervisord gave up on it" if plight.gave_up else "it keeps failing"
    return f"{plight.name}: {_why(plight)}; {what}"


def _well_again(plight: Plight) -> str:
    was = _why(plight)
    return f"{plight.name}: well again, or stopped by its operator; the trouble was: {was}"


def _description(plight: Plight) -> str:
    last = "" if plight.last_exit is None else f" Its last end: {how(plight.last_exit)}."
    return f"{plight.failed_lives} failed lives in this incident.{last}"


def _why(plight: Plight) -> str:
    address, last_exit = plight.address, plight.last_exit
    match plight.cause:
        case Cause.BIND_CONFLICT:
            return f"{address or 'its listen address'} is taken{_by(plight.holder)}"
        case Cause.ADDRESS_ABSENT:
            return f"{address or 'its listen address'} is on no interface of this host"
        case Cause.UNKNOWN_USER:
            return "a user or group in its configuration does not exist"
        case Cause.MISSING_PATH:
            return "a folder that it needs is missing"
        case Cause.PERMISSION:
            return "it is not allowed to open its address, socket, pid file or log"
        case Cause.CONFIG_ERROR:
            return "php-fpm refuses its configuration"
        case Cause.CRASH_SIGNAL:
            return f"it dies{_how(last_exit)}"
        case Cause.RESTART_LOOP:
            return f"it dies and is restarted again and again{_how(last_exit)}"
        case Cause.GAVE_UP:
            return f"it does not run and will not be started again{_how(last_exit)}"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def _by(holder: HolderReport | None) -> str:
    if holder is None:
        return ""
    if holder.holders:
        return f" by {holder}"
    return f"; by whom is not known: {holder.blind}" if holder.blind else ", though not any more"


def _how(last_exit: ExitReason | None) -> str:
    return f" ({how(last_exit)})" if last_exit else ""


def how(last_exit: ExitReason) -> str:
    """Return how a process ended: `killed by SIGKILL`, `exit status 78`."""
    if last_exit.signal is not None:
        return f"killed by {signal_name(last_exit.signal)}"
    return f"exit status {last_exit.status}"


def signal_name(number: int) -> str:
    """Return `SIGKILL` for 9, and `signal 99` for a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def remedy(plight: Plight) -> str:
    """Return one sentence that says what to do, ready to type."""
    sentence = _cure(plight)
    if plight.gave_up:
        return f"{sentence}, then type: supervisorctl start {plight.name}"
    return sentence


def _cure(plight: Plight) -> str:
    match plight.cause:
        case Cause.BIND_CONFLICT:
            if plight.holder and plight.holder.holders:
                return end(plight.holder.holders[0])
            return f"Find who has the address: {look(plight.address)}"
        case Cause.ADDRESS_ABSENT:
            return "Bring the address up (ip addr), or change `listen` in the php-fpm pool"
        case Cause.UNKNOWN_USER:
            return "Create the user or group, or correct it in the php-fpm pool (see the evidence)"
        case Cause.MISSING_PATH:
            return "Create the folder that the evidence names (after a reboot /run is empty)"
        case Cause.PERMISSION:
            return "Give php-fpm's user access to what the evidence names"
        case Cause.CONFIG_ERROR:
            return "Correct the configuration where the evidence points; php-fpm -t checks it"
        case Cause.CRASH_SIGNAL:
            return (
                "Look for its killer: SIGKILL is often the kernel's out-of-memory killer "
                "(dmesg), SIGSEGV an extension of PHP"
            )
        case Cause.RESTART_LOOP | Cause.GAVE_UP:
            return f"Read what it said last: supervisorctl tail {plight.name} stderr"
        case _ as never:  # pragma: no cover
            return assert_never(never)


def end(holder: Holder) -> str:
    """Return one sentence that says how to have the address back from its holder."""
    if is_our_listener(holder):
        return (
            "Wait some seconds: the listener holds it for a program that was stopped, and lets go "
            "of it by itself (hold_linger)"
        )
    pids = " ".join(str(pid) for pid in (holder.pid, *holder.others))
    if holder.kind is HolderKind.ORPHAN:
        return f"End the orphaned workers, which finish their requests first: kill -QUIT {pids}"
    if holder.unit:
        return f"Stop the other service for good: systemctl disable --now {holder.unit}"
    if holder.kind is HolderKind.MASTER:
        return (
            f"Stop the other php-fpm (kill -QUIT {holder.pid}), and find out what starts it: "
            "a distribution's service, or daemonize = yes"
        )
    return f"Stop pid {holder.pid}, or give php-fpm another address"


def is_our_listener(holder: Holder) -> bool:
    """Return whether a holder is our own listener, which keeps sockets for a while."""
    return _LISTENER.search(holder.command) is not None


def look(address: str | None) -> str:
    """Return how to see who has an address."""
    return f"{look_command(address)}, as root"


def look_command(address: str | None) -> str:
    """Return the command that shows who has an address."""
    if not address:
        return "ss -lxtnp"
    if "/" in address:
        return f"ss -lxp src {address}"
    return f"ss -ltnp 'sport = :{address.rpartition(':')[2]}'"
