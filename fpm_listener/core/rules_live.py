"""The rule on what runs: a file that has changed counts for nothing until it is loaded.

supervisord tells what it has read last (`getAllConfigInfo`; alike in supervisor 4.2.5 and 4.3.0),
without environment, autorestart and stopasgroup. After a `reread` without an `update` that is the
file, not what runs: then only groups that came or went are seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.core.findings import Said, Severity, rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.core.findings import Checkup, Supervised

#: By the names of the section's keys; what supervisord calls otherwise is beside it.
_COMPARED = {
    **{key: key for key in ("command", "directory", "startsecs", "startretries", "exitcodes")},
    **{key: key for key in ("stopsignal", "stopwaitsecs", "killasgroup", "redirect_stderr")},
    **{key: key for key in ("stderr_events_enabled", "stdout_logfile", "stderr_logfile")},
    "user": "uid",
}
_WHY = (
    "what the file says counts from the next update or start of supervisord on, which may come at"
    " a moment when nobody thinks of it"
)


@rule("FPM115", Severity.WARNING, "what runs is not what the file says")
def loaded(checkup: Checkup) -> Iterator[Said]:
    """Somebody has changed the file, and not said update."""
    if checkup.loaded is None:
        return
    running = {str(info["group"]) for info in checkup.loaded.processes}
    known = {(str(i["group"]), str(i["name"])): i for i in checkup.loaded.configs}
    seen: set[str] = set()
    for process in checkup.processes:
        if process.group in seen:
            continue
        info = known.get((process.group, process.name))
        keys = _different(process, info) if info is not None else []
        if process.group not in running:
            seen.add(process.group)
            what = f"{process.group} is in the file, but not in the supervisord that runs"
            yield _said(process.section.where("command"), what, process.group)
        elif keys:
            seen.add(process.group)
            what = f"{process.group}:{process.name} runs with another {', '.join(keys)}"
            yield _said(process.section.where(keys[0]), what, process.group)
        elif info is None:
            seen.add(process.group)
            what = f"supervisord does not know {process.group}:{process.name}"
            yield _said(process.section.where("numprocs"), what, process.group)
    for group in sorted(running - {process.group for process in checkup.processes}):
        what = f"supervisord runs {group}, which is not in the file"
        yield _said(checkup.where("supervisord"), what, group)


def _said(where: str, what: str, group: str) -> Said:
    return Said(where, what, _WHY, f"supervisorctl reread && supervisorctl update {group}")


def _different(process: Supervised, info: Mapping[str, Any]) -> list[str]:
    """Return the keys that supervisord has read otherwise.

    What comes from the environment or the host is left out: supervisord's are not ours. So is a log
    whose name supervisord makes up (`AUTO`): it then tells that name.
    """
    found = []
    for key, name in _COMPARED.items():
        line = process.section.lines.get(key)
        foreign = line is not None and ("%(ENV_" in line.value or "%(host" in line.value)
        says = process.settings[key]
        if foreign or says == "AUTO" or name not in info:
            continue
        if info[name] != ("none" if says is None else says):
            found.append(key)
    return found
