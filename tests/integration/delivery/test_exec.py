"""A command that gets alerts."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fpm_listener.delivery.attempt import Delivered, FailureReason, Outcome, Rejected, RetryLater
from fpm_listener.delivery.receivers import command as command_module
from fpm_listener.delivery.receivers.command import OUTPUT_BYTES, Command
from fpm_listener.delivery.sender import make_receiver
from fpm_listener.host import procfs
from fpm_listener.settings.receivers import ReceiverSettings
from tests.receiver_samples import firing_alert, hostile_alert
from tests.receiver_server import PATIENCE_S
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path


def run(command: str, timeout_s: float = 20.0) -> Outcome:
    """Run a command, once."""
    made = ReceiverSettings(
        name="cmd",
        kind="exec",
        command=tuple(shlex.split(command)),
        timeout_s=timeout_s,
    )
    return make_receiver(made).send([firing_alert()])


def test_the_input_of_the_command(tmp_path: Path) -> None:
    """One line of JSON on its stdin."""
    assert run(f"tee {tmp_path}/received") == Delivered()
    received = json.loads((tmp_path / "received").read_text())

    assert received["id"] == firing_alert().alert_id
    assert received["status"] == "firing"
    assert received["labels"] == firing_alert().labels
    assert received["annotations"]["remedy"].endswith("kill -QUIT 812 813")


def test_hostile_texts_are_only_data(tmp_path: Path) -> None:
    """No shell sees them."""
    made = ReceiverSettings(name="cmd", kind="exec", command=("tee", f"{tmp_path}/received"))
    assert make_receiver(made).send([hostile_alert()]) == Delivered()

    assert json.loads((tmp_path / "received").read_text())["id"]


@pytest.mark.parametrize(
    ("command", "outcome"),
    [
        ("true", Delivered()),
        ("false", RetryLater(reason=FailureReason.COMMAND, detail="exit status 1")),
        ("sh -c 'exit 65'", Rejected(reason=FailureReason.COMMAND, detail="exit status 65")),
        ("sh -c 'exit 75'", RetryLater(reason=FailureReason.COMMAND, detail="exit status 75")),
        (
            "sh -c 'kill -9 $$'",
            RetryLater(reason=FailureReason.COMMAND, detail="killed by signal 9"),
        ),
        (
            "/nonexistent/command",
            RetryLater(
                reason=FailureReason.COMMAND,
                detail="cannot run the command: No such file or directory",
            ),
        ),
    ],
)
def test_the_exit_status_decides(command: str, outcome: Outcome) -> None:
    """0 is a success, permanent errors of sysexits.h are rejections, all others are retried."""
    assert run(command) == outcome


def test_the_deadline_kills_the_process_group(tmp_path: Path) -> None:
    """Its children are killed too."""
    pids = tmp_path / "pids"
    late = RetryLater(
        reason=FailureReason.TIMEOUT,
        detail="the command did not exit before the deadline",
    )
    for timeout_s in (1.0, 4.0, 30.0):
        command = f"sh -c 'sleep 1000 & echo $! $$ >{pids}; wait'"
        assert run(command, timeout_s=timeout_s) == late
        if pids.exists():  # else the machine is too slow for this deadline
            break
    for pid in pids.read_text().split():
        wait_until(lambda pid=pid: _ended(int(pid)), f"the end of {pid}")  # type: ignore[misc]


def _ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - a file of the kernel's
        return file.read().rpartition(")")[2].split()[0] == "Z"


def test_a_child_with_an_open_output(tmp_path: Path) -> None:
    """A child that keeps the output open does not delay the result."""
    began = time.monotonic()
    pid = tmp_path / "pid"
    assert run(f"sh -c 'sleep 1000 & echo $! >{pid}'") == Delivered()
    os.kill(int(pid.read_text()), 9)

    assert time.monotonic() - began < PATIENCE_S


def test_its_output_never_reaches_ours(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """fd 1 belongs to supervisord; the output of a failed command is logged."""
    script = "print('out'); import sys; print('err', file=sys.stderr); sys.exit(3)"
    run(shlex.join([sys.executable, "-c", script]))

    assert capfd.readouterr() == ("", "")
    assert "output='err out'" in caplog.text or "output='out err'" in caplog.text


def test_a_command_that_does_not_read(tmp_path: Path) -> None:
    """It may ignore its stdin."""
    assert run(f"sh -c 'exec 0<&-; sleep 0.1; touch {tmp_path}/done'") == Delivered()
    assert (tmp_path / "done").exists()


FLOOD = "import sys\nfor _ in range(200): sys.stdout.write('x' * (1 << 20))\nsys.exit(3)"


def test_a_command_that_writes_without_end() -> None:
    """It never waits, and only the beginning of its output is kept."""
    command = Command([sys.executable, "-c", FLOOD])

    assert command.run(b"", 300.0) == 3
    assert command.output == b"x" * OUTPUT_BYTES


def test_output_and_input_at_once() -> None:
    """A command that echoes each line does not block."""
    command = Command(["cat"])

    assert command.run(b"y" * (4 << 20), 300.0) == 0
    assert command.output == b"y" * OUTPUT_BYTES


def test_a_command_that_closes_its_output(tmp_path: Path) -> None:
    """The listener waits for its exit."""
    assert run(f"sh -c 'exec >&- 2>&-; sleep 0.2; touch {tmp_path}/done'") == Delivered()
    assert (tmp_path / "done").exists()


def test_without_pidfds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old kernel has none: the command is checked from time to time."""
    monkeypatch.setattr(procfs, "open_pidfd", lambda _: None)

    assert run("true") == Delivered()
    test_the_deadline_kills_all_descendants(tmp_path, "setsid sleep 1000 &")


def test_its_environment_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It inherits what commands need, and nothing that can contain a secret."""
    for name in ("SUPERVISOR_PASSWORD", "SUPERVISOR_USERNAME", "SUPERVISOR_SERVER_URL"):
        monkeypatch.setenv(name, "s3cret")
    for name in ("FPM_LISTENER_RECEIVER_OPS_URL", "AWS_SECRET_ACCESS_KEY", "https_proxy"):
        monkeypatch.setenv(name, "s3cret")
    for name in ("TZ", "LANG", "LC_TIME", "HOME"):
        monkeypatch.setenv(name, f"a {name}")

    assert run(f"sh -c 'env -0 >{tmp_path}/env'") == Delivered()
    words = (tmp_path / "env").read_text().split("\0")
    found = dict(word.split("=", 1) for word in words if word)
    assert "s3cret" not in "".join(words)
    assert found["PATH"] == os.environ["PATH"]
    assert (found["TZ"], found["LC_TIME"], found["HOME"]) == ("a TZ", "a LC_TIME", "a HOME")
    assert set(found) <= {
        *command_module._INHERITED,
        "LC_TIME",
        command_module._MARK,
        "PWD",
        "_",
    } | {name for name in found if name.startswith("LC_")} | {"SHLVL", "OLDPWD"}


@pytest.mark.parametrize(
    "starts",
    [
        "setsid sleep 1000 &",
        "setsid sh -c 'setsid sleep 1000 & wait' &",
        "(setsid sleep 1000 & exit 0) &",  # its parent ends: init is its parent now
        "setsid env -i sleep 1000 &",  # it has no mark, but a parent that is ours
        "trap '' TERM HUP INT; sleep 1000 &",
    ],
)
def test_the_deadline_kills_all_descendants(tmp_path: Path, starts: str) -> None:
    """Also those that left the session, or whose parent has exited."""
    pids = tmp_path / "pids"
    script = tmp_path / "script"
    mark = f"{1000 + os.getpid() % 1000}.{time.monotonic_ns() % 10**9}"
    script.write_text(f"{starts.replace('1000', mark)}\necho $$ >{pids}\nwait\nsleep {mark}\n")
    for timeout_s in (1.0, 4.0, 30.0):
        outcome = run(f"sh {script}", timeout_s=timeout_s)
        assert isinstance(outcome, RetryLater)
        assert outcome.reason is FailureReason.TIMEOUT
        if pids.exists():  # else the machine is too slow for this deadline
            break

    def alive() -> list[int]:
        return [
            pid for pid in procfs.pids() if procfs.title(pid) == f"sleep {mark}" and not _ended(pid)
        ]

    wait_until(lambda: not alive(), "the end of all")
