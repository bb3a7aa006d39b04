"""Whether an account may use a file, from the mode bits alone.

Laws:
1. Nothing is opened: the listener can be root, and the program another user.
2. "Denied" is certain. An access list, or a path that may not be read, gives "unknown".

Source: path_resolution(7), acl(5).
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
from typing import NamedTuple

READ, WRITE, EXECUTE = 4, 2, 1
_ACL = "system.posix_acl_access"
#: The file has no access list, or its file system has none.
_NO_ACL = {errno.ENODATA, errno.ENOTSUP}


class Account(NamedTuple):
    """The user that opens files."""

    uid: int
    groups: frozenset[int]

    @property
    def shown(self) -> str:
        """Return its name, or its number if it has no name."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


def account_of_user(uid: int) -> Account | None:
    """Return the account to which supervisord changes; None if the user does not exist."""
    try:
        user = pwd.getpwuid(uid)
        others = {group.gr_gid for group in grp.getgrall() if user.pw_name in group.gr_mem}
    except KeyError:
        return None
    return Account(uid, frozenset({user.pw_gid, *others}))


def account_of_process(pid: int, proc: str = "/proc") -> Account | None:
    """Return the effective account of a process; None if it cannot be read."""
    try:
        with open(f"{proc}/{pid}/status", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - as procfs does
            rows = dict(line.split(":", 1) for line in file if ":" in line)
        uid, gid = (int(rows[name].split()[1]) for name in ("Uid", "Gid"))
        return Account(uid, frozenset({gid, *map(int, rows["Groups"].split())}))
    except (OSError, KeyError, ValueError, IndexError):
        return None


def is_denied(path: str, account: Account, wanted: int) -> bool | None:
    """Return whether the account may not use an existing file; None = unknown.

    wanted: READ, WRITE and EXECUTE, added. A folder above that denies access denies the file too.
    """
    if account.uid == 0:
        return False
    try:
        real = os.path.realpath(path, strict=True)
    except OSError:
        return None
    folders = [real[:at] or "/" for at, letter in enumerate(real) if letter == "/"]
    verdicts = [_denies(folder, account, EXECUTE) for folder in folders if folder != real]
    verdicts.append(_denies(real, account, wanted))
    known = [verdict for verdict in verdicts if verdict is not None]
    return True if any(known) else (False if len(known) == len(verdicts) else None)


def _denies(path: str, account: Account, wanted: int) -> bool | None:
    """Return whether the bits of one file deny access; None = unknown."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a text stays a text
    except OSError:
        return None
    try:
        os.getxattr(path, _ACL)
    except OSError as error:
        if error.errno not in _NO_ACL:
            return None
    else:
        return None
    if account.uid == found.st_uid:
        return _lacks(found.st_mode >> 6, wanted)
    return _lacks(found.st_mode >> 3 if found.st_gid in account.groups else found.st_mode, wanted)


def _lacks(bits: int, wanted: int) -> bool:
    return bits & wanted != wanted
