"""What the processes of a silent pool show.

A title is text of others, so it counts only together with a socket or the name of the pool.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.host import fpm_titles, socket_users
from fpm_listener.phpfpm import pool_life
from fpm_listener.phpfpm.pool_life import SocketUser

if TYPE_CHECKING:
    from fpm_listener.host.listen_queue import ListenQueue
    from fpm_listener.phpfpm.pool_life import Life


def life(pool: str, queue: ListenQueue | None) -> Life:
    """Return whether a pool is alive; queue: of its socket, None = unknown."""
    users = None
    if queue is not None:
        users = socket_users.socket_users(queue.inode, fpm_titles.is_php_fpm)
    if users is None:  # another user's processes: titles and states are for everyone
        worker = fpm_titles.of_worker(pool)
        users = socket_users.processes(lambda title: title == worker)
    return pool_life.judge([SocketUser(*one) for one in users])
