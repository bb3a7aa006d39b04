"""Rules on what runs: a changed file that is not loaded, and who has php-fpm's addresses.

supervisord tells what it has read last (`getAllConfigInfo`; alike in supervisor 4.2.5 and 4.3.0),
without environment, autorestart and stopasgroup. After a `reread` without an `update` that is the
file, not what runs: then only groups that came or went are seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.doctor.rule import FindingSeverity, Said, rule
from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import HolderKind
from fpm_listener.untrusted_text import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Held, Supervised
    from fpm_listener.host.address_holders import Holder
    from fpm_listener.phpfpm.config import Pool

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


@rule("FPM115", FindingSeverity.WARNING, "what runs is not what the file says")
def loaded(checkup: CheckedConfig) -> Iterator[Said]:
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


@rule("FPM117", FindingSeverity.ERROR, "another process has the address now")
def held_now(checkup: CheckedConfig) -> Iterator[Said]:
    """php-fpm was started by hand, by its package, or was left behind."""
    for fpm in checkup.fpms:
        for pool in fpm.conf.pools:
            held = next((one for one in checkup.held if _is_of(one, pool)), None)
            if held is None or _is_own(checkup, fpm, held):
                continue
            holder = held.report.holders[0]
            yield Said(
                fpm.in_fpm(pool.name, "listen"),
                f"{held.address} is held by {holder}{_init_script(checkup, holder)}",
                "the next start of " + _short(fpm) + " fails: Address already in use"
                if holder.kind is not HolderKind.ORPHAN
                else f"the next start of {_short(fpm)} fails, unless the guard can prove that these"
                " are workers of its own former master",
                holder_remedies.end(holder, fpm.conf.path),
            )


def _is_of(held: Held, pool: Pool) -> bool:
    return pool.listen is not None and pool.listen.text == held.address


def _short(fpm: Fpm) -> str:
    return short_name(f"{fpm.process.group}:{fpm.process.name}")


def _is_own(checkup: CheckedConfig, fpm: Fpm, held: Held) -> bool:
    """Return whether the program itself has its address, or our listener holds it for it.

    Where supervisord does not answer, every child of it counts as the program itself.
    """
    if any(holder_remedies.is_our_listener(holder) for holder in held.report.holders):
        return True
    orphans = any(holder.kind is HolderKind.ORPHAN for holder in held.report.holders)
    pids = frozenset() if orphans else held.relatives
    if checkup.loaded is not None:
        group = fpm.process.group
        pids = frozenset(i["pid"] for i in checkup.loaded.processes if i["group"] == group)
    return any(pids & set(family) for family in held.families.values())


def _init_script(checkup: CheckedConfig, holder: Holder) -> str:
    scripts = checkup.machine.init_scripts()
    if holder.kind is not HolderKind.MASTER or holder.unit or not scripts:
        return ""
    return f"; there is {', '.join(scripts)}, which may have started it"
