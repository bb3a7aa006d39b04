"""Guards and the keeper of their sockets: real sockets, real descriptors, an owner by hand."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from fpm_listener.daemon import socket_keeper, unix_listener
from fpm_listener.daemon.socket_keeper import SocketKeeper
from fpm_listener.guard import bind, fast_start, handover_channel, handover_client
from fpm_listener.guard.handover_client import Handover, HandoverRefused
from fpm_listener.host import addresses, socket_paths
from fpm_listener.host.addresses import TcpAddress, UnixAddress
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.monitor.messages import GuardAsks, HoldFailed, SocketsHeld
from fpm_listener.phpfpm import fork_loop
from fpm_listener.phpfpm.listen_sockets import ListenSocketSpec, Rights
from fpm_listener.supervisor.process import ProcessName
from tests.ports import free_port
from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The channel has its name from the parent process, which all test processes share.
pytestmark = pytest.mark.xdist_group("handover")

Value = TypeVar("Value")
FPM = ProcessName("web", "php-fpm")
MOST = 4


class Owner:
    """Stands in for the listener's main thread: answers guards as a test wants it to."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.refuse: str | None = None
        self.silent = False
        self.heard: list[Any] = []
        self.keeper = SocketKeeper(
            unix_listener.GuardSockets(StateDirectory(folder), None), self.put, self.put
        )
        self.keeper.start({})

    def put(self, item: object) -> None:
        """Take in what the keeper's thread has to say."""
        self.heard.append(item)
        if isinstance(item, GuardAsks) and not self.silent:
            self.keeper.answer(item.ticket, self.refuse if item.hold else "not asked for")

    def held(self) -> tuple[str, ...]:
        """Return what was held last."""
        found = [item.addresses for item in self.heard if isinstance(item, SocketsHeld)]
        return found[-1] if found else ()


@pytest.fixture
def folder() -> Iterator[str]:
    """Return a folder with a short name: a unix socket's path has 107 bytes."""
    path = tempfile.mkdtemp(prefix="keep-")
    yield path
    shutil.rmtree(path)


@pytest.fixture
def owner(folder: str) -> Iterator[Owner]:
    """Return an owner with its keeper, who lets go of everything in the end."""
    found = Owner(f"{folder}/state")
    yield found
    found.keeper.stop()
    assert [item for item in found.heard if isinstance(item, BaseException)] == []


def wish(text: str, backlog: int = 5, mode: int = 0o660) -> ListenSocketSpec:
    address = addresses.parse(text)
    assert isinstance(address, TcpAddress | UnixAddress)
    return ListenSocketSpec(address=address, backlog=backlog, rights=Rights(mode=mode))


def begin(owner: Owner) -> Handover:
    """Begin as a guard does; on a busy machine the second that it waits can be too short."""
    begun: list[Handover] = []

    def attempt() -> list[Handover]:
        found = handover_client.begin(owner.folder, FPM, hold=True, most=MOST)
        if isinstance(found, Handover):
            begun.append(found)
        return begun

    (found,) = wait_until(attempt, "the listener to answer")
    found._connection.settimeout(DEADLINE_S)  # the same for its other messages
    return found


def leave(
    owner: Owner, *wishes: ListenSocketSpec, stamp: str = "", watched: tuple[str, ...] = ()
) -> list[int]:
    """Play a whole guard: take what is held, bind the rest, deposit all; return the descriptors."""
    handover = begin(owner)
    sockets = []
    for one in wishes:
        bound = handover.take(one) or bind.bind(one.address, backlog=one.backlog, rights=one.rights)
        assert isinstance(bound, bind.Bound), bound
        sockets.append((one, bound))
    told = len(owner.heard)
    assert handover.leave(sockets, stamp, watched) is None
    wait_until(lambda: len(owner.heard) > told, "the owner to know")
    return [bound.fd for _, bound in sockets]


def close(descriptors: list[int]) -> None:
    """End as php-fpm does: its own descriptors are gone."""
    for descriptor in descriptors:
        os.close(descriptor)


def connects(text: str) -> bool:
    """Return whether the kernel takes a connection."""
    address = addresses.parse(text)
    unix = isinstance(address, UnixAddress)
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as client:
        client.settimeout(DEADLINE_S)
        try:
            client.connect(text if unix else ("127.0.0.1", int(text.rpartition(":")[2])))
        except (ConnectionRefusedError, ConnectionResetError, FileNotFoundError):  # reset: just now
            return False
    return True


def refuses(text: str) -> bool:
    """Return whether the kernel turns a connection away."""
    return not connects(text)


def test_the_next_guard_gets_the_same_sockets(owner: Owner, folder: str) -> None:
    """What is held outlives who left it, its queue included; changes of its rights apply."""
    tcp, unix = f"127.0.0.1:{free_port()}", f"{folder}/w.sock"
    first = leave(owner, wish(tcp), wish(unix))
    inodes = [os.fstat(fd).st_ino for fd in first]
    close(first)
    with socket.create_connection(("127.0.0.1", int(tcp.rpartition(":")[2]))) as client:
        client.sendall(b"I was here")
        second = leave(owner, wish(tcp), wish(unix, backlog=9, mode=0o600))
        with socket.socket(fileno=os.dup(second[0])) as listener, listener.accept()[0] as served:
            assert served.recv(10) == b"I was here"

    assert [os.fstat(fd).st_ino for fd in second] == inodes
    assert stat.S_IMODE(Path(unix).stat().st_mode) == 0o600
    assert owner.held() == (tcp, unix)
    assert all(map(os.get_blocking, second))
    close(second)


def test_what_is_not_wanted_any_more(owner: Owner) -> None:
    """A deposit is all that is held."""
    old, new = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    close(leave(owner, wish(old)))
    assert connects(old)
    close(leave(owner, wish(new)))

    wait_until(lambda: not connects(old), "the old one to be let go")
    assert connects(new)
    owner.keeper.release(FPM, (new,))
    wait_until(lambda: not connects(new), "the new one to be let go")


def test_refusals(owner: Owner) -> None:
    """Who is refused, or wants nothing, has what is held let go at once."""
    for refusal, hold in (("the last start on held sockets failed", True), (None, False)):
        address = f"127.0.0.1:{free_port()}"
        owner.refuse = None
        close(leave(owner, wish(address)))
        owner.refuse = refusal
        expected = HandoverRefused(why=refusal or "not asked for", answered=True)

        def is_refused(hold: bool = hold, expected: HandoverRefused = expected) -> bool:  # noqa: FBT001 - bound here
            return handover_client.begin(owner.folder, FPM, hold=hold, most=1) == expected

        wait_until(is_refused, "the refusal")
        wait_until(partial(refuses, address), "it to be let go")


def test_no_listener(folder: str) -> None:
    """That is said, in a sentence."""
    begun = handover_client.begin(f"{folder}/none", FPM, hold=True, most=1)

    assert isinstance(begun, HandoverRefused)
    assert "cannot reach the listener in" in begun.why


def test_a_listener_that_does_not_answer(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard waits for a moment, and goes on without; others are not delayed."""
    monkeypatch.setattr(handover_channel, "PATIENCE_S", 0.2)
    owner.silent = True
    begun = handover_client.begin(owner.folder, FPM, hold=True, most=1)

    assert isinstance(begun, HandoverRefused)
    assert "does not answer" in begun.why
    owner.silent = False
    close(leave(owner, wish(f"127.0.0.1:{free_port()}")))


def test_who_talks_nonsense_is_hung_up_on(owner: Owner) -> None:
    """Garbage, a wrong word, sockets that are missing: nobody else notices."""
    for packet in (b"garbage", b"Done", b"Deposit\0\0\0k\0a", b"\0" * 70000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.settimeout(DEADLINE_S)
            client.connect(f"{owner.folder}/guard.sock")
            client.send(packet)
            assert client.recv(100) == b""
    silent = handover_channel.connect(owner.folder)
    close(leave(owner, wish(f"127.0.0.1:{free_port()}")))
    silent.settimeout(DEADLINE_S)
    assert silent.recv(10) == b""  # after PATIENCE_S
    silent.close()


@pytest.mark.parametrize("flaw", ["not listening", "no socket", "not blocking", "another address"])
def test_unfit_sockets_are_not_held(owner: Owner, flaw: str, folder: str) -> None:
    """php-fpm would never say so: the keeper looks at what it is given."""
    port = free_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0 if flaw == "another address" else port))
        if flaw != "not listening":
            other.listen()
        other.setblocking(flaw != "not blocking")
        with Path(f"{folder}/file").open("w") as file:
            fd = file.fileno() if flaw == "no socket" else other.fileno()
            bound = bind.Bound(key=f"127.0.0.1:{port}", fd=os.dup(fd))
        assert begin(owner).leave([(wish(f"127.0.0.1:{port}"), bound)], "", ()) is None
        wait_until(
            lambda: any(isinstance(i, SocketsHeld) for i in owner.heard), "the owner to know"
        )
        os.close(bound.fd)

    assert owner.held() == ()


def test_nothing_leaks(owner: Owner, folder: str) -> None:
    """A hundred starts, and as many descriptors as after the first."""
    wishes = wish(f"127.0.0.1:{free_port()}"), wish(f"{folder}/w.sock")
    close(leave(owner, *wishes))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(100):
        close(leave(owner, *wishes))

    wait_until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= before, "conversations to end")


def test_the_door(folder: str) -> None:
    """Folder and socket are for nobody else; one listener a folder; a stale socket is replaced."""
    deep = f"{folder}/{'d' * 120}/state"
    with unix_listener.listen(StateDirectory(deep)):
        assert stat.S_IMODE(Path(deep).stat().st_mode) == 0o700
        assert stat.S_IMODE(Path(f"{deep}/guard.sock").stat().st_mode) == 0o600
        (problem,) = unix_listener.GuardSockets(StateDirectory(deep), None).problems
        assert "another listener uses this directory" in problem
        handover_channel.connect(deep).close()
    with unix_listener.listen(StateDirectory(deep)):
        handover_channel.connect(deep).close()


def connects_to(state_dir: str) -> bool:
    """Return whether a guard finds somebody there."""
    try:
        handover_channel.connect(state_dir).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("gone", ["socket", "folder", "replaced"])
def test_the_socket_in_state_dir_is_gone(owner: Owner, gone: str) -> None:
    """It is made again as soon as the owner has it looked at; who is connected stays connected."""
    address = f"127.0.0.1:{free_port()}"
    talking = begin(owner)
    if gone == "folder":
        shutil.rmtree(owner.folder)
    else:
        Path(owner.folder, "guard.sock").unlink()
    if gone == "replaced":
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
            stale.bind(f"{owner.folder}/guard.sock")
    owner.keeper.check_socket()
    wait_until(lambda: connects_to(owner.folder), "the socket")
    assert talking.leave([], "", ()) is None
    close(leave(owner, wish(address)))
    close(leave(owner, wish(address)))

    before = socket_paths.identity(f"{owner.folder}/guard.sock")
    owner.keeper.check_socket()
    close(leave(owner, wish(address)))
    assert socket_paths.identity(f"{owner.folder}/guard.sock") == before
    assert stat.S_IMODE(Path(owner.folder, "guard.sock").stat().st_mode) == 0o600


CHANNEL = """
import os, sys
from fpm_listener.daemon import unix_listener as door
from fpm_listener.host import procfs
from fpm_listener.guard import handover_channel as rendezvous
from fpm_listener.daemon.socket_keeper import SocketKeeper
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.monitor.messages import GuardAsks
name = rendezvous.channel_name(procfs.supervisor_of(os.getpid()))
answer = lambda i: isinstance(i, GuardAsks) and keeper.answer(i.ticket, None)
keeper = SocketKeeper(door.GuardSockets(StateDirectory(sys.argv[1]), name), answer, print)
keeper.start({})
print('up', flush=True)
sys.stdin.read()
"""
HELLO = """
from fpm_listener.guard import handover_channel as rendezvous
from fpm_listener.guard.handover_messages import Hello, Offer
connection = rendezvous.connect('/nowhere')
rendezvous.send(connection, Hello('web', 'php-fpm', hold=True))
print(*rendezvous.receive(connection, Offer)[0].masters)
"""


def test_the_abstract_socket(folder: str) -> None:
    """Guards of the same supervisord, here this test, reach the listener without its state_dir."""
    with subprocess.Popen(
        [sys.executable, "-c", CHANNEL, f"{folder}/state"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == b"up\n"
        guard = subprocess.Popen(
            [sys.executable, "-c", HELLO], stdout=subprocess.PIPE, start_new_session=True
        )
        told = guard.communicate(timeout=200)[0].split()
        shell = subprocess.run(
            ["sh", "-c", '"$@"; exit 0', "sh", sys.executable, "-c", HELLO],
            capture_output=True,
            check=True,
            start_new_session=True,
            timeout=200,
        )
        listener.kill()

    assert told[:1] == [str(guard.pid).encode()]  # the listener's record, with this very guard
    assert len(shell.stdout.split()) == 4, shell.stderr  # a shell between: its parent counts


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_connections_of_other_users_are_rejected(owner: Owner) -> None:
    """Where folder and socket let somebody in, the kernel still says who it is."""
    Path(owner.folder).chmod(0o755)
    Path(owner.folder).parent.chmod(0o755)
    Path(f"{owner.folder}/guard.sock").chmod(0o666)
    script = "\n".join(
        (
            "import os, socket",
            "os.setuid(65534)",
            "client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)",
            f"client.settimeout({DEADLINE_S})",
            f"client.connect({owner.folder + '/guard.sock'!r})",
            "try:",
            "    client.send(b'Hello')",
            "    print('let in' if client.recv(10) else 'away')",
            "except OSError:",
            "    print('away')",
        ),
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.stdout == "away\n", done.stderr
    assert not any(isinstance(item, GuardAsks) for item in owner.heard)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_folder_that_others_can_write(folder: str) -> None:
    """In a folder that others may write to, anybody can listen: nothing is taken from there."""
    Path(folder).chmod(0o777)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(f"{folder}/guard.sock")
        ready, go_on = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            server.listen()  # its uid at this moment is what the kernel tells
            os.write(ready[1], b"x")
            os.read(go_on[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        try:
            begun = handover_client.begin(folder, FPM, hold=True, most=1)
        finally:
            os.write(go_on[1], b"x")
            os.waitpid(child, 0)
            close([*ready, *go_on])

    assert isinstance(begun, HandoverRefused)
    assert "not belong to our listener: user 65534 listens there" in begun.why


# -- names of unix sockets -------------------------------------------------------------------------


def test_a_name_that_php_fpm_has_unlinked(owner: Owner, folder: str) -> None:
    """It is put back, the same socket with the same rights."""
    path = f"{folder}/w.sock"
    descriptors = leave(owner, wish(path, mode=0o640))
    before = Path(path).stat()
    Path(path).unlink()

    wait_until(lambda: os.path.lexists(path), "the name")
    after = Path(path).stat()
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)
    assert connects(path)
    close(descriptors)


def test_a_name_that_somebody_else_took(owner: Owner, folder: str) -> None:
    """What is not ours is not touched, neither then nor when the socket is let go."""
    path = f"{folder}/w.sock"
    close(leave(owner, wish(path)))
    Path(f"{folder}/other").write_text("theirs")
    Path(f"{folder}/other").rename(path)
    owner.keeper.release(FPM, (path,))

    wait_until(
        lambda: not os.path.lexists(f"{folder}/.w.sock.held-by-fpm-listener"),
        "the second name to go",
    )
    assert Path(path).read_text() == "theirs"


def test_names_of_closed_sockets(owner: Owner, folder: str) -> None:
    """While its master lives the name is the master's; after that, both names are removed."""
    path = f"{folder}/w.sock"
    descriptors = leave(owner, wish(path))  # this very process plays the master
    owner.keeper.release(FPM, (path,))
    wait_until(lambda: len(list(Path(folder).iterdir())) == 2, "the second name to go")
    assert connects(path)
    close(descriptors)
    second = socket_paths.keep(path)
    second.forget(first_too=True)
    assert [path.name for path in Path(folder).iterdir()] == ["state"]


# -- a start without news --------------------------------------------------------------------------


def test_a_stamp_tells_what_has_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Content, replacement, a new file in a folder, another word, another working folder."""
    file, pools = tmp_path / "a.conf", tmp_path / "pool.d"
    file.write_text("one")
    pools.mkdir()
    watched = (str(file), str(pools), str(tmp_path / "none"))
    stamps = [fast_start.stamp(["--hold"], watched)]
    assert fast_start.stamp(["--hold"], watched) == stamps[0]
    file.write_text("two!")
    stamps.append(fast_start.stamp(["--hold"], watched))
    (tmp_path / "b.conf").write_text("two!")
    os.utime(tmp_path / "b.conf", ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    (tmp_path / "b.conf").rename(file)
    stamps.append(fast_start.stamp(["--hold"], watched))
    (pools / "www.conf").touch()
    stamps.append(fast_start.stamp(["--hold"], watched))
    (tmp_path / "none").touch()
    stamps.append(fast_start.stamp(["--hold"], watched))
    stamps.append(fast_start.stamp(["--hold", "-n"], watched))
    monkeypatch.chdir(tmp_path)
    stamps.append(fast_start.stamp(["--hold"], watched))

    assert len(set(stamps)) == len(stamps)


def run_guard(
    owner: Owner,
    folder: str,
    *words: str,
    program: tuple[str, ...] = ("-m", "fpm_listener", "guard"),
) -> str:
    """Run a guard before a fake php-fpm; return what it has imported and said.

    On a busy machine, the second that it waits for the listener can be too short: it runs again.
    """

    def attempt() -> str:
        text = _run_guard_once(owner, folder, *words, program=program)
        return "" if "the listener does not answer" in text else text

    return wait_until(attempt, "the listener to answer")


def _run_guard_once(owner: Owner, folder: str, *words: str, program: tuple[str, ...]) -> str:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *program, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "FPM_LISTENER_STATE_DIR": owner.folder,
            "SUPERVISOR_GROUP_NAME": FPM.group,
            "SUPERVISOR_PROCESS_NAME": FPM.process,
        },
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout


def test_the_quick_start(owner: Owner, folder: str) -> None:
    """Taken where nothing has changed, with next to no imports; php-fpm gets the same socket."""
    port = free_port()
    fake, conf = Path(f"{folder}/php-fpm"), Path(f"{folder}/fpm.conf")
    fake.write_text('#!/bin/sh\necho "sockets: $FPM_SOCKETS"\n')
    fake.chmod(0o755)
    conf.write_text(f"[www]\nlisten = 127.0.0.1:{port}\nlisten.backlog = 5\n")
    command = ("--hold", "--", str(fake), "-F", "-y", str(conf))
    long = run_guard(owner, folder, *command)
    quick = run_guard(owner, folder, *command)

    assert f"sockets: 127.0.0.1:{port}=" in long
    assert f"sockets: 127.0.0.1:{port}=" in quick
    assert "fpm_listener.guard.guard" in long
    assert "fpm_listener.guard.guard" not in quick
    imported = {line.rpartition("|")[2].strip() for line in quick.splitlines() if "|" in line}
    assert not imported & {"json", "re", "typing", "dataclasses", "socket", "enum", "signal"}
    assert {
        name for name in imported if name.startswith("fpm_listener.") and name.count(".") == 2
    } == {
        *("fpm_listener.guard.fast_start", "fpm_listener.guard.orphans"),
        *("fpm_listener.guard.handover_channel", "fpm_listener.guard.handover_messages"),
        *("fpm_listener.host.exec", "fpm_listener.host.procfs"),
        *("fpm_listener.host.state_directory", "fpm_listener.host.unix_connection"),
        "fpm_listener.phpfpm.inherited_sockets",
    }
    assert connects(f"127.0.0.1:{port}")

    conf.write_text(conf.read_text() + "pm = static\n")
    assert "fpm_listener.guard.guard" in run_guard(owner, folder, *command)
    assert "fpm_listener.guard.guard" not in run_guard(owner, folder, *command)
    assert "fpm_listener.guard.guard" in run_guard(owner, folder, "--wait", "1s", *command)
    owner.refuse = "no"
    assert "listening sockets are not held: no" in run_guard(owner, folder, *command)


@pytest.mark.parametrize(
    "place",
    [
        "guard.guard:_Guard._inherit",
        "guard.held_start:HeldStart.take_over",
        "guard.held_start:HeldStart._leave",
        "guard.held_start:watched_paths",
        "guard.handover_client:Handover.take",
        "guard.handover_client:Handover.leave",
        "guard.orphan_ender:OrphanEnder.end_on_sockets",
        "phpfpm.listen_sockets:specs",
        "phpfpm.config_files:read",
    ],
)
def test_an_unexpected_error_during_the_handover(owner: Owner, folder: str, place: str) -> None:
    """php-fpm starts, and gets its address or can bind it: nothing that is held blocks it."""
    port = free_port()
    fake, conf = Path(f"{folder}/php-fpm"), Path(f"{folder}/fpm.conf")
    fake.write_text(f"#!{sys.executable}\n{BIND.format(port=port)}")
    fake.chmod(0o755)
    conf.write_text(f"[www]\nlisten = 127.0.0.1:{port}\n")
    command = ("--hold", "--", str(fake), "-F", "-y", str(conf))
    assert "it has the address" in run_guard(owner, folder, *command)  # which is held from now on
    conf.write_text(conf.read_text() + "pm = static\n")  # no quick start
    script = f"{Path(__file__).parents[2]}/faulty_guard.py"
    said = run_guard(owner, folder, f"fpm_listener.{place}", *command, program=(script,))

    assert "unexpected error in " in said
    assert "it has the address" in said
    assert "Traceback" not in said


#: A php-fpm that uses the socket that it is given, or else binds one.
BIND = """
import os, socket
if "FPM_SOCKETS" not in os.environ:
    socket.create_server(("127.0.0.1", {port}))
print("it has the address")
"""


# -- php-fpm that forks in vain --------------------------------------------------------------------

STORM = """
import os, socket, sys, time
sys.stdout.write("on\\n"); sys.stdout.flush()
while True:
    if os.fork() == 0:
        client = socket.socket() if "busy" in sys.argv else None
        time.sleep(0.003); os._exit(0)
    time.sleep(0.001)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]: pass
    except ChildProcessError: pass
"""


@pytest.fixture
def storm() -> Iterator[subprocess.Popen[str]]:
    """Return a master whose workers end as soon as they begin."""
    child = subprocess.Popen([sys.executable, "-c", STORM], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    child.stdout.readline()
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_storm(storm: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Newborn workers only, and nobody answers; a socket that is answered on is no storm."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # For a moment, a busy machine may leave it without a worker.
        wait_until(lambda: fork_loop.is_looping(storm.pid, listener.fileno()), "the storm")
        assert not fork_loop.is_looping(os.getpid(), listener.fileno())
        child = os.fork()
        if child == 0:
            while True:
                listener.accept()[0].close()  # as where listen.allowed_clients leaves us out
        monkeypatch.setattr(fork_loop, "_ANSWER_S", DEADLINE_S)
        try:
            assert not fork_loop.is_looping(storm.pid, listener.fileno())
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_young_workers_with_clients() -> None:
    """With pm.max_requests = 1 and a long queue, workers are young and our question waits."""
    command = [sys.executable, "-c", STORM, "busy"]
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as master,
    ):
        assert master.stdout
        master.stdout.readline()
        is_looping = fork_loop.is_looping(master.pid, listener.fileno())
        master.kill()
    assert not is_looping


def test_a_pause_of_the_listener_is_no_storm(
    storm: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the listener was paused longer than an answer may take, an answer still counts."""
    seconds = itertools.count(step=10 * DEADLINE_S)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            while True:
                listener.accept()[0].close()
        try:
            monkeypatch.setattr(fork_loop, "_ANSWER_S", DEADLINE_S)
            monkeypatch.setattr(time, "monotonic", lambda: float(next(seconds)))
            assert not fork_loop.is_looping(storm.pid, listener.fileno())
        finally:
            monkeypatch.undo()
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_a_storm_is_ended(
    owner: Owner, storm: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second after its start php-fpm is looked at; the owner is told, the master killed."""
    monkeypatch.setattr(socket_keeper, "peer_of", lambda _: (storm.pid, os.geteuid()))
    close(leave(owner, wish(f"127.0.0.1:{free_port()}")))

    wait_until(lambda: HoldFailed(FPM) in owner.heard, "the owner to know")
    assert storm.wait(DEADLINE_S) == -signal.SIGKILL
