"""Rules on what runs now: a file that is not loaded, and the holders of php-fpm's addresses.

supervisord reports what it read last (`getAllConfigInfo`; the same in supervisor 4.2.5 and 4.3.0),
without environment, autorestart and stopasgroup. After a `reread` without an `update` that is the
file, not what runs. Then only groups that were added or removed are seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.doctor.checked_config import whole
from fpm_listener.doctor.rule import match, rule
from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import HolderKind
from fpm_listener.untrusted_text import short_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Supervised
    from fpm_listener.doctor.held_address import HeldAddress
    from fpm_listener.doctor.rule import Match
    from fpm_listener.host.address_holders import Holder

#: By key of the section; the value is supervisord's name for it.
_COMPARED = {
    **{key: key for key in ("command", "directory", "startsecs", "startretries", "exitcodes")},
    **{key: key for key in ("stopsignal", "stopwaitsecs", "killasgroup", "redirect_stderr")},
    **{key: key for key in ("stdout_events_enabled", "stderr_events_enabled")},
    **{key: key for key in ("stdout_logfile", "stderr_logfile")},
    "user": "uid",
}


@rule("FPM115", whole)
def not_loaded(config: CheckedConfig) -> Iterator[Match]:
    """The file was changed, and `update` was not run."""
    if config.loaded is None:
        return
    running = {str(info["group"]) for info in config.loaded.processes}
    known = {(str(i["group"]), str(i["name"])): i for i in config.loaded.configs}
    seen: set[str] = set()
    for process in config.processes:
        group = process.group
        if group in seen:
            continue
        info = known.get((group, process.name))
        keys = _different(process, info) if info is not None else []
        if group not in running:
            key, what = "command", f"{group} is in the file, but not in the running supervisord"
        elif keys:
            key = keys[0]
            what = f"{group}:{process.name} runs with another {', '.join(keys)}"
        elif info is None:
            key, what = "numprocs", f"supervisord does not know {group}:{process.name}"
        else:
            continue
        seen.add(group)
        yield match(process.section, key, what=what, group=group)
    for group in sorted(running - {process.group for process in config.processes}):
        what = f"supervisord runs {group}, which is not in the file"
        yield match(config.section("supervisord"), "", what=what, group=group)


def _different(process: Supervised, info: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ.

    Values from the environment or the host are left out: supervisord's are not ours. A log whose
    name supervisord makes up (`AUTO`) is left out as well: supervisord reports that name.
    """
    found = []
    for key, name in _COMPARED.items():
        line = process.section.lines.get(key)
        is_foreign = line is not None and ("%(ENV_" in line.value or "%(host" in line.value)
        value = process.settings[key]
        if is_foreign or value == "AUTO" or name not in info:
            continue
        if info[name] != ("none" if value is None else value):
            found.append(key)
    return found


@rule("FPM117", whole)
def held_now(config: CheckedConfig) -> Iterator[Match]:
    """php-fpm was started by hand or by its package, or its workers are orphans."""
    by_address = {held.address: held for held in config.held}
    for fpm in config.fpms:
        for pool in fpm.pools:
            held = by_address.get(pool.listen.text) if pool.listen else None
            if held is None or _is_own(config, fpm, held):
                continue
            holder = held.report.holders[0]
            yield match(
                pool.section,
                "listen",
                {},
                "orphan" if holder.kind is HolderKind.ORPHAN else "",
                address=held.address,
                holder=holder,
                script=_init_script(config, holder),
                name=short_name(f"{fpm.process.group}:{fpm.process.name}"),
                remedy=holder_remedies.end(holder, fpm.conf.path),
            )


def _is_own(config: CheckedConfig, fpm: Fpm, held: HeldAddress) -> bool:
    """Return whether the program itself has its address, or our listener holds it for it.

    If supervisord does not answer, every child of supervisord counts as the program itself.
    """
    if any(holder_remedies.is_our_listener(holder) for holder in held.report.holders):
        return True
    has_orphans = any(holder.kind is HolderKind.ORPHAN for holder in held.report.holders)
    pids = frozenset() if has_orphans else held.children
    if config.loaded is not None:
        group = fpm.process.group
        pids = frozenset(i["pid"] for i in config.loaded.processes if i["group"] == group)
    return any(pids & set(family) for family in held.ancestors.values())


def _init_script(config: CheckedConfig, holder: Holder) -> str:
    scripts = config.machine.init_scripts()
    if holder.kind is not HolderKind.MASTER or holder.unit or not scripts:
        return ""
    return f"; {', '.join(scripts)} may have started it"


RULES = (not_loaded, held_now)
