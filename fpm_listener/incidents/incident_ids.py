"""Ids of incidents: unique over all hosts, safe in headers and URLs, bounded in length.

Laws:
1. An id is made once, when the incident opens, and is saved with it. A restart keeps it.
2. The random part comes from outside: this module reads no source of randomness.
"""

from __future__ import annotations

import hashlib
import re

#: Characters of the longest id. A receiver may add `-` and a sequence number: PagerDuty takes 255.
LONGEST_ID = 230
_UNSAFE = re.compile(r"[^A-Za-z0-9._:@-]")
#: Characters of the time and the digest at the end of an id.
_DIGEST = 16


def incident_id(*names: str, started_at_s: float, token: str) -> str:
    """Return the id of an incident that opens now, in ASCII.

    names: where it happens, such as instance, supervisor, and `group:process`.
    started_at_s: wall seconds. token: random, at least 64 bits; may be the same for one listener.
    """
    moment = f"{started_at_s:.3f}"
    # A separator that no part contains, so that different parts give different texts.
    whole = "\0".join((*names, moment, token))
    digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:_DIGEST]
    end = f"/{moment}/{digest}"
    visible = "/".join(_UNSAFE.sub("_", name) for name in names)
    return visible[: LONGEST_ID - len(end)] + end
