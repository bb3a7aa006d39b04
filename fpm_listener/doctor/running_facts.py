"""A supervisord that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.host.memory_sizes import MemoryLimit, WorkerMemory


class MeasuredWorkers(NamedTuple):
    """The workers of php-fpm that run, and the limit that they share."""

    limit: MemoryLimit
    #: by php-fpm's configuration file and the name of the pool
    pools: Mapping[tuple[str, str], tuple[WorkerMemory, ...]]


class Running(NamedTuple):
    """A supervisord that runs."""

    pid: int
    #: None = this user may not read it
    environ: Mapping[str, str] | None = None
    uid: int | None = None
    loglevel: str | None = None  #: of -e
    measured: MeasuredWorkers | None = None  #: None = unknown
