"""A real supervisord with two php-fpm, failing programs, our listener, and a failing receiver."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xmlrpc.client
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.xmlrpc import SupervisorTransport

from tests.e2e.lab import Lab, kill, php_fpm, ping
from tests.ports import free_port

if TYPE_CHECKING:
    from random import Random

#: What flaps; it is well as soon as the file of its first argument exists.
_FLAPS = (
    "import os, random, sys, time\n"
    "well, low, high = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])\n"
    "end = time.monotonic() + random.uniform(low, high)\n"
    "while os.path.exists(well) or time.monotonic() < end:\n"
    "    time.sleep(0.2)\n"
    "sys.exit(3)\n"
)
#: Programs that flap, and between how many seconds each of them lives.
FLAPPING = {"failing": (0.0, 0.5), "crashing": (1.5, 6.0), "rarely": (10.0, 40.0)}
FPMS = ("php-fpm", "fpm-unix")
_TMPFS_SIZE = "4m"


class SoakLab:
    """All of them in one folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="soak-"))
        self.folder.chmod(0o755)
        self.lab = Lab(self.folder)
        self.addresses = {
            "php-fpm": f"127.0.0.1:{free_port()}",
            "fpm-unix": f"{self.folder}/fpm-unix.sock",
        }
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        mount = [
            "mount",
            "-t",
            "tmpfs",
            "-o",
            f"size={_TMPFS_SIZE},mode=0755",
            "tmpfs",
            str(self.disk),
        ]
        done = subprocess.run(mount, check=False, capture_output=True)
        self.small_disk = done.returncode == 0
        self.lab.settings |= {
            "state_dir": str(self.state_dir),
            "hold_linger": "1s",
            "stable_for": "5s",
            "slow_loop": "5 in 60s",
        }
        for name in FPMS:
            self._add_fpm(name)
        for name, (low, high) in FLAPPING.items():
            self.lab.program(
                name,
                f"{sys.executable} {self.folder}/flaps.py {self.folder}/well {low} {high}",
                autorestart="true",
                startsecs="1",
                startretries="3",
            )
        (self.folder / "flaps.py").write_text(_FLAPS)
        transport = SupervisorTransport(None, None, f"unix://{self.folder}/s.sock")
        self._rpc: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport)

    @property
    def state_dir(self) -> Path:
        """Return the listener's state directory; it is on a small disk, if one can be mounted."""
        return self.disk / "state"

    def _add_fpm(self, name: str) -> None:
        lab = self.lab
        conf = lab.fpm_conf(self.addresses[name], name=name, pool="listen.mode = 0666")
        conf.write_text(
            conf.read_text().replace("[global]\n", "[global]\nprocess_control_timeout = 5s\n")
        )
        config = f"{lab.folder}/supervisord.d/fpm_listener.conf"
        guard = f"{sys.executable} -m fpm_listener guard --config {config} --hold"
        lab.program(
            name,
            f"{guard} -- {php_fpm()} -F -y {conf}",
            autorestart="true",
            startsecs="1",
            startretries="20",
            stopsignal="QUIT",
            stopwaitsecs="20",
            killasgroup="true",
            stderr_events_enabled="true",
        )

    def close(self) -> None:
        """End all processes."""
        with suppress(AssertionError, ValueError):
            kill(self.lab.listener_pid(), signal.SIGCONT)
        self.lab.close()
        if self.small_disk:
            subprocess.run(["umount", "-l", self.disk], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- looking at it -----------------------------------------------------------------------------

    def listener(self) -> int | None:
        """Return the pid of the listener; None if there is none."""
        try:
            return self.lab.listener_pid()
        except ValueError:
            return None

    def states(self) -> dict[str, str]:
        """Return the state of each program, as supervisord reports it."""
        infos = self._rpc.supervisor.getAllProcessInfo()
        return {info["name"]: info["statename"] for info in infos if info["name"] != "fpm-listener"}

    def start(self, name: str) -> None:
        """Start a program, if it does not run."""
        with suppress(xmlrpc.client.Fault):
            self._rpc.supervisor.startProcess(name, False)

    def stop(self, name: str) -> None:
        """Stop a program, and wait until it has stopped."""
        with suppress(xmlrpc.client.Fault):
            self._rpc.supervisor.stopProcess(name)

    def accepts(self, name: str) -> bool:
        """Return whether the address of a php-fpm accepts a connection."""
        return ping(self.addresses[name], timeout_s=1.0) != "" or self._connects(name)

    def _connects(self, name: str) -> bool:
        import socket  # noqa: PLC0415 - one use

        address = self.addresses[name]
        host, _, port = address.rpartition(":")
        with socket.socket(socket.AF_UNIX if "/" in address else socket.AF_INET) as client:
            client.settimeout(1.0)
            try:
                client.connect(address if "/" in address else (host, int(port)))
            except OSError as error:
                return isinstance(error, TimeoutError | BlockingIOError)
        return True

    # -- faults ------------------------------------------------------------------------------------

    def fill_disk(self) -> None:
        """Fill the listener's disk."""
        with suppress(OSError), (self.disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    def clear_disk(self) -> None:
        """Empty the disk again."""
        (self.disk / "filler").unlink(missing_ok=True)

    def delete_state(self, random: Random) -> None:
        """Delete the listener's state directory, or one file in it."""
        found = sorted(self.state_dir.glob("*")) if self.state_dir.exists() else []
        victim = random.choice([self.state_dir, self.state_dir, *found])
        if victim.is_dir() and not victim.is_symlink():
            shutil.rmtree(victim, ignore_errors=True)
        else:
            victim.unlink(missing_ok=True)


def limit_files(pid: int, *, scarce: bool) -> None:
    """Limit a process to the number of files that it has open, or restore the usual limit."""
    with suppress(OSError):
        count = len(os.listdir(f"/proc/{pid}/fd")) if scarce else 1024  # noqa: PTH208 - names only
        hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(count, hard), hard))


class PingLoop:
    """Sends requests to a php-fpm without end, and records the last answer."""

    def __init__(self, address: str) -> None:
        self.last_s = time.monotonic()
        self.requests = self.failures = 0
        self.worst_s = 0.0
        self._address = address
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.1):
            self.requests += 1
            if "pong" in ping(self._address, timeout_s=5.0):
                now_s = time.monotonic()
                self.worst_s = max(self.worst_s, now_s - self.last_s)
                self.last_s = now_s
            else:
                self.failures += 1
