"""`fpm-listener check` of this machine: its configuration, and the supervisord that runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor import held_addresses, running, worker_measurements
from fpm_listener.doctor.gathering import gather, texts_of
from fpm_listener.doctor.host_facts import Host
from fpm_listener.doctor.rules import examine
from fpm_listener.doctor.sources import Sources
from fpm_listener.doctor.text_files import texts
from fpm_listener.supervisor import server_login
from fpm_listener.supervisor.holder_supervisors import find_holders
from fpm_listener.supervisor.process import Loaded
from fpm_listener.supervisor.rpc import SupervisorRpc
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.rule import Finding
    from fpm_listener.host.address_holders import HolderReport
    from fpm_listener.supervisor.server_login import Login

#: The places in which supervisord itself looks for its configuration.
USUAL_FILES = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")

#: The sockets of supervisord on Debian, on Red Hat and in supervisor's own sample.
USUAL_URLS = (
    *("unix:///run/supervisor.sock", "unix:///run/supervisor/supervisor.sock"),
    "unix:///tmp/supervisor.sock",
)


class CheckResult(NamedTuple):
    """What `check` found."""

    findings: list[Finding]  #: the worst first
    notes: tuple[str, ...] = ()  #: what was not checked, and why: `PATH: reason`
    texts: Mapping[str, str] = {}  #: of the files that were read, by Finding.file
    mode: str = ""  #: how it was checked, in one sentence


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
    """Return the findings of check_machine."""
    return check_machine(path, machine, environ, live=live, search=search).findings


def check_machine(
    path: str,
    machine: Machine | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    live: bool = False,
    search: Callable[[str], HolderReport] = find_holders,
) -> CheckResult:
    """Return the findings for the configuration at `path`, and the texts of its files.

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
        if runs is not None:
            configs = [fpm.conf.path for fpm in checked.fpms]
            measured = worker_measurements.measure(runs.pid, configs)
            checked = checked._replace(running=runs._replace(measured=measured))
        urls = [server["url"] for server in checked.supervisord.get("servers") or ()]
        login = server_login.in_file(path, environ or own)
        _, loaded = ask(urls, own, login) if may_run else ("", None)
        checked = checked._replace(loaded=loaded)
        # php-fpm may restart meanwhile: only holders before and after the question count.
        again = set(held_addresses.pids(held_addresses.find(checked.fpms, path, search)))
        held = tuple(one for one in held if again >= set(held_addresses.pids([one])))
    found = examine(checked._replace(held=held), texts())
    return CheckResult(found, texts=dict(texts_of(checked.files, Sources())))


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
        rpc = SupervisorRpc.from_environment(known, find_login=login, of_any_user=True)
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
