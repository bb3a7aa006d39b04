"""Who has an address: real sockets, real php-fpm, and layouts that this machine has not."""

from __future__ import annotations

import _socket
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import procfs
from fpm_listener.host.address_holders import HolderKind
from fpm_listener.host.holder_search import find_holders
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a short folder: a unix socket's path has 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="so-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


class Fpm:
    """A php-fpm that leads a process group of its own, as under supervisord."""

    def __init__(self, folder: Path, listen: str, mode: str = "-F") -> None:
        binary = next(iter(sorted(Path("/usr/sbin").glob("php-fpm[0-9]*"))), None)
        assert binary, "no php-fpm on this machine: run scripts/setup.sh"
        user = "user = www-data\n" if os.geteuid() == 0 else ""
        conf = folder / "fpm.conf"
        conf.write_text(
            f"[global]\nerror_log = {folder}/fpm.log\npid = {folder}/fpm.pid\n"
            f"[so{os.getpid()}]\n{user}listen = {listen}\npm = static\npm.max_children = 2\n",
        )
        self.started = subprocess.Popen(
            [binary, mode, "-y", conf],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.pid: int | None = None
        try:
            log = folder / "fpm.log"
            wait_until(lambda: log.exists() and "ready to handle" in log.read_text())
            self.pid = int((folder / "fpm.pid").read_text())
            # A worker has its title a moment after its start.
            wait_until(lambda: len(self.workers()) == 2, "the titles of the workers")
        except BaseException:
            self.end()
            raise

    def workers(self) -> list[int]:
        assert self.pid
        return [one for one in group(self.pid) if procfs.title(one).startswith("php-fpm: pool")]

    def kill_master(self) -> int:
        assert self.pid
        os.kill(self.pid, signal.SIGKILL)
        self.started.wait()
        return self.pid

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid or self.started.pid, signal.SIGKILL)
        self.started.wait()


@pytest.fixture
def fpm(folder: Path) -> Iterator[Callable[..., Fpm]]:
    """Return a function that starts a php-fpm; all are ended."""
    started: list[Fpm] = []

    def start(listen: str, mode: str = "-F") -> Fpm:
        started.append(Fpm(folder, listen, mode))
        return started[-1]

    yield start
    for one in started:
        one.end()


# -- addresses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bound", "asked", "clash"),
    [
        ("127.0.0.1", "127.0.0.1:{port}", True),
        ("127.0.0.1", "{port}", True),
        ("127.0.0.1", "*:{port}", True),
        ("127.0.0.1", "0.0.0.0:{port}", True),
        ("127.0.0.1", "[::]:{port}", True),
        ("127.0.0.1", "localhost:{port}", True),
        ("127.0.0.1", "127.0.0.2:{port}", False),
        ("127.0.0.1", "[::1]:{port}", False),
        ("0.0.0.0", "127.0.0.1:{port}", True),
        ("::", "127.0.0.1:{port}", True),
        ("::", "{port}", True),
        ("::1", "[::1]:{port}", True),
        ("::1", "localhost:{port}", True),
        ("::1", "127.0.0.1:{port}", False),
        # php-fpm then listens on IPv4 only, and says nothing.
        ("::1", "{port}", False),
        ("::ffff:127.0.0.1", "127.0.0.1:{port}", True),
    ],
)
def test_which_addresses_clash(bound: str, asked: str, clash: bool) -> None:  # noqa: FBT001 - a column
    """Wildcards and families clash as they do for php-fpm."""
    family = socket.AF_INET6 if ":" in bound else socket.AF_INET
    with socket.socket(family) as holder:
        holder.bind((bound, 0))
        holder.listen()
        report = find_holders(asked.format(port=holder.getsockname()[1]))

    assert report.blind is None
    assert [holder.pid for holder in report.holders] == ([os.getpid()] if clash else [])


HOSTS = ("127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1")


@pytest.mark.parametrize("bound", HOSTS)
@pytest.mark.parametrize("wanted", HOSTS)
def test_the_kernel_agrees(bound: str, wanted: str) -> None:
    """Who is named as holder is who makes bind(2) fail, tried with SO_REUSEADDR as php-fpm does."""
    with opened(bound, 0) as holder:
        holder.listen()
        port = holder.getsockname()[1]
        try:
            opened(wanted, port).close()
        except OSError:
            free = False
        else:
            free = True
        report = find_holders(f"[{wanted}]:{port}")

    assert (report.holders == ()) == free


def opened(host: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made


def test_a_connection_can_have_the_port() -> None:
    """Where nobody listens, the own end of a connection is named, and that it is one is said."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        port = client.getsockname()[1]
        (found,) = find_holders(f"127.0.0.1:{port}").holders

    assert (found.kind, found.pid) == (HolderKind.OTHER, os.getpid())
    assert "does not listen" in found.command


def test_a_connection_that_was_closed_holds_nothing() -> None:
    """TIME_WAIT is passed over by SO_REUSEADDR, and nobody has it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        peer, _ = server.accept()
        peer.close()  # the side that closes first has to wait
        client.close()
    report = find_holders(f"127.0.0.1:{address[1]}")

    assert (report.holders, report.blind) == ((), None)


def test_an_address_of_udp() -> None:
    """A socket of UDP keeps the address from other sockets of UDP only."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        for address in (f"127.0.0.1:{port}/udp", f"*:{port}/udp"):
            (holder,) = find_holders(address).holders
            assert holder.pid == os.getpid()
        assert not find_holders(f"127.0.0.1:{port}").holders


def test_a_unix_socket_is_found_by_each_of_its_names(folder: Path) -> None:
    """The folder is a link (/var/run is one), in what is asked or in what was bound."""
    (folder / "run").mkdir()
    (folder / "link").symlink_to(folder / "run")
    real, linked = f"{folder}/run/www.sock", f"{folder}/link/www.sock"
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(linked)
        assert find_holders(linked).holders == ()  # it does not listen yet
        holder.listen()
        for name in (linked, real):
            (found,) = find_holders(name).holders
            assert found.pid == os.getpid()
        assert find_holders(f"{folder}/www.sock").holders == ()


def test_something_else() -> None:
    """A holder that is no php-fpm is named with its command and user."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        (found,) = find_holders(f"127.0.0.1:{holder.getsockname()[1]}").holders

    assert (found.kind, found.master_pid, found.ours) == (HolderKind.OTHER, None, False)
    assert "python" in found.command
    assert found.user


def test_secrets_of_a_holder() -> None:
    """The command line of another process is shown without its password."""
    program = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); "
    program += "print(s.getsockname()[1], flush=True); sys.stdin.read()"
    secrets = ["--password=hunter2", "--token", "hunter3", "https://u:hunter4@host/"]
    with subprocess.Popen(
        ["python", "-c", program, *secrets],  # a short name: a long command line is cut
        executable=sys.executable,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdin
        assert other.stdout
        report = find_holders(f"127.0.0.1:{int(other.stdout.readline())}")
        other.stdin.close()

    assert [holder.pid for holder in report.holders] == [other.pid]
    assert "--password=*** --token *** https://***@host/" in str(report)
    assert "hunter" not in str(report)


def test_an_address_without_a_holder() -> None:
    """A free address has no holder, and that is no blindness."""
    report = find_holders(f"127.0.0.1:{free_port()}")

    assert (report.holders, report.blind) == ((), None)


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1:x", "127.0.0.1:"])
def test_an_address_that_is_none(address: str) -> None:
    """What is no address is said not to be understood."""
    assert find_holders(address).blind is not None


def test_an_unknown_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver's no is told as such."""

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
    report = find_holders("fpm.invalid:9000")

    assert report.blind == "the name in the address cannot be resolved: Name or service not known"


# -- real php-fpm ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["-F", "-D"])
@pytest.mark.parametrize("unix", [False, True])
def test_a_living_master(
    fpm: Callable[..., Fpm],
    folder: Path,
    mode: str,
    unix: bool,  # noqa: FBT001 - a column
) -> None:
    """A living php-fpm is one holder, its master first, its workers with it; daemonized or not."""
    address = str(folder / "w.sock") if unix else f"127.0.0.1:{free_port()}"
    running = fpm(address, mode)
    assert running.pid
    (found,) = find_holders(address, former_masters=frozenset({running.pid})).holders

    assert (found.kind, found.pid) == (HolderKind.MASTER, running.pid)
    assert found.command.startswith(f"php-fpm: master process ({folder}")
    assert found.master_pid == running.pid
    assert not found.ours
    assert len(found.others) == 2


@pytest.mark.parametrize("unix", [False, True])
def test_orphans(fpm: Callable[..., Fpm], folder: Path, unix: bool) -> None:  # noqa: FBT001 - a column
    """Workers whose master was killed are orphans; ours, where we knew the master."""
    address = str(folder / "w.sock") if unix else f"127.0.0.1:{free_port()}"
    master = fpm(address).kill_master()
    (found,) = find_holders(address, former_masters=frozenset({master})).holders

    assert (found.kind, found.master_pid, found.ours) == (HolderKind.ORPHAN, master, True)
    assert found.command.startswith("php-fpm: pool")
    assert found.user == ("www-data" if os.geteuid() == 0 else found.user)
    assert len(found.others) == 1
    (strange,) = find_holders(address).holders
    assert (strange.kind, strange.master_pid, strange.ours) == (HolderKind.ORPHAN, master, False)


def test_a_child_that_inherited_the_socket(folder: Path) -> None:
    """What a script has started keeps the socket after its php-fpm (up to PHP 8.2): whose, is told.

    A master stand-in hands its socket on, as exec() in a script does, and is killed.
    """
    program = (
        "import socket, subprocess, sys, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "child = subprocess.Popen(['sleep', '1000'], pass_fds=[server.fileno()])\n"
        "print(server.getsockname()[1], child.pid, flush=True)\n"
        "time.sleep(1000)\n"
    )
    master = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    )
    try:
        assert master.stdout
        port, child = map(int, master.stdout.readline().split())
        master.kill()
        master.wait()
        (found,) = find_holders(
            f"127.0.0.1:{port}",
            former_masters=frozenset({master.pid}),
        ).holders
        (strange,) = find_holders(f"127.0.0.1:{port}").holders
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(master.pid, signal.SIGKILL)
        master.communicate()

    assert (found.kind, found.pid, found.command) == (HolderKind.OTHER, child, "sleep 1000")
    assert (found.master_pid, found.ours) == (master.pid, True)
    assert (strange.master_pid, strange.ours) == (None, False)


LOOK = (
    "import os, sys\nfrom fpm_listener.host.holder_search import find_holders\n{lose}\n"
    "report = find_holders(sys.argv[1], former_masters=frozenset(map(int, sys.argv[2:])))\n"
    "print(report.holders, report.blind, *report.left)"
)


def look_as(lose: str, *words: str, prefix: tuple[str, ...] = ()) -> str:
    """Return what a process sees that has lost some of its rights."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", LOOK.format(lose=lose), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_what_another_user_may_not_see(fpm: Callable[..., Fpm]) -> None:
    """Who is not root says that it could not look, and accuses nobody."""
    assert os.geteuid() == 0, "this test needs root, as the whole machine's setup does"
    address = f"127.0.0.1:{free_port()}"
    fpm(address)

    assert look_as("os.setuid(65534)", address) == (
        "() reading other users' processes is not permitted (it needs root)"
    )
    assert look_as("os.setuid(65534)", f"127.0.0.1:{free_port()}") == "() None"


def test_what_root_in_a_container_may_not_see(fpm: Callable[..., Fpm]) -> None:
    """Without CAP_SYS_PTRACE, which docker gives to nobody, root does not see workers' sockets.

    That is said; so is, without an accusation, that workers of a former life are still there.
    """
    assert os.geteuid() == 0, "this test needs root, as the whole machine's setup does"
    address = f"127.0.0.1:{free_port()}"
    master = fpm(address).kill_master()
    workers = [str(pid) for pid in group(master)]
    said = look_as(
        "",
        address,
        str(master),
        prefix=("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"),
    )

    assert len(workers) == 2
    assert said == (
        "() reading other users' processes is not permitted (it needs CAP_SYS_PTRACE);"
        f" an earlier run of the program has left pid {' '.join(workers)} {master}"
    )


def group(leader: int) -> list[int]:
    """Return the pids of a process group, without its leader."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            words = stat.read_text().rpartition(")")[2].split()
            if int(words[2]) == leader and int(stat.parts[2]) != leader:
                found.append(int(stat.parts[2]))
    return sorted(found)


# -- layouts that this machine has not -------------------------------------------------------------


class Proc:
    """A procfs of files: one socket listens on 127.0.0.1:9000."""

    ADDRESS = "127.0.0.1:9000"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "net").mkdir()
        (folder / "net" / "tcp").write_text(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
            "  timeout inode\n",
        )
        self.socket("0A", 4711)
        self.cgroup("self", "0::/")

    def socket(self, state: str, inode: int) -> None:
        """Add a socket on the address."""
        local = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"
        with (self.folder / "net" / "tcp").open("a") as table:
            table.write(
                f"   0: {local}:2328 00000000:0000 {state} 00000000:00000000 00:00000000 00000000"
                f" 33 0 {inode} 1 0 100 0 0 10 0\n",
            )

    def process(
        self,
        pid: int,
        title: str,
        *,
        ppid: int = 1,
        pgid: int = 70,
        state: str = "S",
        holds: int | None = 4711,
        cgroup: str = "0::/",
    ) -> None:
        """Add a process."""
        folder = self.folder / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "fd" / "9").symlink_to(f"socket:[{holds}]" if holds else "/dev/null")
        (folder / "stat").write_text(f"{pid} (php-fpm) 8.2) {state} {ppid} {pgid}" + " 0" * 20)
        (folder / "cmdline").write_bytes(title.encode() + b"\0\0\0")
        self.cgroup(str(pid), cgroup)

    def cgroup(self, pid: str, text: str) -> None:
        """Put a process into control groups."""
        (self.folder / pid).mkdir(exist_ok=True)
        (self.folder / pid / "cgroup").write_text(text + "\n")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """Return a procfs without processes."""
    return Proc(tmp_path)


def found_in(proc: Proc, *former_masters: int) -> list[tuple[HolderKind, int, tuple[int, ...]]]:
    report = find_holders(
        Proc.ADDRESS, former_masters=frozenset(former_masters), proc=str(proc.folder)
    )
    return [(holder.kind, holder.pid, holder.others) for holder in report.holders]


def test_a_masters_worker_stands_for_it(proc: Proc) -> None:
    """Where only a worker is seen to have the socket, its living master is named."""
    proc.process(70, "php-fpm: master process (/etc/php-fpm.conf)", holds=None)
    proc.process(77, "php-fpm: pool www", ppid=70)

    assert found_in(proc) == [(HolderKind.MASTER, 70, (77,))]


def test_connections_to_a_listener_are_not_its_holders(proc: Proc) -> None:
    """Who only talks over the address does not have it; not even after its listener."""
    proc.socket("01", 4712)
    proc.process(70, "php-fpm: master process (/etc/php-fpm.conf)")
    proc.process(200, "talker", pgid=200, holds=4712)

    assert found_in(proc) == [(HolderKind.MASTER, 70, ())]


def test_what_a_worker_has_forked(proc: Proc) -> None:
    """It keeps the title and the group of the worker, and stands for the living master too."""
    proc.process(70, "php-fpm: master process (/etc/php-fpm.conf)", holds=None)
    proc.process(77, "php-fpm: pool www", ppid=70, holds=None)
    proc.process(78, "php-fpm: pool www", ppid=77)

    assert found_in(proc) == [(HolderKind.MASTER, 70, (78,))]


def test_a_master_in_the_group_of_a_shell(proc: Proc) -> None:
    """A worker whose parent is a living master is none's orphan, whoever leads the group."""
    proc.process(70, "/bin/sh -c php-fpm -F", holds=None)
    proc.process(71, "php-fpm: master process (/etc/php-fpm.conf)", ppid=70, holds=None)
    proc.process(77, "php-fpm: pool www", ppid=71)

    assert found_in(proc) == [(HolderKind.MASTER, 71, (77,))]


def test_a_worker_that_still_has_its_masters_title(proc: Proc) -> None:
    """A worker takes its title a moment after it was forked; until then it is no second master."""
    proc.process(70, "php-fpm: master process (/etc/php-fpm.conf)")
    proc.process(77, "php-fpm: master process (/etc/php-fpm.conf)", ppid=70)

    assert found_in(proc) == [(HolderKind.MASTER, 70, (77,))]


def test_the_parent_proves_nothing(proc: Proc) -> None:
    """supervisord as pid 1 of a container adopts orphans; a zombie master is a dead one."""
    proc.process(1, "/usr/bin/python3 /usr/bin/supervisord -n", pgid=1, holds=None)
    proc.process(70, "", state="Z", holds=None)
    proc.process(77, "php-fpm: pool www")
    proc.process(78, "php-fpm: pool www")

    assert found_in(proc) == [(HolderKind.ORPHAN, 77, (78,))]


def test_a_group_that_somebody_else_leads_now(proc: Proc) -> None:
    """A leader that is no php-fpm master is none."""
    proc.process(70, "sleep 1000", holds=None)
    proc.process(77, "php-fpm: pool www")

    assert found_in(proc) == [(HolderKind.ORPHAN, 77, ())]


def test_masters_come_first_then_orphans_then_others(proc: Proc) -> None:
    """Each kind and each group is one holder; fellows are folded."""
    proc.process(10, "nginx: worker process", pgid=11)
    proc.process(11, "nginx: master process nginx", pgid=11)
    proc.process(20, "php-fpm: pool www", pgid=19)
    proc.process(30, "php-fpm: pool old", pgid=29)
    proc.process(31, "php-fpm: pool old", pgid=29)
    proc.process(40, "php-fpm: master process (/etc/php-fpm.conf)", pgid=40)
    proc.process(41, "php-fpm: pool www", ppid=40, pgid=40)

    assert found_in(proc, 29) == [
        (HolderKind.MASTER, 40, (41,)),
        (HolderKind.ORPHAN, 20, ()),
        (HolderKind.ORPHAN, 30, (31,)),
        (HolderKind.OTHER, 11, (10,)),
    ]


def test_zombies_hold_nothing(proc: Proc) -> None:
    """What is dead and not yet reaped is no holder, though its folder is there."""
    proc.process(77, "php-fpm: pool www", state="Z")
    proc.process(78, "php-fpm: pool www")

    assert found_in(proc) == [(HolderKind.ORPHAN, 78, ())]


def test_a_process_that_vanishes_in_between(proc: Proc) -> None:
    """A folder that is half gone is passed over."""
    proc.process(77, "php-fpm: pool www")
    (proc.folder / "77" / "stat").unlink()
    proc.process(78, "php-fpm: pool www")

    assert found_in(proc) == [(HolderKind.ORPHAN, 78, ())]


def test_a_socket_that_no_process_has(proc: Proc) -> None:
    """It belongs to another container: nobody is named, and it is not called free."""
    report = find_holders(Proc.ADDRESS, proc=str(proc.folder))

    assert report.holders == ()
    assert report.blind is not None
    assert "no process that can be seen here has it" in report.blind


def test_no_proc(tmp_path: Path) -> None:
    """Without procfs we are blind."""
    report = find_holders(Proc.ADDRESS, proc=f"{tmp_path}/none")

    assert report.blind == f"{tmp_path}/none cannot be read: No such file or directory"


@pytest.mark.parametrize(
    ("title", "command"),
    [
        ("php-fpm: pool www", "php-fpm: pool www"),
        ("/usr/bin/nc\0-l\x009000", "/usr/bin/nc -l 9000"),
        ("", "[php-fpm) 8.2]"),
        ("a\x1b[31m\nb\u202ec é", r"a\x1b[31m\nb\u202ec é"),
        ("x" * 500, "x" * 200),
    ],
)
def test_how_a_command_is_shown(proc: Proc, title: str, command: str) -> None:
    """Its words, or its name where it has none; what would play with a terminal is escaped."""
    proc.process(77, title)
    (found,) = find_holders(Proc.ADDRESS, proc=str(proc.folder)).holders

    assert found.command == command


DOCKER = "ab" * 32


@pytest.mark.parametrize(
    ("cgroup", "unit", "container"),
    [
        ("0::/system.slice/php8.2-fpm.service", "php8.2-fpm.service", None),
        (
            "12:pids:/system.slice/php8.2-fpm.service\n1:name=systemd:/system.slice/x.service/sub",
            "php8.2-fpm.service",
            None,
        ),
        (f"0::/system.slice/docker-{DOCKER}.scope", None, "abababababab"),
        (f"12:pids:/docker/{DOCKER}\n1:name=systemd:/docker/{DOCKER}", None, "abababababab"),
        (f"0::/kubepods.slice/pod1.slice/cri-containerd-{DOCKER}.scope", None, "abababababab"),
        (f"0::/system.slice/k3s.service/x:cri-containerd:{DOCKER}", "k3s.service", "abababababab"),
        (f"0::/machine.slice/libpod-{DOCKER}.scope/container", None, "abababababab"),
        ("0::/user.slice/user-0.slice/user@0.service/app.slice/x.scope", None, None),
        ("0::/user.slice/user-0.slice/session-3.scope", None, None),
        (f"0::/kept/{DOCKER}ff", None, None),
        ("0::/", None, None),
    ],
)
def test_unit_and_container(
    proc: Proc,
    cgroup: str,
    unit: str | None,
    container: str | None,
) -> None:
    """The systemd unit or the container is read from the control groups of both versions."""
    proc.process(77, "php-fpm: pool www", cgroup=cgroup)
    (found,) = find_holders(Proc.ADDRESS, proc=str(proc.folder)).holders

    assert (found.kind, found.master_pid) == (HolderKind.ORPHAN, 70)
    assert (found.unit, found.container) == (unit, container)
    named = next((name for name in ("libpod", "docker") if name in cgroup and container), None)
    assert found.engine == {"libpod": "podman"}.get(named or "", named)


def test_our_own_unit_is_no_other_service(proc: Proc) -> None:
    """To stop the unit that we are in, as the remedy would say, would stop supervisord."""
    own = f"0::/system.slice/supervisor.service/docker-{DOCKER}.scope"
    proc.cgroup("self", own)
    proc.process(77, "nc -l 9000", cgroup=own)
    (found,) = find_holders(Proc.ADDRESS, proc=str(proc.folder)).holders

    assert (found.unit, found.container) == (None, None)
