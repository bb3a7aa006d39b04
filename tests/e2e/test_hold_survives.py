"""Held sockets never prevent a start of php-fpm, whatever happens to the listener or to state_dir.

Each test prints how long php-fpm was away.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.lab import Lab, kill, php_fpm, ping, processes
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

#: The command in front of supervisord's: root without pidfd_getfd(2) and CAP_SYS_PTRACE.
DOCKER_DEFAULTS = (sys.executable, str(Path(__file__).parents[1] / "docker_defaults.py"))
OTHER_VERSION = str(Path(__file__).parents[1] / "other_version.py")


def add_guarded_fpm(lab: Lab, listen: str = "", **environment: str) -> str:
    """Add a php-fpm behind the guard with --hold; return its address."""
    lab.folder.chmod(0o755)  # workers run as another user
    address = listen or f"127.0.0.1:{free_port()}"
    conf = lab.fpm_conf(address)
    config = f"{lab.folder}/supervisord.d/fpm_listener.conf"
    guard = [sys.executable, "-m", "fpm_listener", "guard", "--config", config, "--hold"]
    variables = ",".join(f'{name}="{value}"' for name, value in environment.items())
    lab.program(
        "php-fpm",
        " ".join([*guard, "--", php_fpm(), "-F", "-y", str(conf)]),
        autorestart="true",
        startsecs="10",  # the guard has no more time to start php-fpm
        stopsignal="QUIT",
        stopwaitsecs="120",
        killasgroup="true",
        stderr_events_enabled="true",
        **({"environment": variables} if variables else {}),
    )
    return address


def start_held(lab: Lab, address: str) -> int:
    """Start; wait until php-fpm serves on a held socket; return its master."""
    lab.start()
    wait_until(lambda: "pong" in ping(address), "an answer")
    lab.wait_for_held_sockets(1)
    return lab.wait_for_php_fpm()


def stderr_of(lab: Lab) -> str:
    """Return the standard error of guard and php-fpm."""
    return (lab.folder / "php-fpm.stderr").read_text()


def report(line: str) -> None:
    """Print a figure; pytest -s shows it."""
    sys.stdout.write(f"{line}\n")


def check_restart(lab: Lab, address: str, how: str, before: int) -> None:
    """Restart php-fpm or kill its master, and wait for another master that serves."""
    log = lab.folder / "supervisord.log"
    refused = stderr_of(lab).count("php-fpm was not started")
    began_s = time.monotonic()
    if how == "restart":
        with lab.supervisor() as supervisor:
            supervisor.stopProcess("php-fpm")
            supervisor.startProcess("php-fpm", False)  # without waiting for startsecs
    else:
        kill(before)

    def is_back() -> bool:
        master = lab.master()
        return master not in {None, before} and "pong" in ping(address)

    wait_until(is_back, "php-fpm to serve again")
    took_s = time.monotonic() - began_s
    report(f"{how}: back after {took_s:.2f} s")
    assert lab.state("php-fpm") != "FATAL"
    assert stderr_of(lab).count("php-fpm was not started") == refused, stderr_of(lab)
    assert "gave up" not in log.read_text()


# -- failures of the listener and of its files -----------------------------------------------------


def change_state_dir(lab: Lab) -> None:
    """Write another state_dir into the settings."""
    path = lab.folder / "supervisord.d" / "fpm_listener.conf"
    old = f"state_dir={lab.folder}/state"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, f"state_dir={lab.folder}/elsewhere"))


def change_state_dir_and_reload(lab: Lab) -> None:
    """Write another state_dir, and let the listener reload its settings."""
    change_state_dir(lab)
    kill(lab.listener_pid(), signal.SIGHUP)
    wait_until(lambda: "reload rejected" in lab.log(), "the rejection")
    wait_until(
        lambda: lab.metrics()["fpm_listener_config_last_reload_successful"] == 0,
        "fpm_listener_config_last_reload_successful",
    )


def delete_directory(lab: Lab) -> None:
    """Delete the state directory of the listener."""
    shutil.rmtree(lab.folder / "state")


def delete_socket(lab: Lab) -> None:
    """Delete only the name of the guard's socket."""
    (lab.folder / "state" / "guard.sock").unlink()


def stop_listener(lab: Lab) -> None:
    """Stop the listener with SIGSTOP: it answers no request."""
    kill(lab.listener_pid(), signal.SIGSTOP)


LASTING: dict[str, Callable[[Lab], None]] = {
    "state_dir edited": change_state_dir,
    "state_dir edited, SIGHUP": change_state_dir_and_reload,
    "listener hangs": stop_listener,
}
REPAIRED: dict[str, Callable[[Lab], None]] = {
    "directory deleted": delete_directory,
    "socket deleted": delete_socket,
}


@pytest.mark.parametrize("way", LASTING)
def test_a_failure_that_lasts(lab: Lab, way: str) -> None:
    """php-fpm starts at its first attempt, after a restart and after its master was killed."""
    address = add_guarded_fpm(lab)
    before = start_held(lab, address)
    LASTING[way](lab)
    for how in ("restart", "KILL"):
        check_restart(lab, address, how, before)
        before = lab.wait_for_php_fpm()


@pytest.mark.parametrize("how", ["restart", "KILL"])
@pytest.mark.parametrize("way", REPAIRED)
def test_a_failure_that_the_listener_repairs(lab: Lab, way: str, how: str) -> None:
    """The same; each of both starts meets the failure."""
    address = add_guarded_fpm(lab)
    before = start_held(lab, address)
    REPAIRED[way](lab)
    check_restart(lab, address, how, before)


@pytest.mark.parametrize("how", ["restart", "KILL"])
def test_a_listener_of_another_version(lab: Lab, how: str) -> None:
    """It holds the socket and does not understand the guard; php-fpm starts at once."""
    address = add_guarded_fpm(lab)
    part = lab.folder / "supervisord.d" / "fpm_listener.conf"
    lab.write = lambda: other_version(lab, part, address)  # type: ignore[method-assign]
    lab.is_ready = lambda: "pong" in ping(address)  # type: ignore[method-assign]
    lab.start()
    stub = wait_until(lambda: holder(address, OTHER_VERSION), "the listener to hold it")
    before = lab.wait_for_php_fpm()
    check_restart(lab, address, how, before)
    command = rf"{OTHER_VERSION} fpm-listener listen {lab.folder}/"
    assert processes(command) == [stub]  # a copy was enough


def other_version(lab: Lab, part: Path, address: str) -> Path:
    """Write the configuration with the stub as the listener."""
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
def test_sockets_cannot_be_copied(lab: Lab, how: str) -> None:
    """As in Docker: the guard ends the stopped listener, and supervisord starts another one."""
    lab.wrapper = DOCKER_DEFAULTS
    address = add_guarded_fpm(lab)
    before = start_held(lab, address)
    stopped = lab.listener_pid()
    stop_listener(lab)
    check_restart(lab, address, how, before)
    assert os.getpriority(os.PRIO_PROCESS, lab.wait_for_php_fpm()) == os.getpriority(
        os.PRIO_PROCESS, 0
    )
    ended = "it holds the address and does not answer"
    wait_until(lambda: ended in stderr_of(lab), "the guard's message")
    wait_until(lambda: lab.listener_pid() != stopped and lab.is_ready(), "another listener")


def test_supervisord_is_killed_while_the_listener_is_stopped(lab: Lab) -> None:
    """The next supervisord starts php-fpm, although the old listener still has the address."""
    address = add_guarded_fpm(lab)
    before = start_held(lab, address)
    stopped = lab.listener_pid()
    stop_listener(lab)
    kill(before)
    lab.kill_supervisord()
    began_s = time.monotonic()
    lab.is_ready = lambda: "pong" in ping(address)  # type: ignore[method-assign]
    lab.start()
    wait_until(lambda: lab.master() not in {None, before}, "another master")
    wait_until(lambda: "pong" in ping(address), "an answer")
    report(f"back after {time.monotonic() - began_s:.2f} s, supervisord's start included")
    assert lab.state("php-fpm") != "FATAL"
    wait_until(lambda: stopped not in processes("fpm_listener listen"), "the old listener to end")


def test_the_guard_has_another_state_dir(lab: Lab) -> None:
    """Guard and listener meet, although only the program has FPM_LISTENER_STATE_DIR."""
    address = add_guarded_fpm(lab, FPM_LISTENER_STATE_DIR=f"{lab.folder}/guard-only")
    before = start_held(lab, address)
    for how in ("restart", "KILL"):
        check_restart(lab, address, how, before)
        before = lab.wait_for_php_fpm()


def test_the_new_address_includes_the_held_one(lab: Lab) -> None:
    """127.0.0.1:9000 becomes 0.0.0.0:9000: the listener closes the held socket first."""
    address = add_guarded_fpm(lab)
    before = start_held(lab, address)
    conf = lab.folder / "php-fpm.conf"
    port = address.rpartition(":")[2]
    conf.write_text(conf.read_text().replace(f"listen = {address}", f"listen = 0.0.0.0:{port}"))
    check_restart(lab, address, "restart", before)
    wait_until(lambda: lab.metric("fpm_listener_held_sockets") == 1, "the held socket")


def test_a_held_unix_socket_of_a_stopped_listener(lab: Lab) -> None:
    """php-fpm creates its own socket; the old listener does not remove it later."""
    path = f"{lab.folder}/w.sock"
    add_guarded_fpm(lab, listen=path)
    before = start_held(lab, path)
    listener = lab.listener_pid()
    stop_listener(lab)
    check_restart(lab, path, "KILL", before)
    kill(listener, signal.SIGCONT)
    lab.ctl("restart", "fpm-listener")
    wait_until(lambda: lab.is_ready() and lab.listener_pid() != listener, "the next listener")
    wait_until(lambda: "pong" in ping(path), "an answer")
