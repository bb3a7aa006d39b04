"""What the examination of the machine has checked, by the cause that it rules out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.incidents.post_mortem import Needs


def checked_names(needs: Needs) -> dict[Cause, tuple[str, ...]]:
    """Return the paths, users and groups that were checked.

    They are those of daemon.machine_checks. A cause without names is about the whole machine.
    """
    folders = tuple(path.rpartition("/")[0] or "/" for path in (*needs.logs, *needs.files))
    own = (needs.command, needs.program, needs.directory, needs.config)
    paths = (*own, *needs.worker_folders, *folders)
    accounts = (*needs.users, *needs.groups, None if needs.uid is None else str(needs.uid))
    return {
        Cause.MISSING_PATH: _each_once(paths),
        Cause.DISK_FULL: needs.folders,
        Cause.UNKNOWN_USER: _each_once(accounts),
    }


def _each_once(names: tuple[str | None, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
