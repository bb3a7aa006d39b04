"""A start with held sockets: they come from the listener or are bound here, and stay held.

Law: php-fpm starts without held sockets if anything here fails.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from fpm_listener.guard import bind, fast_start, handover_client
from fpm_listener.guard.bind import Bound
from fpm_listener.guard.refusal import optional, say
from fpm_listener.host.addresses import TcpAddress
from fpm_listener.phpfpm.guard_messages import GuardCode

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.guard.address_wait import AddressWait
    from fpm_listener.guard.handover_client import Handover
    from fpm_listener.guard.options import Options
    from fpm_listener.guard.orphan_ender import OrphanEnder
    from fpm_listener.phpfpm.config import FpmConf
    from fpm_listener.phpfpm.listen_sockets import ListenSocketSpec
    from fpm_listener.supervisor.process import ProcessName


class SocketSet:
    """The sockets that php-fpm gets, each with its configuration, by key."""

    def __init__(self) -> None:
        self._sockets: dict[str, tuple[ListenSocketSpec, Bound]] = {}

    def add(self, spec: ListenSocketSpec, bound: Bound | None) -> None:
        """Add a socket, if there is one."""
        if bound is not None:
            self._sockets[bound.key] = (spec, bound)

    def has(self, spec: ListenSocketSpec) -> bool:
        """Return whether a socket for this address is there: two pools can share it."""
        return any(key in self._sockets for key in bind.keys(spec.address))

    def __len__(self) -> int:
        return len(self._sockets)

    @property
    def pairs(self) -> list[tuple[ListenSocketSpec, Bound]]:
        """Return the sockets with their configuration."""
        return list(self._sockets.values())

    @property
    def descriptors(self) -> list[int]:
        """Return their descriptors."""
        return [bound.fd for _, bound in self._sockets.values()]

    def close(self) -> None:
        """Close them."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self._sockets.clear()


class HeldStart:
    """Collects the sockets of one start."""

    def __init__(
        self,
        options: Options,
        state_dir: str,
        name: ProcessName,
        wait: AddressWait,
        ender: OrphanEnder,
    ) -> None:
        self._options = options
        self._state_dir = state_dir
        self._name = name
        self._wait = wait
        self._ender = ender
        self.sockets = SocketSet()

    def take_over(
        self,
        handover: Handover,
        specs: Sequence[ListenSocketSpec],
        watch: Callable[[], tuple[str, ...]],
    ) -> None:
        """Get every socket that php-fpm can inherit, and let the listener hold them.

        watch: returns the paths of `watched_paths`. Raises StartRefused.
        """
        for spec in specs:
            if not spec.unsupported:
                self.sockets.add(spec, handover.take(spec))
        # A held socket that no pool uses can be in the way: 0.0.0.0:9000 of 127.0.0.1:9000.
        kept = self._release_the_rest(handover) if handover.has_more else handover
        for spec in specs:
            if spec.unsupported:
                _leave_to_php_fpm(spec, spec.unsupported)
                self.sockets.add(spec, self._wait.wait_for(spec.address))
            elif not self.sockets.has(spec):
                self.sockets.add(spec, self._bind(spec))
        if kept is not None:
            is_whole = len(self.sockets) == len(specs)
            leave = partial(self._leave, kept, watch if is_whole else tuple)
            optional("the handover to the listener", leave, None)
        end = partial(self._ender.end_on_sockets, self.sockets.descriptors)
        optional("the end of orphans", end, None)

    def _release_the_rest(self, handover: Handover) -> Handover | None:
        """Let the listener hold only our sockets; return another conversation with it."""
        if handover.leave(self.sockets.pairs, "", ()):
            return None
        most = len(self.sockets)
        begun = handover_client.begin(self._state_dir, self._name, hold=True, most=most)
        if isinstance(begun, handover_client.HandoverRefused):
            return None
        begun.close_held()
        return begun

    def _leave(self, handover: Handover, watch: Callable[[], tuple[str, ...]]) -> None:
        watched = watch()
        stamp = fast_start.stamp(self._options.words, watched) if watched else ""
        if why := handover.leave(self.sockets.pairs, stamp, watched):
            say(GuardCode.NOT_HELD, f"listening sockets are not held: {why}")

    def _bind(self, spec: ListenSocketSpec) -> Bound | None:
        """Return a socket of our own; None where php-fpm has to make it."""
        while True:
            reclaimed = self._wait.wait_for(spec.address)
            if reclaimed is not None:
                return reclaimed
            bound = bind.bind(spec.address, backlog=spec.backlog, rights=spec.rights)
            if isinstance(bound, Bound):
                return bound
            if isinstance(bound, bind.NotOurs):
                _leave_to_php_fpm(spec, bound.why)
                return None
            # Another process was faster: wait again.


def _leave_to_php_fpm(spec: ListenSocketSpec, why: str) -> None:
    address = spec.address.text
    sentence = f"{address} is left to php-fpm, not held: {why}"
    say(GuardCode.LEFT_TO_PHP_FPM, sentence, address=address)


def watched_paths(
    options: Options, conf: FpmConf, specs: Sequence[ListenSocketSpec], binary: str
) -> tuple[str, ...]:
    """Return the paths that must be unchanged for a fast start; () = no fast start is possible."""
    folders = [pattern.rpartition("/")[0] for pattern in conf.includes]
    named = any(
        isinstance(spec.address, TcpAddress) and not spec.address.is_numeric for spec in specs
    )
    paths = (
        *((options.config,) if options.config else ()),
        *(conf.path, *conf.files, *folders, binary),
        *("/etc/passwd", "/etc/group"),  # owners of unix sockets
    )
    unsure = named or any(set(folder) & set("*?[") for folder in folders)
    if unsure or not all(path.startswith("/") for path in paths):
        return ()
    return tuple(dict.fromkeys(paths))
