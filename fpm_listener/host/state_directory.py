"""Which directory is used for `state_dir`.

Rules:
1. A directory that other users can write to, such as a volume of Kubernetes with mode 0777, is
   used through a subdirectory that only its owner can open.
2. A directory of another user than root and our own is not used.

The listener uses another directory if it cannot use this one: see `fallback_directory`.
The guard imports this before each start of php-fpm, so it imports almost nothing.
"""

from __future__ import annotations

import errno
import os
import stat

from fpm_listener import DEFAULT_STATE_DIR, regular_file

TYPE_CHECKING = False  # `typing` costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping

#: The environment variable that overrides the setting.
VARIABLE = "FPM_LISTENER_STATE_DIR"
#: The name is fixed, because the guard and the commands must find it too.
SUBDIRECTORY = "fpm-listener"
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class UnsafeDirectoryError(OSError):
    """Another user can change files in the directory."""

    def __init__(self, path: str, problem: str, command: str) -> None:
        """`problem`: follows the path in a sentence; `command`: what the operator can type."""
        super().__init__(errno.EPERM, f"{path} {problem}; type: {command}")


def configured(config: str | None, environ: Mapping[str, str]) -> str:
    """Return the setting `state_dir` as an absolute path, as the listener reads it.

    A relative path starts at the directory of the settings file, or at the working directory if
    there is no file. config: the file. Raises OSError if it cannot be read.
    """
    found = setting_in(regular_file.read_text(config)) if config is not None else None
    value = environ.get(VARIABLE, "").strip() or found or DEFAULT_STATE_DIR
    path = os.path.join(os.path.dirname(config or ""), value)  # noqa: PTH118, PTH120 - pathlib costs milliseconds
    if not path.startswith("/"):
        path = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118 - as above
    # As pathlib shortens it: the text is compared with the listener's.
    return "/" + "/".join(name for name in path.split("/") if name not in {"", "."})


def setting_in(text: str) -> str | None:
    """Return the last value of state_dir in [fpm-listener] of a settings file; None = it has none.

    For commands that start often: parsing all settings takes 12 ms, and the listener reports
    mistakes in them. As for supervisor, ; or # after a blank starts a comment.
    """
    section, value = "", ""
    for line in text.splitlines():
        if line.startswith("["):
            section = line[1:].partition("]")[0]
        elif section == "fpm-listener" and line[:9].lower() == "state_dir":
            rest = line[9:].lstrip()
            if rest[:1] in {"=", ":"}:
                value = _uncommented(rest[1:]).strip()
    return value or None


def _uncommented(value: str) -> str:
    for at, letter in enumerate(value):
        if letter in ";#" and (at == 0 or value[at - 1].isspace()):
            return value[:at]
    return value


def locate(state_dir: str) -> str:
    """Return the directory in use: `state_dir`, or its subdirectory. It may not exist."""
    try:
        found = os.stat(state_dir)  # noqa: PTH116 - pathlib costs milliseconds
    except OSError:
        return state_dir
    return f"{state_dir}/{SUBDIRECTORY}" if found.st_mode & WRITABLE_BY_OTHERS else state_dir


def prepare(state_dir: str) -> str:
    """Return the directory in use, which is created if it is missing.

    Raises OSError; UnsafeDirectoryError if another user can change files in it.
    """
    os.makedirs(state_dir, mode=0o700, exist_ok=True)  # noqa: PTH103 - as above
    link = os.lstat(state_dir)
    if stat.S_ISLNK(link.st_mode) and not _is_trusted(link):
        problem = f"is a symlink of user {link.st_uid}"
        raise UnsafeDirectoryError(state_dir, problem, f"rm {quoted(state_dir)}")
    _check_owner(state_dir, os.stat(state_dir))  # noqa: PTH116 - as above
    used = locate(state_dir)
    if used != state_dir:
        try:
            os.mkdir(used, 0o700)  # noqa: PTH102 - as above
        except FileExistsError:
            _check_subdirectory(used)
    return used


def _check_subdirectory(path: str) -> None:
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise UnsafeDirectoryError(path, "is not a directory", f"rm {quoted(path)}")
    _check_owner(path, found)
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise UnsafeDirectoryError(
            path, "can be changed by other users", f"chmod 700 {quoted(path)}"
        )


def _check_owner(path: str, found: os.stat_result) -> None:
    if not _is_trusted(found):
        command = f"chown {os.geteuid()} {quoted(path)} && chmod 700 {quoted(path)}"
        raise UnsafeDirectoryError(path, f"belongs to user {found.st_uid}", command)


def _is_trusted(found: os.stat_result) -> bool:
    return found.st_uid in {0, os.geteuid()}


def quoted(path: str) -> str:
    """Return a path as a word of a shell."""
    import shlex  # noqa: PLC0415 - the guard has no use for it

    return shlex.quote(path)


def check_writable(path: str) -> None:
    """Raise OSError if we cannot create files in a directory."""
    if os.access(path, os.W_OK | os.X_OK):
        return
    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
    code = errno.EROFS if read_only else errno.EACCES
    raise OSError(code, os.strerror(code), path)
