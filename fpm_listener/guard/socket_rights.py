"""Owner, group and mode of unix sockets, as php-fpm sets them.

Law: the path is opened once and changed through the descriptor, since other users may be able to
replace it at any moment.

Source: php-src sapi/fpm/fpm/fpm_unix.c; compared with php-fpm 8.2.36.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpm_listener.phpfpm.listen_sockets import Rights

#: Digits of a numeric user or group; 32 bits have ten, and chown(2) accepts fewer values.
_MOST_DIGITS = 9


def set_rights(path: str, rights: Rights) -> None:
    """Give an existing unix socket the rights that php-fpm would create it with.

    Raises OSError, and KeyError with an unknown name.
    """
    uid, gid = owner_of(rights)
    # Not set: as if it were created now.
    uid, gid = (os.geteuid() if uid < 0 else uid), (os.getegid() if gid < 0 else gid)
    descriptor = _open_socket(path)
    if descriptor is None:
        return  # another file is there now
    try:
        found = os.fstat(descriptor)
        if (found.st_uid, found.st_gid) != (uid, gid):
            os.chown(_path_of(descriptor), uid, gid)
        if stat.S_IMODE(found.st_mode) != rights.mode:
            os.chmod(_path_of(descriptor), rights.mode)  # noqa: PTH101 - texts stay texts
    finally:
        os.close(descriptor)


def set_owner(path: str, uid: int, gid: int) -> None:
    """Change the owner of a socket that we have bound. Raises OSError if it was replaced."""
    descriptor = _open_socket(path)
    if descriptor is None:
        raise OSError(errno.EEXIST, "another process has replaced the socket")
    try:
        os.chown(_path_of(descriptor), uid, gid)
    finally:
        os.close(descriptor)


def _open_socket(path: str) -> int | None:
    """Return a descriptor of the unix socket at `path`; None if it is not a socket."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None


def _path_of(descriptor: int) -> str:
    """Return a path to an open file; fchmod(2) has no effect on a socket."""
    return f"/proc/self/fd/{descriptor}"


def owner_of(rights: Rights) -> tuple[int, int]:
    """Return user and group as numbers; -1 = not set. Raises KeyError with an unknown name.

    As in php-fpm, a user's name also sets the user's group; a number does not.
    """
    uid = gid = -1
    if rights.owner:
        uid, gid = (int(rights.owner), -1) if _is_id(rights.owner) else _user(rights.owner)
    if rights.group:
        gid = int(rights.group) if _is_id(rights.group) else _group(rights.group)
    return uid, gid


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= _MOST_DIGITS  # else it is a name


def _user(name: str) -> tuple[int, int]:
    import pwd  # noqa: PLC0415 - most guards do not need it

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise KeyError(name) from None
    return entry.pw_uid, entry.pw_gid


def _group(name: str) -> int:
    import grp  # noqa: PLC0415 - most guards do not need it

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise KeyError(name) from None
