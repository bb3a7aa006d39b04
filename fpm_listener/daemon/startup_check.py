"""Runs `check` once when the listener starts, in a child: its rules cost the listener no memory.

Laws:
1. A check that fails is logged, and has no other effect.
2. Findings are logged once: each error, and the number of the others.
3. What is true only now is left out: the page shows the findings until the next check.
"""

from __future__ import annotations

import json
import logging
import subprocess
from collections import Counter
from typing import NamedTuple

from fpm_listener.status.snapshot import FindingView
from fpm_listener.supervisor.config import child_command
from fpm_listener.supervisor.config_path import find_conf

log = logging.getLogger(__name__)

#: Seconds that a check may take.
_PATIENCE_S = 60.0
#: Findings that are shown, and characters of each of their texts.
_SHOWN, _CHARACTERS = 50, 1000
_KEYS = FindingView._fields
#: What runs differs from the file; another process has the address.
_ABOUT_NOW = frozenset({"FPM115", "FPM117"})


class ConfigChecked(NamedTuple):
    """For the main thread: the number of findings by severity, and the worst of them."""

    counts: dict[str, int]
    found: tuple[FindingView, ...] = ()


def run(supervisord_pid: int) -> ConfigChecked | None:
    """Check the configuration of the running supervisord; return None if that is impossible."""
    path = find_conf(supervisord_pid)
    if path is None:
        log.info("supervisord's configuration is not checked: its file was not found")
        return None
    words = ["check", "--json", "--supervisord-conf", path]
    try:
        done = subprocess.run(
            child_command("fpm_listener.__main__", *words),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
        )
        findings = [one for one in json.loads(done.stdout) if one["id"] not in _ABOUT_NOW]
        found = [FindingView(*(one[key][:_CHARACTERS] for key in _KEYS)) for one in findings]
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        log.warning("supervisord's configuration cannot be checked why=%r", type(error).__name__)
        return None
    for one in findings:
        if one["severity"] == "error":
            log.error(
                "error in the configuration id=%s where=%r what=%r fix=%r",
                one["id"],
                one["where"],
                one["what"],
                one["fix"],
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
    return ConfigChecked(severities, tuple(found[:_SHOWN]))
