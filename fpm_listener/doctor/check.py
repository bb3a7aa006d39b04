"""`fpm-listener check`: reads both configurations, and applies the rules.

Laws:
1. It changes nothing and starts nothing: php-fpm -tt would write to the production error log.
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
from fpm_listener.doctor import held_addresses, invocations, running
from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Section, Supervised, Unknown
from fpm_listener.doctor.host_facts import Host
from fpm_listener.doctor.rules import examine
from fpm_listener.doctor.text_files import texts
from fpm_listener.phpfpm import config_files
from fpm_listener.phpfpm.guard_command import PROGRAM
from fpm_listener.settings import receiver_check, settings
from fpm_listener.settings.settings import Settings
from fpm_listener.supervisor import config, ini_lines, server_login
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.holder_supervisors import find_holders
from fpm_listener.supervisor.ini_lines import ConfigSection
from fpm_listener.supervisor.process import Loaded
from fpm_listener.supervisor.rpc import SupervisorRpc
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from fpm_listener.doctor.checked_config import Running
    from fpm_listener.doctor.invocations import Invocation
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.rule import Finding
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.supervisor.server_login import Login

#: The command of our listener, and its settings file.
_LISTENS = re.compile(rf"{PROGRAM.pattern} listen --config[= ](\S+)", re.ASCII)

#: What the rules read of [supervisord].
_SUPERVISORD = (
    *("nodaemon", "loglevel", "minfds", "servers", "logfile", "logfile_maxbytes"),
    "uid",
)

#: Bytes of one file; a larger one is not a configuration.
LONGEST = 4 << 20

#: The places in which supervisord itself looks for its configuration.
USUAL_FILES = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")

#: The sockets of supervisord on Debian, on Red Hat and in supervisor's own sample.
USUAL_URLS = (
    *("unix:///run/supervisor.sock", "unix:///run/supervisor/supervisor.sock"),
    "unix:///tmp/supervisor.sock",
)


def find_conf(named: str | None, option: str = "--supervisord-conf") -> str:
    """Return supervisord's configuration file. Raises FpmListenerError; option: that names it."""
    found = named or next((path for path in USUAL_FILES if Path(path).is_file()), None)
    if found is None:
        raise FpmListenerError(
            f"supervisord's configuration is not at {' or '.join(USUAL_FILES)}; name its file:"
            f" {option} FILE",
        )
    if not os.access(found, os.R_OK):
        raise FpmListenerError(f"{found}: does not exist, or this user may not read it")
    return found


def check(
    path: str,
    machine: Machine | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    live: bool = False,
    search: Callable[[str], HolderReport] = find_holders,
) -> list[Finding]:
    """Return the findings for the configuration at `path`, the worst first.

    machine: the host; environ: supervisord's environment, None = our own; live: also ask the
    supervisord that runs; search: finds the holders of an address. Raises FpmListenerError.
    """
    machine = machine or Host()
    own = os.environ if environ is None else environ
    runs, may_run = running.find(path) if live else (None, False)
    if environ is None and runs is not None and runs.environ is not None:
        environ = runs.environ
    checked = gather(path, machine, own if environ is None else environ, runs)
    held = tuple(held_addresses.find(checked.fpms, path, search))
    if live:
        urls = [server["url"] for server in checked.supervisord.get("servers") or ()]
        login = server_login.in_file(path, environ or own)
        _, loaded = ask(urls, own, login) if may_run else ("", None)
        checked = checked._replace(loaded=loaded)
        # php-fpm may restart meanwhile: only holders before and after the question count.
        again = set(held_addresses.pids(held_addresses.find(checked.fpms, path, search)))
        held = tuple(one for one in held if again >= set(held_addresses.pids([one])))
    return examine(checked._replace(held=held), texts())


def texts_of_findings(path: str, findings: Iterable[Finding]) -> dict[str, str]:
    """Return the texts of the main file and of the files with findings."""
    return dict(_texts(dict.fromkeys([path, *(one.file for one in findings)])))


def ask(
    urls: Iterable[str],
    environ: Mapping[str, str],
    login: Callable[[str], Login | str] | None = None,
) -> tuple[str, Loaded | None]:
    """Return the first URL at which a supervisord answers, and what it has loaded.

    Unix sockets are asked first. `login`: finds user names and passwords.
    """
    for url in sorted(urls, key=lambda url: not url.startswith("unix:")):
        known = {**environ, "SUPERVISOR_SERVER_URL": url}
        rpc = SupervisorRpc.from_environment(known, find_login=login)
        loaded = rpc.loaded() if rpc else None
        if isinstance(loaded, Loaded):
            return url, loaded
    return "", None


def name_running(error: FpmListenerError, environ: Mapping[str, str]) -> FpmListenerError:
    """Return the error, with the supervisord that runs but could not be checked."""
    urls = [*filter(None, [environ.get("SUPERVISOR_SERVER_URL")]), *USUAL_URLS]
    url, loaded = ask(urls, environ)
    if loaded is None:
        return error
    names = {str(info["group"]) for info in loaded.processes}
    return FpmListenerError(
        f"{error}. A supervisord runs ({url}; {', '.join(sorted(names))}), but its files and"
        " php-fpm's were not checked. Name its file with --supervisord-conf, or run this command as"
        " a user who may read it",
    )


def gather(
    path: str,
    machine: Machine,
    environ: Mapping[str, str],
    runs: Running | None = None,
    draft: str | None = None,
    read: Callable[..., dict[str, Any] | ConfUnreadable] = config.read,
) -> CheckedConfig:
    """Return everything that the rules read. Raises FpmListenerError.

    draft: replaces the text of the file at `path`. read: as config.read.
    """
    answer = read(path, environ=environ, text=draft)
    if isinstance(answer, ConfUnreadable):
        if not answer.refused:
            raise FpmListenerError(answer.why)
        files = _texts([path, *_included(path)], path, draft)
        why = {"refused": answer.why, "unset": answer.unset, "missing": answer.missing}
        return CheckedConfig(why, ini_lines.scan(files), (), (), machine)
    sections = ini_lines.scan(_texts(answer["files"], path, draft))
    uid = answer["uid"] if answer["uid"] is not None or runs is None else runs.uid
    processes = tuple(_supervised(found, sections, environ, uid) for found in answer["processes"])
    fpms: dict[tuple[str, str | None, str | None], Fpm] = {}  # each configuration of a section
    unknown: dict[str, Unknown] = {}
    for process in processes:
        found = invocations.find(process)
        if isinstance(found, Unknown):
            unknown.setdefault(process.section.name, found)
        elif found is not None:
            own = (process.section.name, found.php_fpm.config, found.php_fpm.prefix)
            fpms[own] = fpms.get(own) or _fpm(process, found, machine)
    settings_files = tuple(_own_settings(processes, environ, path, draft))
    accepted = [(path, one) for path, one in settings_files if isinstance(one, Settings)]
    healing = [one.healing for _, one in accepted]
    healed = [one.fatal_programs or ["*"] for one in healing if one.shutdown_on_fatal]
    healed += [["*"] for one in healing if one.restart_fatal]
    return CheckedConfig(
        supervisord={name: answer[name] for name in _SUPERVISORD},
        sections=sections,
        processes=processes,
        fpms=tuple(fpms.values()),
        unknown=tuple(unknown.values()),
        machine=machine,
        running=runs,
        is_environment_known=runs is not None and runs.environ is not None,
        refused=tuple(
            (path, str(one)) for path, one in settings_files if isinstance(one, Exception)
        ),
        undeliverable=tuple(
            (path, problem)
            for path, one in accepted
            for problem in receiver_check.problems(one.receivers, may_read=os.geteuid() == 0)
        ),
        state_dirs=tuple((path, str(one.state_dir)) for path, one in accepted),
        healed=tuple(glob for one in healed for glob in one),
    )


def _fpm(process: Supervised, found: Invocation, machine: Machine) -> Fpm:
    invocation = found.php_fpm
    conf = config_files.read(
        invocation,
        directory=process.settings["directory"],
        environment=process.settings["inherited"],
    )
    lines = ini_lines.scan(_texts(conf.files), php=True)
    version = config_files.version(invocation)
    return Fpm(process, invocation, conf, lines, machine, version, found.script)


def _own_settings(
    processes: Iterable[Supervised], environ: Mapping[str, str], path: str, draft: str | None
) -> Iterator[tuple[str, Settings | FpmListenerError]]:
    """Return our own settings files, each with its settings or its error."""
    for process in processes:
        found = _LISTENS.search(process.command)
        if process.kind == "eventlistener" and found and os.access(found[1], os.R_OK):
            try:
                is_draft = draft is not None and Path(found[1]).resolve() == Path(path).resolve()
                text = draft if is_draft and draft else settings.read_text(found[1])
                yield found[1], settings.parse(found[1], text, environ)
            except FpmListenerError as error:
                yield found[1], error


def _texts(
    paths: Iterable[str], drafted: str = "", draft: str | None = None
) -> list[tuple[str, str]]:
    found = []
    for path in paths:
        if draft is not None and path == drafted:
            found.append((path, draft.replace("\r\n", "\n")))
            continue
        try:
            found.append((path, regular_file.read_text(path, LONGEST)))
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
    if uid is None and user == os.geteuid():
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
