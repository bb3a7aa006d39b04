"""What a program needs is checked as the accounts of supervisord and of the program see it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon import address_check
from fpm_listener.daemon.machine_checks import MachineChecks
from fpm_listener.daemon.post_mortem_examiner import PostMortemExaminer
from fpm_listener.host import ipv6_only
from fpm_listener.host.file_access import Account
from fpm_listener.host.socket_tables import find_sockets
from fpm_listener.incidents.effects import ExamineExit
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.rpc import RpcFailed, SupervisorRpc
from fpm_listener.vocabulary import Cause, Fault
from tests.other_user import OTHER_UID, needs_root, open_folder
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FPM = ProcessName("php-fpm", "php-fpm")
ROOT = Account(0, frozenset({0}))
OTHER = Account(OTHER_UID, frozenset({OTHER_UID}))
PATH = "/usr/bin:/bin"
HOLD = (
    "import socket, sys, time; kind, where = sys.argv[1:];"
    "s = socket.socket(socket.AF_UNIX if kind == 'unix' else socket.AF_INET);"
    "s.bind(where if kind == 'unix' else ('127.0.0.1', int(where))); s.listen();"
    "print(flush=True); time.sleep(600)"
)


def check(needs: Needs, supervisord: Account | None = ROOT) -> list[tuple[object, str | None]]:
    """Return the fault, or the cause, and the subject of each obstacle."""
    obstacles = MachineChecks(needs, supervisord, PATH).obstacles
    return [(one.fault or one.cause, one.named) for one in obstacles]


def test_a_directory(tmp_path: Path) -> None:
    """It must exist and be a directory."""
    (tmp_path / "file").touch()

    assert check(Needs(directory=str(tmp_path))) == []
    assert check(Needs(directory=f"{tmp_path}/no/")) == [(Fault.NO_DIRECTORY, f"{tmp_path}/no/")]
    assert check(Needs(directory=f"{tmp_path}/file")) == [(Fault.NO_DIRECTORY, f"{tmp_path}/file/")]


def test_the_logs_that_supervisord_opens(tmp_path: Path) -> None:
    """A folder that is missing stops the start; a file that is missing is created."""
    logs = (f"{tmp_path}/no/out.log", f"{tmp_path}/err.log", f"{tmp_path}/")

    assert check(Needs(logs=logs)) == [(Cause.MISSING_PATH, f"{tmp_path}/no/")]


def test_access_as_the_accounts_have_it() -> None:
    """supervisord opens the logs, the program its own files; each with its own rights."""
    with open_folder() as folder:
        folder.chmod(0o755)
        log, pid_file = f"{folder}/out.log", f"{folder}/x.pid"
        assert check(Needs(logs=(log,), files=(pid_file,))) == []
        assert check(Needs(logs=(log,)), OTHER) == [(Cause.PERMISSION, log)]
        assert check(Needs(logs=(log,)), None) == []
        assert check(Needs(files=(pid_file,), uid=OTHER_UID)) == [(Cause.PERMISSION, pid_file)]
        assert check(Needs(directory=str(folder), uid=OTHER_UID)) == []
        folder.chmod(0o700)
        found = check(Needs(directory=str(folder), uid=OTHER_UID))
        assert found == [(Cause.PERMISSION, str(folder))]


def test_the_account_of_a_program() -> None:
    """It must exist, and only root may change to it."""
    assert check(Needs(uid=4_000_000)) == [(Fault.NO_UID, "user 4000000")]
    assert check(Needs(uid=0), OTHER) == [(Fault.NOT_ROOT, "user 0")]
    assert check(Needs(uid=OTHER_UID), OTHER) == []
    assert check(Needs(uid=OTHER_UID), None) == []


def test_the_configuration_of_php_fpm(tmp_path: Path) -> None:
    """The file itself, and the directories that php-fpm checks at its start."""
    needs = Needs(config=f"{tmp_path}/x.conf", worker_folders=(f"{tmp_path}/no", str(tmp_path)))

    assert check(needs) == [
        (Fault.NO_CONFIG_FILE, f"{tmp_path}/x.conf"),
        (Fault.NO_POOL_FOLDER, f"{tmp_path}/no/"),
    ]


def test_accounts_of_pools() -> None:
    """Only root changes to them: another user does not look for them."""
    needs = Needs(users=("no-such-user",), groups=("no-such-group",))

    assert [named for _, named in check(needs)] == ["user no-such-user", "group no-such-group"]
    assert check(needs, OTHER) == []


@needs_root
@pytest.mark.parametrize(("options", "cause"), [("ro", Cause.PERMISSION), ("rw", None)])
def test_a_file_system(tmp_path: Path, options: str, cause: Cause | None) -> None:
    """A read-only one stops the start."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", tmp_path], check=True)
    try:
        path = f"{tmp_path}/x.sock"
        found = MachineChecks(Needs(files=(path,)), ROOT, PATH).obstacles
    finally:
        subprocess.run(["umount", tmp_path], check=True)

    assert [(one.cause, one.named) for one in found] == ([(cause, path)] if cause else [])
    assert all("Read-only file system" in one.evidence for one in found)


@needs_root
def test_a_file_system_without_blocks(tmp_path: Path) -> None:
    """ramfs reports no free block, because it counts none."""
    subprocess.run(["mount", "-t", "ramfs", "none", tmp_path], check=True)
    try:
        assert os.statvfs(tmp_path).f_bavail == 0
        assert check(Needs(files=(f"{tmp_path}/x.sock",))) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_what_cannot_be_read_is_not_ruled_out(tmp_path: Path) -> None:
    """A path of which the name is too long is neither missing nor in order."""
    path = f"{tmp_path}/{'x' * 300}/y/z"
    checks = MachineChecks(Needs(files=(path,), directory=path), ROOT, PATH)

    assert checks.obstacles == []
    assert checks.looked_for == []


# -- addresses -------------------------------------------------------------------------------------


def request(address: str, began_at_s: float) -> ExamineExit:
    return ExamineExit(FPM, began_at_s + 0.1, Needs(addresses=(address,)), began_at_s=began_at_s)


@pytest.fixture(params=["tcp", "unix"])
def held(request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield an address that another process holds."""
    with open_folder() as folder:
        where = f"{folder}/x.sock" if request.param == "unix" else str(free_port())
        command = [sys.executable, "-c", HOLD, request.param, where]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            yield where if request.param == "unix" else f"127.0.0.1:{where}"
            holder.kill()


def test_an_older_holder(held: str) -> None:
    """It was there before the failed start, so the start could not succeed."""
    # The kernel counts the start of a process in hundredths of a second.
    found = address_check.find_conflicts(request(held, time.monotonic() + 0.02))

    assert [(one.cause, one.named) for one in found] == [(Cause.BIND_CONFLICT, held)]
    assert 78 in found[0].statuses
    assert 1 not in found[0].statuses
    assert f"{held}: pid " in found[0].evidence


def test_a_younger_holder(held: str) -> None:
    """It can be the next start of the program, which succeeded."""
    assert address_check.find_conflicts(request(held, time.monotonic() - 60.0)) == []


def test_a_free_address(tmp_path: Path) -> None:
    """Nobody listens: neither there nor at a path that was removed, and a connection is no one."""
    now_s = time.monotonic() + 0.02
    path = tmp_path / "x.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.unlink()
        assert address_check.find_conflicts(request(str(path), now_s)) == []
    assert address_check.find_conflicts(request(f"127.0.0.1:{free_port()}", now_s)) == []
    assert address_check.find_conflicts(request("no address", now_s)) == []


def other_sockets(*options: int) -> socket.socket:
    """Return a socket for all IPv6 addresses of this host; options: values of IPV6_V6ONLY."""
    server = socket.socket(socket.AF_INET6)
    for value in options:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, value)
    server.bind(("::", 0))
    server.listen()
    return server


@pytest.mark.parametrize("only", [0, 1])
def test_a_socket_of_ipv6(only: int) -> None:
    """It is in the way of IPv4 unless it accepts only IPv6, as that of nginx does."""
    with other_sockets(only) as server:
        port, inode = server.getsockname()[1], str(os.fstat(server.fileno()).st_ino)
        found = ipv6_only.inodes()
        assert found is not None
        assert (inode in found) is bool(only)
        for address, is_free in (
            (f"127.0.0.1:{port}", bool(only)),
            (str(port), bool(only)),
            (f"[::1]:{port}", False),
        ):
            sockets = find_sockets(address)
            in_the_way = address_check.in_the_way(address, sockets)
            assert (inode not in in_the_way) is is_free, address


def test_our_own_sockets() -> None:
    """A socket that the listener itself holds is in nobody's way."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert address_check.find_conflicts(request(address, time.monotonic() + 0.02)) == []


# -- supervisord's reason --------------------------------------------------------------------------


class Rpc(SupervisorRpc):
    """The part of supervisord's XML-RPC that is asked."""

    def __init__(self, answer: str | RpcFailed) -> None:
        super().__init__("unix:///none")
        self.answer = answer
        self.asked: list[ProcessName] = []

    def spawn_error(self, name: ProcessName) -> str | RpcFailed:
        self.asked.append(name)
        return self.answer


def test_the_reason_of_supervisord(tmp_path: Path) -> None:
    """It proves the cause, and the machine names the path. Other obstacles do not count then."""
    needs = Needs(logs=(f"{tmp_path}/no/x.log",), users=("no-such-user",))
    reason = "unknown error making dispatchers for 'php-fpm': ENOENT"
    rpc = Rpc(reason)
    found = PostMortemExaminer(os.getpid(), rpc).examine(ExamineExit(FPM, 10.0, needs))

    assert [(one.cause, one.named) for one in found.obstacles] == [
        (Cause.MISSING_PATH, f"{tmp_path}/no/"),
        (Cause.MISSING_PATH, f"{tmp_path}/no/"),
    ]
    assert found.obstacles[0].evidence == f"spawnerr: {reason}"
    assert rpc.asked == [FPM]


def test_a_reason_that_the_machine_does_not_show() -> None:
    """It counts alone: the fault may be gone by now."""
    rpc = Rpc("can't find command '/srv/run.sh'")
    found = PostMortemExaminer(os.getpid(), rpc).examine(ExamineExit(FPM, 10.0, Needs()))

    assert [(one.fault, one.named) for one in found.obstacles] == [
        (Fault.NO_PROGRAM, "/srv/run.sh")
    ]


@pytest.mark.parametrize(
    "answer", [RpcFailed(why="no answer"), "", "Exited too quickly (process log may have details)"]
)
def test_no_reason(answer: str | RpcFailed) -> None:
    """An ordinary failed start: only the machine counts."""
    asked = ExamineExit(FPM, 10.0, Needs(program="/no/program", command="/no/program"))
    found = PostMortemExaminer(os.getpid(), Rpc(answer)).examine(asked)

    assert [one.fault for one in found.obstacles] == [Fault.NO_PROGRAM]


def test_a_start_with_an_exit_status() -> None:
    """There was a process, so supervisord has no reason, and is not asked."""
    rpc = Rpc("can't find command '/srv/run.sh'")
    asked = ExamineExit(FPM, 10.0, Needs(), has_status=True)

    assert PostMortemExaminer(os.getpid(), rpc).examine(asked).obstacles == ()
    assert rpc.asked == []
