"""A log file is followed through all that befalls it: nothing is lost, nothing is told twice."""

import logging
import os
import resource
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fpm_listener.daemon import log_follower
from fpm_listener.daemon.log_file import GIVE_UP_S, LINGER_S, SAME_FOR_S, FileFollower
from fpm_listener.daemon.log_follower import LogFollower
from fpm_listener.daemon.log_position import Position
from fpm_listener.daemon.log_reader import CHUNK, TURN
from fpm_listener.monitor.messages import LogLines
from fpm_listener.phpfpm.line_splitter import LONGEST_LINE
from fpm_listener.phpfpm.log_facts import LogFact
from tests.waiting import wait_until

DEADLINE_S = 150.0


class Clock:
    """Seconds that pass when the scene says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Scene:
    """A log, who writes to it, and who follows it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "fpm.log"
        self.clock = Clock()
        self.follower: FileFollower | None = None

    def follow(self, resume: Position | None = None) -> FileFollower:
        self.stop()
        self.follower = FileFollower(str(self.path), resume=resume, clock=self.clock)
        return self.follower

    def poll(self) -> list[int]:
        """Return the numbers of the lines that the follower has told."""
        assert self.follower is not None
        return numbers(self.follower.poll())

    def stop(self) -> Position | None:
        """End the follower; return how far it had read."""
        if self.follower is None:
            return None
        position = self.follower.position()
        self.follower.close()
        self.follower = None
        return position

    def write(self, *pids: int) -> None:
        add(self.path, lines(*pids))

    def rotate(self) -> Path:
        old = self.path.with_suffix(".log.1")
        self.path.rename(old)
        return old

    def linger(self) -> None:
        self.clock.now_s += LINGER_S


def lines(*pids: int) -> bytes:
    stamp = "[23-Nov-2026 10:02:07] NOTICE: fpm is running, pid"
    return "".join(f"{stamp} {pid}\n" for pid in pids).encode()


def add(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def numbers(facts: list[LogFact]) -> list[int]:
    return [fact.pid for fact in facts if fact.pid is not None]


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Return a scene; its follower is closed at the end."""
    one = Scene(tmp_path)
    yield one
    one.stop()


# -- where it begins -------------------------------------------------------------------------------


def test_a_file_that_was_there_before(scene: Scene) -> None:
    """What stood in it is old; what comes is told, once."""
    scene.write(1)
    scene.follow()
    assert scene.poll() == []
    scene.write(2)
    assert scene.poll() == [2]
    assert scene.poll() == []


def test_a_file_that_appears_later(scene: Scene) -> None:
    """It is new from its first byte."""
    scene.follow()
    assert scene.poll() == []
    scene.write(1)
    assert scene.poll() == [1]


# -- rotation --------------------------------------------------------------------------------------


def test_a_rename_with_late_writes(scene: Scene) -> None:
    """php-fpm writes to the old file until it is told; both are read, the old one first."""
    scene.write(1)
    scene.follow()
    scene.poll()
    scene.write(2)
    old = scene.rotate()
    add(old, lines(3))
    scene.write(4)
    assert scene.poll() == [2, 3, 4]
    add(old, lines(5))
    scene.write(6)
    assert scene.poll() == [5, 6]


def test_a_renamed_file_is_closed(scene: Scene) -> None:
    """After a while it is closed; what it had said last, half a line even, is told."""
    scene.write(1)
    scene.follow()
    scene.poll()
    before = descriptors()
    old = scene.rotate()
    scene.write(2)
    assert scene.poll() == [2]
    add(old, lines(3) + lines(4)[:-1])
    scene.linger()
    assert scene.poll() == [3, 4]
    assert descriptors() == before


def test_a_name_that_is_free_for_a_while(scene: Scene) -> None:
    """Between rename and re-opening there is no file at the path."""
    scene.write(1)
    scene.follow()
    scene.poll()
    old = scene.rotate()
    assert scene.poll() == []
    add(old, lines(2))
    assert scene.poll() == [2]
    scene.linger()
    assert scene.poll() == []
    scene.write(3)
    assert scene.poll() == [3]


@pytest.mark.parametrize("late", [False, True])
def test_a_file_that_is_renamed_back(scene: Scene, late: bool) -> None:  # noqa: FBT001 - pytest names it
    """It goes on where it was left, soon after or long after."""
    scene.write(1)
    scene.follow()
    scene.poll()
    scene.write(2)
    old = scene.rotate()
    assert scene.poll() == [2]
    if late:
        scene.linger()
        assert scene.poll() == []
    old.rename(scene.path)
    assert scene.poll() == []
    scene.write(3)
    assert scene.poll() == [3]


def test_two_rotations_at_once(scene: Scene) -> None:
    """Each file is read, the oldest first."""
    scene.write(0)
    scene.follow()
    scene.poll()
    first = scene.path.rename(scene.path.with_suffix(".2"))
    scene.write(1)
    assert scene.poll() == [1]
    second = scene.rotate()
    scene.write(2)
    add(first, lines(3))
    add(second, lines(4))
    assert scene.poll() == [3, 4, 2]


def test_a_rotation_with_much_to_read(scene: Scene) -> None:
    """The new file waits until the old one is read, over as many turns as that takes."""
    scene.write(0)
    scene.follow()
    scene.poll()
    add(scene.path, b"x" * 99 + b"\n")
    add(scene.path, (b"y" * 99 + b"\n") * (TURN // 100 + CHUNK // 100))
    scene.write(1)
    scene.rotate()
    scene.write(2)
    scene.linger()
    found = [scene.poll() for _ in range(3)]
    assert found[0] == []
    assert [pid for told in found for pid in told] == [1, 2]


def test_a_renamed_file_with_much_to_read(scene: Scene) -> None:
    """It is not let go before it is read to its end."""
    scene.write(0)
    scene.follow()
    scene.poll()
    old = scene.rotate()
    scene.poll()
    add(old, (b"y" * 99 + b"\n") * (TURN // 100 + CHUNK // 100) + lines(1))
    scene.linger()
    assert [scene.poll(), scene.poll()] == [[], [1]]


@pytest.mark.parametrize("given_up", [False, True])
def test_a_huge_file_does_not_hold_up_the_next_one(
    scene: Scene,
    given_up: bool,  # noqa: FBT001 - pytest names it
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The new file is read 5 s after the rotation at the latest, and the old one goes on.

    After a minute the old one is given up, and the bytes that were not read are counted.
    """
    scene.write(0)
    follower = scene.follow()
    scene.poll()
    rest = b"y" * 99 + b"\n"
    add(scene.path, rest * (4 * TURN // 100))
    old = scene.rotate()
    add(old, lines(1))
    scene.write(2)
    assert scene.poll() == []
    assert scene.poll() == []
    scene.linger()
    assert scene.poll() == [2]
    if given_up:
        scene.clock.now_s += GIVE_UP_S
        scene.poll()
        scene.write(3)
        assert scene.poll() == [3]
        assert 0 < follower.bytes_skipped <= 4 * TURN
        assert "renamed log file not read to its end" in caplog.text
    else:
        assert [pid for _ in range(3) for pid in scene.poll()] == [1]
        assert follower.bytes_skipped == 0


# -- holes -----------------------------------------------------------------------------------------


def test_a_sparse_file(scene: Scene) -> None:
    """A hole of a terabyte is passed at once; nothing was in it, so no byte counts as skipped."""
    scene.path.touch()
    follower = scene.follow()
    scene.poll()
    with scene.path.open("r+b") as file:
        for pid, place in ((1, 1 << 40), (2, 3 << 40)):
            file.seek(place + 99)
            file.write(lines(pid))
        file.truncate(4 << 40)
    assert scene.poll() == [1, 2]
    assert follower.bytes_skipped == 0
    assert follower.bytes_read < TURN
    add(scene.path, lines(3))
    assert scene.poll() == [3]


def test_a_writer_that_goes_on_behind_a_truncation(scene: Scene) -> None:
    """Without O_APPEND it leaves a hole at the beginning; the lines behind it are read."""
    with scene.path.open("wb", buffering=0) as file:
        file.write(lines(0) * 100)
        scene.follow()
        scene.poll()
        os.truncate(scene.path, 0)
        file.write(lines(1))
        assert scene.poll() == [1]
        os.truncate(scene.path, 0)
        scene.poll()
        file.write(lines(2))
        file.write(lines(3))
        assert scene.poll() == [2, 3]


# -- read errors -----------------------------------------------------------------------------------


def spoil(scene: Scene) -> None:
    """Let the next read fail, as one of a file on NFS that is stale."""
    assert scene.follower is not None
    assert scene.follower._file is not None
    unreadable = os.open(scene.path, os.O_WRONLY)
    os.dup2(unreadable, scene.follower._file._descriptor)
    os.close(unreadable)


def test_a_read_error(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """The file is opened again and goes on where it was; no line is lost, none comes twice."""
    scene.write(1)
    follower = scene.follow()
    scene.poll()
    scene.write(2)
    assert scene.poll() == [2]
    add(scene.path, lines(3)[:-5])
    scene.poll()
    before = descriptors()
    spoil(scene)
    add(scene.path, lines(3)[-5:])
    assert scene.poll() == []
    assert follower.read_errors == 1
    assert scene.poll() == [3]
    scene.write(4)
    assert scene.poll() == [4]
    assert descriptors() == before
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 1


@pytest.mark.parametrize("other", ["rotated", "deleted"])
def test_a_read_error_and_another_file(scene: Scene, other: str) -> None:
    """The file that the path names now is read from its beginning."""
    scene.write(1)
    scene.follow()
    scene.poll()
    spoil(scene)
    if other == "rotated":
        scene.rotate()
    else:
        scene.path.unlink()
    scene.poll()
    scene.write(2)
    assert [*scene.poll(), *scene.poll()] == [2]


def test_a_file_that_never_can_be_read(scene: Scene) -> None:
    """EIO at each read: counted, said once, and the next file at the path is read."""
    scene.path.symlink_to("/proc/self/mem")  # nothing is at address 0
    follower = scene.follow()
    for _ in range(3):
        assert scene.poll() == []
    assert follower.read_errors == 3
    scene.path.unlink()
    scene.write(1)
    assert scene.poll() == [1]


def test_a_renamed_file_that_cannot_be_read(scene: Scene) -> None:
    """What it still had is counted as skipped."""
    scene.write(1)
    follower = scene.follow()
    scene.poll()
    scene.rotate()
    scene.poll()
    assert follower._old
    unreadable = os.open(scene.path.with_suffix(".log.1"), os.O_WRONLY)
    os.dup2(unreadable, follower._old[0]._descriptor)
    os.close(unreadable)
    add(scene.path.with_suffix(".log.1"), lines(2))
    scene.write(3)
    assert scene.poll() == [3]
    assert follower.bytes_skipped == len(lines(2))


# -- truncation ------------------------------------------------------------------------------------


def test_copytruncate(scene: Scene) -> None:
    """The file is copied and emptied; it is read from its beginning."""
    scene.write(1, 2, 3)
    scene.follow()
    scene.poll()
    shutil.copy(scene.path, scene.path.with_suffix(".1"))
    os.truncate(scene.path, 0)
    scene.write(4)
    assert scene.poll() == [4]
    scene.write(5)
    assert scene.poll() == [5]


def test_a_truncated_file_that_has_grown_past_the_offset(scene: Scene) -> None:
    """Its size tells nothing; it is known by its first bytes. No line is told twice."""
    scene.write(1)
    scene.follow()
    scene.poll()
    os.truncate(scene.path, 0)
    scene.write(*range(20, 40))
    assert scene.poll() == list(range(20, 40))


def test_a_file_that_is_cut_behind_its_first_lines(scene: Scene) -> None:
    """Its first bytes are the same; that it is shorter is enough."""
    scene.write(0)
    scene.follow()
    scene.poll()
    scene.write(*range(1, 20))
    scene.poll()
    os.truncate(scene.path, len(lines(*range(9))))
    scene.write(50)
    assert scene.poll() == [*range(9), 50]


def test_a_truncation_in_the_middle_of_a_line(scene: Scene) -> None:
    """The half line of before is not joined to what comes after."""
    scene.follow()
    scene.poll()
    scene.write(1)
    add(scene.path, lines(2)[:-1])
    assert scene.poll() == [1]
    os.truncate(scene.path, 0)
    assert scene.poll() == []
    scene.write(3)
    assert scene.poll() == [3]


# -- deletion --------------------------------------------------------------------------------------


def test_a_file_that_is_deleted_and_created_again(scene: Scene) -> None:
    """The new one is read from its first byte."""
    scene.write(1)
    scene.follow()
    scene.poll()
    scene.path.unlink()
    assert scene.poll() == []
    scene.write(2)
    assert scene.poll() == [2]


def test_a_new_file_with_the_old_ones_inode(scene: Scene) -> None:
    """An inode is used again; a position is good for the file that begins with its bytes only."""
    scene.write(1, 2)
    scene.follow()
    scene.poll()
    position = scene.stop()
    assert position is not None
    scene.path.unlink()
    scene.write(*range(10, 20))
    found = scene.path.stat()
    reused = Position(
        device=found.st_dev,
        inode=found.st_ino,
        offset=position.offset,
        head=position.head,
    )
    scene.follow(reused)
    assert scene.poll() == list(range(10, 20))


# -- lines -----------------------------------------------------------------------------------------


def test_a_line_in_pieces(scene: Scene) -> None:
    """It is told when it is whole."""
    scene.follow()
    scene.poll()
    line = lines(1)
    for at in range(len(line)):
        assert scene.poll() == []
        add(scene.path, line[at : at + 1])
    assert scene.poll() == [1]


def test_a_very_long_line(scene: Scene) -> None:
    """Its beginning is kept, the rest is dropped, and the next line is told."""
    scene.follow()
    scene.poll()
    start = b"[23-Nov-2026 10:02:07] ERROR: failed to load configuration file '"
    add(scene.path, start + b"x" * (3 * LONGEST_LINE))
    assert scene.poll() == []
    add(scene.path, b"y" * (CHUNK + LONGEST_LINE))
    assert scene.poll() == []
    add(scene.path, b"\n" + lines(7))
    assert scene.follower is not None
    facts = scene.follower.poll()
    assert [fact.kind.value for fact in facts] == ["config_error", "ready"]
    assert facts[0].line.startswith(start.decode())
    assert scene.follower.bytes_read == scene.path.stat().st_size


def test_a_position_within_a_very_long_line(scene: Scene) -> None:
    """It is at the line's beginning: the end of a line must not be taken for a line."""
    scene.follow()
    scene.poll()
    add(scene.path, b"x" * (LONGEST_LINE * 3))
    scene.poll()
    position = scene.stop()
    assert position is not None
    assert position.offset == 0
    add(scene.path, lines(1) + lines(2))
    scene.follow(position)
    assert scene.poll() == [2]


def test_lines_across_the_borders_of_chunks(scene: Scene) -> None:
    """However the reads cut them, all lines are told, in order."""
    scene.follow()
    scene.poll()
    count = 3 * CHUNK // len(lines(100_000))
    scene.write(*range(100_000, 100_000 + count))
    assert scene.poll() == list(range(100_000, 100_000 + count))


# -- what cannot be read ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_no_regular_file(
    scene: Scene,
    make: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A folder or fifo is said once, counted, and holds nobody; a file in its place is read."""
    make(scene.path)
    follower = scene.follow()
    with caplog.at_level(logging.INFO):
        assert [scene.poll() for _ in range(3)] == [[], [], []]
    assert follower.read_errors == 3
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    if scene.path.is_dir():
        scene.path.rmdir()
    else:
        scene.path.unlink()
    scene.write(1)
    assert scene.poll() == [1]


def test_the_writer_of_a_fifo(scene: Scene) -> None:
    """A fifo at the path is not opened: its writer would take us for its reader."""
    os.mkfifo(scene.path)
    writer = threading.Thread(target=lambda: os.close(os.open(scene.path, os.O_WRONLY)))
    writer.start()
    scene.follow()
    for _ in range(200):
        scene.poll()
        writer.join(0.001)
    waits = writer.is_alive()
    reader = os.open(scene.path, os.O_RDONLY | os.O_NONBLOCK)
    writer.join(DEADLINE_S)
    os.close(reader)
    assert waits


def test_a_file_that_is_not_there(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """It is no error: php-fpm may not have run yet. It is said once."""
    follower = scene.follow()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            scene.poll()
        scene.write(1)
        scene.poll()
    assert follower.read_errors == 0
    assert [record.message.partition(" path=")[0] for record in caplog.records] == [
        "log file does not exist yet",
        "log file is readable now",
    ]


def test_a_forbidden_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once and counted each time; a link that leads nowhere stands for it as root."""
    path = tmp_path / "loop.log"
    path.symlink_to(path)
    follower = FileFollower(str(path))
    for _ in range(3):
        assert follower.poll() == []
    assert follower.read_errors == 3
    assert len(caplog.records) == 1
    assert str(path) in caplog.text
    path.unlink()
    add(path, lines(1))
    assert numbers(follower.poll()) == [1]
    follower.close()


def test_a_file_without_permission(scene: Scene) -> None:
    """It is counted, and read when it may be."""
    scene.write(1)
    scene.path.chmod(0)
    follower = scene.follow()
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)  # root may read everything
    try:
        assert scene.poll() == []
        assert follower.read_errors == 1
    finally:
        if root:
            os.seteuid(0)
    scene.path.chmod(0o600)
    assert scene.poll() == [1]


# -- the next listener -----------------------------------------------------------------------------


def test_the_same_file_after_a_pause(scene: Scene) -> None:
    """The next listener goes on after the last whole line."""
    scene.write(1)
    scene.follow()
    scene.poll()
    scene.write(2)
    add(scene.path, lines(3)[:10])
    assert scene.poll() == [2]
    position = scene.stop()
    assert position is not None
    again = Position(**position.to_json())
    assert again == position
    add(scene.path, lines(3)[10:])
    scene.write(4)
    scene.follow(again)
    assert scene.poll() == [3, 4]


def test_no_descriptor_after_a_pause(scene: Scene) -> None:
    """The position stays while the process has too few descriptors: no line is told twice."""
    scene.write(1)
    scene.follow()
    scene.poll()
    scene.write(2)
    assert scene.poll() == [2]
    position = scene.stop()
    scene.write(3)
    follower = scene.follow(position)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))  # one is left, and two are needed
    try:
        assert scene.poll() == []
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert follower.read_errors == 1
    assert follower.position() == position
    assert scene.poll() == [3]


def test_a_rotation_during_the_pause(scene: Scene) -> None:
    """The file at the path is another one: it is read from its beginning."""
    scene.write(1)
    scene.follow()
    scene.poll()
    position = scene.stop()
    scene.rotate()
    scene.write(2, 3)
    scene.follow(position)
    assert scene.poll() == [2, 3]


@pytest.mark.parametrize("count", [1, 30])
def test_a_truncation_during_the_pause(scene: Scene, count: int) -> None:
    """The file is shorter, or begins with other bytes: it is read from its beginning."""
    scene.write(1, 2)
    scene.follow()
    scene.poll()
    position = scene.stop()
    os.truncate(scene.path, 0)
    scene.write(*range(50, 50 + count))
    scene.follow(position)
    assert scene.poll() == list(range(50, 50 + count))


@pytest.mark.parametrize("late", [False, True])
def test_a_pause_while_there_is_no_file(scene: Scene, late: bool) -> None:  # noqa: FBT001 - pytest names it
    """The position is kept, so that the file that comes is read from its beginning."""
    scene.write(1)
    scene.follow()
    scene.poll()
    scene.rotate()
    scene.poll()
    if late:
        scene.linger()
        scene.poll()
    position = scene.stop()
    assert position is not None
    scene.write(2)
    scene.follow(position)
    assert scene.poll() == [2]


# -- all of it -------------------------------------------------------------------------------------


def test_a_writer_that_rotates_without_rest(scene: Scene) -> None:
    """Every line of a busy log that is renamed again and again arrives once and in order."""
    scene.follow()
    told = scene.poll()
    for pid in range(1, 400):
        with scene.path.open("ab") as file:
            file.write(lines(pid))
            if pid % 7 == 0:
                scene.path.rename(scene.path.with_suffix(f".{pid}"))
                file.write(lines(pid + 1000))
        if pid % 3 == 0 or pid % 7 == 0:
            told += scene.poll()
        scene.clock.now_s += 1.0
    told += scene.poll()
    assert len(told) == len(set(told))
    assert set(told) == {*range(1, 400), *range(1007, 1400, 7)}


# -- the thread ------------------------------------------------------------------------------------


class Receiver:
    """Takes what the thread delivers."""

    def __init__(self) -> None:
        self.facts: list[tuple[str, int]] = []
        self.failures: list[BaseException] = []

    def take(self, said: LogLines) -> None:
        self.facts += [(said.path, pid) for pid in numbers(list(said.facts))]


def say_again(path: Path) -> bool:
    """Write a line: one from before the first look would be old."""
    add(path, lines(1))
    return False


@pytest.fixture
def receiver() -> Receiver:
    """Return who takes the lines."""
    return Receiver()


@pytest.fixture
def tail(receiver: Receiver) -> Iterator[LogFollower]:
    """Return a running thread; it is ended afterwards."""
    one = LogFollower(receiver.take, receiver.failures.append)
    one.start()
    yield one
    one.stop()


def test_the_thread_follows_several_files(
    tail: LogFollower,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    """Each line arrives with its path; the counts and positions are told."""
    paths = [tmp_path / "a.log", tmp_path / "b.log"]
    for path in paths:
        add(path, lines(1))
    tail.follow(str(path) for path in paths)
    tail.poll_fast()
    wait_until(lambda: len(tail.positions) == 2)
    for number, path in enumerate(paths):
        add(path, lines(10 + number))
    wait_until(lambda: len(receiver.facts) == 2)
    assert sorted(receiver.facts) == [(str(paths[0]), 10), (str(paths[1]), 11)]
    wait_until(lambda: tail.counts.bytes_read == 2 * len(lines(10)))
    wait_until(lambda: tail.positions[str(paths[0])].offset == paths[0].stat().st_size)
    assert receiver.failures == []


def test_the_position_of_a_file_that_says_nothing(tail: LogFollower, tmp_path: Path) -> None:
    """It is told as well: the next listener must not miss what comes in between."""
    path = tmp_path / "a.log"
    add(path, lines(1))
    tail.follow([str(path)])
    wait_until(lambda: str(path) in tail.positions)
    assert tail.positions[str(path)].offset == len(lines(1))
    wait_until(lambda: not tail._wake.is_set())  # it waits between two looks


def test_the_thread_goes_on_from_a_position(receiver: Receiver, tmp_path: Path) -> None:
    """What was written while nobody listened is told."""
    path = tmp_path / "a.log"
    add(path, lines(1))
    follower = FileFollower(str(path))
    follower.poll()
    position = follower.position()
    assert position is not None
    follower.close()
    add(path, lines(2))
    tail = LogFollower(receiver.take, receiver.failures.append, {str(path): position})
    tail.start()
    tail.follow([str(path)])
    wait_until(lambda: receiver.facts == [(str(path), 2)])
    tail.stop()


def test_a_file_that_is_no_longer_wanted(
    tail: LogFollower,
    receiver: Receiver,
    tmp_path: Path,
) -> None:
    """It is let go, and its counts stay."""
    folder, path = tmp_path / "folder", tmp_path / "a.log"
    folder.mkdir()
    tail.follow([str(folder)])
    wait_until(lambda: tail.counts.read_errors > 0)
    tail.follow([str(path)])
    wait_until(lambda: str(folder) not in tail._followers and str(path) in tail._followers)
    counted = tail.counts.read_errors
    tail.poll_fast()
    wait_until(lambda: say_again(path) or bool(receiver.facts))
    assert {path for path, _ in receiver.facts} == {str(path)}
    assert tail.counts.read_errors >= counted > 0


def test_a_file_that_is_wanted_again(tail: LogFollower, receiver: Receiver, tmp_path: Path) -> None:
    """What was written while its configuration could not be read is told."""
    path, other = tmp_path / "a.log", tmp_path / "b.log"
    add(path, lines(1))
    tail.follow([str(path)])
    wait_until(lambda: str(path) in tail.positions)
    tail.follow([str(other)])
    wait_until(lambda: str(path) not in tail._followers)
    add(path, lines(2))
    tail.follow([str(path)])
    wait_until(lambda: bool(receiver.facts))
    assert receiver.facts == [(str(path), 2)]


def test_the_thread_ends() -> None:
    """With nothing to follow it sleeps, and still ends when it is asked to."""
    for _ in range(50):
        tail = LogFollower(lambda _: None, lambda _: None)
        tail.start()
        tail.stop()
        assert "tailer" not in {thread.name for thread in threading.enumerate()}


def test_a_receiver_that_fails(tmp_path: Path) -> None:
    """The thread says so instead of dying in silence."""
    failures: list[BaseException] = []

    def refuse(_: LogLines) -> None:
        raise RuntimeError("no")

    tail = LogFollower(refuse, failures.append)
    path = tmp_path / "a.log"
    tail.start()
    tail.follow([str(path)])
    wait_until(lambda: bool(tail._followers))
    tail.poll_fast()
    wait_until(lambda: say_again(path) or bool(failures))
    assert str(failures[0]) == "no"
    tail.stop()


def test_a_quiet_log_is_polled_seldom(
    tail: LogFollower, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of a process still wakes the thread at once."""
    monkeypatch.setattr(log_follower, "QUIET_AFTER_S", 0.0)
    monkeypatch.setattr(log_follower, "QUIET_POLL_S", 3600.0)
    path = tmp_path / "a.log"
    add(path, lines(1))
    tail.follow([str(path)])
    wait_until(lambda: str(path) in tail.positions and not tail._wake.is_set())
    add(path, lines(2))
    tail.poll_fast()
    wait_until(lambda: receiver.facts == [(str(path), 2)])


def settled(scene: Scene) -> FileFollower:
    """Return the follower of a file that was the same for a while; its content is old."""
    scene.write(1)
    os.utime(scene.path, (0, 0))
    follower = scene.follow()
    assert scene.poll() == []
    assert not follower.is_unchanged()
    scene.clock.now_s += SAME_FOR_S
    assert not follower.is_unchanged()  # nothing has read it since
    assert scene.poll() == []
    assert follower.is_unchanged()
    return follower


def test_a_file_that_is_the_same_for_long(scene: Scene) -> None:
    """Its attributes are enough; the first new byte is read, and then the next seconds as usual."""
    follower = settled(scene)
    scene.write(2)
    assert not follower.is_unchanged()
    assert scene.poll() == [2]
    assert not follower.is_unchanged()
    scene.write(3)
    assert scene.poll() == [3]


@pytest.mark.parametrize("change", ["rewritten", "replaced", "deleted", "emptied"])
def test_a_file_that_changes_after_a_long_time(scene: Scene, change: str) -> None:
    """Another content of the same size, another file, and no file are changes."""
    follower = settled(scene)
    if change == "rewritten":
        scene.path.write_bytes(lines(9))
    elif change == "replaced":
        scene.rotate()
        scene.write(9)
    elif change == "deleted":
        scene.path.unlink()
    else:
        os.truncate(scene.path, 0)
    assert not follower.is_unchanged()
    assert scene.poll() == ([9] if change in {"rewritten", "replaced"} else [])
    assert not follower.is_unchanged()
