"""The queue of a listening socket, from the kernel and from kernels that refuse or lie."""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host import netlink, sock_diag
from fpm_listener.host.listen_queue import ListenQueue, NoQueue, Obstacle
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(
    opened: ExitStack,
    family: int,
    address: object,
    backlog: int = 5,
    reuse: int = socket.SO_REUSEADDR,
) -> socket.socket:
    server = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
    server.setsockopt(socket.SOL_SOCKET, reuse, 1)
    server.bind(address)  # type: ignore[arg-type]  # one of several kinds
    server.listen(backlog)
    return server


def client(opened: ExitStack, server: socket.socket) -> socket.socket:
    made = opened.enter_context(socket.socket(server.family, socket.SOCK_STREAM))
    address = server.getsockname()
    made.connect(("127.0.0.1", address[1]) if address[0] == "0.0.0.0" else address)
    return made


def look(address: str) -> ListenQueue:
    found = sock_diag.queue(address)
    assert isinstance(found, ListenQueue), found
    return found


def filled(address: str, waiting: int) -> ListenQueue:
    """Wait until so many clients wait; a client of TCP is connected a moment before."""
    return wait_until(
        lambda: found if (found := look(address)).waiting == waiting else None, f"{waiting} clients"
    )


def test_a_unix_socket(tmp_path: Path, opened: ExitStack) -> None:
    """Clients that wait are counted, also closed ones; each accepted one shows as a movement."""
    path = str(tmp_path / "fpm.sock")
    server = listening(opened, socket.AF_UNIX, path)
    assert look(path)[:2] == (0, 5)

    first, second, _ = (client(opened, server) for _ in range(3))
    three = look(path)
    assert three[:2] == (3, 5)
    second.close()
    closed = look(path)
    assert closed.waiting == 3
    assert not closed.moved_since(three)

    opened.enter_context(server.accept()[0])
    client(opened, server)  # the number is the same as before
    same = look(path)
    assert same.waiting == 3
    assert same.moved_since(closed)
    first.close()
    assert not look(path).moved_since(same)


def test_a_full_queue(tmp_path: Path, opened: ExitStack) -> None:
    """A unix socket accepts one client more than its backlog."""
    path = str(tmp_path / "fpm.sock")
    server = listening(opened, socket.AF_UNIX, path, backlog=1)
    client(opened, server)
    assert look(path).is_full
    client(opened, server)
    assert look(path).waiting == 2


def test_the_path_leads_to_another_socket(tmp_path: Path, opened: ExitStack) -> None:
    """An old socket with the same path, whose file was deleted, does not count."""
    path = str(tmp_path / "fpm.sock")
    old = listening(opened, socket.AF_UNIX, path, backlog=9)
    client(opened, old)
    before = look(path)
    os.unlink(path)  # noqa: PTH108 - a text
    listening(opened, socket.AF_UNIX, path, backlog=4)

    after = look(path)
    assert after[:2] == (0, 4)
    assert not after.moved_since(before)


def test_a_symlink_in_the_path(tmp_path: Path, opened: ExitStack) -> None:
    """/var/run/x and /run/x are the same socket."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    listening(opened, socket.AF_UNIX, str(tmp_path / "run/fpm.sock"))

    assert look(str(tmp_path / "link/fpm.sock")).limit == 5


def test_an_abstract_name(opened: ExitStack) -> None:
    """It has no file: the name decides."""
    name = f"fpm-listener-test-{os.getpid()}"
    listening(opened, socket.AF_UNIX, f"\0{name}", backlog=7)

    assert look(f"@{name}").limit == 7


@pytest.mark.parametrize(
    ("family", "bound", "asked"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1:{}"),
        (socket.AF_INET, "127.0.0.1", "localhost:{}"),
        (socket.AF_INET, "127.0.0.1", "php:{}"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1:{}"),
        (socket.AF_INET6, "::1", "[::1]:{}"),
        (socket.AF_INET6, "::", "{}"),
        (socket.AF_INET6, "::", "127.0.0.1:{}"),
    ],
)
def test_a_tcp_port(opened: ExitStack, family: int, bound: str, asked: str) -> None:
    """The socket that accepts the clients of an address is found, and an accepted client moves."""
    server = listening(opened, family, (bound, 0))
    port = server.getsockname()[1]
    for _ in range(2):
        client(opened, server)

    before = filled(asked.format(port), 2)
    assert before.limit == 5
    opened.enter_context(server.accept()[0])
    client(opened, server)
    after = filled(asked.format(port), 2)
    assert after.moved_since(before)
    assert not look(asked.format(port)).moved_since(after)


def test_two_sockets_with_one_port(opened: ExitStack) -> None:
    """Each address has its own queue."""
    one = listening(opened, socket.AF_INET, ("127.0.0.1", 0), backlog=3)
    port = one.getsockname()[1]
    other = listening(opened, socket.AF_INET, ("127.0.0.2", port), backlog=4)
    client(opened, other)

    assert filled(f"127.0.0.2:{port}", 1).limit == 4
    assert look(f"127.0.0.1:{port}")[:2] == (0, 3)


def test_nothing_is_visible(tmp_path: Path) -> None:
    """No file, a file that is not a socket, and a socket of nobody: each says so."""
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    (tmp_path / "file").touch()

    for address, words in {
        str(tmp_path / "none"): "No such file",
        str(tmp_path / "file"): "is not a socket",
        str(stale): "no socket of this network namespace",
        "127.0.0.1:1": "no socket of this network namespace",
        "a:b": "is not a port",
    }.items():
        found = sock_diag.queue(address)
        assert isinstance(found, NoQueue)
        assert found.obstacle is Obstacle.NOT_VISIBLE
        assert words in found.why


@pytest.mark.parametrize(
    ("number", "obstacle"),
    [
        (errno.EPERM, Obstacle.FORBIDDEN),
        (errno.EACCES, Obstacle.FORBIDDEN),
        (errno.EPROTONOSUPPORT, Obstacle.UNSUPPORTED),
        (errno.ENOENT, Obstacle.UNSUPPORTED),
        (errno.EAFNOSUPPORT, Obstacle.UNSUPPORTED),
        (errno.ENOSYS, Obstacle.UNSUPPORTED),
        (errno.ENOBUFS, Obstacle.FAILED),
        (errno.ETIMEDOUT, Obstacle.FAILED),
    ],
)
def test_a_kernel_that_refuses(
    number: int, obstacle: Obstacle, tmp_path: Path, opened: ExitStack
) -> None:
    """Each refusal is a reason with the kernel's words, and no number."""

    def refuse(_: bytes, *, one: bool) -> list[bytes]:  # noqa: ARG001 - as netlink.ask
        raise OSError(number, os.strerror(number))

    path = str(tmp_path / "fpm.sock")
    listening(opened, socket.AF_UNIX, path)
    for address in (path, "127.0.0.1:9000"):
        found = sock_diag.queue(address, refuse)
        assert isinstance(found, NoQueue)
        assert found.obstacle is obstacle
        assert os.strerror(number) in found.why


@pytest.mark.parametrize(
    "messages",
    [
        [b""],
        [b"\1"],
        [b"\xff" * 15],
        [struct.pack("=BBBxIII", 1, 1, 10, 5, 1, 1)],  # no attributes
        [struct.pack("=BBBxIII", 1, 1, 10, 5, 1, 1) + struct.pack("=HH", 6, 4) + b"\1\2"],
        [os.urandom(200)],
        [bytes(72)],
    ],
)
def test_a_kernel_that_lies(messages: list[bytes], tmp_path: Path, opened: ExitStack) -> None:
    """A damaged answer gives no number, and raises nothing."""
    path = str(tmp_path / "fpm.sock")
    listening(opened, socket.AF_UNIX, path)

    def lie(_: bytes, *, one: bool) -> list[bytes]:  # noqa: ARG001 - as netlink.ask
        return messages

    assert isinstance(sock_diag.queue(path, lie), NoQueue)
    assert isinstance(sock_diag.queue("127.0.0.1:9000", lie), NoQueue)


def test_a_list_of_clients_that_is_too_long(tmp_path: Path, opened: ExitStack) -> None:
    """Without the list the numbers are known, and a shorter queue still shows a movement."""
    path = str(tmp_path / "fpm.sock")
    server = listening(opened, socket.AF_UNIX, path)
    for _ in range(2):
        client(opened, server)

    def short(request: bytes, *, one: bool) -> list[bytes]:
        if one:
            raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
        return netlink.ask(request)

    before = sock_diag.queue(path, short)
    assert isinstance(before, ListenQueue)
    assert before.clients is None
    opened.enter_context(server.accept()[0])
    assert look(path).moved_since(before)


def test_an_empty_queue_is_cheap(tmp_path: Path, opened: ExitStack) -> None:
    """The kernel walks through no list of clients, and a known socket is asked directly."""
    path = str(tmp_path / "fpm.sock")
    server = listening(opened, socket.AF_UNIX, path)
    port = listening(opened, socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1]
    asked: list[bool] = []

    def count(request: bytes, *, one: bool = False) -> list[bytes]:
        asked.append(one)
        return netlink.ask(request, one=one)

    for address in (f"127.0.0.1:{port}", path):
        first = sock_diag.queue(address, count)
        assert isinstance(first, ListenQueue)
        assert sock_diag.queue(address, count, last=first) == first
        assert asked == [False, True]
        asked.clear()

    client(opened, server)
    again = sock_diag.queue(path, count, last=look(path))
    assert isinstance(again, ListenQueue)
    assert again.clients is not None
    assert len(again.clients) == again.waiting == 1


def test_the_known_socket_is_replaced(tmp_path: Path, opened: ExitStack) -> None:
    """A new socket at the same path is found, while the old one still listens or is gone."""
    path = str(tmp_path / "fpm.sock")
    old = listening(opened, socket.AF_UNIX, path, backlog=9)
    last = look(path)
    os.unlink(path)  # noqa: PTH108 - a text
    listening(opened, socket.AF_UNIX, path, backlog=4)

    for _ in range(2):
        found = sock_diag.queue(path, last=last)
        assert isinstance(found, ListenQueue)
        assert found.limit == 4
        old.close()


@pytest.mark.parametrize(
    ("family", "bound", "asked"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1:{}"),
        (socket.AF_INET, "0.0.0.0", "127.0.0.1:{}"),
        (socket.AF_INET6, "::", "127.0.0.1:{}"),
        (socket.AF_INET6, "::", "{}"),
        (socket.AF_INET, "0.0.0.0", "{}"),
        (socket.AF_INET6, "::1", "[::1]:{}"),
    ],
)
def test_the_known_port(opened: ExitStack, family: int, bound: str, asked: str) -> None:
    """It is found with one question; a client that waits, and a new socket, are seen at once."""
    server = listening(opened, family, (bound, 0))
    port = server.getsockname()[1]
    address, exact = asked.format(port), []

    def count(request: bytes, *, one: bool) -> list[bytes]:
        exact.append(one)
        return netlink.ask(request, one=one)

    last = look(address)
    assert sock_diag.queue(address, count, last=last) == last
    assert exact == [True]

    client(opened, server)
    full = sock_diag.queue(address, last=last)
    assert isinstance(full, ListenQueue)
    assert full[:2] == (1, 5)
    assert full.clients == look(address).clients != ()
    opened.enter_context(server.accept()[0])
    assert sock_diag.queue(address, last=full) == last

    server.close()
    assert isinstance(sock_diag.queue(address, last=last), NoQueue)
    listening(opened, family, (bound, port), backlog=7)
    assert sock_diag.queue(address, last=last) == look(address)
    assert look(address).limit == 7


def test_a_more_exact_port(opened: ExitStack) -> None:
    """A second socket now accepts the clients of the address."""
    reuse = socket.SO_REUSEPORT
    port = listening(opened, socket.AF_INET6, ("::", 0), reuse=reuse).getsockname()[1]
    last = look(f"127.0.0.1:{port}")
    listening(opened, socket.AF_INET, ("127.0.0.1", port), backlog=9, reuse=reuse)

    found = sock_diag.queue(f"127.0.0.1:{port}", last=last)
    assert isinstance(found, ListenQueue)
    assert found.limit == 9


def test_a_kernel_socket_that_stays_open(tmp_path: Path, opened: ExitStack) -> None:
    """It answers many questions, and after an error it is a new one: no answer is mixed up."""
    paths = [str(tmp_path / f"{number}.sock") for number in range(2)]
    for number, path in enumerate(paths):
        listening(opened, socket.AF_UNIX, path, backlog=5 + number)
    kernel = netlink.Kernel()
    opened.callback(kernel.close)

    found = [sock_diag.queue(path, kernel.ask) for path in paths]
    first = kernel._socket
    assert first is not None
    # The whole answer to an older question is still in the buffer.
    first.send(struct.pack("=IHHII", 16 + 24, 20, 0x301, 77, 0) + bytes([1]) + bytes(23))
    assert [sock_diag.queue(path, kernel.ask) for path in paths] == found
    assert [one.limit for one in found if isinstance(one, ListenQueue)] == [5, 6]
    assert kernel._socket is first

    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        kernel.ask(b"")
    assert kernel._socket is None
    assert sock_diag.queue(paths[1], kernel.ask) == found[1]
