"""A held socket never keeps php-fpm from starting, whatever became of the listener or state_dir.

Each test prints how long php-fpm was away.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import Lab, kill, php_fpm, ping, processes
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(180)

#: Seconds. The goal is 5; a test asserts what can be told from "never" on any machine.
DELAY_S = 30.0
#: Stands before supervisord: what Docker allows root, pidfd_getfd(2) and CAP_SYS_PTRACE left out.
DOCKER_DEFAULTS = (sys.executable, str(Path(__file__).parents[1] / "docker_defaults.py"))
OTHER_VERSION = str(Path(__file__).parents[1] / "other_version.py")


def guarded(lab: Lab, listen: str = "", **environment: str) -> str:
    """Add a php-fpm behind the guard with --hold; return its address."""
    lab.folder.chmod(0o755)  # workers are somebody else
    address = listen or f"127.0.0.1:{free_port()}"
    conf = lab.fpm_conf(address)
    config = f"{lab.folder}/supervisord.d/fpm_listener.conf"
    guard = [sys.executable, "-m", "fpm_listener", "guard", "--config", config, "--hold"]
    variables = ",".join(f'{name}="{value}"' for name, value in environment.items())
    lab.program(
        "php-fpm",
        " ".join([*guard, "--", php_fpm(), "-F", "-y", str(conf)]),
        autorestart="true",
        startsecs="3",
        stopsignal="QUIT",
        killasgroup="true",
        stderr_events_enabled="true",
        **({"environment": variables} if variables else {}),
    )
    return address


def held(lab: Lab, address: str) -> int:
    """Start; wait until php-fpm serves on a socket that the listener holds; return its master."""
    lab.start()
    wait_until(lambda: "pong" in ping(address), "an answer")
    if not lab.is_held(1):  # the listener was slower than the guard's second for it
        lab.ctl("restart", "php-fpm")
    wait_until(lambda: lab.metric("fpm_listener_held_sockets") == 1, "it to be held")
    return lab.running()


def said(lab: Lab) -> str:
    """Return what guard and php-fpm have said."""
    return (lab.folder / "php-fpm.stderr").read_text()


def report(line: str) -> None:
    """Show a figure; -s lets it be seen."""
    sys.stdout.write(f"{line}\n")


def comes_back(lab: Lab, address: str, how: str, before: int) -> None:
    """Restart php-fpm or kill its master, and wait for another master that serves."""
    log = lab.folder / "supervisord.log"
    refused = said(lab).count("php-fpm was not started")
    began_s = time.monotonic()
    # supervisorctl itself waits for startsecs.
    restart = threading.Thread(target=lab.ctl, args=("restart", "php-fpm"))
    if how == "restart":
        restart.start()
    else:
        kill(before)

    def is_back() -> bool:
        master = lab.master()
        return master not in {None, before} and "pong" in ping(address)

    wait_until(is_back, "php-fpm to serve again", deadline_s=DELAY_S)
    took_s = time.monotonic() - began_s
    if how == "restart":
        restart.join()
    report(f"{how}: back after {took_s:.2f} s, supervisorctl's start included")
    assert "FATAL" not in lab.ctl("status", "php-fpm")
    assert said(lab).count("php-fpm was not started") == refused, said(lab)
    assert "gave up" not in log.read_text()


# -- what can happen to the listener, or to what it left -------------------------------------------


def edit(lab: Lab) -> None:
    """Let another state_dir stand in the file."""
    path = lab.folder / "supervisord.d" / "fpm_listener.conf"
    old = f"state_dir={lab.folder}/state"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, f"state_dir={lab.folder}/elsewhere"))


def edit_and_hang_up(lab: Lab) -> None:
    """Let the listener read the file as well."""
    edit(lab)
    kill(lab.listener_pid(), signal.SIGHUP)
    wait_until(lambda: "reload rejected" in lab.log(), "the rejection")
    assert lab.metrics()["fpm_listener_config_last_reload_successful"] == 0


def delete_directory(lab: Lab) -> None:
    """Delete all that the listener keeps."""
    shutil.rmtree(lab.folder / "state")


def delete_socket(lab: Lab) -> None:
    """Delete the name alone."""
    (lab.folder / "state" / "guard.sock").unlink()


def hang(lab: Lab) -> None:
    """Let the listener answer nobody."""
    kill(lab.listener_pid(), signal.SIGSTOP)


WAYS: dict[str, Callable[[Lab], None]] = {
    "state_dir edited": edit,
    "state_dir edited, SIGHUP": edit_and_hang_up,
    "directory deleted": delete_directory,
    "socket deleted": delete_socket,
    "listener hangs": hang,
}


@pytest.mark.parametrize("how", ["restart", "KILL"])
@pytest.mark.parametrize("way", WAYS)
def test_what_happens_to_the_listener(lab: Lab, way: str, how: str) -> None:
    """php-fpm starts at its first attempt, after a restart and after its master was killed."""
    address = guarded(lab)
    before = held(lab, address)
    WAYS[way](lab)
    comes_back(lab, address, how, before)


@pytest.mark.parametrize("how", ["restart", "KILL"])
def test_a_listener_of_another_version(lab: Lab, how: str) -> None:
    """It holds the socket, and understands not one word."""
    address = guarded(lab)
    part = lab.folder / "supervisord.d" / "fpm_listener.conf"
    lab.write = lambda: other_version(lab, part, address)  # type: ignore[method-assign]
    lab.is_ready = lambda: "pong" in ping(address)  # type: ignore[method-assign]
    lab.start()
    stub = wait_until(lambda: holder(address, OTHER_VERSION), "the listener to hold it")
    before = lab.running()
    comes_back(lab, address, how, before)
    assert processes(rf"{OTHER_VERSION} fpm-listener listen") == [stub]  # a copy was enough


def other_version(lab: Lab, part: Path, address: str) -> Path:
    """Write the configuration with the stub as listener."""
    path = Lab.write(lab)
    part.write_text(
        part.read_text().replace(
            f"{sys.executable} -m fpm_listener listen --config %(here)s/fpm_listener.conf",
            f"{sys.executable} {OTHER_VERSION} fpm-listener listen {lab.folder}/state {address}",
        )
    )
    return path


def holder(address: str, command: str) -> int | None:
    """Return the process with this command that has the address's listening socket."""
    port = int(address.rpartition(":")[2])
    inodes = {
        f"socket:[{words[9]}]"
        for words in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        if words[1].endswith(f":{port:04X}") and words[3] == "0A"
    }
    for pid in processes(command):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if link.is_symlink() and str(link.readlink()) in inodes:
                return pid
    return None


@pytest.mark.parametrize("how", ["restart", "KILL"])
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can filter system calls of its children")
def test_where_no_socket_can_be_copied(lab: Lab, how: str) -> None:
    """As in Docker: the listener that hangs is ended, and supervisord starts another one."""
    lab.wrapper = DOCKER_DEFAULTS
    address = guarded(lab)
    before = held(lab, address)
    hung = lab.listener_pid()
    hang(lab)
    comes_back(lab, address, how, before)
    assert os.getpriority(os.PRIO_PROCESS, lab.running()) == os.getpriority(os.PRIO_PROCESS, 0)
    assert "it holds the address and does not answer" in said(lab)
    wait_until(lambda: lab.listener_pid() != hung and lab.is_ready(), "another listener")


def test_supervisord_is_killed_while_the_listener_hangs(lab: Lab) -> None:
    """The next supervisord starts php-fpm, though the old listener still has the address."""
    address = guarded(lab)
    before = held(lab, address)
    hung = lab.listener_pid()
    hang(lab)
    kill(before)
    lab.kill_supervisord()
    began_s = time.monotonic()
    lab.is_ready = lambda: "pong" in ping(address)  # type: ignore[method-assign]
    lab.start()
    wait_until(lambda: lab.master() not in {None, before}, "another master", deadline_s=DELAY_S)
    wait_until(lambda: "pong" in ping(address), "an answer", deadline_s=DELAY_S)
    report(f"back after {time.monotonic() - began_s:.2f} s, supervisord's start included")
    assert "FATAL" not in lab.ctl("status", "php-fpm")
    wait_until(lambda: hung not in processes("fpm_listener listen"), "the old listener to end")


@pytest.mark.parametrize("how", ["restart", "KILL"])
def test_the_guard_has_another_state_dir(lab: Lab, how: str) -> None:
    """FPM_LISTENER_STATE_DIR in the environment of the program alone: they meet all the same."""
    address = guarded(lab, FPM_LISTENER_STATE_DIR=f"{lab.folder}/guard-only")
    before = held(lab, address)
    comes_back(lab, address, how, before)


def test_the_held_address_is_in_the_way_of_the_new_one(lab: Lab) -> None:
    """127.0.0.1:9000 becomes 0.0.0.0:9000: what is held for the old one is released first."""
    address = guarded(lab)
    before = held(lab, address)
    conf = lab.folder / "php-fpm.conf"
    port = address.rpartition(":")[2]
    conf.write_text(conf.read_text().replace(f"listen = {address}", f"listen = 0.0.0.0:{port}"))
    comes_back(lab, address, "restart", before)
    wait_until(lambda: lab.metric("fpm_listener_held_sockets") == 1, "it to be held")


def test_a_unix_socket_of_a_listener_that_hangs(lab: Lab) -> None:
    """php-fpm makes its own; the listener that goes on later does not take it away."""
    path = f"{lab.folder}/w.sock"
    guarded(lab, listen=path)
    before = held(lab, path)
    listener = lab.listener_pid()
    hang(lab)
    comes_back(lab, path, "KILL", before)
    kill(listener, signal.SIGCONT)
    lab.ctl("restart", "fpm-listener")
    wait_until(lambda: lab.is_ready() and lab.listener_pid() != listener, "the next listener")
    assert "pong" in ping(path)
