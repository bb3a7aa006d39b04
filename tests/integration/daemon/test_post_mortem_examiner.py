"""The machine is looked at as it is: what is missing, full or unknown, and what is in order."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon.post_mortem_examiner import PostMortemExaminer, Sample, find_gone
from fpm_listener.host.procfs import read_stat
from fpm_listener.incidents.effects import CheckGone, ExamineExit, ExitExamined, Gone
from fpm_listener.incidents.post_mortem import Needs, PostMortem
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FPM = ProcessName("php-fpm", "php-fpm")


def examine(needs: Needs) -> PostMortem:
    return PostMortemExaminer(os.getpid()).examine(ExamineExit(FPM, 10.0, needs))


def obstacles(needs: Needs) -> list[tuple[Cause, str | None]]:
    return [(one.cause, one.named) for one in examine(needs).obstacles]


def test_all_is_in_order(tmp_path: Path) -> None:
    """Each thing that was looked at is ruled out."""
    needs = Needs(program=sys.executable, files=(f"{tmp_path}/x.sock",), users=("root",))
    found = examine(needs)

    assert found.ruled_out[-3:] == (Cause.MISSING_PATH, Cause.DISK_FULL, Cause.UNKNOWN_USER)
    assert found == PostMortem(looked_for=found.looked_for)


def test_what_is_missing(tmp_path: Path) -> None:
    """Program, folder, user and group are named, and so are the versions that are there."""
    for version in ("8.1", "8.3"):
        (tmp_path / f"php-fpm{version}").touch()
    gone = f"{tmp_path}/php-fpm8.2"
    files = (f"{tmp_path}/run/x.sock", f"{tmp_path}/run/x.pid", f"{gone}/x/y.log")
    needs = Needs(program=gone, files=files, users=("no1",), groups=("no2",))
    found = examine(needs)

    assert found.program_instead == (f"{tmp_path}/php-fpm8.1", f"{tmp_path}/php-fpm8.3")
    assert obstacles(needs) == [
        (Cause.MISSING_PATH, gone),
        (Cause.UNKNOWN_USER, "user no1"),
        (Cause.UNKNOWN_USER, "group no2"),
        (Cause.MISSING_PATH, f"{tmp_path}/run/"),
        (Cause.MISSING_PATH, f"{gone}/x/"),
    ]
    assert set(found.ruled_out) <= {Cause.OUT_OF_MEMORY, Cause.DISK_FULL}


def test_a_program_that_is_searched_for() -> None:
    """It is looked for in PATH, as supervisord does."""
    assert obstacles(Needs(command="sh", program="sh")) == []
    assert obstacles(Needs(command="php-fpm0.0")) == [(Cause.MISSING_PATH, "php-fpm0.0")]


def test_nothing_is_known_of_it() -> None:
    """What is not known to be needed is not ruled out either."""
    assert set(examine(Needs()).ruled_out) <= {Cause.OUT_OF_MEMORY}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a folder on a disk of its own, where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,nr_inodes=4", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no disk may be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, what: str) -> None:
    if what == "bytes":
        (folder / "big").write_bytes(b"x" * (1 << 17))
    for number in range(8):
        (folder / str(number)).touch()


@pytest.mark.parametrize("what", ["bytes", "inodes"])
def test_a_full_disk(small_disk: Path, what: str) -> None:
    """No byte left for the pid file, or no inode."""
    path = f"{small_disk}/new.pid"
    needs = Needs(files=(path,), pid_file=path)
    assert obstacles(needs) == []
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk, what)
    assert obstacles(needs) == [(Cause.DISK_FULL, f"{small_disk}/")]


def test_a_full_disk_that_no_start_needs(small_disk: Path) -> None:
    """An open of a log and a new socket succeed. Still, a full disk is not ruled out."""
    log, path = small_disk / "x.log", small_disk / "x.sock"
    log.touch()
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk, "bytes")
    log.open("ab").close()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    path.unlink()

    found = examine(Needs(files=(str(log), str(path)), logs=(str(log), f"{small_disk}/new.log")))

    assert found.obstacles == ()
    assert Cause.DISK_FULL not in found.ruled_out


def test_files_that_need_no_free_inode(small_disk: Path) -> None:
    """A log that exists is opened only."""
    log = small_disk / "x.log"
    log.touch()
    with pytest.raises(OSError, match="No space left"):
        fill(small_disk, "inodes")

    assert obstacles(Needs(files=(str(log),))) == []
    logs = Needs(logs=(f"{small_disk}/new.log",))
    assert obstacles(logs) == [(Cause.DISK_FULL, f"{small_disk}/")]


def test_a_request_is_answered_once() -> None:
    """Equal requests are one, and a sample has no answer."""
    answers: list[ExitExamined] = []
    asked = ExamineExit(FPM, 10.0, Needs())
    PostMortemExaminer(os.getpid()).work((Sample(), asked, asked), answers.append)

    assert [answer[:2] for answer in answers] == [(FPM, 10.0)]


def test_who_is_gone() -> None:
    """A process that lives is not; a number that nobody has is."""
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
    asked = CheckGone(FPM, frozenset({os.getpid(), ended.pid}))

    assert find_gone(asked) == Gone(FPM, frozenset({ended.pid}))


def test_a_pid_that_belongs_to_another_process_is_gone() -> None:
    """A pid alone proves nothing: pid and start together do."""
    own = read_stat("self")
    assert own is not None
    answers = [
        find_gone(CheckGone(FPM, frozenset(), frozenset({(own.pid, started)})))
        for started in (own.started, own.started - 1)
    ]

    assert answers == [Gone(FPM, frozenset()), Gone(FPM, frozenset({own.pid}))]
