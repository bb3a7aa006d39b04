"""Answers of opcache_status.php, and of servers that are no php-fpm."""

from __future__ import annotations

import json

import pytest

from fpm_listener.phpfpm.opcache import read

SCRIPT = "/x/opcache_status.php"
MARK = "\nfpm-listener-opcache "
ALL = {"loaded": True, "callable": True, "restricted": False}


def answer(**parts: object) -> str:
    """Return the body of an answer."""
    return f"Notice: printed before{MARK}{json.dumps({**ALL, **parts})}\nprinted later"


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (200, answer(loaded=False, callable=False), "PHP has no OPcache"),
        (200, answer(callable=False), "remove it from disable_functions"),
        (200, answer(restricted=True, status=None), "opcache.restrict_api forbids it"),
        (200, answer(status=None), "OPcache is disabled"),
        (200, answer(status={"file_cache_only": True}), "opcache.file_cache_only is on"),
        (200, f'{MARK}{{"failed":true}}', "a function that the script needs"),
        (200, "Hello", "check auto_prepend_file"),
        (200, f"{MARK}[1]", "cannot be read"),
        (200, MARK + "[" * 100_000, "cannot be read"),
        (403, "Access denied.\n", "must be able to read it"),
        (404, "File not found.\n", "check chroot"),
        (404, "No input file specified.\n", "add its directory to open_basedir"),
        (500, "", "status 500"),
    ],
)
def test_no_numbers(status: int, body: str, problem: str) -> None:
    """One message says why, and what to do."""
    view = read(status, body, SCRIPT)

    assert problem in view.problem
    assert not view.numbers


def test_hostile_numbers() -> None:
    """Only finite numbers of a sensible size count; php-fpm's own text can surround them."""
    memory = {"used_memory": 5, "free_memory": float("nan"), "wasted_memory": -1}
    statistics = {"hits": 10**40, "misses": True, "oom_restarts": "7", "num_cached_keys": 3}
    parts = {"opcache_enabled": True, "cache_full": True, "memory_usage": memory, "jit": []}
    view = read(200, answer(status={**parts, "opcache_statistics": statistics}), SCRIPT)

    assert view.numbers == {"memory_used": 5.0, "keys": 3.0}
    assert view.is_full
