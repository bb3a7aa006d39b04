"""`fpm-listener.pyz unpack DIR`: installs the zip file as files, so that each start is fast.

Laws:
1. The result is complete or absent: it is created beside DIR, and gets this name at the end.
2. DIR is used only if no other user can change it or a directory above it. No symlink is followed.
3. A directory with other content stays unchanged.
"""

from __future__ import annotations

import compileall
import errno
import hashlib
import os
import py_compile
import shlex
import shutil
import stat
import sys
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from fpm_listener import __version__
from fpm_listener.host import own_command
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Its text is the hash of the zip file. A directory without it is not ours.
_MARK = ".fpm-listener.pyz"
#: Folders of the zip file that are not code.
_NO_CODE = ("share/", "licenses/")
#: PATH of supervisord, unless the image or the host sets another one.
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: It finds its directory from its own path, so the directory can be copied to another image.
_PROGRAM = """\
#!{python}
\"\"\"Starts the fpm-listener that `fpm-listener.pyz unpack` wrote to this directory.\"\"\"
import os
import sys

lib = os.path.dirname(os.path.dirname(os.path.realpath(__file__))) + "/lib"
sys.path.insert(0, lib)
sys.path.append(lib + "/fallback")

from fpm_listener.__main__ import main

sys.exit(main())
"""


def run(folder: str, say: Callable[[str], None]) -> int:
    """Install the running zip file in `folder`; return the exit status. Raises FpmListenerError."""
    archive = own_command.archive()
    if archive is None:
        raise FpmListenerError(
            "unpack: this fpm-listener does not run from fpm-listener.pyz, so there is nothing to"
            " unpack; run the file: fpm-listener.pyz unpack DIR"
        )
    install(Path(archive), Path(folder).absolute(), say)
    return 0


def install(archive: Path, target: Path, say: Callable[[str], None]) -> None:
    """Install the zip file in `target`. Raises FpmListenerError; then nothing has changed."""
    target = Path(os.path.normpath(target))
    program = shlex.quote(f"{target}/bin/fpm-listener")
    next_step = f"next: start it in supervisord's file as command={program}"
    try:
        mark = hashlib.sha256(archive.read_bytes()).hexdigest()
        found = _examine(target)
        if found == mark:
            say(f"fpm-listener {__version__} is in {target} already; {next_step}")
            return
        _make_parents(target.parent)
        new = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
        new.mkdir(mode=0o700)
        try:
            _fill(archive, new, target, mark)
            _replace(new, target, has_old=found is not None)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        raise FpmListenerError(_why(target, error)) from error
    say(f"fpm-listener {__version__} is in {target} now; {next_step}")


# -- is it safe? -----------------------------------------------------------------------------------


def _examine(target: Path) -> str | None:
    """Return the mark of our files in it; empty = it is empty, None = it does not exist.

    Raises OSError, and FpmListenerError if it must not be used.
    """
    for path in _above(target):
        why = _unsafe(path.stat())
        if why:
            raise FpmListenerError(
                f"unpack: {path} {why}, so another user could change the files;"
                f" name a directory that only root and you can change, or type: chmod go-w {path}"
            )
    try:
        own = target.lstat()
    except FileNotFoundError:
        return None
    kind = "is a symlink" if stat.S_ISLNK(own.st_mode) else "exists and is not a directory"
    if not stat.S_ISDIR(own.st_mode):
        raise FpmListenerError(f"unpack: {target} {kind}; remove it, or name another directory")
    if why := _unsafe(own, sticky_is_safe=False):
        raise FpmListenerError(f"unpack: {target} {why}; remove it, or name another directory")
    with suppress(FileNotFoundError):
        return (target / _MARK).read_text()
    if any(target.iterdir()):
        raise FpmListenerError(
            f"unpack: {target} has files of other programs; it stays unchanged;"
            " name a directory that does not exist"
        )
    return ""


def _above(target: Path) -> Iterator[Path]:
    """Yield each existing directory above `target`: as it is written, and where its links lead."""
    for path in (target.parent, target.parent.resolve()):
        yield from (one for one in (path, *path.parents) if one.exists())


def _unsafe(found: os.stat_result, *, sticky_is_safe: bool = True) -> str:
    """Return why other users can change a directory; empty = they cannot."""
    if found.st_uid not in {0, os.geteuid()}:
        return f"belongs to user {found.st_uid}"
    if sticky_is_safe and found.st_mode & stat.S_ISVTX:
        return ""
    if found.st_mode & stat.S_IWOTH:
        return "is writable for all users"
    # Group 0 is root's own, and images of OpenShift give it write access to many directories.
    if found.st_mode & stat.S_IWGRP and found.st_gid != 0:
        return f"is writable for group {found.st_gid}"
    return ""


# -- the files -------------------------------------------------------------------------------------


def _make_parents(path: Path) -> None:
    for one in reversed((path, *path.parents)):
        if not one.exists():
            one.mkdir()
            one.chmod(0o755)  # whatever the umask is: the user of php-fpm must be able to read it


def _fill(archive: Path, new: Path, target: Path, mark: str) -> None:
    """Write all files and the compiled code, readable for all users whatever the umask is."""
    program = new / "bin" / "fpm-listener"
    program.parent.mkdir()
    program.write_text(_PROGRAM.format(python=_python()))
    (new / _MARK).write_text(mark)
    with zipfile.ZipFile(archive) as packed:
        for name in packed.namelist():
            if name != "__main__.py":
                packed.extract(name, new if name.startswith(_NO_CODE) else new / "lib")
    _compile(new / "lib", target / "lib")
    for folder, _, files in os.walk(new):
        Path(folder).chmod(0o755)
        for file in files:
            Path(folder, file).chmod(0o644)
    program.chmod(0o755)


def _compile(lib: Path, final: Path) -> None:
    """Compile the code, so that no start has to do it. A file that fails is compiled at a start."""
    prefix, sys.pycache_prefix = sys.pycache_prefix, None  # PYTHONPYCACHEPREFIX
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compileall.compile_dir(
                lib,
                quiet=2,
                optimize=0,
                stripdir=str(lib),
                prependdir=str(final),  # what tracebacks show
                # Tools that build images change the times of files; Python must not care.
                invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            )
    finally:
        sys.pycache_prefix = prefix


def _python() -> str:
    """Return the interpreter for the first line of the program: the one that runs now.

    With `env` the directory can be copied to an image that has python3 in another place.
    """
    found = shutil.which("python3", path=_USUAL_PATH)
    is_same = found is not None and os.path.realpath(found) == os.path.realpath(sys.executable)
    return "/usr/bin/env python3" if is_same and sys.prefix == sys.base_prefix else sys.executable


def _replace(new: Path, target: Path, *, has_old: bool) -> None:
    """Give the new directory its name; an old one gets its name back after an error."""
    if not has_old:
        new.rename(target)
        return
    old = target.with_name(f"{new.name}.old")
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _why(target: Path, error: OSError) -> str:
    """Return the message for an error of the system, with what to do."""
    problem = error.strerror or str(error)
    if error.errno in {errno.EACCES, errno.EPERM}:
        do = f"run this as root, or name a directory that user {os.geteuid()} can write"
    elif error.errno == errno.EBUSY:
        do = f"it is a mount point: name a directory below it, for example {target}/fpm-listener"
    elif error.errno == errno.EROFS:
        do = "the file system is read-only: unpack it when you build the image"
    else:
        do = "name another directory"
    return f"unpack: {target}: {problem}; {do}"
