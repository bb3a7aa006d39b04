"""Texts that the terminal and the page share: headline, notes, timeline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fpm_listener.durations import age, short
from fpm_listener.incidents import size_texts
from fpm_listener.incidents.size_en import SIZES
from fpm_listener.phpfpm.pool_capacity import Capacity, Unknown

if TYPE_CHECKING:
    from fpm_listener.status.document import Document


def count(number: int, name: str) -> str:
    """Return `1 program`, `2 programs`."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def headline(document: Document) -> tuple[str, str]:
    """Return the overall state in a few words, and its tone: ok, warn, bad or idle."""
    programs = document["programs"]
    if not programs:
        ready = document["listener"]["ready"]
        return ("No programs are monitored" if ready else "The programs are not known yet"), "idle"
    total = count(len(programs), "program")
    # A program that was FATAL when the listener started has no incident.
    failing = [one for one in programs if one["incident"] or one["state"] == "FATAL"]
    bad = [one for one in failing if recovery(one) is None]
    if bad:
        urgent = any(
            not one["incident"] or one["incident"]["severity"] == "critical" for one in bad
        )
        verb = "has a problem" if len(bad) == 1 else "have problems"
        return f"{len(bad)} of {total} {verb}", "bad" if urgent else "warn"
    if failing:
        return (
            f"{len(failing)} of {total} {'is' if len(failing) == 1 else 'are'} recovering",
            "warn",
        )
    is_running = all(one["state"] == "RUNNING" for one in programs)
    if len(programs) == 1:
        words = "The program is running" if is_running else "The program has no problem"
    else:
        words = f"All {total} are running" if is_running else f"None of {total} has a problem"
    if notes(document) or any(receiver["failing"] for receiver in document["receivers"]):
        return f"{words}, but see below", "warn"
    return words, "ok"


def worst_first(programs: list[Document]) -> list[Document]:
    """Return the programs, those with problems first: there may be hundreds."""

    def place(program: Document) -> tuple[int, bool, bool]:
        incident = program["incident"]
        order = 2 if not incident else 0 if incident["severity"] == "critical" else 1
        return order, program["state"] not in {"FATAL", "BACKOFF"}, not has_bad_pool(program)

    return sorted(programs, key=place)


def has_bad_pool(program: Document) -> bool:
    """Return whether a pool is saturated or does not answer."""
    return any(pool["saturated"] or pool["up"] is False for pool in program["pools"])


def recovery(program: Document) -> str | None:
    """Return when a program recovered, and when its incident is resolved; None = neither."""
    incident = program["incident"]
    if not incident or incident.get("recovering_at_s") is None:
        return None
    if_lasts = {"RUNNING": "if it keeps running", "STOPPED": "if it stays stopped"}
    since, until = (
        time.strftime("%H:%M:%S", time.localtime(incident[key]))
        for key in ("recovering_at_s", "resolves_at_s")
    )
    condition = if_lasts.get(program["state"], "if this state lasts")
    return f"recovering since {since}, will be resolved at {until} {condition}"


_TIMELINE = {
    "failed": "failed",
    "exited": "exited",
    "stopped": "stopped by an operator",
    "started": "started again",
    "healed": "started by self-healing",
    "paused": "stopped by self-healing for a while, because of a restart loop",
    "shutdown": "failed for good: self-healing shuts supervisord down",
    "incident": "incident",
    "changed": "incident changed",
    "worse": "incident got worse",
    "resolved": "incident resolved",
    "listener": "the listener started",
    "supervisord": "supervisord started",
    "supervisord_ends": "supervisord began to stop all programs",
}


def timeline_text(entry: Document) -> str:
    """Return what an entry of the timeline says, without its program and time."""
    text = _TIMELINE.get(entry["what"]) or str(entry["what"])
    if entry["away_s"] is not None:
        at_most = "at most " if entry["count"] > 1 else ""
        text += f" after {at_most}{short(entry['away_s'])}"
    if entry["detail"]:
        text += f": {entry['detail']}"
    return text + (f" ({entry['count']} times)" if entry["count"] > 1 else "")


def pool_load(pool: Document) -> str:
    """Return how busy a pool is."""
    if pool["up"] is False:
        return f"no answer ({pool['detail']})" if pool["detail"] else "no answer"
    texts = {
        "idle_processes": "{:.0f} idle",
        "max_children_reached": "max_children reached {:.0f} times",
    }
    numbers = {} if pool.get("numbers_old") else pool["numbers"]
    busy, most = pool["busy"], pool["max_children"]
    parts = [] if busy is None else [f"{busy} busy" if most is None else f"{busy} of {most} busy"]
    parts += [text.format(numbers[key]) for key, text in texts.items() if key in numbers]
    if pool["queue"] is not None:
        parts.insert(2, f"{pool['queue']} waiting")
    parts += ["saturated"] if pool["saturated"] else []
    return ", ".join(parts) or ("answers" if pool["up"] else "not asked")


def pool_capacity(pool: Document, now_s: float) -> list[str]:
    """Return how many workers fit and how many were busy, each with its basis."""
    known = pool.get("capacity") or {}  # older listeners do not send it
    why = next((one for one in Unknown if one.value == known.get("why")), None)
    present = {name: known[name] for name in Capacity._fields if name in known}
    size = Capacity(**{**present, "why": why})
    return size_texts.lines(SIZES, size, pool["max_children"], _at, now_s)


#: How PHP's reasons of a restart of OPcache are shown.
_RESTARTS = {"oom": "memory", "hash": "keys", "manual": "opcache_reset"}
_MIB = 1 << 20


def opcache(program: Document) -> str | None:
    """Return the state of php-fpm's OPcache, or why it is unknown; None = it was not read."""
    seen = program.get("opcache")  # older listeners do not send it
    if not seen:
        return None
    if seen["problem"]:
        return f"no numbers of OPcache ({seen['problem']})"
    numbers = seen["numbers"]
    parts = ["OPcache is full" if seen["full"] else "OPcache"]
    sizes = [numbers.get(f"memory_{part}") for part in ("used", "free", "wasted")]
    if None not in sizes:
        used, wasted = sizes[0] / _MIB, sizes[2] / _MIB
        parts.append(f"{used:.1f} of {sum(sizes) / _MIB:.1f} MiB used, {wasted:.1f} wasted")
    if {"keys", "max_keys"} <= numbers.keys():
        parts.append(f"{numbers['keys']:.0f} of {numbers['max_keys']:.0f} keys")
    hits, misses = numbers.get("hits", 0), numbers.get("misses", 0)
    if hits or misses:
        thousandths = hits * 1000 // (hits + misses)  # rounded down: only all is 100 %
        parts.append(f"hit rate {thousandths / 10:.1f} %")
    restarts = {word: numbers.get(f"restarts_{name}") for name, word in _RESTARTS.items()}
    told = ", ".join(f"{count:.0f} ({word})" for word, count in restarts.items() if count)
    parts.append(f"restarts: {told or 'none'}")
    return ": ".join((parts[0], "; ".join(parts[1:])))


def _at(wall_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(wall_s))


def last_exit(program: Document) -> str:
    """Return how a program exited last; empty if it never did."""
    return program["last_exit"] or ("" if program["last_exit_s"] is None else "unknown")


def healing_plan(program: Document) -> str | None:
    """Return what self-healing does next with a program; None = nothing."""
    healing = program["healing"]
    if healing["next_start_in_s"] is None:
        return None
    why = "stopped because of a restart loop" if healing["stopped_by_us"] else "not running"
    used_up = " (all starts of one day are used)" if healing["worn_out"] else ""
    return f"{why}; self-healing starts it in {age(healing['next_start_in_s'])}{used_up}"


def acknowledged(listener: Document) -> str:
    """Return how soon 99 % of the events are acknowledged."""
    within_s = listener["answered_within_s"]
    if within_s is not None:
        return f"within {short(within_s)}"
    return "too late to measure" if listener["events"] else "no events yet"


def notes(document: Document) -> list[str]:
    """Return the problems of the listener itself."""
    listener = document["listener"]
    found = []
    if not listener["supervisor_up"]:
        found.append("supervisord XML-RPC is unavailable; exit codes can be unknown")
    elif any(one["id"] == "FPM120" for one in document["findings"]["worst"]):
        found.append("supervisord has no log (logfile in [supervisord]); exit codes can be unknown")
    if listener["events_missed"]:
        found.append(f"{listener['events_missed']} events were lost; raise buffer_size")
    if not listener["outbox_persistent"]:
        found.append("undelivered alerts are in memory only; state_dir is not writable")
    elif listener.get("state_dir_temporary"):  # older listeners do not send it
        folder = listener["state_dir"]
        found.append(
            f"state_dir is not writable; undelivered alerts are in {folder} until a new container"
            " or a reboot"
        )
    for problem in document["receiver_problems"]:
        name = problem["receiver"]
        found.append(f"receiver {name} cannot work: {problem['why']}" if name else problem["why"])
    if installed := listener.get("installed_version"):  # older listeners do not send it
        found.append(
            f"fpm-listener {installed} was installed, and version {listener['version']} still runs;"
            " restart it: supervisorctl restart fpm-listener"
        )
    if not listener["settings_good"]:
        found.append("the settings file has an error; the old settings stay in use")
    return found
