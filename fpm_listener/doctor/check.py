"""`fpm-listener check`: gathers what the doctor looks at, and prints what it finds.

Laws:
1. It changes nothing and starts nothing: php-fpm -tt would write to the production error log.
2. supervisord's files are read by supervisor's own parser; what it refuses is a finding.
"""

from __future__ import annotations

import configparser
import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener import regular_file
from fpm_listener.doctor import (
    held_addresses,
    rules_address,
    rules_fpm_config,
    rules_running,
    rules_start,
    rules_stop,
    rules_supervisord,
)
from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Supervised
from fpm_listener.doctor.host_facts import Host
from fpm_listener.doctor.rule import examine
from fpm_listener.host.holder_search import find_holders
from fpm_listener.phpfpm import command_line, config_files
from fpm_listener.settings import receiver_check, settings
from fpm_listener.settings.settings import Settings
from fpm_listener.supervisor import config, ini_lines
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.ini_lines import ConfigSection
from fpm_listener.supervisor.process import Loaded
from fpm_listener.supervisor.rpc import SupervisorRpc
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fpm_listener.doctor.checked_config import Machine
    from fpm_listener.doctor.rule import Finding
    from fpm_listener.host.address_holders import HolderReport

#: They put their rules into the list when they are imported.
RULE_MODULES = (
    rules_address,
    rules_fpm_config,
    rules_running,
    rules_start,
    rules_stop,
    rules_supervisord,
)

#: Our listener's command, and the file of its settings.
_LISTENS = re.compile(r"fpm[-_]listener listen --config[= ](\S+)")

#: Bytes of one file; a configuration of this size is a mistake.
_LONGEST = 4 << 20

#: Where supervisord's configuration lies, as supervisord itself looks for it.
USUAL_FILES = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")

#: Where supervisord answers, as Debian, Red Hat and supervisor's own sample have it.
USUAL_URLS = (
    *("unix:///run/supervisor.sock", "unix:///run/supervisor/supervisor.sock"),
    "unix:///tmp/supervisor.sock",
)


def find_conf(named: str | None) -> str:
    """Return supervisord's configuration file. Raises FpmListenerError."""
    found = named or next((path for path in USUAL_FILES if Path(path).is_file()), None)
    if found is None:
        raise FpmListenerError(
            f"no configuration of supervisord at {', '.join(USUAL_FILES)}; say where it is:"
            " --supervisord-conf FILE",
        )
    if not os.access(found, os.R_OK):
        raise FpmListenerError(f"{found}: is not there, or may not be read")
    return found


def check(
    path: str,
    machine: Machine | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    live: bool = False,
    look: Callable[[str], HolderReport] = find_holders,
) -> list[Finding]:
    """Return what the doctor finds in the configuration at `path`, the worst first.

    machine: the host; environ: supervisord's environment, None = our own; live: ask the supervisord
    that runs as well; look: who has an address. Raises FpmListenerError.
    """
    known = os.environ if environ is None else environ
    checkup = gather(path, machine or Host(), known)
    held = tuple(held_addresses.find(checkup.fpms, path, look))
    if live:
        urls = [server["url"] for server in checkup.supervisord.get("servers") or ()]
        _, loaded = ask(urls, known)
        checkup = checkup._replace(loaded=loaded)
        # Only who had it before and after supervisord was asked: php-fpm may restart meanwhile.
        again = set(held_addresses.pids(held_addresses.find(checkup.fpms, path, look)))
        held = tuple(one for one in held if again >= set(held_addresses.pids([one])))
    checkup = checkup._replace(held=held)
    return examine(checkup)


def ask(urls: Iterable[str], environ: Mapping[str, str]) -> tuple[str, Loaded | None]:
    """Return where a supervisord answers, the sockets first, and what it has loaded."""
    for url in sorted(urls, key=lambda url: not url.startswith("unix:")):
        rpc = SupervisorRpc.from_environment({**environ, "SUPERVISOR_SERVER_URL": url})
        loaded = rpc.loaded() if rpc else None
        if isinstance(loaded, Loaded):
            return url, loaded
    return "", None


def could_not(error: FpmListenerError, environ: Mapping[str, str]) -> FpmListenerError:
    """Return the error with what can be told of a supervisord that runs all the same."""
    urls = [*filter(None, [environ.get("SUPERVISOR_SERVER_URL")]), *USUAL_URLS]
    url, loaded = ask(urls, environ)
    if loaded is None:
        return error
    names = {str(info["group"]) for info in loaded.processes}
    return FpmListenerError(
        f"{error}. A supervisord runs ({url}; {', '.join(sorted(names))}), but neither its"
        " files nor php-fpm's could be checked: name its file with --supervisord-conf, or run this"
        " as a user who may read it",
    )


def gather(path: str, machine: Machine, environ: Mapping[str, str]) -> CheckedConfig:
    """Return all that the rules look at. Raises FpmListenerError."""
    answer = config.read(path, environ=environ)
    if isinstance(answer, ConfUnreadable) and not answer.refused:
        raise FpmListenerError(answer.why)
    if isinstance(answer, ConfUnreadable):
        return CheckedConfig(
            supervisord={"refused": answer.why},
            sections=ini_lines.scan(_texts([path, *_included(path)])),
            processes=(),
            fpms=(),
            machine=machine,
        )
    sections = ini_lines.scan(_texts(answer["files"]))
    processes = tuple(_supervised(found, sections, environ) for found in answer["processes"])
    fpms = []
    seen: set[str] = set()
    for process in processes:
        invocation = command_line.find(process.command)
        if invocation is None or invocation.test_only or process.section.name in seen:
            continue
        seen.add(process.section.name)
        conf = config_files.read(
            invocation,
            directory=process.settings["directory"],
            environment=process.settings["inherited"],
        )
        fpms.append(
            Fpm(
                process=process,
                invocation=invocation,
                conf=conf,
                sections=ini_lines.scan(_texts(conf.files), php=True),
                version=config_files.version(invocation),
            ),
        )
    own = tuple(_own_settings(processes, environ))
    return CheckedConfig(
        supervisord={name: answer[name] for name in ("nodaemon", "minfds", "servers", "logfile")},
        sections=sections,
        processes=processes,
        fpms=tuple(fpms),
        machine=machine,
        refused=tuple((path, str(one)) for path, one in own if isinstance(one, Exception)),
        undeliverable=tuple(
            (path, problem)
            for path, one in own
            if isinstance(one, Settings)
            for problem in receiver_check.problems(one.receivers, may_read=os.geteuid() == 0)
        ),
    )


def _own_settings(
    processes: Iterable[Supervised], environ: Mapping[str, str]
) -> Iterator[tuple[str, Settings | FpmListenerError]]:
    """Return the files of our own settings, and what is in them or why they are refused."""
    for process in processes:
        found = _LISTENS.search(process.command)
        if process.kind == "eventlistener" and found and os.access(found[1], os.R_OK):
            try:
                yield found[1], settings.load(found[1], environ)
            except FpmListenerError as error:
                yield found[1], error


def _texts(paths: Iterable[str]) -> list[tuple[str, str]]:
    found = []
    for path in paths:
        try:
            found.append((path, regular_file.read_text(path, _LONGEST)))
        except OSError:
            continue
    return found


def _included(path: str) -> list[str]:
    """Return the files that a configuration includes which supervisor's parser refuses."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    folder = str(Path(path).absolute().parent)
    try:
        parser.read_string(regular_file.read_text(path, _LONGEST), path)
        patterns = parser.get("include", "files", fallback="") or ""
    except (configparser.Error, AttributeError, OSError):
        return []  # AttributeError: CPython's, for a line that continues a key without a value
    words = (word.replace("%(here)s", folder) for word in patterns.split())
    return [one for word in words for one in sorted(glob.glob(os.path.join(folder, word)))]  # noqa: PTH118, PTH207 - patterns


def _supervised(
    found: Mapping[str, Any],
    sections: Mapping[str, ConfigSection],
    environ: Mapping[str, str],
) -> Supervised:
    section = _section_of(found, sections)
    line = section.lines.get("numprocs")
    count = line.value if line else "1"
    values = {
        **found,
        "numprocs": int(count) if re.fullmatch(r"[0-9]{1,10}", count) else 1,
        "inherited": {**environ, **found["environment"]},
    }
    return Supervised(found["kind"], found["group"], found["name"], section, values)


def _section_of(found: Mapping[str, Any], sections: Mapping[str, ConfigSection]) -> ConfigSection:
    """Return the section that a process comes from: of its group's name, or of a program of it."""
    kind, group = found["kind"], found["group"]
    names = [f"{kind}:{group}", f"{kind}:{found['name']}"]
    members = sections.get(f"group:{group}")
    if members is not None and "programs" in members.lines:
        programs = [word.strip() for word in members.lines["programs"].value.split(",")]
        alike = sorted(programs, key=lambda name: not found["name"].startswith(name))
        names += [f"program:{name}" for name in alike]
    for name in names:
        if name in sections:
            return sections[name]
    return ConfigSection(names[0], "supervisord.conf", 1, {})
