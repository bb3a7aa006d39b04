"""The listening sockets that a configuration of php-fpm asks for.

Law: a socket that we cannot make exactly as php-fpm would is left to php-fpm, with a reason.

Source: php-src sapi/fpm/fpm/fpm_sockets.c, fpm_unix.c, fpm_conf.c; tried with php-fpm 8.2.36.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.addresses import TcpAddress, UnixAddress, UnusableAddress
from fpm_listener.phpfpm.inherited_sockets import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.phpfpm.config import FpmConf, Pool

#: Defaults of listen.backlog: before PHP 8.2, and from then on (as many as the kernel allows).
_OLD_BACKLOG, _NEW_BACKLOG = 511, -1
_DEFAULT_MODE = 0o660


class Rights(NamedTuple):
    """Who may connect to a unix socket."""

    owner: str | None = None  #: name or number; None = the process that makes it
    group: str | None = None
    mode: int = _DEFAULT_MODE


class ListenSocketSpec(NamedTuple):
    """A listening socket that php-fpm would make."""

    address: TcpAddress | UnixAddress
    backlog: int = _NEW_BACKLOG  #: below 0 = as many as the kernel allows
    rights: Rights = Rights()
    unsupported: str | None = None  #: why php-fpm must make it itself; then ignore the rest


def specs(conf: FpmConf, version: tuple[int, ...] = ()) -> tuple[ListenSocketSpec, ...]:
    """Return the sockets that php-fpm would make, in its order, without unusable addresses.

    version: of php-fpm; () = unknown.
    """
    default = _OLD_BACKLOG if version and version < (8, 2) else _NEW_BACKLOG
    return tuple(spec for pool in conf.pools for spec in _of_pool(pool, default))


def _of_pool(pool: Pool, default: int) -> Iterator[ListenSocketSpec]:
    for address, backlog in (
        (pool.listen, pool.options.get("listen.backlog", str(default))),
        (pool.status_listen, str(default)),  # php-fpm copies the rights to it, not the backlog
    ):
        if address is None or isinstance(address, UnusableAddress):
            continue
        if why := _unsupported(address, pool.options, backlog):
            yield ListenSocketSpec(address=address, unsupported=why)
        elif isinstance(address, TcpAddress):
            yield ListenSocketSpec(address=address, backlog=int(backlog))
        else:
            rights = Rights(
                owner=pool.options.get("listen.owner") or None,
                group=pool.options.get("listen.group") or None,
                mode=int(pool.options.get("listen.mode") or "660", 8),
            )
            yield ListenSocketSpec(address=address, backlog=int(backlog), rights=rights)


def _unsupported(
    address: TcpAddress | UnixAddress, options: Mapping[str, str], backlog: str
) -> str | None:
    """Return why we cannot make this socket as php-fpm would."""
    if not re.fullmatch(r"-?[0-9]{1,9}", backlog):
        return f"listen.backlog = {backlog!r} is not a number"
    if options.get("listen.setfib"):
        return "listen.setfib is for FreeBSD"
    if isinstance(address, TcpAddress):
        return None
    if options.get("listen.acl_users") or options.get("listen.acl_groups"):
        return "access lists (listen.acl_users, listen.acl_groups) are php-fpm's own to set"
    if not re.fullmatch(r"0*[0-7]{1,3}|", options.get("listen.mode", "")):
        return f"listen.mode = {options['listen.mode']!r} is not an octal number up to 777"
    if set(address.path) & set(",="):
        return f"{VARIABLE} has no way to write a path with a comma or an equals sign"
    return None
