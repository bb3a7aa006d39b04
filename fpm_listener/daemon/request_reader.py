"""Reads the longest requests of a pool from its status page, and the memory of their workers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fpm_listener.host import fpm_titles, procfs
from fpm_listener.phpfpm.worker_requests import PoolRequests, WorkerRequest, longest

if TYPE_CHECKING:
    from fpm_listener.phpfpm.status_entries import StatusPage
    from fpm_listener.phpfpm.status_page import PoolTarget


def read_requests(target: PoolTarget, page: StatusPage) -> PoolRequests:
    """Return the longest requests of this page. php-fpm reports no memory before their end."""
    found = longest(page, (target.status_path, target.ping_path))
    requests = tuple(_with_memory(one, target.pool) for one in found)
    return PoolRequests(target.pool, time.monotonic(), requests)


def _with_memory(request: WorkerRequest, pool: str) -> WorkerRequest:
    """Add the memory of the worker, if this pid is one here.

    In another pid namespace, the number belongs to another process or to none.
    """
    if not request.pid or procfs.title(request.pid) != fpm_titles.of_worker(pool):
        return request
    return request._replace(memory_bytes=procfs.resident_bytes(request.pid))
