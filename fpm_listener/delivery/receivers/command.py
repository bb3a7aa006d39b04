"""Runs one command with a deadline, a limit for its output, and a clean environment.

Laws:
1. The command inherits only the variables of _INHERITED, and none that can contain a secret.
2. Its output is read until it exits; all but the beginning is discarded. So it fills neither memory
   nor disk, and the command never waits for the listener.
3. At the deadline the command and all its descendants are killed, also those that left its process
   group or session. If the command exits in time, its descendants continue.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import subprocess
import time
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from fpm_listener.host import procfs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: Bytes of the output that are kept.
OUTPUT_BYTES = 64 << 10
#: Variables that a command inherits, besides those that begin with LC_.
_INHERITED = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"}
)
#: The variable that marks descendants, also those that left the command's session.
_MARK = "FPM_LISTENER_COMMAND_ID"
#: Seconds between two checks of a command if the kernel has no pidfds.
_CHECK_S = 0.05
#: Seconds to wait for a killed process: one that waits for a broken disk may never exit.
_EXIT_S = 5.0
_CHUNK = 1 << 16
#: Chunks that are read from the pipe after the command has exited.
_LAST_CHUNKS = 16
#: Rounds of searching and killing: a descendant can start others meanwhile.
_ROUNDS = 10


def environment(ours: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a command."""
    kept = {k: v for k, v in ours.items() if k in _INHERITED or k.startswith("LC_")}
    return {"PATH": os.defpath, **kept}


class Command:
    """One run of a command. Used by one thread, which calls `run` once."""

    def __init__(self, words: Sequence[str]) -> None:
        self.output = b""  #: the first OUTPUT_BYTES of stdout and stderr
        self._words = words
        self._mark = secrets.token_hex(16)

    def run(self, given: bytes, timeout_s: float) -> int | None:
        """Return the exit status, or minus the signal; None after the deadline. Raises OSError.

        given: for the stdin of the command.
        """
        ends_at_s = time.monotonic() + timeout_s
        process = subprocess.Popen(
            self._words,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,  # never our own fd 1: that is supervisord's protocol
            stderr=subprocess.STDOUT,
            env={**environment(), _MARK: self._mark},
            start_new_session=True,
        )
        assert process.stdin is not None  # noqa: S101 - it is a pipe
        assert process.stdout is not None  # noqa: S101 - the same
        with process.stdin as stdin, process.stdout as stdout:
            try:
                if self._exchange(process, stdin, stdout, given, ends_at_s):
                    return process.returncode
            finally:
                if process.returncode is None:
                    self._kill(process)
        return None

    def _exchange(
        self,
        process: subprocess.Popen[bytes],
        stdin: IO[bytes],
        stdout: IO[bytes],
        given: bytes,
        ends_at_s: float,
    ) -> bool:
        """Write and read until the command exits; return False at the deadline."""
        poller = select.poll()
        for pipe, events in ((stdin, select.POLLOUT), (stdout, select.POLLIN)):
            os.set_blocking(pipe.fileno(), False)
            poller.register(pipe, events)
        exited = procfs.open_pidfd(process.pid)  # not reaped yet, so the pid is still its own
        try:
            if exited is not None:
                poller.register(exited, select.POLLIN)
            while process.poll() is None:
                left_s = ends_at_s - time.monotonic()
                if left_s <= 0:
                    return False
                wait_s = left_s if exited is not None else min(left_s, _CHECK_S)
                ready = {descriptor for descriptor, _ in poller.poll(int(wait_s * 1000) + 1)}
                if not stdin.closed and stdin.fileno() in ready:
                    given = _write(stdin, given)
                    if not given:
                        poller.unregister(stdin)
                        stdin.close()
                if stdout.fileno() in ready and not self._read(stdout):
                    poller.unregister(stdout)
        finally:
            if exited is not None:
                os.close(exited)
        any(not self._read(stdout) for _ in range(_LAST_CHUNKS))  # until the pipe is empty
        return True

    def _read(self, stdout: IO[bytes]) -> bool:
        """Read a chunk and keep the beginning of the output; return whether there may be more."""
        chunk = stdout.read(_CHUNK)  # None: the pipe is empty
        if chunk:
            self.output += chunk[: OUTPUT_BYTES - len(self.output)]
        return bool(chunk)

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the command, its process group and all descendants, and wait for its exit."""
        for _ in range(_ROUNDS):
            found = list(_descendants(process.pid, f"{_MARK}={self._mark}".encode()))
            with suppress(OSError):  # not reaped yet, so the number is still its group's
                os.killpg(process.pid, signal.SIGKILL)
            for pid, started in found:
                _kill_one(pid, started)
            if not found:
                break
        with suppress(subprocess.TimeoutExpired):
            process.wait(_EXIT_S)


def _write(stdin: IO[bytes], given: bytes) -> bytes:
    """Write as much as the pipe accepts; return the rest."""
    try:
        return given[stdin.write(given[:_CHUNK]) or 0 :]
    except OSError:  # it need not read its stdin
        return b""


def _descendants(root: int, mark: bytes) -> Iterator[tuple[int, int]]:
    """Yield pid and start of all running descendants of `root`."""
    stats = [
        stat for pid in procfs.pids() if (stat := procfs.read_stat(pid)) and not stat.has_ended
    ]
    found = {stat.pid for stat in stats if mark in procfs.environment(stat.pid)} | {root}
    while more := {s.pid for s in stats if s.ppid in found} - found:
        found |= more
    yield from ((stat.pid, stat.started) for stat in stats if stat.pid in found - {root})


def _kill_one(pid: int, started: int) -> None:
    """Kill a process, but not another one that got its pid since."""
    with suppress(OSError):
        descriptor = procfs.open_pidfd(pid)
        found = procfs.read_stat(pid)
        if found is not None and found.started == started:
            if descriptor is None:
                os.kill(pid, signal.SIGKILL)
            else:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        if descriptor is not None:
            os.close(descriptor)
