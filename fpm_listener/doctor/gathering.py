"""Reads supervisord's and php-fpm's configuration, for the rules.

Laws:
1. Nothing is started and nothing changes: php-fpm -tt would write to the production error log.
2. Supervisor's own parser reads supervisord's files. If it rejects them, that is a finding.
"""

from __future__ import annotations

import configparser
import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener import regular_file
from fpm_listener.doctor import invocations, nginx_conf
from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Section, Supervised, Unknown
from fpm_listener.doctor.sources import LONGEST, Sources
from fpm_listener.phpfpm.guard_command import PROGRAM
from fpm_listener.settings import receiver_check, settings
from fpm_listener.settings.settings import Settings
from fpm_listener.supervisor import config, ini_lines
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.ini_lines import ConfigSection
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fpm_listener.doctor.invocations import Invocation
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.running_facts import Running

#: The command of our listener, and its settings file.
_LISTENS = re.compile(rf"{PROGRAM.pattern} listen --config[= ](\S+)", re.ASCII)

#: What the rules read of [supervisord].
_SUPERVISORD = (
    *("nodaemon", "loglevel", "minfds", "servers", "logfile", "logfile_maxbytes"),
    "uid",
)


def gather(
    path: str,
    machine: Machine,
    environ: Mapping[str, str],
    runs: Running | None = None,
    draft: str | None = None,
    read: Callable[..., dict[str, Any] | ConfUnreadable] = config.read,
    sources: Sources | None = None,
) -> CheckedConfig:
    """Return everything that the rules read. Raises FpmListenerError.

    draft: replaces the text of the file at `path`. read: as config.read. sources: None = the files
    of this machine.
    """
    sources = sources or Sources()
    answer = read(path, environ=environ, text=draft)
    if isinstance(answer, ConfUnreadable):
        return _rejected(answer, path, machine, draft, sources)
    sections = ini_lines.scan(texts_of(answer["files"], sources, path, draft))
    if sources.tree is not None:
        answer["uid"] = sources.uid(sections.get("supervisord"))
    uid = answer["uid"] if answer["uid"] is not None or runs is None else runs.uid
    processes = tuple(
        _supervised(found, sections, environ, uid, sources) for found in answer["processes"]
    )
    fpms, unknown = _fpms(processes, machine, sources)
    settings_files = tuple(_own_settings(processes, environ, sources, path, draft))
    accepted = [(path, one) for path, one in settings_files if isinstance(one, Settings)]
    return CheckedConfig(
        supervisord={name: answer[name] for name in _SUPERVISORD},
        sections=sections,
        processes=processes,
        fpms=fpms,
        unknown=unknown,
        machine=machine,
        running=runs,
        is_environment_known=runs is not None and runs.environ is not None,
        refused=tuple(
            (path, str(one)) for path, one in settings_files if isinstance(one, Exception)
        ),
        undeliverable=tuple(
            (path, problem)
            for path, one in (accepted if sources.tree is None else ())
            for problem in receiver_check.problems(one.receivers, may_read=os.geteuid() == 0)
        ),
        state_dirs=tuple((path, str(one.state_dir)) for path, one in accepted),
        healed=tuple(glob for _, one in accepted for glob in one.healing.after_fatal),
        nginx_daemons=tuple(nginx_conf.daemons(processes, sources.read_text)),
    )


def _rejected(
    answer: ConfUnreadable, path: str, machine: Machine, draft: str | None, sources: Sources
) -> CheckedConfig:
    """Return what is known of a configuration that supervisor rejects. Raises FpmListenerError.

    It is raised if the file itself cannot be read.
    """
    if not answer.refused:
        raise FpmListenerError(answer.why)
    included = _included(path) if sources.tree is None else []
    paths = dict.fromkeys([path, *included, *(answer.damaged or ())[:1]])
    why = {
        "refused": answer.why,
        "unset": answer.unset,
        "missing": answer.missing,
        "damaged": answer.damaged,
        "marked": answer.marked,
    }
    files = texts_of(paths, sources, path, draft)
    return CheckedConfig(why, ini_lines.scan(files), (), (), machine)


def _fpms(
    processes: Iterable[Supervised], machine: Machine, sources: Sources
) -> tuple[tuple[Fpm, ...], tuple[Unknown, ...]]:
    """Return each php-fpm, one for each configuration of a section, and the unclear commands."""
    fpms: dict[tuple[str, str | None, str | None], Fpm] = {}
    unknown: dict[str, Unknown] = {}
    for process in processes:
        found = invocations.find(process, sources.scripts)
        if isinstance(found, Unknown):
            unknown.setdefault(process.section.name, found)
        elif found is not None:
            own = (process.section.name, found.php_fpm.config, found.php_fpm.prefix)
            fpms[own] = fpms.get(own) or _fpm(process, found, machine, sources)
    return tuple(fpms.values()), tuple(unknown.values())


def _fpm(process: Supervised, found: Invocation, machine: Machine, sources: Sources) -> Fpm:
    invocation = found.php_fpm
    settings = process.settings
    conf = sources.fpm_conf(invocation, settings["directory"], settings["inherited"])
    conf = conf._replace(problems=sources.known_problems(conf))
    lines = ini_lines.scan(texts_of(conf.files, sources), php=True)
    version = sources.version(invocation)
    return Fpm(process, invocation, conf, lines, machine, version, found.script)


def _own_settings(
    processes: Iterable[Supervised],
    environ: Mapping[str, str],
    sources: Sources,
    path: str,
    draft: str | None,
) -> Iterator[tuple[str, Settings | FpmListenerError]]:
    """Return our own settings files, each with its settings or its error."""
    for process in processes:
        found = _LISTENS.search(process.command)
        if process.kind == "eventlistener" and found and sources.may_read(found[1]):
            try:
                is_draft = draft is not None and Path(found[1]).resolve() == Path(path).resolve()
                text = draft if is_draft and draft else sources.settings_text(found[1])
                yield found[1], settings.parse(found[1], text, environ)
            except FpmListenerError as error:
                yield found[1], error


def texts_of(
    paths: Iterable[str], sources: Sources, drafted: str = "", draft: str | None = None
) -> list[tuple[str, str]]:
    """Return the paths that can be read, each with its text; draft: that of the file `drafted`."""
    found = []
    for path in paths:
        if draft is not None and path == drafted:
            found.append((path, draft.replace("\r\n", "\n")))
            continue
        try:
            found.append((path, sources.read_text(path)))
        except OSError:
            continue
    return found


def _included(path: str) -> list[str]:
    """Return the files that are included by a configuration that supervisor's parser rejects."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    folder = str(Path(path).absolute().parent)
    try:
        parser.read_string(regular_file.read_text(path, LONGEST), path)
        patterns = parser.get("include", "files", fallback="") or ""
    except (configparser.Error, AttributeError, OSError):
        return []  # AttributeError: CPython's, for a line that continues a key without a value
    words = (word.replace("%(here)s", folder) for word in patterns.split())
    return [one for word in words for one in sorted(glob.glob(os.path.join(folder, word)))]  # noqa: PTH118, PTH207 - patterns


def _supervised(
    found: Mapping[str, Any],
    sections: Mapping[str, ConfigSection],
    environ: Mapping[str, str],
    uid: int | None,
    sources: Sources,
) -> Supervised:
    section = _section_of(found, sections)
    line = section.lines.get("numprocs")
    count = line.value if line else "1"
    values = {
        **found,
        "numprocs": int(count) if re.fullmatch(r"[0-9]{1,10}", count) else 1,
        "inherited": {**environ, **found["environment"]},
        "supervisord_uid": uid,
        "path": environ.get("PATH"),
    }
    user = found["user"]
    if sources.tree is not None:
        values["user"] = sources.uid(section)
    elif uid is None and user == os.geteuid():
        # supervisord without root starts programs as itself only, and this user is probably it.
        values["supervisord_uid"] = user
    return Supervised(found["kind"], found["group"], found["name"], Section(section, values))


def _section_of(found: Mapping[str, Any], sections: Mapping[str, ConfigSection]) -> ConfigSection:
    """Return the section of a process: of its group's programs, or that of its group's name."""
    kind, group = found["kind"], found["group"]
    names = [f"{kind}:{group}", f"{kind}:{found['name']}"]
    members = sections.get(f"group:{group}")
    if members is not None and "programs" in members.lines:
        programs = [word.strip() for word in members.lines["programs"].value.split(",")]
        alike = sorted(programs, key=lambda one: -len(one) * found["name"].startswith(one))
        names = [names[1], *(f"{kind}:{name}" for name in alike)]
    for name in names:
        if name in sections:
            return sections[name]
    return ConfigSection(names[0], "supervisord.conf", 1, {})
