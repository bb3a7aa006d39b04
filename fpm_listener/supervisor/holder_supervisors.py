"""Finds what starts the holder of an address again: another supervisord, runit, s6 or a container.

Laws:
1. A supervisor is proven by the parent of the holder, or of the leader of its process group.
   supervisord's own children lead a process group in its session: as pid 1 of a container,
   supervisord adopts other processes too.
2. A name of another user's process is quoted, and never run by root with the files of that user.
3. Nothing is run, signalled or changed.

The guard imports this after a conflict, so it imports little.
"""

from __future__ import annotations

import os
import pwd
import re
from typing import NamedTuple

from fpm_listener.host import fpm_titles, holder_search, procfs
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport, HolderSupervisor
from fpm_listener.host.file_access import account_of_process
from fpm_listener.supervisor import command_search, config_path, supervisorctl
from fpm_listener.untrusted_text import quoted

TYPE_CHECKING = False  # `typing` is loaded anyway; this block is for types only
if TYPE_CHECKING:
    from fpm_listener.host.procfs import ProcessStat
    from fpm_listener.supervisor.conf_texts import ConfTexts

#: By name of the process: the command that controls its programs, each named by its directory.
_DIRECTORY_SUPERVISORS = {"runsv": "sv", "s6-supervise": "s6-svc", "supervise": "svc"}
_GROUP, _PROCESS = b"SUPERVISOR_GROUP_NAME", b"SUPERVISOR_PROCESS_NAME"
#: Names that supervisord gives, and paths that a terminal shows as they are.
_NAME, _PATH = (
    re.compile(r"[\w.@+-]{1,200}"),
    re.compile(r"/[^\x00-\x1f\x7f-\x9f\u2028\u2029]{0,500}"),
)


class _Parent(NamedTuple):
    kind: str
    pid: int
    child: int  #: the pid that it started


def find_holders(
    address: str, *, former_masters: frozenset[int] = frozenset(), supervisord: int | None = None
) -> HolderReport:
    """Return the holders of an address, with what starts them again.

    former_masters: as in host.holder_search; supervisord: the pid of our own.
    """
    report = holder_search.find_holders(address, former_masters=former_masters)
    holders = tuple(add_supervisor(holder, supervisord) for holder in report.holders)
    return report._replace(holders=holders)


def add_supervisor(holder: Holder, own: int | None = None) -> Holder:
    """Return a holder with what starts it again; own: the pid of our own supervisord."""
    if holder.container:
        found = HolderSupervisor(
            kind=holder.engine or "container",
            config=f"container {holder.container}",
            control=holder.engine,
            name=holder.container,
        )
        return holder._replace(supervisor=found)
    if holder.kind is HolderKind.ORPHAN:
        return holder  # nothing starts an orphan again
    try:
        parent = _parent(holder.pid)
        return holder if parent is None else holder._replace(supervisor=_seen(parent, holder, own))
    except OSError:
        return holder  # a process has ended meanwhile


def _parent(pid: int) -> _Parent | None:
    """Return the supervisor of a process."""
    stat = procfs.read_stat(pid)
    leader = procfs.read_stat(stat.pgid) if stat is not None and stat.pgid > 0 else None
    for child in (stat, leader):
        above = procfs.read_stat(child.ppid) if child is not None else None
        if child is None or above is None or above.has_ended:
            continue
        words = procfs.command_line(above.pid).split("\0")
        name = words[0].rpartition("/")[2]
        if name in _DIRECTORY_SUPERVISORS:
            return _Parent(name, above.pid, child.pid)
        if config_path.script_at(words) is not None and _is_managed(child, above):
            return _Parent("supervisord", above.pid, child.pid)
    return None


def _is_managed(child: ProcessStat, supervisord: ProcessStat) -> bool:
    """Return whether supervisord itself has started the process: law 1."""
    return child.pgid == child.pid and child.session == supervisord.session


def _seen(parent: _Parent, holder: Holder, own: int | None) -> HolderSupervisor:
    if parent.kind != "supervisord":
        return _of_directory(parent)
    conf = command_search.read_conf(parent.pid)
    path = conf.path if conf is not None else config_path.find_conf(parent.pid)
    shown = path if path and _PATH.fullmatch(path) else None
    found = HolderSupervisor(
        kind="supervisord", pid=parent.pid, config=shown, ours=parent.pid == own
    )
    if conf is None or shown is None:
        return found
    control = command_search.find_supervisorctl(parent.pid)
    name = _name_from_environment(parent.child) or _name_from_conf(conf, holder)
    return _as_its_user(found._replace(control=control, name=name and quoted(name)))


def _of_directory(parent: _Parent) -> HolderSupervisor:
    """Return a supervisor that works in the directory of its program."""
    directory = os.readlink(f"/proc/{parent.pid}/cwd")  # noqa: PTH115 - a text
    if not _PATH.fullmatch(directory):
        return HolderSupervisor(kind=parent.kind, pid=parent.pid)
    return HolderSupervisor(
        kind=parent.kind,
        pid=parent.pid,
        config=directory,
        control=command_search.path_of(_DIRECTORY_SUPERVISORS[parent.kind]),
        name=quoted(directory),
    )


def _name_from_environment(pid: int) -> str | None:
    """Return the name that supervisord gave to a process; php-fpm overwrites it with its title."""
    pairs = (word.partition(b"=") for word in procfs.environment(pid).split(b"\0"))
    words = {name: value.decode("utf-8", "replace") for name, _, value in pairs}
    group, name = words.get(_GROUP, ""), words.get(_PROCESS, "")
    if not _NAME.fullmatch(group) or not _NAME.fullmatch(name):
        return None
    return name if group == name else f"{group}:{name}"


def _name_from_conf(conf: ConfTexts, holder: Holder) -> str | None:
    path = procfs.executable(holder.pid)
    if path is None:
        return None
    conf_of_fpm = fpm_titles.config_of(holder.command) or ""
    sections = command_search.sections_of(conf)
    name = path.rpartition("/")[2]
    return supervisorctl.name_of_program(sections, conf.expansions, name, conf_of_fpm)


def _as_its_user(found: HolderSupervisor) -> HolderSupervisor:
    """Return the supervisor with the user that its commands need: law 2."""
    # /proc/PID belongs to root if supervisord has changed its user.
    account = account_of_process(found.pid or 0)
    if account is None:
        return found._replace(control=None)
    if account.uid in {0, os.geteuid()}:
        return found
    try:
        return found._replace(user=quoted(pwd.getpwuid(account.uid).pw_name))
    except KeyError:
        return found._replace(control=None)
