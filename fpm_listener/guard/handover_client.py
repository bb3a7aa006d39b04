"""The guard's side of a handover: it gets the held sockets and leaves the new set.

Laws:
1. After any failure php-fpm starts: with sockets that the guard has bound, or without any.
2. php-fpm gets correct sockets only, because it checks nothing itself.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.guard import bind, handover_channel, socket_rights
from fpm_listener.guard.handover_messages import MOST_SOCKETS, Deposit, Done, Hello, Offer
from fpm_listener.host import procfs
from fpm_listener.host.addresses import UnixAddress

if TYPE_CHECKING:
    import _socket
    from collections.abc import Sequence

    from fpm_listener.guard.bind import Bound
    from fpm_listener.phpfpm.listen_sockets import ListenSocketSpec
    from fpm_listener.supervisor.process import ProcessName


#: Seconds that a listener needs to start while a machine boots, and the age up to which supervisord
#: is young. Its priority makes supervisord start the listener first, a moment before us.
LISTENER_START_S, _YOUNG_S = 1.0, 5.0
_STEP_S = 0.01
#: In the command of a listener.
_LISTENER = ("fpm-listener", "fpm_listener")


class HandoverRefused(NamedTuple):
    """The reason why nothing is held this time."""

    why: str
    answered: bool = False  #: by the listener
    masters: tuple[str, ...] = ()  #: recorded by the listener


class Handover:
    """An open conversation with the listener: we have copies of its held sockets."""

    def __init__(
        self, connection: _socket.socket, held: dict[str, int], masters: tuple[str, ...] = ()
    ) -> None:
        self._connection = connection
        self._held = held  # descriptors by key
        self.masters = masters  #: recorded by the listener

    @property
    def has_more(self) -> bool:
        """Return whether the listener holds sockets that this start does not use."""
        return bool(self._held)

    def close_held(self) -> None:
        """Close our copies of unused sockets."""
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    def close(self) -> None:
        """End the conversation, and close our copies of unused sockets."""
        self.close_held()
        self._connection.close()

    def take(self, spec: ListenSocketSpec) -> Bound | None:
        """Return the held socket for this address, with its present configuration; None = none."""
        for key in bind.keys(spec.address):
            fd = self._held.get(key)
            if fd is None:
                continue
            os.set_blocking(fd, True)
            if bind.flaw(fd, key) is not None:
                break
            # A failed change is ignored: php-fpm itself would change nothing.
            with contextlib.suppress(OSError, KeyError):
                bind.listen_again(fd, spec.backlog)
                if isinstance(spec.address, UnixAddress):
                    socket_rights.set_rights(spec.address.path, spec.rights)
            del self._held[key]
            return bind.Bound(key=key, fd=fd)
        return None

    def leave(
        self,
        sockets: Sequence[tuple[ListenSocketSpec, Bound]],
        stamp: str,
        watched: tuple[str, ...],
    ) -> str | None:
        """Let the listener hold exactly these sockets; return why it does not."""
        self.close_held()
        deposit = Deposit(
            stamp=stamp,
            watched=watched,
            keys=tuple(bound.key for _, bound in sockets),
            addresses=tuple(spec.address.text for spec, _ in sockets),
        )
        try:
            handover_channel.send(self._connection, deposit, [bound.fd for _, bound in sockets])
            handover_channel.receive(self._connection, Done)
        except (OSError, ValueError) as error:
            return f"the listener does not answer: {error}"
        finally:
            self._connection.close()
        return None


def _connect(state_dir: str, *, wait: bool) -> _socket.socket | OSError:
    """Return a connection; soon after a start of supervisord, wait for the listener."""
    patience_s = 0.0
    while True:
        try:
            return handover_channel.connect(state_dir)
        except TimeoutError as error:
            return error
        except OSError as error:
            if not wait or patience_s > LISTENER_START_S or not _supervisord_is_young():
                return error
        time.sleep(_STEP_S)
        patience_s += _STEP_S


def _supervisord_is_young() -> bool:
    found = procfs.read_stat(os.getppid())
    if found is None:
        return False
    ticks = time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK")
    return ticks - found.started < _YOUNG_S * os.sysconf("SC_CLK_TCK")


def listener_runs() -> bool:
    """Return whether our supervisord has started a listener; it may not listen yet."""
    program = procfs.program()
    try:
        siblings = procfs.children(program.ppid) if program is not None else []
    except OSError:
        return False
    return any(_is_listener(procfs.command_line(pid).split("\0")) for pid in siblings)


def _is_listener(words: Sequence[str]) -> bool:
    return "listen" in words and any(name in " ".join(words) for name in _LISTENER)


def begin(
    state_dir: str, name: ProcessName, *, hold: bool, most: int, wait: bool = False
) -> Handover | HandoverRefused:
    """Return the conversation with the listener.

    hold: False = it must release its sockets; most: sockets that there can be.
    wait: even without `hold`, soon after a start of supervisord.
    """
    if most > MOST_SOCKETS:
        hold = False
    connection = _connect(state_dir, wait=hold or wait)
    if isinstance(connection, OSError):
        return HandoverRefused(why=f"cannot reach the listener in {state_dir}: {connection}")
    try:
        handover_channel.send(connection, Hello(group=name.group, process=name.process, hold=hold))
        offer, descriptors = handover_channel.receive(connection, Offer)
    except (OSError, ValueError) as error:
        connection.close()
        return HandoverRefused(why=f"the listener does not answer: {error}")
    if offer.refused or not hold:
        connection.close()
        for fd in descriptors:
            os.close(fd)
        too_many = f"more than {MOST_SOCKETS} sockets" if most > MOST_SOCKETS else ""
        why = too_many or offer.refused or "not requested"
        return HandoverRefused(why=why, answered=True, masters=offer.masters)
    held = dict(zip(offer.keys, descriptors, strict=True))
    return Handover(connection, held, offer.masters)
