"""The doctor's visit when the listener starts: in a child, so that its rules cost us no memory.

Laws:
1. A visit that fails is said, and changes nothing else.
2. What it finds is said once: errors each, the rest by number.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections import Counter
from typing import NamedTuple

from fpm_listener.status.snapshot import FindingView
from fpm_listener.supervisor.config_path import find_conf

log = logging.getLogger(__name__)

#: As in supervisord_conf.py: nothing is imported from the folder that supervisord stands in.
_CHILD = (
    "import sys, json; sys.path = json.loads(sys.argv[1]); "
    "from fpm_listener.__main__ import main; sys.exit(main(sys.argv[2:]))"
)
#: Seconds that a visit may take.
_PATIENCE_S = 60.0
#: Findings that are shown, and characters of each of their texts.
_SHOWN, _CHARACTERS = 50, 1000
_KEYS = FindingView._fields


class Examined(NamedTuple):
    """For the owner: how many findings there are, by severity, and the worst of them."""

    counts: dict[str, int]
    found: tuple[FindingView, ...] = ()


def visit(supervisord_pid: int) -> Examined | None:
    """Examine the configuration of the supervisord that runs; None where that cannot be done."""
    path = find_conf(supervisord_pid)
    if path is None:
        log.info("supervisord's configuration file was not found, and is not checked")
        return None
    words = ["check", "--json", "--supervisord-conf", path]
    command = [sys.executable, "-IBc", _CHILD, json.dumps(sys.path), *words]
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
        )
        findings = json.loads(done.stdout)
        found = [FindingView(*(one[key][:_CHARACTERS] for key in _KEYS)) for one in findings]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        log.warning("supervisord's configuration could not be checked why=%r", type(error).__name__)
        return None
    for one in findings:
        if one["severity"] == "error":
            log.error(
                "the configuration will break id=%s where=%r what=%r mend=%r",
                one["id"],
                one["where"],
                one["what"],
                one["mend"],
            )
    counts = Counter(one["severity"] for one in findings)
    log.info(
        "configuration checked errors=%s warnings=%s hints=%s more=%r",
        counts["error"],
        counts["warning"],
        counts["hint"],
        "fpm-listener check",
    )
    severities = {name: counts[name] for name in ("error", "warning", "hint")}
    return Examined(severities, tuple(found[:_SHOWN]))
