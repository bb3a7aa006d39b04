"""Ids of incidents: unique over all hosts, safe in headers and URLs, bounded in length.

Laws:
1. An id is made once, when the incident opens, and is saved with it. A restart keeps it.
2. The random part comes from outside: this module reads no source of randomness.
"""

from __future__ import annotations

import re

#: Characters of the longest id. A receiver may add `-` and a sequence number: PagerDuty takes 255.
LONGEST_ID = 230
_UNSAFE = re.compile(r"[^A-Za-z0-9._:@-]")
#: FNV-1a with 64 bits (RFC 9923). hashlib would need 4 MiB, and its import could fail at the alert.
_FNV_START, _FNV_PRIME, _64_BITS = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def incident_id(*names: str, started_at_s: float, token: str) -> str:
    """Return the id of an incident that opens now, in ASCII.

    names: where it happens, such as instance, supervisor, and `group:process`.
    started_at_s: wall seconds. token: random, at least 64 bits; may be the same for one listener.
    """
    moment = f"{started_at_s:.3f}"
    # A separator that no part contains, so that different parts give different texts.
    whole = "\0".join((*names, moment, token))
    end = f"/{moment}/{_digest(whole.encode('utf-8', 'replace')):016x}"
    visible = "/".join(_UNSAFE.sub("_", name) for name in names)
    return visible[: LONGEST_ID - len(end)] + end


def _digest(data: bytes) -> int:
    """Return a number that differs for different data: unique, and not secret."""
    number = _FNV_START
    for byte in data:
        number = (number ^ byte) * _FNV_PRIME & _64_BITS
    return number
