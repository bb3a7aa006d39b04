"""Checks whether all that a program needs for its start is there and usable.

Laws:
1. It changes nothing and runs nothing; the checks cost some file system calls.
2. Only what alone makes a start fail is an obstacle. It tests access as the user of the program.
3. A path that may not be read counts as present, and no cause is ruled out because of it.
4. On a full disk, a start fails only if it must create a file without a free inode, or write the
   pid file. To open an existing log or to create a socket needs no free byte.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

from fpm_listener.host import executable
from fpm_listener.host.file_access import EXECUTE, WRITE, account_of_user, is_denied
from fpm_listener.host.obstacles import NOT_SPAWNED, Obstacle, seen
from fpm_listener.untrusted_text import escaped
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fpm_listener.host.file_access import Account
    from fpm_listener.incidents.post_mortem import Needs

#: Where supervisord looks for a command without a slash if it has no PATH (supervisor/options.py).
_DEFAULT_PATH = "/bin:/usr/bin:/usr/local/bin"
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR}


class MachineChecks:
    """The checks for one program, in the order in which its start fails."""

    def __init__(self, needs: Needs, supervisord: Account | None, search_path: str) -> None:
        """`supervisord`: its account; `search_path`: its PATH; each if it is known."""
        self._needs = needs
        self._supervisord = supervisord
        self._search_path = search_path or _DEFAULT_PATH
        uid = needs.uid
        self._account = supervisord if uid is None else account_of_user(uid)
        self._blind: set[Cause] = set()
        self.obstacles: list[Obstacle] = []
        self._look()

    @property
    def looked_for(self) -> list[Cause]:
        """Return the causes that could be looked for."""
        needs = self._needs
        paths = needs.program or needs.command or needs.files or needs.directory or needs.logs
        possible = {
            Cause.MISSING_PATH: paths,
            Cause.DISK_FULL: needs.files,
            Cause.UNKNOWN_USER: needs.users or needs.groups or needs.uid is not None,
        }
        return [cause for cause, known in possible.items() if known and cause not in self._blind]

    def _look(self) -> None:
        needs = self._needs
        self._check_program(needs.command, NOT_SPAWNED)
        for path in needs.logs:
            self._check_file(path, self._supervisord, NOT_SPAWNED)
        if needs.uid is not None:
            self._check_user(needs.uid)
        if needs.directory is not None:
            self._check_folder(needs.directory, Fault.NO_DIRECTORY, NOT_SPAWNED)
            self._check_entry(needs.directory)
        if needs.program != needs.command:
            self._check_program(needs.program, ())
        if needs.config is not None:
            self._check_config(needs.config)
        for path in needs.worker_folders:
            self._check_folder(path, Fault.NO_POOL_FOLDER, ())
        for kind, names, look in (
            ("user", needs.users, pwd.getpwnam),
            ("group", needs.groups, grp.getgrnam),
        ):
            self._check_accounts(kind, names, look)
        for path in needs.files:
            self._check_file(path, self._account, ())

    def _add(self, cause: Cause, named: str, what: str, statuses: tuple[int, ...]) -> None:
        self.obstacles.append(
            Obstacle(cause, escaped(named), f"seen: {escaped(what)}", None, statuses)
        )

    def _add_fault(self, fault: Fault, named: str, what: str, statuses: tuple[int, ...]) -> None:
        self.obstacles.append(seen(fault, escaped(named), escaped(what), statuses))

    # -- the program -------------------------------------------------------------------------------

    def _check_program(self, program: str | None, statuses: tuple[int, ...]) -> None:
        if program is None:
            return
        own_path = self._needs.search_path or self._search_path
        if "/" in program:
            found = executable.find_obstacle(program, self._account, own_path, statuses)
            if found is not None:
                self.obstacles.append(found)
            return
        # supervisord's own PATH can differ from ours, so all known folders count.
        wherever = f"{self._search_path}:{own_path}:{_DEFAULT_PATH}"
        if not executable.is_in_path(program, wherever):
            self._add_fault(
                Fault.NO_PROGRAM, program, f"{program} is not in PATH ({wherever})", statuses
            )

    def _check_user(self, uid: int) -> None:
        supervisord = self._supervisord
        if self._account is None:
            what = f"no account of this host has the uid {uid}"
            self._add_fault(Fault.NO_UID, f"user {uid}", what, NOT_SPAWNED)
        elif supervisord is not None and supervisord.uid not in {0, uid}:
            what = f"supervisord runs as {supervisord.shown} and may not become another user"
            self._add_fault(Fault.NOT_ROOT, f"user {uid}", what, NOT_SPAWNED)

    def _check_folder(self, path: str, fault: Fault, statuses: tuple[int, ...]) -> None:
        folder = f"{path.rstrip('/')}/"
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - a text stays a text
        except OSError as error:
            if error.errno in _NOT_THERE:
                self._add_fault(fault, folder, f"{path} does not exist", statuses)
            else:
                self._blind.add(Cause.MISSING_PATH)
            return
        if not stat.S_ISDIR(mode):
            self._add_fault(fault, folder, f"{path} is not a directory", statuses)

    def _check_entry(self, path: str) -> None:
        account = self._account
        if account is not None and is_denied(path, account, EXECUTE):
            what = f"user {account.shown} may not enter {path}"
            self._add(Cause.PERMISSION, path, what, NOT_SPAWNED)

    def _check_config(self, path: str) -> None:
        try:
            os.stat(path)  # noqa: PTH116 - a text stays a text
        except OSError as error:
            if error.errno in _NOT_THERE:
                self._add_fault(Fault.NO_CONFIG_FILE, path, f"{path} does not exist", ())
            else:
                self._blind.add(Cause.MISSING_PATH)

    def _check_accounts(
        self, kind: str, names: Iterable[str], look: Callable[[str], object]
    ) -> None:
        if self._account is not None and self._account.uid != 0:
            return  # only root changes its user
        for name in names:
            try:
                look(name)
            except KeyError:
                self._add(Cause.UNKNOWN_USER, f"{kind} {name}", f"{kind} {name} does not exist", ())
            except OSError:
                self._blind.add(Cause.UNKNOWN_USER)

    # -- its files ---------------------------------------------------------------------------------

    def _check_file(self, path: str, account: Account | None, statuses: tuple[int, ...]) -> None:
        """Check a file that must be created, or opened for writing."""
        folder = path.rpartition("/")[0] or "/"
        try:
            os.stat(folder)  # noqa: PTH116 - a text stays a text
        except OSError as error:
            if error.errno in _NOT_THERE:
                what = f"{folder} does not exist"
                self._add(Cause.MISSING_PATH, f"{folder.rstrip('/')}/", what, statuses)
            else:
                self._blind |= {Cause.MISSING_PATH, Cause.DISK_FULL}
            return
        target = _opened(path, folder)
        if target is None:
            return
        try:
            disk = os.statvfs(target)
        except OSError:
            self._blind.add(Cause.DISK_FULL)
            return
        if disk.f_flag & os.ST_RDONLY:
            self._add(Cause.PERMISSION, path, f"{path}: Read-only file system", statuses)
        elif self._is_full(disk, path, account, is_new=target == folder and not _exists(path)):
            self._add(Cause.DISK_FULL, f"{folder}/", f"the disk of {folder} is full", statuses)
        elif account is not None:
            wanted = WRITE | EXECUTE if target == folder else WRITE
            if is_denied(target, account, wanted):
                what = f"user {account.shown} may not write to {target}"
                self._add(Cause.PERMISSION, path, what, statuses)

    def _is_full(
        self, disk: os.statvfs_result, path: str, account: Account | None, *, is_new: bool
    ) -> bool:
        """Return whether the disk is so full that it alone makes a start fail: law 4.

        A file system without blocks, such as ramfs, counts nothing. Some count no inodes. Only root
        may use the reserved blocks.
        """
        is_root = account is not None and account.uid == 0
        free = disk.f_bfree if is_root else disk.f_bavail
        inodes = disk.f_ffree if is_root else disk.f_favail
        has_no_byte, has_no_inode = disk.f_blocks > 0 == free, disk.f_files > 0 == inodes
        if is_new and (has_no_inode or (has_no_byte and path == self._needs.pid_file)):
            return True
        if has_no_byte or has_no_inode:
            self._blind.add(Cause.DISK_FULL)
        return False


def _exists(path: str) -> bool:
    """Return whether a file is there; `/` at the end: it gets a new name."""
    return not path.endswith("/") and os.path.lexists(path)


def _opened(path: str, folder: str) -> str | None:
    """Return the file whose rights decide: the folder of a new file or socket; None = neither."""
    try:
        mode = os.stat(path).st_mode if not path.endswith("/") else stat.S_IFSOCK  # noqa: PTH116 - a text
    except OSError:
        return folder
    if stat.S_ISSOCK(mode):
        return folder  # php-fpm removes it and creates it again
    return path if stat.S_ISREG(mode) else None
