"""A real supervisord, php-fpm and our listener in their own folder, and a webhook receiver.

The lab ends every process that it starts, also after a failed test. It ends supervisord by its pid,
and php-fpm by the names of its pools: no other php-fpm on the machine has them.
"""

from __future__ import annotations

import http.client
import http.server
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import xmlrpc.client
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from supervisor.options import ClientOptions
from supervisor.supervisorctl import Controller
from supervisor.xmlrpc import SupervisorTransport

from fpm_listener.host import procfs
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = TypeVar("Value")

#: The guard's message when it starts php-fpm without held sockets.
NOT_HELD = "listening sockets are not held"
#: The workers of a pool that the lab configures.
WORKERS = 2
#: A program that has an address and does nothing.
HOLDER = "import socket, time; s = socket.create_server(('127.0.0.1', {port})); time.sleep(3600)"


def php_fpm() -> str:
    """Return the path of the php-fpm that `scripts/setup.sh` installed."""
    found = [
        *([os.environ["PHP_FPM"]] if os.environ.get("PHP_FPM") else []),
        *sorted((str(path) for path in Path("/usr/sbin").glob("php-fpm[0-9]*")), reverse=True),
        *filter(None, [shutil.which("php-fpm")]),
    ]
    assert found, "no php-fpm on this machine: run scripts/setup.sh"
    return found[0]


def processes(pattern: str) -> list[int]:
    """Return the pids whose command line matches."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if re.search(pattern, command):
            found.append(int(entry.parts[2]))
    return sorted(found)


def listens(address: str) -> bool:
    """Return whether a TCP address accepts connections."""
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def children(pid: int) -> list[int]:
    """Return the children of a process that have not ended."""
    found = [procfs.read_stat(one) for one in procfs.pids()]
    return [one.pid for one in found if one is not None and one.ppid == pid and not one.has_ended]


def has_ended(pid: int) -> bool:
    """Return whether a process is gone or a zombie: it holds nothing."""
    found = procfs.read_stat(pid)
    return found is None or found.has_ended


def handles(pid: int, number: int) -> bool:
    """Return whether a process ignores or catches a signal. A program that starts does not yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = re.findall(r"^Sig(?:Ign|Cgt):\s+(\w+)$", status, re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


@dataclass
class WebhookReceiver:
    """A webhook receiver that stores what it gets; `status` is its answer."""

    port: int = field(default_factory=free_port)
    status: int = 200
    takes_s: float = 0.0  #: how slow it is
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    server: http.server.ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Return the URL for alerts."""
        return f"http://127.0.0.1:{self.port}/hook"

    def start(self) -> None:
        """Start to answer."""
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(webhook.takes_s)
                if webhook.status == 200:
                    webhook.keys.append(self.headers.get("Idempotency-Key", ""))
                    webhook.requests.append(json.loads(body))
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Refuse connections."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def alerts(self, status: str = "", process: str = "") -> list[dict[str, Any]]:
        """Return the received alerts, oldest first."""
        return [
            alert
            for request in list(self.requests)
            for alert in request["alerts"]
            if status in {"", alert["status"]} and process in {"", alert["labels"]["process"]}
        ]


class Lab:
    """One supervisord with its programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.web_port = free_port()
        self.webhook = WebhookReceiver()
        self.rpc = True
        self.main_extra = ""
        self.wrapper: tuple[str, ...] = ()  #: stands before supervisord's command, and becomes it
        self.settings: dict[str, str] = {
            "listen": f"127.0.0.1:{self.web_port}",
            "state_dir": str(folder / "state"),
            "loop": "3 in 60s",
            "stable_for": "3s",
            "log_level": "debug",
        }
        self.receiver: dict[str, str] = {"url": self.webhook.url}
        self.receivers: dict[str, dict[str, str]] = {}
        self.listener_keys: dict[str, str] = {"buffer_size": "1024", "priority": "-50"}
        self.sections: dict[str, dict[str, str]] = {}
        self.pools: set[str] = set()
        self._workers: dict[str, int] = {}  #: by program
        self._supervisord: subprocess.Popen[bytes] | None = None
        self._strays: list[subprocess.Popen[bytes]] = []
        self._starts_without_hold = 0

    # -- what there is to run ----------------------------------------------------------------------

    def fpm_conf(self, listen: str, *, name: str = "php-fpm", pool: str = "") -> Path:
        """Write a php-fpm configuration; return its path."""
        pool_name = f"lab{self.web_port}{name.replace('-', '')}"
        self.pools.add(pool_name)
        self._workers[name] = WORKERS
        path = self.fpm_conf_path(name)
        owner = "user = www-data\ngroup = www-data\n" if os.geteuid() == 0 else ""
        path.write_text(
            f"[global]\nerror_log = {self.fpm_log(name)}\ndaemonize = no\n"
            f"[{pool_name}]\n{owner}listen = {listen}\npm = static\npm.max_children = {WORKERS}\n"
            f"ping.path = /ping\n{pool}\n",
        )
        return path

    def fpm_conf_path(self, name: str) -> Path:
        """Return the path of a php-fpm configuration."""
        return self.folder / f"{name}.conf"

    def fpm_log(self, name: str = "php-fpm") -> Path:
        """Return the path of php-fpm's error log."""
        return self.folder / f"{name}.log"

    def program(self, name: str, command: str, **keys: str) -> None:
        """Add a [program:…] section."""
        self.sections[f"program:{name}"] = {
            "command": command.replace("%", "%%"),
            "stdout_logfile": "NONE",
            "stderr_logfile": str(self.folder / f"{name}.stderr"),
            **keys,
        }

    def fpm_program(self, listen: str, *, name: str = "php-fpm", **keys: str) -> Path:
        """Add a php-fpm with a correct command; return the path of its configuration."""
        conf = self.fpm_conf(listen, name=name)
        self.program(name, f"{php_fpm()} -F -y {conf}", **{"autorestart": "true", **keys})
        return conf

    def recipe(self, listen: str, **keys: str) -> Path:
        """Add the recipe of 2015; only the paths differ from its text."""
        conf = self.fpm_conf(listen)
        pid_file = self.folder / "php-fpm.pid"
        self.program(
            "php-fpm",
            f'bash -c "sleep 1 && {php_fpm()} --fpm-config {conf} --pid {pid_file}"',
            **{
                "autorestart": "true",
                "startretries": "5",
                "exitcodes": "0,2,70",
                "stopsignal": "QUIT",
                "stopwaitsecs": "2",
                **keys,
            },
        )
        return conf

    # -- running it --------------------------------------------------------------------------------

    def write(self) -> Path:
        """Write supervisord's configuration; return its path."""
        parts = self.folder / "supervisord.d"
        parts.mkdir(exist_ok=True)
        main = [
            "[supervisord]\nnodaemon=true\nuser=root\n" if os.geteuid() == 0 else "[supervisord]\n",
            f"logfile={self.folder}/supervisord.log\npidfile={self.folder}/supervisord.pid\n",
            f"childlogdir={self.folder}\n{self.main_extra}\n",
            f"[include]\nfiles={parts}/*.conf\n",
        ]
        if self.rpc:
            main.append(
                f"[unix_http_server]\nfile={self.folder}/s.sock\n"
                "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory="
                "supervisor.rpcinterface:make_main_rpcinterface\n"
                f"[supervisorctl]\nserverurl=unix://{self.folder}/s.sock\n",
            )
        path = self.folder / "supervisord.conf"
        path.write_text("\n".join(main))
        (parts / "fpm_listener.conf").write_text(
            _ini(
                "eventlistener:fpm-listener",
                {
                    "command": f"{sys.executable} -m fpm_listener listen "
                    "--config %(here)s/fpm_listener.conf",
                    "events": "PROCESS_STATE,PROCESS_LOG,PROCESS_GROUP,SUPERVISOR_STATE_CHANGE",
                    "autorestart": "true",
                    "startretries": "1000000",
                    "stderr_logfile": str(self.folder / "listener.log"),
                    **self.listener_keys,
                },
            )
            + _ini("fpm-listener", self.settings)
            + (_ini("fpm-listener:receiver:ops", self.receiver) if self.receiver else "")
            + "".join(
                _ini(f"fpm-listener:receiver:{name}", keys) for name, keys in self.receivers.items()
            ),
        )
        (parts / "programs.conf").write_text(
            "".join(_ini(name, keys) for name, keys in self.sections.items()),
        )
        return path

    def start(self, *, webhook: bool = True) -> None:
        """Run supervisord, and wait until the listener serves and is ready."""
        if webhook and self.webhook.server is None:
            self.webhook.start()
        command = [*self.wrapper, sys.executable, "-m", "supervisor.supervisord", "-n"]
        command += ["-c", str(self.write())]
        with (self.folder / "supervisord.out").open("ab") as out:
            self._supervisord = subprocess.Popen(command, stdout=out, stderr=out, cwd="/")
        wait_until(self.is_ready, "the listener to be ready")

    @property
    def supervisord_pid(self) -> int:
        """Return the pid of supervisord."""
        assert self._supervisord
        return self._supervisord.pid

    def kill_supervisord(self) -> None:
        """Kill supervisord alone; its children continue."""
        assert self._supervisord
        self._supervisord.kill()
        self._supervisord.wait()

    def is_ready(self) -> bool:
        """Return whether the listener serves and said READY."""
        try:
            return self.get("/-/ready") is not None
        except (OSError, urllib.error.URLError):
            return False

    def change_settings(self, **settings: str) -> None:
        """Let the listener reload with other settings; return when it has."""
        name = "fpm_listener_config_last_reload_success_timestamp_seconds"
        before = self.metrics()[name]
        self.settings |= settings
        self.write()
        kill(self.listener_pid(), signal.SIGHUP)
        wait_until(lambda: self.metrics()[name] > before, "the reload")

    def stray(self, *command: str) -> subprocess.Popen[bytes]:
        """Run a program outside supervisord; the lab ends it."""
        child = subprocess.Popen(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._strays.append(child)
        return child

    def hold_port(self, port: int) -> subprocess.Popen[bytes]:
        """Run a program that listens on a port; return when it does."""
        holder = self.stray(sys.executable, "-c", HOLDER.format(port=port))
        wait_until(lambda: listens(f"127.0.0.1:{port}"), "the program to listen")
        return holder

    def kill_php_fpm(self, number: int = signal.SIGKILL, name: str = "php-fpm") -> int:
        """End the master with a signal, after its workers; return its pid.

        No orphan has the address when the next master starts: the master is stopped until its
        workers have ended, so it cannot start others.
        """
        master = self.wait_for_php_fpm(name)
        kill(master, signal.SIGSTOP)
        workers = children(master)
        for worker in workers:
            kill(worker)
        wait_until(lambda: all(map(has_ended, workers)), "the workers to end")
        kill(master, number)
        kill(master, signal.SIGCONT)
        wait_until(lambda: has_ended(master), "the master to end")
        return master

    def ctl(self, *words: str) -> str:
        """Run a command of supervisorctl; return what it prints.

        It runs in this process: a process of its own needs 0.2 s of CPU to import supervisor.
        """
        options = _ClosingOptions()
        options.realize(["-c", str(self.folder / "supervisord.conf"), *words])
        printed = io.StringIO()
        try:
            Controller(options, stdout=printed).onecmd(" ".join(options.args))
        finally:
            options.close()
        return printed.getvalue()

    @contextmanager
    def supervisor(self) -> Iterator[Any]:
        """Return supervisord's XML-RPC."""
        transport = SupervisorTransport(None, None, f"unix://{self.folder}/s.sock")
        try:
            server: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport)
            yield server.supervisor
        finally:
            transport.close()

    def process_info(self, name: str) -> dict[str, Any]:
        """Return what supervisord knows of a program of one process."""
        with self.supervisor() as supervisor:
            info: dict[str, Any] = supervisor.getProcessInfo(name)
        return info

    def restart_program(self, name: str) -> None:
        """Stop a program of one process and start it, as an operator does."""
        with self.supervisor() as supervisor:
            supervisor.stopProcess(name)
            supervisor.startProcess(name)

    def state(self, name: str) -> str:
        """Return supervisord's state of a program of one process."""
        return str(self.process_info(name)["statename"])

    def close(self) -> None:
        """End all processes."""
        self.webhook.stop()
        if self._supervisord:
            kill(self._supervisord.pid, signal.SIGCONT)
            self._supervisord.terminate()
            try:
                self._supervisord.wait(20)
            except subprocess.TimeoutExpired:
                self._supervisord.kill()
                self._supervisord.wait()
        for child in self._strays:
            kill(child.pid)
            child.wait()
        wait_until(self._has_killed_all, "the end of all processes")

    def _has_killed_all(self) -> bool:
        """Kill the processes that are left; return whether none was."""
        patterns = [rf"php-fpm: pool {pool}\b" for pool in self.pools]
        left = {pid for one in (re.escape(str(self.folder)), *patterns) for pid in processes(one)}
        left.discard(os.getpid())
        for pid in left:
            kill(pid)
        return not left

    # -- looking at it -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Return the address of the listener's page."""
        return f"http://127.0.0.1:{self.web_port}"

    def get(self, path: str) -> str:
        """Return what the listener serves at `path`."""
        with urllib.request.urlopen(f"{self.url}{path}", timeout=10) as answer:
            body: str = answer.read().decode()
        return body

    def metrics(self) -> dict[str, float]:
        """Return the samples by name and labels, written as in the exposition."""
        samples = {}
        for line in self.get("/metrics").splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples

    def metric(self, name: str, process: str = "php-fpm", group: str = "", **labels: str) -> float:
        """Return one sample of a process; the order of the labels does not matter."""
        wanted = {"group": group or process, "process": process, **labels}
        for key, value in self.metrics().items():
            found, _, rest = key.partition("{")
            if (
                found == name
                and wanted.items() <= dict(re.findall(r'(\w+)="([^"]*)"', rest)).items()
            ):
                return value
        return float("nan")  # there is no such sample (yet)

    def wait_for_held_sockets(self, count: int) -> None:
        """Wait until so many sockets are held.

        The guard waits at most one second for the listener. On a busy machine php-fpm can start
        without held sockets; then it is restarted.
        """
        stderr = self.folder / "php-fpm.stderr"

        def is_held() -> bool:
            if self.metric("fpm_listener_held_sockets") == count:
                return True
            found = stderr.read_text().count(NOT_HELD)
            if found > self._starts_without_hold:
                self._starts_without_hold = found
                self.ctl("restart", "php-fpm")
            return False

        wait_until(is_held, f"{count} held sockets")

    def status(self, name: str) -> dict[str, Any]:
        """Return the listener's data about a program with one process."""
        programs: list[dict[str, Any]] = json.loads(self.get("/status.json"))["programs"]
        return next(one for one in programs if one["name"] == f"{name}:{name}")

    def wait_for_summary(self, name: str, words: str) -> None:
        """Wait until the incident of `group:process` has these words in its summary.

        supervisord reports an exit status on request only. An alert waits for it for a moment,
        which is not enough on a busy machine.
        """

        def has_words() -> bool:
            programs = json.loads(self.get("/status.json"))["programs"]
            incident = next(one for one in programs if one["name"] == name)["incident"]
            return incident is not None and words in incident["summary"]

        wait_until(has_words, f"{words!r} in the summary of {name}")

    def wait_for_holder(self, name: str = "php-fpm") -> dict[str, Any]:
        """Wait until the incident of a program has a holder of the address; return the incident.

        An alert waits 0.2 s for the holder, which is not enough on a busy machine.
        """

        def find() -> dict[str, Any] | None:
            incident: dict[str, Any] | None = self.status(name)["incident"]
            return incident if incident and incident["holder"] else None

        return wait_until(find, "the holder of the address")

    def pid(self, name: str) -> int:
        """Return the pid of a program with one process, as the listener reports it."""
        return int(self.status(name)["pid"])

    def master(self, name: str = "php-fpm") -> int | None:
        """Return the pid of the php-fpm master that uses this lab's configuration."""
        conf = re.escape(str(self.fpm_conf_path(name)))
        found = processes(rf"php-fpm: master process \({conf}\)")
        # A new worker has the title of its master for a moment.
        workers = {worker for pid in found for worker in children(pid)} if found[1:] else set()
        return next((pid for pid in found if pid not in workers), None)

    def workers(self, name: str = "php-fpm") -> list[int]:
        """Return the pids of the workers, also of orphans."""
        return processes(rf"php-fpm: pool lab{self.web_port}{name.replace('-', '')}\b")

    def listener_pid(self) -> int:
        """Wait for our listener; return its pid. Its children can have its command for a moment."""
        command = "-m fpm_listener listen --config " + re.escape(str(self.folder / "supervisord.d"))
        of_ours = partial(children, self.supervisord_pid)
        found = wait_until(lambda: set(processes(command)) & set(of_ours()), "the listener")
        (pid,) = found
        return pid

    def wait_for_php_fpm(self, name: str = "php-fpm") -> int:
        """Wait until php-fpm has all its workers; return the pid of its master."""

        def serving() -> int | None:
            workers = self.workers(name)
            return self.master(name) if len(workers) >= self._workers.get(name, 1) else None

        return wait_until(serving, f"{name} to run")

    def log(self) -> str:
        """Return the listener's log."""
        path = self.folder / "listener.log"
        return path.read_text() if path.exists() else ""


class _ClosingOptions(ClientOptions):  # type: ignore[misc]  # supervisor has no types
    """The options of supervisorctl, which leaves its connections to the end of its process."""

    def __init__(self) -> None:
        super().__init__()
        self._transports: list[SupervisorTransport] = []

    def getServerProxy(self) -> xmlrpc.client.ServerProxy:  # noqa: N802 - supervisor's name
        transport = SupervisorTransport(self.username, self.password, self.serverurl)
        self._transports.append(transport)
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    def close(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            transport.close()


def _ini(section: str, keys: dict[str, str]) -> str:
    return f"[{section}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items()) + "\n"


def ping(
    address: str, script: str = "/ping", filename: str = "/ping", timeout_s: float = 5.0
) -> str:
    """Return php-fpm's answer over FastCGI; an empty text where there is none."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("!BBHHBB", 1, kind, 1, len(content), 0, 0) + content

    words = {"SCRIPT_NAME": script, "SCRIPT_FILENAME": filename, "REQUEST_METHOD": "GET"}
    params = b"".join(bytes([len(k), len(v)]) + k.encode() + v.encode() for k, v in words.items())
    request = record(1, struct.pack("!HB5x", 1, 0)) + record(4, params) + record(4, b"")
    family = socket.AF_UNIX if "/" in address else socket.AF_INET
    host, _, port = address.rpartition(":")
    with socket.socket(family) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(address if "/" in address else (host, int(port)))
            client.sendall(request + record(5, b""))
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
        except OSError:
            return ""
    return answer.decode("latin-1")
