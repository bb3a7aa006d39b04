"""Who may have an address, and sockets as php-fpm makes them: the kernel and php-fpm are asked."""

from __future__ import annotations

import _socket
import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from fpm_listener.guard import bind as guard_bind
from fpm_listener.guard.bind import AddressState, Availability, Bound, NotOurs
from fpm_listener.host import addresses, procfs
from fpm_listener.host.addresses import TcpAddress, UnixAddress
from fpm_listener.phpfpm import command_line, config_files, inherited_sockets, listen_sockets
from fpm_listener.phpfpm.listen_sockets import Rights
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 150.0
USER = "user = www-data\ngroup = www-data\n" if os.geteuid() == 0 else ""


def php_fpm() -> str:
    found = [
        *([os.environ["PHP_FPM"]] if os.environ.get("PHP_FPM") else []),
        *sorted((str(path) for path in Path("/usr/sbin").glob("php-fpm[0-9]*")), reverse=True),
        *filter(None, [shutil.which("php-fpm")]),
    ]
    assert found, "no php-fpm on this machine: run scripts/setup.sh"
    return found[0]


def parse(text: str) -> TcpAddress | UnixAddress:
    found = addresses.parse(text)
    assert isinstance(found, TcpAddress | UnixAddress)
    return found


def ask(text: str) -> AddressState:
    return guard_bind.ask(parse(text)).answer


def opened(host: str, port: int = 0) -> socket.socket:
    """Return a socket that is bound as php-fpm would, and does not listen yet."""
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((host, port))
    return made


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a short folder that others may look into: a unix socket's path has 107 bytes."""
    made = Path(tempfile.mkdtemp(prefix="bi-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


def has_members(group: int) -> bool:
    """Return whether somebody in the process group still lives."""
    return any(
        found.pgid == group and found.state not in "ZX"
        for pid in procfs.pids()
        if (found := procfs.read_stat(pid))
    )


class Fpm:
    """A real php-fpm in a process group of its own."""

    def __init__(
        self,
        folder: Path,
        pools: str,
        environment: dict[str, str] | None = None,
        sockets: tuple[int, ...] = (),
    ) -> None:
        self.conf, self._log = folder / "fpm.conf", folder / "fpm.log"
        self.conf.write_text(f"[global]\nerror_log = {self._log}\n{pools}")
        self._process = subprocess.Popen(
            [php_fpm(), "-F", "-y", self.conf],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
            pass_fds=sockets,
        )
        self.pid = self._process.pid

    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def starts(self) -> bool:
        """Return whether it serves; False where it has given up."""
        wait_until(lambda: "ready to handle" in self.log() or self._process.poll() is not None)
        return "ready to handle" in self.log()

    def reload(self) -> None:
        """Let it execute itself anew, its sockets handed on."""
        os.kill(self.pid, signal.SIGUSR2)
        wait_until(lambda: self.log().count("ready to handle") == 2)

    def inherited(self) -> list[str]:
        """Return the keys under which it has found sockets that it was given."""
        return re.findall(r'using inherited socket fd=\d+, "(.*)"', self.log())

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        wait_until(lambda: not has_members(self.pid))


@pytest.fixture
def fpm(folder: Path) -> Iterator[Callable[..., Fpm]]:
    """Return a function that starts a php-fpm; all are ended."""
    started: list[Fpm] = []

    def start(
        pools: str,
        environment: dict[str, str] | None = None,
        sockets: tuple[int, ...] = (),
    ) -> Fpm:
        started.append(Fpm(folder, pools, environment, sockets))
        return started[-1]

    yield start
    for one in started:
        one.end()


def pool(listen: str, options: str = "", name: str = "a") -> str:
    return f"[{name}]\n{USER}listen = {listen}\npm = static\npm.max_children = 1\n{options}\n"


# -- asking: TCP -----------------------------------------------------------------------------------


class Scene(NamedTuple):
    """Addresses that somebody listens on, what is wanted, and what comes of it."""

    taken: tuple[str, ...]
    wanted: str
    answer: AddressState


SCENES = {
    "free": Scene((), "127.0.0.1:{port}", AddressState.FREE),
    "free IPv6": Scene((), "[::1]:{port}", AddressState.FREE),
    "free bare port": Scene((), "{port}", AddressState.FREE),
    "free name": Scene((), "localhost:{port}", AddressState.FREE),
    "the same": Scene(("127.0.0.1",), "127.0.0.1:{port}", AddressState.BUSY),
    "the same IPv6": Scene(("::1",), "[::1]:{port}", AddressState.BUSY),
    "another address": Scene(("127.0.0.2",), "127.0.0.1:{port}", AddressState.FREE),
    "another family": Scene(("::1",), "127.0.0.1:{port}", AddressState.FREE),
    "all of IPv4": Scene(("0.0.0.0",), "127.0.0.1:{port}", AddressState.BUSY),
    "all": Scene(("::",), "127.0.0.1:{port}", AddressState.BUSY),
    "one of all": Scene(("127.0.0.2",), "0.0.0.0:{port}", AddressState.BUSY),
    "a name": Scene(("0.0.0.0", "::1"), "localhost:{port}", AddressState.BUSY),
    "bare port, all": Scene(("::",), "{port}", AddressState.BUSY),
    "bare port, all of IPv4": Scene(("0.0.0.0",), "{port}", AddressState.BUSY),
    "bare port, one of IPv4": Scene(("127.0.0.1",), "{port}", AddressState.BUSY),
    # php-fpm then listens on IPv4 only, and says nothing.
    "bare port, one of IPv6": Scene(("::1",), "{port}", AddressState.FREE),
    "bare port, one of each": Scene(("::1", "127.0.0.1"), "{port}", AddressState.BUSY),
    "not here": Scene((), "203.0.113.9:{port}", AddressState.ABSENT),
    "not here, IPv6": Scene((), "[2001:db8::9]:{port}", AddressState.ABSENT),
}


@pytest.mark.parametrize("scene", SCENES.values(), ids=SCENES)
def test_what_php_fpm_would_live_through(fpm: Callable[..., Fpm], scene: Scene) -> None:
    """The answer is what becomes of a real php-fpm: it starts where, and only where, it is FREE."""
    port = free_port()
    wanted = scene.wanted.format(port=port)
    with contextlib.ExitStack() as taken:
        for host in scene.taken:
            taken.enter_context(opened(host, port)).listen()
        found = guard_bind.ask(parse(wanted))
        starts = fpm(pool(wanted)).starts()

    assert found.answer is scene.answer
    assert bool(found.why) == (scene.answer is not AddressState.FREE)
    assert starts == (scene.answer is AddressState.FREE)


def test_what_is_bound_and_does_not_listen() -> None:
    """Two with SO_REUSEADDR may be bound as long as none of them listens: php-fpm's way is ours."""
    with opened("127.0.0.1") as holder:
        text = f"127.0.0.1:{holder.getsockname()[1]}"
        assert ask(text) is AddressState.FREE
        holder.listen()
        assert ask(text) is AddressState.BUSY
    assert ask(text) is AddressState.FREE


def test_asking_leaves_nothing_behind() -> None:
    """Whoever is stricter than php-fpm can have the address right after."""
    port = free_port()
    assert ask(f"127.0.0.1:{port}") is AddressState.FREE
    with socket.socket() as strict:
        strict.bind(("127.0.0.1", port))


def test_a_connection_that_was_closed() -> None:
    """TIME_WAIT, which keeps others away, does not keep php-fpm away: the address is free."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        peer, _ = server.accept()
        peer.close()  # the side that closes first has to wait
        client.close()
    with socket.socket() as strict, pytest.raises(OSError, match="in use") as refused:
        strict.bind(address)

    assert refused.value.errno == errno.EADDRINUSE
    assert ask(f"127.0.0.1:{address[1]}") is AddressState.FREE


def test_a_connection_without_its_listener() -> None:
    """It has the port, and does not keep php-fpm away."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        client = socket.create_connection(address)
        peer, _ = server.accept()
    with client, peer:
        assert ask(f"127.0.0.1:{address[1]}") is AddressState.FREE


def test_the_own_end_of_an_outgoing_connection() -> None:
    """A port that the kernel has given to a connection is busy."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert ask(f"127.0.0.1:{client.getsockname()[1]}") is AddressState.BUSY


def test_an_unknown_host_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver may come to know it: it is absent, not forbidden."""

    def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(_socket, "getaddrinfo", getaddrinfo)
    address = parse("fpm.invalid:9000")

    assert guard_bind.ask(address) == Availability(
        answer=AddressState.ABSENT,
        why="the name 'fpm.invalid' cannot be resolved: Name or service not known",
    )
    assert guard_bind.keys(address) == ()


@pytest.mark.parametrize(
    ("hosts", "taken", "answer"),
    [
        (("127.0.0.1", "127.0.0.2"), (), AddressState.FREE),
        (("127.0.0.1", "127.0.0.2"), ("127.0.0.1",), AddressState.FREE),
        (("127.0.0.1", "127.0.0.2"), ("127.0.0.1", "127.0.0.2"), AddressState.BUSY),
        (("203.0.113.9", "127.0.0.1"), (), AddressState.FREE),
        (("203.0.113.9", "127.0.0.1"), ("127.0.0.1",), AddressState.BUSY),
        (("127.0.0.1", "203.0.113.9"), ("127.0.0.1",), AddressState.BUSY),
        (("203.0.113.8", "203.0.113.9"), (), AddressState.ABSENT),
    ],
)
def test_a_name_of_several_addresses(
    monkeypatch: pytest.MonkeyPatch,
    hosts: tuple[str, ...],
    taken: tuple[str, ...],
    answer: AddressState,
) -> None:
    """The first that can be had is taken, as php-fpm does; else the answer leaves most hope."""
    port = free_port()
    row = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts]
    monkeypatch.setattr(_socket, "getaddrinfo", lambda *_, **__: row)
    address = parse(f"fpm.invalid:{port}")
    with contextlib.ExitStack() as holders:
        for host in taken:
            holders.enter_context(opened(host, port)).listen()
        found = guard_bind.ask(address)

    assert found.answer is answer
    assert guard_bind.keys(address) == tuple(f"{host}:{port}" for host in hosts)


# -- asking: what others may not -------------------------------------------------------------------

ASK = (
    "import sys\nfrom fpm_listener.guard import bind as binding\n"
    "from fpm_listener.host import addresses\n"
    "found = binding.ask(addresses.parse(sys.argv[1]))\n"
    "print(found.answer.value, found.why, sep=': ')"
)
#: Becomes an ordinary user, who may read all files, since Python can be installed in root's home.
AS_NOBODY = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)


def ask_as_nobody(text: str) -> str:
    """Return what an ordinary user is told."""
    done = subprocess.run(
        [*(AS_NOBODY if os.geteuid() == 0 else ()), sys.executable, "-c", ASK, text],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return done.stdout.strip()


def test_a_port_for_root() -> None:
    """An ordinary user is forbidden what the kernel keeps for root, and waiting would not help."""
    kept = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text("ascii"))
    port = next(
        port for port in range(1023, 0, -1) if ask(f"127.0.0.1:{port}") is AddressState.FREE
    )
    expected = "forbidden: Permission denied" if port < kept else "free:"

    assert ask_as_nobody(f"127.0.0.1:{port}") == expected


def test_a_folder_that_may_not_be_written_to(folder: Path) -> None:
    """Forbidden, with the folder's name; whoever may write there is free to."""
    path = folder / "w.sock"
    assert ask_as_nobody(str(path)) == f"forbidden: its directory {folder} is not writable"
    folder.chmod(0o777)
    assert ask_as_nobody(str(path)) == "free:"


def test_a_listener_that_may_not_be_connected_to(folder: Path) -> None:
    """In a folder of others it is in the way for good; in one's own, php-fpm replaces it."""
    assert os.geteuid() == 0, "this test needs root, as the whole machine's setup does"
    path = str(folder / "w.sock")
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(path)
        Path(path).chmod(0o600)
        holder.listen()
        assert ask_as_nobody(path) == (
            f"forbidden: its directory {folder} is not writable, and a connection to {path}"
            " is not permitted"
        )
        folder.chmod(0o777)
        assert ask_as_nobody(path) == "free:"
        assert ask(path) is AddressState.BUSY


# -- asking: unix ----------------------------------------------------------------------------------


def test_a_unix_socket_without_a_listener(folder: Path) -> None:
    """It is free, and is not made by asking."""
    assert guard_bind.ask(parse(f"{folder}/w.sock")) == Availability(answer=AddressState.FREE)
    assert list(folder.iterdir()) == []


def test_a_unix_socket_that_somebody_listens_on(folder: Path) -> None:
    """It is busy; who listens there is bothered with one connection that ends at once."""
    path = f"{folder}/w.sock"
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(path)
        holder.listen()
        assert ask(path) is AddressState.BUSY
        caller, _ = holder.accept()
        with caller:
            caller.settimeout(DEADLINE_S)
            assert caller.recv(1) == b""


def test_a_unix_socket_whose_queue_is_full(folder: Path) -> None:
    """It is busy, and the answer does not wait for its queue."""
    path = f"{folder}/w.sock"
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(socket.socket(socket.AF_UNIX))
        holder.bind(path)
        holder.listen(0)
        answer = 0
        while answer == 0:
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            answer = client.connect_ex(path)
        found = guard_bind.ask(parse(path))

    assert answer == errno.EAGAIN
    assert found == Availability(
        answer=AddressState.BUSY,
        why="a process listens there, and its queue is full",
    )


@pytest.mark.parametrize("kind", ["stale", "bound only", "file"])
def test_what_lies_at_a_unix_path(fpm: Callable[..., Fpm], folder: Path, kind: str) -> None:
    """Where nobody listens it is free, as for a real php-fpm; asking does not take it away."""
    path = folder / "w.sock"
    with socket.socket(socket.AF_UNIX) as holder:
        if kind == "file":
            path.write_text("x")
        else:
            holder.bind(str(path))
        if kind == "stale":
            holder.close()
        before = path.stat()
        assert ask(str(path)) is AddressState.FREE
        after = path.stat()
        starts = fpm(pool(str(path))).starts()

    assert (before.st_ino, before.st_mode) == (after.st_ino, after.st_mode)
    assert starts


def test_a_folder_that_is_missing(fpm: Callable[..., Fpm], folder: Path) -> None:
    """php-fpm makes no folders, so waiting does not help."""
    path = f"{folder}/none/w.sock"
    assert guard_bind.ask(parse(path)) == Availability(
        answer=AddressState.FORBIDDEN,
        why=f"its directory {folder}/none does not exist",
        is_missing=True,
    )
    assert not fpm(pool(path)).starts()


# -- binding: as php-fpm does ----------------------------------------------------------------------


class Look(NamedTuple):
    """What is seen of a listening socket from outside."""

    backlog: int
    mode: int = 0
    uid: int = 0
    gid: int = 0


def look(text: str) -> Look:
    """Return how the socket at an address is."""
    if "/" not in text:
        (line,) = ss("-lnt", "sport", "=", f":{text.rpartition(':')[2]}")
        return Look(int(line.split()[2]))
    (line,) = ss("-lnx", "src", text)
    found = Path(text).stat()
    assert stat.S_ISSOCK(found.st_mode)
    return Look(int(line.split()[3]), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def ss(*words: str) -> list[str]:
    done = subprocess.run(
        ["ss", "-H", *words], capture_output=True, text=True, check=True, timeout=200
    )
    return done.stdout.splitlines()


def wishes(conf: Path) -> tuple[listen_sockets.ListenSocketSpec, ...]:
    invocation = command_line.find_in([php_fpm(), "-F", "-y", str(conf)])
    assert invocation
    read = config_files.read(invocation, directory="/", environment={})
    assert read.problems == ()
    return listen_sockets.specs(read, config_files.version(invocation))


def bind(wish: listen_sockets.ListenSocketSpec) -> Bound:
    assert wish.unsupported is None
    found = guard_bind.bind(wish.address, backlog=wish.backlog, rights=wish.rights)
    assert isinstance(found, Bound), found
    return found


MINE = "{folder}/w.sock"
OPTIONS = {
    "unix": (MINE, ""),
    "mode": (MINE, "listen.mode = 0666"),
    "narrow mode": (MINE, "listen.mode = 400"),
    "owner's name": (MINE, "listen.owner = www-data"),
    "owner's number": (MINE, "listen.owner = 33"),
    "group's name": (MINE, "listen.group = www-data"),
    "group's number": (MINE, "listen.group = 33"),
    "owner and group": (MINE, "listen.owner = www-data\nlisten.group = nogroup\nlisten.mode = 600"),
    "unix backlog": (MINE, "listen.backlog = 7"),
    "no unix backlog": (MINE, "listen.backlog = 0"),
    "all of the unix backlog": (MINE, "listen.backlog = -1"),
    "TCP": ("127.0.0.1:{port}", ""),
    "TCP backlog": ("127.0.0.1:{port}", "listen.backlog = 7"),
    "no TCP backlog": ("127.0.0.1:{port}", "listen.backlog = 0"),
    "all of the TCP backlog": ("127.0.0.1:{port}", "listen.backlog = -1"),
    "too much of a backlog": ("127.0.0.1:{port}", "listen.backlog = 65535"),
    "IPv6": ("[::1]:{port}", "listen.backlog = 9"),
    "bare port": ("{port}", "listen.backlog = 9"),
}


@pytest.mark.parametrize("listen_and_options", OPTIONS.values(), ids=OPTIONS)
def test_a_socket_as_php_fpm_makes_it(
    fpm: Callable[..., Fpm],
    folder: Path,
    listen_and_options: tuple[str, str],
) -> None:
    """Backlog, mode, owner and group are those of a real php-fpm with the same pool."""
    listen = listen_and_options[0].format(folder=folder, port=free_port())
    running = fpm(pool(listen, listen_and_options[1]))
    assert running.starts(), running.log()
    expected = look(listen)
    running.end()
    umask = os.umask(0o077)
    try:
        (wish,) = wishes(running.conf)
        with socket.socket(fileno=bind(wish).fd) as ours:
            assert look(listen) == expected
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == ("/" not in listen)
            assert ours.getblocking()
    finally:
        left = os.umask(umask)

    assert left == 0o077


def test_a_status_page_as_php_fpm_makes_it(fpm: Callable[..., Fpm], folder: Path) -> None:
    """Its socket has the pool's rights, and the default backlog."""
    own, status = f"{folder}/w.sock", f"{folder}/s.sock"
    options = f"listen.mode = 0600\nlisten.backlog = 7\npm.status_listen = {status}"
    running = fpm(pool(own, options))
    assert running.starts(), running.log()
    expected = (look(own), look(status))
    running.end()
    bound = [bind(wish) for wish in wishes(running.conf)]
    try:
        assert (look(own), look(status)) == expected
    finally:
        for one in bound:
            os.close(one.fd)

    assert [one.key for one in bound] == [own, status]


def test_all_of_both_families() -> None:
    """A bare port is one socket, which takes IPv4 along."""
    port = free_port()
    bound = guard_bind.bind(parse(str(port)), backlog=5, rights=Rights())
    assert isinstance(bound, Bound)
    with socket.socket(fileno=bound.fd) as listener:
        assert listener.family == socket.AF_INET6
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), DEADLINE_S).close()
            listener.accept()[0].close()


def test_what_is_bound_is_not_handed_to_children() -> None:
    """A socket is inherited only by whom it is given to."""
    bound = guard_bind.bind(parse(f"127.0.0.1:{free_port()}"), backlog=5, rights=Rights())
    assert isinstance(bound, Bound)
    with socket.socket(fileno=bound.fd) as listener:
        assert not listener.get_inheritable()


@pytest.mark.parametrize("listen", ["127.0.0.1:{port}", "{port}", "{folder}/w.sock"])
def test_an_address_that_is_busy(folder: Path, listen: str) -> None:
    """The answer is that of asking, and who has it keeps it."""
    address = parse(listen.format(folder=folder, port=free_port()))
    bound = guard_bind.bind(address, backlog=5, rights=Rights())
    assert isinstance(bound, Bound)
    with socket.socket(fileno=bound.fd):
        found = guard_bind.bind(address, backlog=5, rights=Rights())
        assert isinstance(found, Availability)
        assert found.answer is AddressState.BUSY
        assert found == guard_bind.ask(address)
        assert guard_bind.flaw(bound.fd, bound.key) is None


@pytest.mark.parametrize(
    ("listen", "answer"),
    [
        ("203.0.113.9:{port}", AddressState.ABSENT),
        ("{folder}/none/w.sock", AddressState.FORBIDDEN),
    ],
)
def test_an_address_that_is_not_to_be_had(folder: Path, listen: str, answer: AddressState) -> None:
    """The answer is that of asking."""
    address = parse(listen.format(folder=folder, port=free_port()))
    found = guard_bind.bind(address, backlog=5, rights=Rights())

    assert isinstance(found, Availability)
    assert found.answer is answer


def test_a_stale_socket_is_replaced(folder: Path) -> None:
    """As php-fpm does."""
    path = folder / "w.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    path.chmod(0o777)
    bound = guard_bind.bind(parse(str(path)), backlog=5, rights=Rights(mode=0o600))
    assert isinstance(bound, Bound)
    with socket.socket(fileno=bound.fd):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert ask(str(path)) is AddressState.BUSY


def test_a_file_is_not_replaced(folder: Path) -> None:
    """php-fpm would take it away; that is left to php-fpm."""
    path = folder / "w.sock"
    path.write_text("dear")
    found = guard_bind.bind(parse(str(path)), backlog=5, rights=Rights())

    assert found == NotOurs(why=f"{path} is not a socket")
    assert path.read_text() == "dear"


@pytest.mark.parametrize("rights", [Rights(owner="nobody-here"), Rights(group="nobody-here")])
def test_an_unknown_owner(folder: Path, rights: Rights) -> None:
    """php-fpm will refuse it in its own words; nothing is made, or taken away."""
    path = folder / "w.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    before = path.stat()
    found = guard_bind.bind(parse(str(path)), backlog=5, rights=rights)

    assert found == NotOurs(why="its owner or group 'nobody-here' is unknown")
    assert path.stat() == before


# -- keys ------------------------------------------------------------------------------------------

FORMS = ("127.0.0.1:{}", "[::1]:{}", "[0:0:0:0:0:0:0:1]:{}", "{}", "localhost:{}", "127.1:{}")


def test_the_keys_that_php_fpm_uses(fpm: Callable[..., Fpm], folder: Path) -> None:
    """After a reload php-fpm finds its sockets again under the keys that we say."""
    listens = [form.format(free_port()) for form in FORMS]
    listens += [f"{folder}/w.sock", f"{folder}/a b.sock"]
    running = fpm("".join(pool(one, name=f"p{at}") for at, one in enumerate(listens)))
    assert running.starts(), running.log()
    running.reload()

    assert running.inherited() == [guard_bind.keys(parse(one))[0] for one in listens]


def test_the_keys_of_a_bare_port(fpm: Callable[..., Fpm]) -> None:
    """Where all of IPv6 is not to be had, php-fpm has the second one."""
    port = free_port()
    with opened("::1", port) as holder:
        holder.listen()
        running = fpm(pool(str(port)))
        assert running.starts(), running.log()
        running.reload()

    assert guard_bind.keys(parse(str(port))) == (f":::{port}", f"0.0.0.0:{port}")
    assert running.inherited() == [f"0.0.0.0:{port}"]


def test_php_fpm_takes_what_was_bound(fpm: Callable[..., Fpm], folder: Path) -> None:
    """Sockets that are handed over under their keys are used, and no others are made."""
    listens = [form.format(free_port()) for form in FORMS] + [f"{folder}/w.sock"]
    bound = []
    for listen in listens:
        made = guard_bind.bind(parse(listen), backlog=5, rights=Rights())
        assert isinstance(made, Bound)
        bound.append(made)
    try:
        running = fpm(
            "".join(pool(one, name=f"p{at}") for at, one in enumerate(listens)),
            inherited_sockets.environment([(one.key, one.fd) for one in bound]),
            tuple(one.fd for one in bound),
        )
        assert running.starts(), running.log()
        looks = [look(one) for one in listens]  # fails where there are two
        flaws = [guard_bind.flaw(one.fd, one.key) for one in bound]
    finally:
        for made in bound:
            os.close(made.fd)

    assert running.inherited() == [one.key for one in bound]
    assert [one.key for one in bound] == [guard_bind.keys(parse(one))[0] for one in listens]
    assert len(looks) == len(listens)
    assert flaws == [None] * len(bound)


# -- flaws -----------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Return a socket that is as it should be."""
    with opened("127.0.0.1") as made:
        made.listen()
        yield made


def key(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{host}:{port}"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_a_socket_without_a_flaw(host: str) -> None:
    """It may be given to php-fpm, and looking leaves it as it is."""
    with opened(host) as listener:
        listener.listen()
        for _ in range(2):
            assert guard_bind.flaw(listener.fileno(), key(listener)) is None
        socket.create_connection(listener.getsockname()[:2], DEADLINE_S).close()
        listener.accept()[0].close()


def test_a_unix_socket_without_a_flaw(folder: Path) -> None:
    """Its key is the path that it was bound to, and no other name for it."""
    path = f"{folder}/w.sock"
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path)
        made.listen()
        assert guard_bind.flaw(made.fileno(), path) is None
        assert guard_bind.flaw(made.fileno(), f"{folder}//w.sock") == f"it is bound to {path!r}"


def test_a_descriptor_that_is_closed(listener: socket.socket) -> None:
    """There is nothing to give."""
    name, number = key(listener), listener.fileno()
    listener.close()

    assert guard_bind.flaw(number, name) == "it is not an open socket (Bad file descriptor)"


def test_a_descriptor_that_is_a_file(folder: Path) -> None:
    """A number may mean something else by now."""
    with (folder / "x").open("w") as file:
        assert guard_bind.flaw(file.fileno(), "127.0.0.1:9000") == "it is not a socket"


def test_a_socket_that_does_not_listen() -> None:
    """php-fpm would not make it listen either."""
    with opened("127.0.0.1") as made:
        assert guard_bind.flaw(made.fileno(), key(made)) == "it does not listen"


def test_a_socket_that_does_not_block(listener: socket.socket) -> None:
    """php-fpm would fork without end."""
    listener.setblocking(False)

    assert guard_bind.flaw(listener.fileno(), key(listener)) == "it does not block"


def test_a_socket_that_is_no_stream(folder: Path) -> None:
    """FastCGI is spoken over streams."""
    path = f"{folder}/w.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as made:
        made.bind(path)
        made.listen()
        assert guard_bind.flaw(made.fileno(), path) == "it is not a stream"


def test_a_socket_of_another_address(listener: socket.socket) -> None:
    """The key must be the socket's own, to the last digit."""
    for wrong in (f"127.0.0.2:{listener.getsockname()[1]}", key(listener)[:-1], "/run/w.sock", ""):
        assert guard_bind.flaw(listener.fileno(), wrong) == f"it is bound to {key(listener)!r}"


# -- another backlog -------------------------------------------------------------------------------


@pytest.mark.parametrize("listen", ["127.0.0.1:{port}", "{folder}/w.sock"])
def test_listening_again(folder: Path, listen: str) -> None:
    """The backlog is changed both ways, and connections in the queue are kept."""
    text = listen.format(folder=folder, port=free_port())
    bound = guard_bind.bind(parse(text), backlog=7, rights=Rights())
    assert isinstance(bound, Bound)
    with (
        socket.socket(fileno=bound.fd) as listener,
        socket.socket(listener.family) as client,
    ):
        client.settimeout(DEADLINE_S)
        client.connect(listener.getsockname())
        client.sendall(b"kept")
        for backlog in (9, 3):
            guard_bind.listen_again(bound.fd, backlog)
            assert look(text).backlog == backlog
        guard_bind.listen_again(bound.fd, -1)
        assert look(text).backlog == int(Path("/proc/sys/net/core/somaxconn").read_text("ascii"))
        assert guard_bind.flaw(bound.fd, bound.key) is None
        peer, _ = listener.accept()
        with peer:
            assert peer.recv(4) == b"kept"
