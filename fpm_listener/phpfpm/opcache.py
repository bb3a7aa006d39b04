"""Reads the numbers of OPcache from the answer of opcache_status.php.

All pools of one php-fpm share one OPcache.

Source: opcache_get_status of php 8.2; php-src ext/opcache/zend_accelerator_module.c of 7.4 to 8.5.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


#: The FastCGI parameter without which the script prints nothing.
PARAMETER = "FPM_LISTENER_OPCACHE"

_MARK = "\nfpm-listener-opcache "
_OK, _FORBIDDEN, _NOT_FOUND = 200, 403, 404
_LARGEST = 1 << 64
#: Characters of the answer that are read; php 8.2 needs about 1000.
_LONGEST = 1 << 16

#: Our names of the numbers, and where they are in the answer.
NUMBERS = {
    "memory_used": ("memory_usage", "used_memory"),
    "memory_free": ("memory_usage", "free_memory"),
    "memory_wasted": ("memory_usage", "wasted_memory"),
    "hits": ("opcache_statistics", "hits"),
    "misses": ("opcache_statistics", "misses"),
    "scripts": ("opcache_statistics", "num_cached_scripts"),
    "keys": ("opcache_statistics", "num_cached_keys"),
    "max_keys": ("opcache_statistics", "max_cached_keys"),
    "restarts_oom": ("opcache_statistics", "oom_restarts"),
    "restarts_hash": ("opcache_statistics", "hash_restarts"),
    "restarts_manual": ("opcache_statistics", "manual_restarts"),
    "strings": ("interned_strings_usage", "number_of_strings"),
    "strings_used": ("interned_strings_usage", "used_memory"),
    "strings_free": ("interned_strings_usage", "free_memory"),
    "jit_size": ("jit", "buffer_size"),
    "jit_free": ("jit", "buffer_free"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcacheView:
    """The OPcache of one php-fpm, as one reading shows it."""

    numbers: Mapping[str, float] = field(default_factory=dict)  #: by NUMBERS' names
    is_full: bool = False
    problem: str = ""  #: why there are no numbers, and what to do; a clause

    def number(self, name: str) -> float | None:
        """Return one number; None = unknown."""
        return self.numbers.get(name)

    @property
    def jit_used(self) -> float | None:
        """Return the used bytes of the JIT buffer; None without a buffer."""
        size, free = self.numbers.get("jit_size"), self.numbers.get("jit_free")
        return None if not size or free is None else max(0.0, size - free)


def read(status_code: int, body: str, script: str, hint: str = "") -> OpcacheView:
    """Return what php-fpm's answer to the request for `script` shows.

    hint: a clause about access to the script; empty = nothing is known.
    """
    _, found, text = ("\n" + body).rpartition(_MARK)
    if status_code != _OK or not found:
        return OpcacheView(problem=_refusal(status_code, body, script, hint))
    line = text.partition("\n")[0]
    try:
        parts = json.loads(line) if len(line) <= _LONGEST else None
    except (ValueError, RecursionError):
        parts = None
    if not isinstance(parts, dict):
        return OpcacheView(problem="the answer of opcache_status.php cannot be read")
    status = parts.get("status")
    if not isinstance(status, dict):
        return OpcacheView(problem=_absence(parts, script))
    if status.get("file_cache_only") is True:
        why = "opcache.file_cache_only is on: OPcache has no shared memory, and no numbers"
        return OpcacheView(problem=why)
    if status.get("opcache_enabled") is not True:
        return OpcacheView(problem=_DISABLED)
    return OpcacheView(numbers=_numbers(status), is_full=status.get("cache_full") is True)


_DISABLED = (
    "OPcache is disabled; set opcache.enable = 1 in php.ini and the pool, then restart php-fpm"
)


def _absence(parts: Mapping[str, object], script: str) -> str:
    if parts.get("failed") is True:
        return "a function that the script needs does not exist; see disable_functions of the pool"
    if parts.get("loaded") is not True:
        return "PHP has no OPcache; install the extension (php-opcache) or set opcache_status = off"
    if parts.get("callable") is not True:
        return "PHP has no opcache_get_status; remove it from disable_functions"
    if parts.get("restricted") is True:
        return (
            "opcache.restrict_api forbids it; remove opcache.restrict_api from php.ini, or set it "
            f"to {script}"
        )
    return _DISABLED


def _refusal(status_code: int, body: str, script: str, hint: str) -> str:
    """Return what php-fpm's own answer means (measured with php-fpm 8.2)."""
    is_hidden = status_code == _FORBIDDEN or "File not found" in body
    if hint and is_hidden and status_code in {_FORBIDDEN, _NOT_FOUND}:
        return f"the user of the pool cannot read {script}: {hint}; install fpm-listener elsewhere"
    if status_code == _FORBIDDEN:
        return (
            f"php-fpm may not run {script}; the user of the pool must be able to read it, and "
            "security.limit_extensions must contain .php"
        )
    if status_code == _NOT_FOUND and "File not found" in body:
        return (
            f"php-fpm does not find {script}; check chroot, and whether php-fpm sees other files "
            "than fpm-listener (another container)"
        )
    if status_code == _NOT_FOUND:
        return (
            f"php-fpm may not open {script}; add its directory to open_basedir of the pool, and "
            "check doc_root"
        )
    return (
        f"php-fpm answers with status {status_code} and without numbers; check auto_prepend_file "
        "of the pool, and php-fpm's log"
    )


def _numbers(status: Mapping[str, object]) -> dict[str, float]:
    numbers = {}
    for name, (part, key) in NUMBERS.items():
        group = status.get(part)
        value = group.get(key) if isinstance(group, dict) else None
        # No comparison is true for NaN.
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and 0 <= value <= _LARGEST
        ):
            numbers[name] = float(value)
    return numbers
