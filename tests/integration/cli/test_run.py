"""`fpm-listener run`: the parent of supervisord. Small programs stand in for supervisord."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING

import pytest

from fpm_listener.host import run_channel
from fpm_listener.settings import environment
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = (sys.executable, "-m", "fpm_listener", "run")
#: Prints each signal that it gets, and ends after TERM.
SIGNALS = """
import signal
names = {signal.Signals[f"SIG{name}"] for name in ("HUP USR1 USR2 WINCH QUIT INT TERM".split())}
signal.pthread_sigmask(signal.SIG_BLOCK, names)
print("ready", flush=True)
while (found := signal.sigwait(names)) != signal.SIGTERM:
    print(found.name, flush=True)
"""


@contextlib.contextmanager
def started(*command: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """Start `run`; yield it and its output when its command has printed `ready`."""
    with subprocess.Popen(
        (*RUN, "--", *command), stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield process, process.stdout
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        (("--", "sh", "-c", "exit 3"), 3, ""),
        (("sh", "-c", "kill -KILL $$"), 128 + signal.SIGKILL, ""),
        (("--", "/nowhere/supervisord"), 127, "cannot execute /nowhere/supervisord: No such file"),
        (("--", "/etc"), 126, "cannot execute /etc: Permission denied (exit 126)"),
        (("--",), 2, "the command is missing; usage: fpm-listener run --"),
    ],
)
def test_exit_status(command: tuple[str, ...], status: int, message: str) -> None:
    """It is that of supervisord, or that of a shell."""
    done = subprocess.run([*RUN, *command], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert message in done.stderr if message else done.stderr == ""


def test_signals() -> None:
    """Each one reaches supervisord once; the last one ends it."""
    with started(sys.executable, "-c", SIGNALS) as (process, out):
        for name in ("HUP", "USR1", "USR2", "WINCH", "QUIT", "INT"):
            process.send_signal(signal.Signals[f"SIG{name}"])
            assert out.readline() == f"SIG{name}\n"
        process.send_signal(signal.SIGTERM)
        assert (out.read(), process.wait()) == ("", 0)


def test_adopted_processes_are_reaped(tmp_path: Path) -> None:
    """An orphan of supervisord becomes a child of `run`, and no zombie stays."""
    script = f"(sleep 0.1 & echo $!) >{tmp_path}/orphan; echo ready; exec sleep 1000"
    with started("sh", "-c", script) as (process, _):
        orphan = Path(f"/proc/{int((tmp_path / 'orphan').read_text())}")
        wait_until(lambda: not orphan.exists(), "the end of the orphan")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM


TELL = (
    f"{sys.executable} -c 'import os; from fpm_listener.host import run_channel as r; "
    "r.tell(r.{}, os.environ)'"
)


@pytest.mark.parametrize(
    ("messages", "ends", "status"),
    [
        (("SHUTDOWN",), "exit 0", 1),
        (("SHUTDOWN", "CANCELLED"), "exit 0", 0),
        (("SHUTDOWN",), "exit 5", 5),
    ],
)
def test_our_own_shutdown(messages: tuple[str, ...], ends: str, status: int) -> None:
    """The listener says so; a status that shows a failure of supervisord stays."""
    script = "; ".join([*(TELL.format(message) for message in messages), ends])
    command = (*RUN, "--", "sh", "-c", script)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert ("(on_fatal): exit 1" in done.stderr) is (status == 1)


@pytest.mark.skipif(os.geteuid() != 0, reason="it needs another user")
def test_a_message_of_an_application() -> None:
    """Another user, and no program of supervisord: it does not change the exit status."""
    demote = "setpriv --reuid 65534 --clear-groups "
    done = subprocess.run(
        # The shell in between makes it no child of supervisord.
        [*RUN, "--", "sh", "-c", f'sh -c "{demote}{TELL.format("SHUTDOWN")}; true"; exit 0'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_endless_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that sends all the time does not keep `run` from its signals."""
    credentials = (socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("3i", 7, 33, 33))
    endless = SimpleNamespace(recvmsg=lambda *_: (b"x", [credentials], 0, None))
    channel = run_channel.RunChannel()
    channel._socket.close()
    monkeypatch.setattr(channel, "_socket", endless)
    assert set(channel.read()) == {(b"x", 7, 33)}


def test_supervisord_in_the_background(tmp_path: Path) -> None:
    """The container would end at once; the message says what to add."""
    script = (
        f"exec -a supervisord sleep 99 >/dev/null 2>&1 & echo $! >{tmp_path}/pid; "
        # A daemon has its title when its parent exits; here, exec may come later.
        "until grep -q supervisord /proc/$!/cmdline; do :; done; exit 0"
    )
    command = (*RUN, "--", "bash", "-c", script)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    assert (done.returncode, "start it with -n" in done.stderr) == (0, True)


def test_its_variable_is_no_setting() -> None:
    """The listener does not warn about it."""
    assert environment.override({}, {}, {run_channel.VARIABLE: "x"}, ()) == []


def test_no_run() -> None:
    """Without it there is nobody to tell; one that is gone is an error."""
    run_channel.tell(run_channel.SHUTDOWN, {})
    with pytest.raises(ConnectionRefusedError):
        run_channel.tell(run_channel.SHUTDOWN, {run_channel.VARIABLE: "nobody"})
