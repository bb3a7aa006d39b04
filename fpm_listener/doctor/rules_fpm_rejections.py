"""Rules on what php-fpm rejects: it does not start, and `php-fpm -t` reports an error.

`check` does not run `php-fpm -t`, because that opens log files.
tests/check_parity.py compares both.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import folder_of, fpms, read_fpms, whole
from fpm_listener.doctor.rule import Match, Rule, match, rule
from fpm_listener.phpfpm import directives, pool_checks
from fpm_listener.phpfpm.config_reader import below
from fpm_listener.phpfpm.ini_values import number
from fpm_listener.supervisor.ini_lines import Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm
    from fpm_listener.phpfpm.config import Pool

#: Problems that do not stop php-fpm, and problems of this command only.
_PROBLEMS = {"nothing matches the include": "include", "Permission denied": "permission"}

#: A comment or a text in single quotes; the group keeps a text in double quotes.
_NOT_EXPANDED = re.compile(r"""("(?:[^"\\]|\\.)*")|'[^']*'|;.*""")


def _rejections(fpm: Fpm) -> Iterator[tuple[str, Match]]:
    """Return all that php-fpm rejects, with the ids of rules."""
    for entry in fpm.conf.entries:
        why = directives.rejection(entry, fpm.version)
        if why and not entry.name.startswith("#"):  # that is FPM066
            brackets = "" if entry.offset is None else f"[{entry.offset}]"
            values = {"key": f"{entry.name}{brackets}", "why": why}
            yield "FPM080", Match(Place.parse(entry.place, entry.section), values)
    for key, why in pool_checks.global_faults(fpm.conf.options):
        yield "FPM081", _match("global", fpm.conf.places, key, why)
    prefix = fpm.invocation.prefix or ""
    if prefix.startswith("/") and not fpm.machine.is_folder(prefix):
        why = f"{prefix} is not an existing directory"
        yield "FPM082", match(fpm.program, "command", key="-p", why=why, folder=prefix)
    path = fpm.conf.opened_file
    if path and fpm.machine.is_folder(folder_of(path)):  # a missing directory is FPM061
        yield from _file_match(fpm, "global", fpm.conf.places, "error_log", path)
    for pool in fpm.conf.pools:
        yield from _pool_rejections(fpm, pool)


def _pool_rejections(fpm: Fpm, pool: Pool) -> Iterator[tuple[str, Match]]:
    mechanism = fpm.conf.options.get("events.mechanism")
    for key, why in pool_checks.pool_faults(pool.options, mechanism):
        yield "FPM081", _match(pool.name, pool.places, key, why)
    if "user" not in pool.options and _runs_as_root(fpm):
        yield "FPM081", _match(pool.name, pool.places, "user", "it is not set")
    for key, path in _folders(pool):
        if path.startswith("/") and not fpm.machine.is_folder(path):
            why = f"{path} is not an existing directory"
            yield "FPM082", _match(pool.name, pool.places, key, why, folder=path)
    for key, path in pool_logs(pool):
        yield from _file_match(fpm, pool.name, pool.places, key, path)


def pool_logs(pool: Pool) -> Iterator[tuple[str, str]]:
    """Return the logs that php-fpm opens for a pool at its start, by key."""
    keys = ["access.log"]
    if number(pool.options.get("request_slowlog_timeout", "")):
        keys.append("slowlog")
    for key in keys:
        if pool.options.get(key):
            yield key, below(pool.root, pool.options[key])


def _runs_as_root(fpm: Fpm) -> bool:
    """Return whether php-fpm needs a user for each pool."""
    is_root = fpm.uid in {None, 0} and fpm.machine.is_root()
    return is_root and not fpm.invocation.allow_root


def _folders(pool: Pool) -> Iterator[tuple[str, str]]:
    """Return the directories that a pool needs, by key."""
    options = pool.options
    if options.get("prefix"):
        yield "prefix", pool.root
    root = ""
    if chroot := options.get("chroot"):
        is_below = chroot.startswith("$prefix")
        root = f"{pool.root}/{chroot[len('$prefix') :]}" if is_below else below(pool.root, chroot)
        yield "chroot", root
    if options.get("chdir"):
        yield "chdir", root + below(pool.root, options["chdir"])


def _file_match(
    fpm: Fpm, section: str, places: Mapping[str, str], key: str, path: str
) -> Iterator[tuple[str, Match]]:
    if path.startswith("/") and (why := fpm.machine.file_fault(path)):
        found = _match(section, places, key, why, folder=folder_of(path))
        yield "FPM083", found._replace(variant="folder" if why.endswith("is a directory") else "")


def _match(section: str, places: Mapping[str, str], key: str, why: str, **values: object) -> Match:
    """Return a match at the last line of a key, or at the header of its section."""
    where = Place.parse(places.get(key) or places.get("", ""), section)
    return Match(where, {"section": section, "key": key, "why": why, **values})


def _place(match: Match) -> Place:
    """Return the file and the line of a match."""
    return match.where._replace(section="")


def _unset(fpm: Fpm) -> dict[Place, list[tuple[str, str]]]:
    """Return the variables that are not set, with their sections, by file and line."""
    environment = fpm.process.settings["inherited"]
    found: dict[Place, list[tuple[str, str]]] = {}
    for section in fpm.all_sections:
        for line in section.lines.values():
            expanded = _NOT_EXPANDED.sub(r"\1", line.value)
            for name in re.findall(r"\$\{(\w+)\}", expanded):
                if name not in environment:
                    found.setdefault(Place(line.file, line.number), []).append((name, section.name))
    return found


def _rejected(identity: str) -> Rule:
    """Return the rule of one kind of rejection; a variable that is not set is FPM067."""

    def check(config: CheckedConfig) -> Iterator[Match]:
        for fpm in read_fpms(config):
            unset = _unset(fpm)
            for own, found in _rejections(fpm):
                if own == identity and _place(found) not in unset:
                    yield found

    return Rule(identity, check)


@rule("FPM067", whole)
def unset_variable(config: CheckedConfig) -> Iterator[Match]:
    """php-fpm replaces it with nothing. The environment of this shell is not supervisord's."""
    for fpm in config.fpms:
        rejected = {_place(found) for _, found in _rejections(fpm)}
        for place, names in _unset(fpm).items():
            known = "rejected" if place in rejected else ""
            variant = known if config.is_environment_known else "shell"
            for name, section in names:
                values = {"name": name, "variable": f"${{{name}}}", "program": fpm.program.name}
                yield Match(place._replace(section=section), values, (), variant)


@rule("FPM068", fpms)
def unreadable(fpm: Fpm) -> Iterator[Match]:
    """Our own reader does not understand it; a line with a wrong value is FPM080."""
    if not fpm.is_read and fpm.machine.is_elsewhere(fpm.conf.path):
        return
    if not fpm.is_read and fpm.invocation.config is None:
        yield match(fpm.program, "command", {}, "default", path=fpm.conf.path)
        return
    if not fpm.is_read and "No such file" in "".join(fpm.conf.problems[:1]):
        yield match(fpm.program, "command", {}, "absent", path=fpm.conf.path)
        return
    rejected = {_place(found) for own, found in _rejections(fpm) if own == "FPM080"}
    # Without the main file there is no pool either.
    for text in fpm.conf.problems if fpm.is_read else fpm.conf.problems[:1]:
        where, colon, problem = text.partition(": ")
        place = Place.parse(where) if colon else Place(fpm.conf.path)
        problem = problem or text
        variant = next((name for words, name in _PROBLEMS.items() if words in problem), "")
        if place not in rejected:
            test = shlex.join([fpm.invocation.binary, "-t", "-y", fpm.conf.path])
            yield Match(place, {"problem": problem, "test": test}, variant=variant)


@rule("FPM084", fpms)
def computed(fpm: Fpm) -> Iterator[Match]:
    """PHP's own settings need it for error levels."""
    for entry in fpm.conf.entries:
        variant = "quote" if entry.sign == "'" else ""
        if entry.sign and (variant or not entry.name.startswith("php_")):
            values = {"key": entry.name, "sign": entry.sign, "value": entry.value}
            yield Match(Place.parse(entry.place, entry.section), values, (), variant)


RULES = (
    *map(_rejected, ("FPM080", "FPM081", "FPM082", "FPM083")),
    *(unset_variable, unreadable, computed),
)
