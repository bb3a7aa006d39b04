"""Run a command as a container engine runs it, without an engine and without an image.

The container has its own processes, mounts, network, host name and IPC (`unshare`), a copy-on-write
root over the root of this machine (overlayfs), a new /dev, /proc, /run and /tmp, the capabilities
and the seccomp filter of Docker, and standard output and error on pipes. The command is PID 1.

Nothing stays after a test: the kernel ends all processes and mounts together with PID 1, and PID 1
ends together with the thread that started it. Needs root and util-linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tests.waiting import DEADLINE_S, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[1]
#: Source: moby/oci/caps/defaults.go.
DOCKER_CAPABILITIES = (
    *("chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap"),
    *("net_bind_service", "net_raw", "sys_chroot", "mknod", "audit_write", "setfcap"),
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_CGROUPS = Path("/sys/fs/cgroup")
_IS_V2 = (_CGROUPS / "cgroup.controllers").exists()
_CLONE_NEWNET = 0x40000000
#: util-linux 2.38 prints this after a signal has ended its child.
_NOISE_OF_UNSHARE = "unshare: sigprocmask unblock failed: Invalid argument\n"
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a container engine is told: the options of `docker run`."""

    root: Path = Path("/")  #: the image; it stays unchanged
    uid: int = 0  #: also the gid; 0 keeps root
    read_only: bool = False  #: the root; /run, /tmp and /dev/shm are tmpfs as always
    capabilities: tuple[str, ...] = DOCKER_CAPABILITIES  #: of root; other users have none
    no_new_privileges: bool = False
    docker_seccomp: bool = True  #: pidfd_getfd(2) fails with EPERM
    hidden_processes: bool = False  #: /proc with hidepid=2
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH, "LANG": "C"})
    absent: tuple[str, ...] = ()  #: files and directories of this machine that the image lacks
    binds: Mapping[str, Path] = field(default_factory=dict)  #: writable; by path inside
    workdir: str = "/"
    memory_bytes: int | None = None
    pids: int | None = None


class Container:
    """One container. Add files and build steps, then start it, then close it.

    folder: an empty directory of the test.
    """

    def __init__(self, folder: Path, conditions: Conditions) -> None:
        self.folder = folder
        self.conditions = conditions
        self.output = b""  #: what `docker logs` shows
        self._files: list[tuple[Path, str, int]] = []
        self._build: list[str] = []
        self._engine: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._cgroups: list[Path] = []
        self._init = 0
        self._namespace = ""
        self._held: int | None = None  # a descriptor of the namespace

    # -- before the start --------------------------------------------------------------------------

    def add(self, path: str, text: str | bytes, mode: int = 0o644) -> None:
        """Put a file of root into the image."""
        source = self.folder / f"file{len(self._files)}"
        source.write_bytes(text if isinstance(text, bytes) else text.encode())
        self._files.append((source, path, mode))

    def build(self, *commands: str) -> None:
        """Run shell commands in the image, as RUN in a Dockerfile: as root, in a writable root."""
        self._build += commands

    def start(self, *command: str) -> None:
        """Start the command as PID 1. Raises AssertionError with the output if that fails."""
        assert os.geteuid() == 0, "a container needs root"
        output, container_output = os.pipe()
        ours, theirs = socket.socketpair()
        if self.conditions.uid:  # as containerd does, so that /dev/stderr can be opened
            os.fchown(container_output, self.conditions.uid, self.conditions.uid)
        script = self.folder / "setup.sh"
        script.write_text("\n".join(self._setup(theirs.fileno(), command)) + "\n")
        isolate = "exec unshare --fork --kill-child --pid --mount --ipc --uts --net --cgroup"
        join = "".join(f"echo 0 >{cgroup}/cgroup.procs; " for cgroup in self._make_cgroups())
        self._engine = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "sh", "-c", f"{join}{isolate} bash -eu {script}"],
            stdin=subprocess.DEVNULL,
            stdout=container_output,
            stderr=container_output,
            pass_fds=(theirs.fileno(),),
            cwd="/",
            start_new_session=True,
        )
        os.close(container_output)
        theirs.close()
        self._reader = threading.Thread(target=self._read, args=(output,), daemon=True)
        self._reader.start()
        engine = self._engine.pid
        with ours, ours.makefile() as lines:  # the setup goes on when we close it
            self._namespace = lines.readline().strip()
            if self._namespace:
                # While it is open, no other container gets the number of this namespace.
                self._held = os.open(f"/proc/{engine}/ns/pid_for_children", os.O_RDONLY)
                self._init = int(Path(f"/proc/{engine}/task/{engine}/children").read_text())
        if not self._namespace:
            self._engine.wait()
            self._reader.join()
        assert self._namespace, f"the container does not start: {self.text()}"

    # -- while it runs -----------------------------------------------------------------------------

    @property
    def init(self) -> int:
        """Return the pid of PID 1, as this machine sees it."""
        assert self._init, "the container has not been started"
        return self._init

    def path(self, path: str) -> Path:
        """Return where this machine finds a file of the container, while PID 1 lives."""
        return Path(f"/proc/{self.init}/root{path}")

    def run(
        self, *command: str, uid: int | None = None, timeout_s: float = DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run one more command in the container, as `docker exec` does; return its result."""
        target = str(self.init)
        enter = ("nsenter", "--target", target, "--all", f"--wdns={self.conditions.workdir}")
        return subprocess.run(
            [*enter, *self._become(self.conditions.uid if uid is None else uid), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Let this thread make its sockets in the network of the container.

        A socket stays in the network in which it was made. So a server that is bound here serves
        the container afterwards, from this process.
        """
        with Path("/proc/thread-self/ns/net").open("rb") as own:
            with Path(f"/proc/{self.init}/ns/net").open("rb") as other:
                _set_network(other.fileno())
            try:
                yield
            finally:
                _set_network(own.fileno())

    def processes(self) -> dict[int, str]:
        """Return the command line of PID 1 and its descendants, by this machine's pid.

        A zombie has an empty command line. Processes that `run` started are not here.
        """
        found: dict[int, str] = {}
        left = [self.init]
        while left:
            pid = left.pop()
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
                found[pid] = words.decode("utf-8", "replace").strip()
                left += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        return found

    def remains(self) -> list[int]:
        """Return the processes of this machine that are in the container, also after its end."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str((entry / "ns/pid").readlink()) == self._namespace:
                    found.append(int(entry.name))
        return found

    def text(self) -> str:
        """Return the output of the container."""
        return self.output.decode("utf-8", "replace").replace(_NOISE_OF_UNSHARE, "")

    # -- its end -----------------------------------------------------------------------------------

    def has_ended(self) -> bool:
        """Return whether PID 1 has exited."""
        assert self._engine
        return self._engine.poll() is not None

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the end; return the exit status of PID 1, or the negative signal."""
        assert self._engine
        wait_until(self.has_ended, "the end of the container", deadline_s)
        assert self._reader
        self._reader.join()
        return self._engine.returncode

    def stop(self) -> int:
        """Send SIGTERM to PID 1, as `docker stop` does; return its exit status."""
        os.kill(self.init, signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """End everything, also after a failure."""
        if self._engine and self._engine.poll() is None:
            os.kill(self._init or self._engine.pid, signal.SIGKILL)
            self._engine.wait()
        if self._reader:
            self._reader.join()
        if self._held is not None:
            os.close(self._held)
            self._held = None
        for cgroup in self._cgroups:
            wait_until(partial(_is_removed, cgroup), f"the end of {cgroup}")
        self._cgroups = []

    # -- details -----------------------------------------------------------------------------------

    def _read(self, output: int) -> None:
        with os.fdopen(output, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                self.output += chunk

    def _become(self, uid: int) -> list[str]:
        """Return the command before a command that gives it the rights of the container."""
        conditions = self.conditions
        words = ["env", "-i", *(f"{key}={value}" for key, value in conditions.environment.items())]
        if conditions.docker_seccomp:
            words += [sys.executable, "-ISs", str(ROOT / "tests/docker_defaults.py")]
        kept = "".join(f",+{name}" for name in conditions.capabilities)
        words += [shutil.which("setpriv") or "setpriv", f"--bounding-set=-all{kept}"]
        words += ["--inh-caps=-all"]
        if uid:
            words += [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        if conditions.no_new_privileges:
            words += ["--no-new-privs"]
        return [*words, "--"]

    def _setup(self, ready: int, command: tuple[str, ...]) -> Iterator[str]:
        """Return the lines of the script that makes the container and becomes the command."""
        conditions = self.conditions
        layer, root = self.folder / "layer", self.folder / "root"
        for folder in (layer, root):
            folder.mkdir(exist_ok=True)
        yield f"mount -t tmpfs -o mode=755 tmpfs {layer}; cd {layer}; mkdir upper work"
        for path in conditions.absent:
            if os.path.lexists(f"{conditions.root}/{path}"):
                yield f"mkdir -p upper{Path(path).parent}; mknod upper{path} c 0 0"
        lower = f"lowerdir={conditions.root},upperdir={layer}/upper,workdir={layer}/work"
        yield f"mount -t overlay -o {lower} overlay {root}; cd {root}"
        yield from _mounts(conditions)
        yield from self._cgroup_mounts()
        for closed in _to_mask():
            yield f"mkdir -p {root}{closed}; mount -t tmpfs -o mode=755 tmpfs {root}{closed}"
        for ours in (ROOT, Path(sys.prefix), Path(sys.base_prefix)):
            yield f"mkdir -p {root}{ours}; mount --bind {ours} {root}{ours}"
            yield f"mount -o remount,bind,ro {root}{ours}"
        for inside, outside in conditions.binds.items():
            make = "mkdir -p" if outside.is_dir() else "install -D /dev/null"
            yield f"{make} {root}{inside}; mount --bind {outside} {root}{inside}"
        for source, path, mode in self._files:
            yield f"install -D -m {mode:o} {source} {root}{path}"
        yield "pivot_root . .; umount -l ."
        yield f"export PATH={PATH} LANG=C; unset HOME; cd /"
        yield from (f"({step}\n)" for step in self._build)
        yield f"cd {shlex.quote(conditions.workdir)}"
        if conditions.read_only:
            yield "mount -o remount,bind,ro /"
        yield f"readlink /proc/self/ns/pid >&{ready}; read -r -u {ready} || :; exec {ready}>&-"
        yield f"exec {shlex.join([*self._become(conditions.uid), *command])}"

    def _limits(self) -> dict[str, int]:
        """Return the limits by the controller of control groups."""
        limits = {"memory": self.conditions.memory_bytes, "pids": self.conditions.pids}
        return {kind: limit for kind, limit in limits.items() if limit is not None}

    def _make_cgroups(self) -> list[Path]:
        """Make the control groups with limits; version 1 has a tree for each controller."""
        for kind, limit in self._limits().items():
            parent = _CGROUPS if _IS_V2 else _CGROUPS / kind
            if _IS_V2:
                (parent / "cgroup.subtree_control").write_text(f"+{kind}")
            cgroup = parent / f"fpm-listener-{self.folder.name}"
            cgroup.mkdir(exist_ok=True)
            if cgroup not in self._cgroups:
                self._cgroups.append(cgroup)
            name = "memory.limit_in_bytes" if kind == "memory" and not _IS_V2 else f"{kind}.max"
            (cgroup / name).write_text(str(limit))
        return self._cgroups

    def _cgroup_mounts(self) -> Iterator[str]:
        """Return the commands that show the container its own control groups."""
        options = "ro,nosuid,nodev,noexec"
        if _IS_V2 and self._limits():
            yield f"mount -t cgroup2 -o {options} cgroup sys/fs/cgroup"
        elif self._limits():
            yield "mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup"
            for kind in self._limits():
                yield f"mkdir sys/fs/cgroup/{kind}"
                yield f"mount -t cgroup -o {options},{kind} cgroup sys/fs/cgroup/{kind}"


def _mounts(conditions: Conditions) -> Iterator[str]:
    """Return the commands that mount /proc, /sys, /dev, /run and /tmp below the directory."""
    hidden = "hidepid=2" if conditions.hidden_processes else "nosuid"
    yield f"mount -t proc -o nosuid,nodev,noexec,{hidden} proc proc"
    yield "mount --bind proc/sys proc/sys; mount -o remount,bind,ro proc/sys"
    yield "mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys"
    yield "mount -t tmpfs -o mode=755,nosuid tmpfs dev"
    for name in _DEVICES:
        yield f"touch dev/{name}; mount --bind /dev/{name} dev/{name}"
    yield "mkdir dev/shm dev/pts; mount -t tmpfs -o mode=1777 tmpfs dev/shm"
    yield "mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts"
    yield "ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd"
    yield "for n in 0 1 2; do set -- stdin stdout stderr; shift $n; ln -s /proc/self/fd/$n dev/$1"
    yield "done; set --"
    yield f"mount -t tmpfs -o mode={'1777' if conditions.read_only else '755'} tmpfs run"
    yield "mount -t tmpfs -o mode=1777 tmpfs tmp; ip link set lo up; hostname container"


def _to_mask() -> list[Path]:
    """Return the directories that hide our files from other users, such as /root."""
    found = []
    for path in (ROOT, Path(sys.prefix), Path(sys.base_prefix)):
        closed = [one for one in reversed(path.parents) if not one.stat().st_mode & 0o001]
        found += closed[:1]
    return list(dict.fromkeys(found))


def _set_network(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _is_removed(cgroup: Path) -> bool:
    """Remove a control group; the kernel refuses while a process of it has not ended."""
    cgroup.rmdir()
    return True
