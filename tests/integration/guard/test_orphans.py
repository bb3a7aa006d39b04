"""The record of former masters, and the proof that a process is an orphan of one of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.guard import orphans
from fpm_listener.guard.orphans import Master, MasterRecord
from fpm_listener.host import procfs
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DEADLINE_S = 150.0
NAME = "web:php-fpm"
USER = "user = www-data\ngroup = www-data\n" if os.geteuid() == 0 else ""


def php_fpm() -> str:
    found = [
        *([os.environ["PHP_FPM"]] if os.environ.get("PHP_FPM") else []),
        *sorted((str(path) for path in Path("/usr/sbin").glob("php-fpm[0-9]*")), reverse=True),
        *filter(None, [shutil.which("php-fpm")]),
    ]
    assert found, "no php-fpm on this machine: run scripts/setup.sh"
    return os.path.realpath(found[0])


def own() -> Master:
    found = procfs.read_stat("self")
    assert found
    return Master(found.pid, found.started)


def send_all(pids: Sequence[int], known: Sequence[Master], binary: str) -> bool:
    """Return whether one of the processes was signalled."""
    return any(orphans.send_signal(pid, signal.SIGKILL, known, binary) for pid in pids)


def pairs(found: Iterable[Master]) -> list[tuple[int, int]]:
    return [(master.pid, master.started) for master in found]


def lives(pid: int) -> bool:
    found = procfs.read_stat(pid)
    return found is not None and found.state not in "ZX"


# -- the record ------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder that is not there yet."""
    return tmp_path / "lib" / "state"


def record(state: Path, name: str = NAME) -> MasterRecord:
    return MasterRecord(str(state), name)


def path(state: Path) -> Path:
    (found,) = (state / "masters").iterdir()
    return found


def test_nothing_is_recorded(state: Path) -> None:
    """To read makes nothing."""
    assert record(state).read() == ()
    assert not state.exists()


def test_a_master_is_recorded(state: Path) -> None:
    """With the time of its start, since a pid alone proves nothing; once, however often it asks."""
    for _ in range(3):
        record(state).add_self()

    assert pairs(record(state).read()) == pairs([own()])
    assert orphans.is_running(own())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_record_is_private(state: Path, umask: int) -> None:
    """Who may write the record says whom root signals: folder and file are their owner's alone."""
    before = os.umask(umask)
    try:
        record(state).add_self()
    finally:
        os.umask(before)

    assert stat.S_IMODE((state / "masters").stat().st_mode) == 0o700
    assert stat.S_IMODE(path(state).stat().st_mode) == 0o600


def test_nothing_else_is_left_in_its_folder(state: Path) -> None:
    """It is written beside, and put in its place at once."""
    for _ in range(2):
        record(state).add_self()

    assert path(state).name == NAME


def test_programs_do_not_mix(state: Path) -> None:
    """Each process of supervisord's has a record of its own, whatever its name."""
    names = (
        "a:b",
        "a:c",
        "a/b:c",
        "../x:y",
        "by hand:/etc/php-fpm.conf",
        "by hand:/etc/php",
        "ä:%",
    )
    record(state, names[0]).add_self()
    assert [len(record(state, name).read()) for name in names] == [1, *[0] * (len(names) - 1)]
    for name in names:
        record(state, name).add_self()

    assert [pairs(record(state, name).read()) for name in names] == [pairs([own()])] * len(names)
    assert len(list((state / "masters").iterdir())) == len(names)
    assert [found.name for found in state.iterdir()] == ["masters"]


GARBAGE = [
    b"",
    b"\n",
    b"{",
    b"null",
    b"\xff\xfe\x00",
    b"\0" * 4096,
    b"BOOT",
    b"BOOT\n",
    b"BOOT\n7",
    b"BOOT\n7 8 9",
    b"BOOT\nx y",
    b"BOOT\n" + b"9" * 6000 + b" 1",
    b"BOOT\n1 2\n\xff",
    b"1 2\nBOOT",
    b'{"boot": "BOOT"}',
    b'{"boot": "BOOT", "masters": null}',
    b'{"boot": "BOOT", "masters": [[7]]}',
    b'{"boot": "BOOT", "masters": [["x", "y"]]}',
    b'{"masters": [[1, 2]]}',
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage(state: Path, garbage: bytes) -> None:
    """A record that makes no sense is none, and the next start writes one that does."""
    kept = record(state)
    kept.add_self()
    path(state).write_bytes(garbage.replace(b"BOOT", procfs.boot_id().encode()))

    assert kept.read() == ()
    kept.add_self()
    assert pairs(kept.read()) == pairs([own()])


def test_a_record_that_was_cut(state: Path) -> None:
    """Wherever it ends, to read it raises nothing, and it is mended by the next start."""
    kept = record(state)
    kept.add_self()
    whole = path(state).read_bytes()
    for length in range(len(whole)):
        path(state).write_bytes(whole[:length])
        kept.read()
        kept.add_self()
        assert pairs(kept.read())[-1:] == pairs([own()])


def test_a_record_that_cannot_be_read(state: Path) -> None:
    """A folder in its place is no record; that it cannot be written is raised."""
    (state / "masters" / NAME).mkdir(parents=True)

    assert record(state).read() == ()
    with pytest.raises(OSError, match="directory"):
        record(state).add_self()


def test_another_boot(state: Path) -> None:
    """Pids of another boot mean nothing, and are forgotten."""
    boot = procfs.boot_id()
    assert boot
    kept = record(state)
    kept.add_self()
    path(state).write_text(path(state).read_text().replace(boot, "another"))

    assert kept.read() == ()
    kept.add_self()
    assert pairs(kept.read()) == pairs([own()])
    assert boot in path(state).read_text()
    assert "another" not in path(state).read_text()


#: Starts and ends forty masters, one after the other; prints their pids.
MANY = (
    "import os, sys\nfrom fpm_listener.guard.orphans import MasterRecord\nfor _ in range(40):\n"
    "    if not (pid := os.fork()):\n"
    "        MasterRecord(sys.argv[1], sys.argv[2]).add_self()\n        os._exit(0)\n"
    "    os.waitpid(pid, 0)\n    print(pid)"
)


def test_at_most_32_are_kept(state: Path) -> None:
    """The oldest are forgotten first, of those that have left no process."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, str(state), NAME],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    pids = [int(pid) for pid in done.stdout.split()]
    kept = [master.pid for master in record(state).read()]
    assert len(kept) <= 32
    assert kept[-16:] == pids[-16:]
    record(state).add_self()

    assert [master.pid for master in record(state).read()][-16:] == [*pids[-15:], os.getpid()]


def test_who_has_left_a_process_is_kept() -> None:
    """Failing starts, however many, do not push out the master of orphans that live."""
    child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    try:
        found = procfs.read_stat(child.pid)
        assert found
        known = orphans.add([Master(child.pid, found.started)], [])
        for number in range(200):
            known = orphans.add(known, [Master(4_200_000 + number, number)])
        assert known[0].pid == child.pid
        assert len(known) <= 32
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("what", ["folder for all", "another user's", "link", "fifo"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_what_another_user_could_change(state: Path, what: str, tmp_path: Path) -> None:
    """Such a record is neither read nor written, and no link is followed."""
    record(state).add_self()
    victim = tmp_path / "victim"
    victim.write_text(path(state).read_text())
    if what == "folder for all":
        state.chmod(0o777)
    elif what == "another user's":
        os.chown(state / "masters", 65534, 65534)
    else:
        path(state).unlink()
        place = state / "masters" / NAME
        os.mkfifo(place) if what == "fifo" else place.symlink_to(victim)
    assert record(state).read() == ()
    if what in {"link", "fifo"}:
        before = victim.read_text()
        record(state).add_self()
        assert not (state / "masters" / NAME).is_symlink()
        assert victim.read_text() == before
    else:
        with pytest.raises(PermissionError):
            record(state).add_self()


def test_a_pid_that_had_another_master(state: Path) -> None:
    """Who has the pid now takes the place of who had it."""
    pid, started = own().pid, own().started
    kept = record(state)
    kept.add_self()
    before, _, behind = path(state).read_text().rpartition(str(started))
    path(state).write_text(f"{before}{started - 5}{behind}")

    assert pairs(kept.read()) == [(pid, started - 5)]
    kept.add_self()
    assert pairs(kept.read()) == pairs([own()])


# -- who is alive ----------------------------------------------------------------------------------


def test_alive() -> None:
    """Pid and start together are a master; another start, or a pid that nobody has, is none."""
    pid, started = own().pid, own().started

    assert orphans.is_running(Master(pid, started))
    assert not orphans.is_running(Master(pid, started - 1))
    assert not orphans.is_running(Master(10**7, started))


def test_a_zombie_is_dead() -> None:
    """What was not reaped yet holds nothing any more."""
    child = subprocess.Popen(["sleep", "1000"])
    try:
        found = procfs.read_stat(child.pid)
        assert found
        master = Master(found.pid, found.started)
        assert orphans.is_running(master)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        after = procfs.read_stat(child.pid)
        assert after
        assert after.state == "Z"
        assert not orphans.is_running(master)
    finally:
        child.kill()
        child.wait()


# -- orphans of a real php-fpm ---------------------------------------------------------------------

BECOME = (
    "import os, sys\nfrom fpm_listener.guard.orphans import MasterRecord\n"
    "MasterRecord(sys.argv[1], sys.argv[2]).add_self()\nos.execv(sys.argv[3], sys.argv[3:])"
)


class Leader:
    """A process that was recorded, and leads a session of its own."""

    def __init__(self, state: Path, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", BECOME, str(state), NAME, *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid = self.process.pid
        self.members: tuple[int, ...] = ()

    def wait_for(self, members: int, binary: str) -> None:
        """Wait until it has its children, and all run what they should."""

        def ready() -> bool:
            assert self.process.poll() is None
            self.members = group(self.pid)
            return len(self.members) == members and all(
                procfs.executable(pid) == binary for pid in self.members
            )

        wait_until(ready)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not group(self.pid))


def group(leader: int) -> tuple[int, ...]:
    """Return the living members of a process group, without its leader."""
    stats = [found for pid in procfs.pids() if (found := procfs.read_stat(pid))]
    return tuple(
        found.pid
        for found in stats
        if found.pgid == leader and found.pid != leader and found.state not in "ZX"
    )


@pytest.fixture
def fpm(state: Path) -> Iterator[Leader]:
    """Return a real php-fpm that was recorded, with two workers."""
    folder = Path(tempfile.mkdtemp(prefix="ma-"))
    (folder / "fpm.conf").write_text(
        f"[global]\nerror_log = {folder}/fpm.log\n[a]\n{USER}listen = {folder}/w.sock\n"
        "pm = static\npm.max_children = 2\n",
    )
    leader = Leader(state, php_fpm(), "-F", "-y", f"{folder}/fpm.conf")
    try:
        leader.wait_for(2, php_fpm())
        log = folder / "fpm.log"
        wait_until(lambda: "ready to handle" in log.read_text())
        yield leader
    finally:
        leader.end()
        shutil.rmtree(folder, ignore_errors=True)


def test_orphans_of_a_php_fpm_that_was_killed(state: Path, fpm: Leader) -> None:
    """All its workers are found; told to finish, they do."""
    fpm.kill()
    known = record(state).read()

    assert [master.pid for master in known] == [fpm.pid]
    assert orphans.find(known, php_fpm()) == fpm.members
    assert all(orphans.send_signal(pid, signal.SIGQUIT, known, php_fpm()) for pid in fpm.members)
    wait_until(lambda: group(fpm.pid) == ())
    assert orphans.find(known, php_fpm()) == ()


def test_workers_of_a_running_php_fpm(state: Path, fpm: Leader) -> None:
    """They are nobody's orphans, and are not told, though a record has their master."""
    known = record(state).read()

    assert orphans.is_running(known[0])
    assert orphans.find(known, php_fpm()) == ()
    assert orphans.find((), php_fpm()) == ()
    assert not send_all(fpm.members, known, php_fpm())
    assert group(fpm.pid) == fpm.members


def test_orphans_that_are_not_ours(state: Path, fpm: Leader) -> None:
    """Another program, or another php-fpm, has no part in them: they are not found, nor told."""
    fpm.kill()
    known = record(state).read()
    for some, binary in (
        ((), php_fpm()),
        (record(state, "web:other").read(), php_fpm()),
        (known, "/opt/php/sbin/php-fpm"),
        (known, ""),
    ):
        assert orphans.find(some, binary) == ()
        assert not send_all(fpm.members, some, binary)

    assert all(map(lives, fpm.members))


def test_workers_from_before_the_master(state: Path, fpm: Leader) -> None:
    """A process that is older than the master of its group's number is none of its workers."""
    fpm.kill()
    later = [Master(one.pid, one.started + 10**6) for one in record(state).read()]

    assert orphans.find(later, php_fpm()) == ()
    assert not send_all(fpm.members, later, php_fpm())
    assert all(map(lives, fpm.members))


def test_a_number_that_was_given_away(fpm: Leader) -> None:
    """Where another process has the recorded number by now, the group is that one's."""
    alive = procfs.read_stat(fpm.pid)
    assert alive is not None
    earlier = [Master(fpm.pid, alive.started - 1)]

    assert orphans.find(earlier, php_fpm()) == ()
    assert not send_all(fpm.members, earlier, php_fpm())
    assert all(map(lives, fpm.members))


def test_orphans_of_one_of_many(state: Path, fpm: Leader) -> None:
    """Masters that have left nobody, or live, are no obstacle."""
    fpm.kill()
    known = (Master(10**7, 1), *record(state).read(), own())

    assert orphans.find(known, php_fpm()) == fpm.members


def test_a_binary_that_was_replaced(state: Path, fpm: Leader) -> None:
    """An orphan runs what it was started from, though another file has that name by now."""
    assert all(procfs.executable(pid) == php_fpm() for pid in fpm.members)
    fpm.kill()
    exe = f"/proc/{fpm.members[0]}/exe"

    assert os.path.realpath(exe) == php_fpm()
    assert orphans.find(record(state).read(), php_fpm()) == fpm.members


# -- who is told -----------------------------------------------------------------------------------

SLEEP = os.path.realpath(shutil.which("sleep") or "sleep")
#: Starts two children and stays.
PARENT = (
    "import subprocess, sys\n"
    "for child in [subprocess.Popen([sys.argv[1], '1000']) for _ in range(2)]: child.wait()"
)


@pytest.fixture
def parent(state: Path) -> Iterator[Leader]:
    """Return a master stand-in that was recorded, with two children that sleep."""
    leader = Leader(state, sys.executable, "-c", PARENT, SLEEP)
    try:
        leader.wait_for(2, SLEEP)
        yield leader
    finally:
        leader.end()


def test_only_the_right_process_is_signalled(state: Path, parent: Leader) -> None:
    """One is ended, its fellow is left alone; who has ended cannot be told."""
    parent.kill()
    known = record(state).read()
    first, second = parent.members

    assert orphans.send_signal(first, signal.SIGTERM, known, SLEEP)
    wait_until(lambda: not lives(first))
    assert orphans.find(known, SLEEP) == (second,)
    assert not orphans.send_signal(first, signal.SIGTERM, known, SLEEP)
    assert lives(second)


def test_what_a_worker_has_started(state: Path, parent: Leader) -> None:
    """It is in the group, but no php-fpm: nobody's orphan, and not told."""
    parent.kill()
    known = record(state).read()

    assert orphans.find(known, php_fpm()) == ()
    assert not send_all(parent.members, known, php_fpm())
    assert all(map(lives, parent.members))


def test_other_processes_are_not_signalled(state: Path, parent: Leader) -> None:
    """Not the master itself, nor who runs the same file in another group, nor nobody."""
    stranger = subprocess.Popen([SLEEP, "1000"], start_new_session=True)
    try:
        known = record(state).read()
        binary = procfs.executable(parent.pid) or ""
        assert not orphans.send_signal(parent.pid, signal.SIGKILL, known, binary)
        parent.kill()
        assert not orphans.send_signal(stranger.pid, signal.SIGKILL, known, SLEEP)
        assert stranger.pid not in orphans.find(known, SLEEP)
        assert not orphans.send_signal(10**7, signal.SIGKILL, known, SLEEP)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_no_descriptor_stays_open(state: Path, parent: Leader) -> None:
    """Whether told or not, the descriptor that proves it is closed."""
    parent.kill()
    known = record(state).read()
    before = sorted(Path("/proc/self/fd").iterdir())
    for pid in (*parent.members, *parent.members, os.getpid(), 10**7):
        orphans.send_signal(pid, signal.SIGCONT, known, SLEEP)

    assert sorted(Path("/proc/self/fd").iterdir()) == before
