"""supervisord's side of the event-listener protocol, spoken as fast as the listener answers."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: A listener that does nothing, on supervisor's own helper library: the yardstick.
YARDSTICK = (
    sys.executable,
    "-c",
    (
        "import sys\nfrom supervisor import childutils\n"
        "while True:\n"
        "    childutils.listener.wait(sys.stdin, sys.stdout)\n"
        "    childutils.listener.ok(sys.stdout)\n"
    ),
)

STATES = (
    ("STARTING", "from_state:STOPPED tries:0"),
    ("RUNNING", "from_state:STARTING pid:{pid}"),
    ("EXITED", "from_state:RUNNING expected:0 pid:{pid}"),
    ("STARTING", "from_state:EXITED tries:0"),
    ("BACKOFF", "from_state:STARTING tries:1"),
    ("FATAL", "from_state:BACKOFF"),
)


class Pump:
    """One listener process on two pipes."""

    def __init__(self, command: Sequence[str], log: Path | None = None) -> None:
        environ = {k: v for k, v in os.environ.items() if k != "SUPERVISOR_SERVER_URL"}
        self.began = time.perf_counter()
        with (log or Path(os.devnull)).open("ab") as stderr:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environ,
                bufsize=0,
            )
        assert self.child.stdin
        assert self.child.stdout
        self._to, self._from = self.child.stdin.fileno(), self.child.stdout.fileno()
        self._buffer = b""
        self.serial = 0

    def expect(self, word: bytes) -> None:
        """Read up to `word`."""
        while word not in self._buffer:
            data = os.read(self._from, 1 << 16)
            if not data:
                raise SystemExit("the listener has died; see its log")
            self._buffer += data
        self._buffer = self._buffer.split(word, 1)[1]

    def ready(self) -> float:
        """Wait for the first READY; return the seconds since the start."""
        self.expect(b"READY\n")
        return time.perf_counter() - self.began

    def say(self, name: str, payload: str) -> float:
        """Send an event and wait until the next one may come; return seconds until the answer."""
        data = (
            f"ver:3.0 server:bench serial:{self.serial} pool:l poolserial:{self.serial} "
            f"eventname:{name} len:{len(payload)}\n{payload}"
        ).encode()
        self.serial += 1
        began = time.perf_counter()
        os.write(self._to, data)
        self.expect(b"RESULT 2\nOK")
        seconds = time.perf_counter() - began
        self.expect(b"READY\n")
        return seconds

    def state(self, number: int, process: str = "php-fpm") -> float:
        """Send the state event number `number` of an endless row of crashes."""
        state, rest = STATES[number % len(STATES)]
        payload = f"processname:{process} groupname:{process} " + rest.format(pid=1000 + number)
        return self.say(f"PROCESS_STATE_{state}", payload)

    def memory_mib(self) -> float:
        """Return the resident memory."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError

    def cpu_s(self) -> float:
        """Return the processor seconds used so far."""
        words = Path(f"/proc/{self.child.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """Return how many files are open."""
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))  # noqa: PTH208 - a count of names

    def close(self) -> None:
        """Let supervisord go away."""
        assert self.child.stdin
        self.child.stdin.close()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()
        assert self.child.stdout
        self.child.stdout.close()


@contextlib.contextmanager
def pumping(command: Sequence[str], log: Path | None = None) -> Iterator[Pump]:
    """Run a listener for a while."""
    pump = Pump(command, log)
    try:
        yield pump
    finally:
        pump.close()


@contextlib.contextmanager
def storm(path: Path, lines_per_s: int = 2000) -> Iterator[None]:
    """Write php-fpm's worker noise to a log file for a while."""
    stop = threading.Event()

    def write() -> None:
        line = (
            "[23-Nov-2026 10:04:34] WARNING: [pool www] child 15075 exited on signal 11 (SIGSEGV) "
            "after 0.040426 seconds from start\n[23-Nov-2026 10:04:34] NOTICE: [pool www] child "
            "15077 started\n"
        )
        with path.open("a") as file:
            while not stop.wait(0.05):
                file.write(line * (lines_per_s // 40))
                file.flush()

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
