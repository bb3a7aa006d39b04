"""Why the kernel, or supervisord before it, refuses to execute a file.

Laws:
1. Only what makes each attempt fail is reported. If the file may not be read, nothing is.
2. Nothing is executed.

Source: supervisor/options.py, `check_execv_args`; execve(2); the kernel's fs/binfmt_script.c,
fs/binfmt_elf.c and Documentation/admin-guide/binfmt-misc.rst; elf(5).
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import sys
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.file_access import EXECUTE, is_denied
from fpm_listener.host.obstacles import NOT_SPAWNED, Obstacle, seen
from fpm_listener.untrusted_text import escaped
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from fpm_listener.host.file_access import Account

#: Bytes of the first line that the kernel reads (BINPRM_BUF_SIZE), and of an ELF file that we read.
_FIRST_LINE, _ELF_HEAD = 256, 4096
_ELF, _BYTE_ORDER_MARK = b"\x7fELF", b"\xef\xbb\xbf"
#: e_machine: programs of the first kind run on machines of the second (i386 on x86-64, ARM on
#: AArch64).
_RUNS_TOO = {(3, 62), (40, 183)}
_PT_INTERP = 3
_FORMATS = "/proc/sys/fs/binfmt_misc"


class Elf(NamedTuple):
    """The head of an ELF file."""

    machine: int
    loader: str | None  #: None = linked statically, or not among the bytes that were read


def find_obstacle(
    path: str, account: Account | None, search_path: str, statuses: tuple[int, ...] = NOT_SPAWNED
) -> Obstacle | None:
    """Return why the file at an absolute path cannot be executed; None = no reason is known.

    account: that executes it, if known; search_path: its PATH; statuses: of such a start.
    """
    found = _find(path, account, search_path)
    return found and found._replace(statuses=statuses)


def _find(path: str, account: Account | None, search_path: str) -> Obstacle | None:
    shown = escaped(path)
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - a text stays a text
    except OSError as error:
        is_missing = error.errno in {errno.ENOENT, errno.ENOTDIR}
        return seen(Fault.NO_PROGRAM, shown, f"{shown} does not exist") if is_missing else None
    if stat.S_ISDIR(mode):
        return seen(Fault.IS_DIRECTORY, shown, f"{shown} is a directory")
    if not stat.S_ISREG(mode):
        return None  # to open a FIFO waits for its writer
    if not stat.S_IMODE(mode) & 0o111:
        bits = f"{stat.S_IMODE(mode):04o}"
        return seen(Fault.NOT_EXECUTABLE, shown, f"nobody may execute {shown} (mode {bits})")
    if account is not None and is_denied(path, account, EXECUTE):
        evidence = f"seen: user {account.shown} may not execute {shown}"
        return Obstacle(Cause.PERMISSION, shown, evidence)
    try:
        if os.statvfs(path).f_flag & os.ST_NOEXEC:
            return seen(Fault.NOEXEC_MOUNT, shown, f"the file system of {shown} has noexec")
        with open(path, "rb") as file:  # noqa: PTH123 - a text stays a text
            head = file.read(_ELF_HEAD)
    except OSError:
        return None
    if head.startswith(b"#!"):
        return _script_obstacle(shown, head[:_FIRST_LINE], search_path)
    if head.startswith(_ELF):
        return _elf_obstacle(shown, head)
    return _format_obstacle(shown, head)


def _script_obstacle(shown: str, head: bytes, search_path: str) -> Obstacle | None:
    """Return why a script with this first line cannot run."""
    line, newline, _ = head[2:].partition(b"\n")
    words = line.strip(b" \t").split(None, 1) if newline else []
    if not words or not words[0].startswith(b"/"):
        return None
    # bytes.split also splits at \r, which is part of the name for the kernel.
    interpreter = line.strip(b" \t").replace(b"\t", b" ").split(b" ", 1)[0]
    ends_with_cr = line.endswith(b"\r")
    if not os.path.exists(interpreter):  # noqa: PTH110 - bytes
        if ends_with_cr and interpreter.endswith(b"\r"):
            return seen(Fault.WINDOWS_LINE, shown, f"the first line of {shown} ends with CR LF")
        name = escaped(os.fsdecode(interpreter))
        what = f"{shown} needs the interpreter {name}, which does not exist"
        return seen(Fault.NO_INTERPRETER, shown, what)
    argument = words[1] if len(words) > 1 else b""
    if interpreter.rpartition(b"/")[2] != b"env" or argument.startswith(b"-") or b"=" in argument:
        return None
    if ends_with_cr:
        return seen(Fault.WINDOWS_LINE, shown, f"the first line of {shown} ends with CR LF")
    name = escaped(os.fsdecode(argument.strip()))
    if not name or "/" in name or is_in_path(name, search_path):
        return None
    what = f"{shown} needs the interpreter {name}, which is not in PATH ({search_path})"
    return seen(Fault.NO_INTERPRETER, shown, what)


def is_in_path(name: str, search_path: str) -> bool:
    """Return whether a folder of PATH has a file with this name."""
    folders = search_path.split(":")
    return any(os.path.exists(f"{folder or '.'}/{name}") for folder in folders)  # noqa: PTH110 - texts


def _elf_obstacle(shown: str, head: bytes) -> Obstacle | None:
    elf, own = read_elf(head), _own_machine()
    if elf is None:
        return None
    is_other = own is not None and elf.machine != own and (elf.machine, own) not in _RUNS_TOO
    if is_other and not _has_formats():
        what = f"{shown} is built for another processor than this {os.uname().machine}"
        return seen(Fault.NO_FORMAT, shown, what)
    if elf.loader and not is_other and not os.path.exists(elf.loader):  # noqa: PTH110 - a text
        what = f"{shown} needs the loader {escaped(elf.loader)}, which does not exist"
        return seen(Fault.NO_LOADER, shown, what)
    return None


def read_elf(head: bytes) -> Elf | None:
    """Return the facts in the first bytes of an ELF file; None if they are malformed."""
    try:
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        (machine,) = struct.unpack_from(f"{order}H", head, 18)
        (table,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)
        size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
        for index in range(count):
            at = table + index * size
            (kind,) = struct.unpack_from(f"{order}I", head, at)
            if kind == _PT_INTERP:
                form, shift = ("QQQQ", 8) if wide else ("IIII", 4)
                start, _, _, length = struct.unpack_from(f"{order}{form}", head, at + shift)
                text = head[start : start + length]
                return Elf(machine, os.fsdecode(text.rstrip(b"\0")) or None)
    except (struct.error, IndexError, OverflowError):
        return None
    return Elf(machine, None)


def _own_machine() -> int | None:
    try:
        with open(sys.executable, "rb") as file:  # noqa: PTH123 - a text stays a text
            own = read_elf(file.read(_ELF_HEAD))
    except OSError:
        return None
    return own.machine if own else None


def _format_obstacle(shown: str, head: bytes) -> Obstacle | None:
    if _has_formats():
        return None
    has_mark = head.startswith(_BYTE_ORDER_MARK + b"#!")
    why = "has a byte order mark before #!" if has_mark else "is neither a program nor a script"
    return seen(Fault.NO_FORMAT, shown, f"{shown} {why}")


def _has_formats() -> bool:
    """Return whether the kernel has formats besides its own, or that is unknown."""
    try:
        return bool(set(os.listdir(_FORMATS)) - {"register", "status"})  # noqa: PTH208 - names only
    except FileNotFoundError:
        return False
    except OSError:
        return True
