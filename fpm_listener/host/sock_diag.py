"""How many clients wait in the queue of a listening socket, from the kernel.

Laws:
1. No name is resolved, and nothing connects: no worker is needed.
2. A queue that cannot be read is a value with its reason, never 0.

Clients that have closed their connection stay in the queue until php-fpm accepts them.

Source: sock_diag(7). Measured on Linux 6.18, also as an ordinary user: 0.1 ms for a question about
all sockets, 0.01 ms for one about a socket that is known.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from fpm_listener.host import addresses, inet_diag, netlink, unix_diag
from fpm_listener.host.addresses import TcpAddress, UnixAddress
from fpm_listener.host.listen_queue import ListenQueue, NoQueue, Obstacle

if TYPE_CHECKING:
    from fpm_listener.host.netlink import Ask

_UNSUPPORTED = frozenset(
    {
        *(errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT, errno.ENOENT, errno.ENOSYS, errno.EINVAL),
        *(errno.EOPNOTSUPP, errno.ESOCKTNOSUPPORT),
    }
)


def queue(
    address: str, kernel: Ask = netlink.ask, *, last: ListenQueue | None = None
) -> ListenQueue | NoQueue:
    """Return the queue of the socket that listens on an address of php-fpm.

    address: as php-fpm's configuration has it; an abstract name begins with `@`.
    last: the answer of the last look: asking for one known socket is cheaper than for all.
    """
    where = addresses.parse(address)
    try:
        if isinstance(where, UnixAddress):
            return unix_diag.queue(where.path, kernel, last)
        if isinstance(where, TcpAddress):
            return inet_diag.queue(where, kernel, last)
        return NoQueue(Obstacle.NOT_VISIBLE, where.why)
    except OSError as error:
        return NoQueue(_obstacle(error), f"sock_diag: {error.strerror or error}")
    except (ValueError, struct.error) as error:
        return NoQueue(Obstacle.FAILED, f"sock_diag: {error}")


def _obstacle(error: OSError) -> Obstacle:
    if isinstance(error, PermissionError):
        return Obstacle.FORBIDDEN
    return Obstacle.UNSUPPORTED if error.errno in _UNSUPPORTED else Obstacle.FAILED
