"""Its texts (headline, notes ...)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.durations import age, short

if TYPE_CHECKING:
    from fpm_listener.status.document import (
        Document,
    )


def headline(document: Document) -> tuple[str, str]:
    """Return how things are, in a few words, and their tone: ok, warn, bad, idle."""
    known = document["programs"]
    if not known:
        ready = document["listener"]["ready"]
        return ("No program is watched" if ready else "The programs are not known yet"), "idle"
    of = "1 program" if len(known) == 1 else f"{len(known)} programs"
    # What was given up before the listener came makes no incident, and is down all the same.
    ill = [one for one in known if one["incident"] or one["state"] == "FATAL"]
    bad = [
        one for one in ill if not one["incident"] or one["incident"].get("recovering_at_s") is None
    ]
    if ill and not bad:
        return f"{len(ill)} of {of} {'is' if len(ill) == 1 else 'are'} recovering", "warn"
    if bad:
        worst = any(not one["incident"] or one["incident"]["severity"] == "critical" for one in bad)
        verb = "is" if len(bad) == 1 else "are"
        return f"{len(bad)} of {of} {verb} in trouble", "bad" if worst else "warn"
    if all(one["state"] == "RUNNING" for one in known):
        words = "The one program runs" if len(known) == 1 else f"All {of} run"
    else:
        words = (
            f"None of the {of} is in trouble" if len(known) > 1 else "The program is not in trouble"
        )
    if notes(document) or any(receiver["failing"] for receiver in document["receivers"]):
        return f"{words}, but see below", "warn"
    return words, "ok"


def worst_first(programs: list[Document]) -> list[Document]:
    """Return the programs, those with problems first: there may be hundreds."""

    def place(program: Document) -> tuple[int, bool, bool]:
        incident = program["incident"]
        order = 2 if not incident else 0 if incident["severity"] == "critical" else 1
        is_full = any(pool["saturated"] or not pool["up"] for pool in program["pools"])
        return order, program["state"] not in {"FATAL", "BACKOFF"}, not is_full

    return sorted(programs, key=place)


def story(entry: Document) -> str:
    """Return in words what an entry of the timeline tells, without its program and time."""
    detail, count = entry["detail"], entry["count"]
    because = f": {detail}" if detail else ""
    away = "" if entry["away_s"] is None else f" after {short(entry['away_s'])}"
    longest = ", at the longest" if count > 1 and away else ""
    words = {
        "died": f"died{because}",
        "ended": f"ended{because}",
        "stopped": "stopped by its operator",
        "started": f"started again{away}{longest}",
        "healed": "started again by the listener",
        "paused": "stopped by the listener for a while, as it loops",
        "ending": "given up: supervisord is ended by the listener",
        "incident": f"incident{because}",
        "changed": f"the cause is another{because}",
        "worse": f"got worse{because}",
        "resolved": detail or "well again",
        "listener": "the listener was started",
    }
    times = f" ({count} times)" if count > 1 else ""
    return words.get(entry["what"], f"{entry['what']}{because}") + times


def load(pool: Document) -> str:
    """Return how full a pool is, in words."""
    if not pool["up"]:
        return f"no answer ({pool['detail']})" if pool["detail"] else "no answer"
    said = {
        "idle_processes": "{:.0f} idle",
        "listen_queue": "{:.0f} waiting",
        "max_children_reached": "max_children reached {:.0f} times",
    }
    numbers = pool["numbers"]
    busy, most = pool["busy"], pool["max_children"]
    parts = [] if busy is None else [f"{busy} busy" if most is None else f"{busy} of {most} busy"]
    parts += [form.format(numbers[key]) for key, form in said.items() if key in numbers]
    return ", ".join([*parts, *(["saturated"] if pool["saturated"] else [])]) or "it answers"


def last_end(program: Document) -> str:
    """Return how a program ended last; empty where it never did."""
    return program["last_exit"] or ("" if program["last_exit_s"] is None else "unknown")


def plan(program: Document) -> str | None:
    """Return what healing is about to do with a program; None = nothing."""
    healing = program["healing"]
    if healing["next_start_in_s"] is None:
        return None
    why = "stopped for a while, as it loops" if healing["stopped_by_us"] else "given up"
    used_up = ", the starts of a day being used up" if healing["worn_out"] else ""
    return f"{why}; the listener starts it in {age(healing['next_start_in_s'])}{used_up}"


def answered(listener: Document) -> str:
    """Return how soon nearly all events are answered: the listener's lag."""
    within_s = listener["answered_within_s"]
    if within_s is not None:
        return f"within {short(within_s)}"
    return "later than it measures" if listener["events"] else "none so far"


def notes(document: Document) -> list[str]:
    """Return what is not as it should be with the listener itself."""
    listener = document["listener"]
    found = []
    if not listener["supervisor_up"]:
        found.append("supervisord's XML-RPC does not answer: exit codes are unknown")
    elif any(one["id"] == "FPM120" for one in document["findings"]["worst"]):
        found.append("exit codes are unknown: supervisord keeps no log (logfile in [supervisord])")
    if listener["events_missed"]:
        found.append(f"{listener['events_missed']} events were lost: raise buffer_size")
    if not listener["outbox_persistent"]:
        found.append("alerts owed are kept in memory only: state_dir cannot be written")
    for problem in document["receiver_problems"]:
        name = problem["receiver"]
        found.append(f"receiver {name} cannot work: {problem['why']}" if name else problem["why"])
    if not listener["settings_good"]:
        found.append("the settings file has a mistake: the old settings are in force")
    return found
