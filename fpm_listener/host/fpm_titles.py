"""The titles that php-fpm gives its processes.

Law: each process can write any title, so a title alone proves nothing.

Source: sapi/fpm/fpm/fpm_env.c of 7.4 to 8.5. php-fpm writes them over its command line. A title
that does not fit is cut.
"""

from __future__ import annotations

MASTER, WORKER = "php-fpm: master process", "php-fpm: pool "

#: Characters of the longest path.
_LONGEST = 4000


def config_of(title: str) -> str | None:
    """Return the configuration that a master names, as it was given; None = another title."""
    before = f"{MASTER} ("
    path = title[len(before) :].rpartition(")")[0] if title.startswith(before) else ""
    return path if 0 < len(path) <= _LONGEST and min(path) > "\x1f" else None


def pool_of(title: str) -> str | None:
    """Return the pool of a worker; None = another title."""
    return title.removeprefix(WORKER) or None if title.startswith(WORKER) else None


def of_worker(pool: str) -> str:
    """Return the title of the workers of a pool."""
    return WORKER + pool


def is_php_fpm(title: str) -> bool:
    """Return whether php-fpm gives its processes such titles."""
    return title.startswith((WORKER, MASTER))
