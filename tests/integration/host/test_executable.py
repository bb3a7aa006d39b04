"""Files that the kernel does not execute, each compared with what execve(2) really does."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fpm_listener.host.executable import find_obstacle, read_elf
from fpm_listener.host.file_access import Account, account_of_process, account_of_user, is_denied
from fpm_listener.vocabulary import Cause, Fault
from tests.other_user import OTHER_UID, needs_root, open_folder

PATH = "/usr/local/bin:/usr/bin:/bin"
OTHER = Account(OTHER_UID, frozenset({OTHER_UID}))


def write(path: Path, content: bytes, mode: int = 0o755) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def errno_of(path: str) -> int:
    """Return the errno of an attempt to execute a file; 0 = it is executed."""
    try:
        return subprocess.run([path], check=False, capture_output=True).returncode and 0
    except OSError as error:
        return error.errno or 0


def elf(machine: int | None = None, loader: bytes = b"") -> bytes:
    """Return the head of this Python, changed."""
    content = bytearray(Path(sys.executable).read_bytes())
    if machine is not None:
        struct.pack_into("<H", content, 18, machine)
    if loader:
        old = os.fsencode(read_elf(bytes(content[:4096])).loader or "")  # type: ignore[union-attr] # it is one
        assert old
        content = content.replace(old, loader.ljust(len(old), b"\0"), 1)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "fault", "number"),
    [
        (b"#!/opt/no/such/sh\n", Fault.NO_INTERPRETER, errno.ENOENT),
        (b"#! /opt/no/such/sh -e\n", Fault.NO_INTERPRETER, errno.ENOENT),
        (b"#!/bin/sh\r\nexit 0\r\n", Fault.WINDOWS_LINE, errno.ENOENT),
        (b"#!/usr/bin/env no-such-program\n", Fault.NO_INTERPRETER, 0),
        (b"#!/usr/bin/env sh\r\n", Fault.WINDOWS_LINE, 0),
        (b"exit 0\n", Fault.NO_FORMAT, errno.ENOEXEC),
        (b"", Fault.NO_FORMAT, errno.ENOEXEC),
        (b"\xef\xbb\xbf#!/bin/sh\n", Fault.NO_FORMAT, errno.ENOEXEC),
        (elf(machine=22), Fault.NO_FORMAT, errno.ENOEXEC),  # S/390
        (elf(loader=b"/lib/ld-no.so.1"), Fault.NO_LOADER, errno.ENOENT),
    ],
)
def test_a_file_that_cannot_run(tmp_path: Path, content: bytes, fault: Fault, number: int) -> None:
    """The fault is named, and the kernel refuses the file too (`env` itself runs)."""
    path = write(tmp_path / "run", content)
    found = find_obstacle(path, None, PATH)

    assert found is not None
    assert (found.fault, found.named, found.cause) == (fault, path, fault.cause)
    assert errno_of(path) == number


@pytest.mark.parametrize(
    "content",
    [
        b"#!/bin/sh\nexit 0\n",
        b"#!/bin/sh -e\nexit 0\r\n",
        b"#! /bin/sh\t-e\nexit 0\n",
        b"#!/usr/bin/env sh\nexit 0\n",
        b"#!/usr/bin/env -S sh -e\nexit 0\n",
        b"#!relative/sh\n",
        b"\x7fELF and nothing else",
        elf(),
    ],
)
def test_a_file_about_which_nothing_is_claimed(tmp_path: Path, content: bytes) -> None:
    """It runs, or its fault is not certain."""
    assert find_obstacle(write(tmp_path / "run", content), None, PATH) is None


@example(b"\0" * 26 + b"\xff" * 8 + b"\0" * 14 + b"\1\0\1\0", 2, 1)
@given(st.binary(max_size=120), st.integers(0, 2), st.integers(0, 2))
def test_any_bytes(content: bytes, width: int, order: int) -> None:
    """A damaged file, or one that somebody has made for this purpose, raises nothing."""
    read_elf(b"\x7fELF" + bytes((width, order)) + content)


def test_a_path_that_is_no_program(tmp_path: Path) -> None:
    """It does not exist, is a directory, or nobody may execute it."""
    plain = write(tmp_path / "plain", b"#!/bin/sh\n", 0o644)
    found = [find_obstacle(path, None, PATH) for path in (f"{plain}x", str(tmp_path), plain)]

    assert [one and one.fault for one in found] == [
        Fault.NO_PROGRAM,
        Fault.IS_DIRECTORY,
        Fault.NOT_EXECUTABLE,
    ]


@needs_root
def test_a_file_that_waits_for_its_writer(tmp_path: Path) -> None:
    """It is not opened."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    path.chmod(0o755)

    module = "fpm_listener.host.executable"
    code = f"from {module} import find_obstacle; print(find_obstacle({str(path)!r}, None, ''))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=200)
    assert ran.stdout.strip() == b"None"


def test_a_file_system_with_noexec(tmp_path: Path) -> None:
    """Programs and scripts there do not run, not even for root."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noexec", "none", tmp_path], check=True)
    try:
        path = write(tmp_path / "run", b"#!/bin/sh\n")
        found = find_obstacle(path, None, PATH)
        assert errno_of(path) == errno.EACCES
    finally:
        subprocess.run(["umount", tmp_path], check=True)

    assert found is not None
    assert found.fault is Fault.NOEXEC_MOUNT


def test_what_another_user_may_do() -> None:
    """The bits of the file and of each folder above it decide, as the account of the program."""
    with open_folder() as folder:
        closed = folder / "closed"
        closed.mkdir()
        path = write(closed / "run", b"#!/bin/sh\n")
        assert is_denied(path, OTHER, 1) is False
        assert is_denied(path, OTHER, 2) is True
        closed.chmod(0o700)
        assert is_denied(path, OTHER, 1) is (os.geteuid() != OTHER_UID)
        found = find_obstacle(path, OTHER, PATH)
        assert found is not None
        assert (found.cause, found.fault) == (Cause.PERMISSION, None)
        assert is_denied(path, Account(0, frozenset()), 7) is False
        closed.chmod(0o710)
        own_group = Account(OTHER_UID, frozenset({closed.stat().st_gid}))
        assert is_denied(path, own_group, 1) is False
        assert is_denied(f"{path}x", OTHER, 1) is None


@needs_root
def test_an_access_list_is_not_understood() -> None:
    """It can allow what the bits deny, so the answer is unknown."""
    with open_folder(0o700) as folder:
        entries = [(0x01, 7, -1), (0x02, 5, OTHER_UID), (0x04, 0, -1), (0x10, 5, -1), (0x20, 0, -1)]
        value = struct.pack("<I", 2) + b"".join(
            struct.pack("<HHi", tag, rights, who) for tag, rights, who in entries
        )
        try:
            os.setxattr(folder, "system.posix_acl_access", value)
        except OSError:
            pytest.skip("this file system has no access lists")

        assert is_denied(str(folder), OTHER, 1) is None


def test_accounts() -> None:
    """They have the groups that supervisord sets, or the process has."""
    own = account_of_process(os.getpid())
    assert own is not None
    assert own.uid == os.geteuid()
    assert os.getegid() in own.groups
    assert account_of_user(4_000_000) is None
    assert account_of_process(2**22 + 1) is None
    root = account_of_user(0)
    assert root is not None
    assert root.shown == "root"
    assert Account(4_000_000, frozenset()).shown == "4000000"
