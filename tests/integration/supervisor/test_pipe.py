"""A real supervisord: its XML-RPC, and its configuration read by its own parser."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from fpm_listener.supervisor import rpc as supervisor_rpc
from fpm_listener.supervisor.config import ConfUnreadable, read_programs
from fpm_listener.supervisor.config_path import find_conf
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.rpc import RpcFailed, SupervisorRpc
from fpm_listener.vocabulary import State
from tests.waiting import accepts, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONF = """\
[supervisord]
nodaemon=true
{user}
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[unix_http_server]
file={folder}/s.sock
{password}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={folder}/parts/*.conf
"""
PART = """\
[program:job]
command=/bin/sleep 1000
numprocs=2
process_name=%(program_name)s_%(process_num)02d
environment=A="1",B="x y"
[program:quick]
command=/bin/sh -c 'exit 7'
startsecs=0
autorestart=false
[group:both]
programs=grouped
[program:grouped]
command=/usr/sbin/php-fpm -F -y %(here)s/php-fpm.conf
autostart=false
stderr_logfile={folder}/grouped.stderr
[fpm-listener]
listen = %2F
"""


def write(folder: Path, password: str = "") -> Path:
    (folder / "parts").mkdir(exist_ok=True)
    (folder / "parts" / "a.conf").write_text(PART.replace("{folder}", str(folder)))
    user = "user=root" if os.geteuid() == 0 else ""
    conf = folder / "supervisord.conf"
    conf.write_text(CONF.format(folder=folder, user=user, password=password))
    return conf


def run(conf: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(conf)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def supervisord(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run supervisord in the test's folder."""
    child = run(write(tmp_path))
    try:
        wait_until(lambda: accepts(tmp_path / "s.sock"), "supervisord to listen")
        yield child
    finally:
        child.terminate()
        child.wait(30)


def client(folder: Path, **environ: str) -> SupervisorRpc:
    url = f"unix://{folder}/s.sock"
    made = SupervisorRpc.from_environment({"SUPERVISOR_SERVER_URL": url, **environ})
    assert made is not None
    return made


@pytest.mark.usefixtures("supervisord")
def test_what_supervisord_tells(tmp_path: Path) -> None:
    """Processes, programs, stderr files and the end of its log."""
    rpc = client(tmp_path)

    def states() -> dict[ProcessName, State]:
        seen = rpc.processes()
        assert not isinstance(seen, RpcFailed)
        return {process.name: process.state for process in seen}

    wait_until(lambda: states()[ProcessName("job", "job_01")] is State.RUNNING)
    assert states()[ProcessName("both", "grouped")] is State.STOPPED
    programs = rpc.programs()
    assert not isinstance(programs, RpcFailed)
    commands = {program.name: program.command for program in programs}
    assert commands[ProcessName("job", "job_00")] == "/bin/sleep 1000"
    logs = rpc.log_files()
    assert not isinstance(logs, RpcFailed)
    assert logs[ProcessName("both", "grouped")].stderr == f"{tmp_path}/grouped.stderr"
    assert (logs[ProcessName("job", "job_00")].stderr or "").startswith(str(tmp_path))

    def tail() -> str:
        answer = rpc.read_log_tail(4096)
        assert isinstance(answer, str)
        return answer

    wait_until(lambda: "exited: quick (exit status 7; not expected)" in tail())


def test_a_password(tmp_path: Path) -> None:
    """Without the password the failure says what to set; with it all works."""
    child = run(write(tmp_path, "username=u\npassword=p"))
    try:
        wait_until(lambda: accepts(tmp_path / "s.sock"), "supervisord to listen")
        refused = client(tmp_path).processes()
        assert isinstance(refused, RpcFailed)
        assert "SUPERVISOR_USERNAME" in refused.why
        known = client(tmp_path, SUPERVISOR_USERNAME="u", SUPERVISOR_PASSWORD="p")
        assert not isinstance(known.processes(), RpcFailed)
    finally:
        child.terminate()
        child.wait(30)


def test_no_listener(tmp_path: Path) -> None:
    """A socket that is not there is a value, not an exception."""
    failed = client(tmp_path).read_log_tail(10)

    assert isinstance(failed, RpcFailed)
    assert "No such file" in failed.why
    assert SupervisorRpc.from_environment({}) is None


def test_a_supervisord_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisord that does not answer costs the deadline, no more."""
    monkeypatch.setattr(supervisor_rpc, "TIMEOUT_S", 0.3)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s.sock"))
        door.listen()
        failed = client(tmp_path).processes()

    assert isinstance(failed, RpcFailed)
    assert "timed out" in failed.why


@pytest.mark.parametrize("answer", [b"junk\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\n<a>\x01", b""])
def test_an_answer_that_is_none(tmp_path: Path, answer: bytes) -> None:
    """Junk, broken XML and a closed connection are values as well."""
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(tmp_path / "s.sock"))
        door.listen()

        def speak() -> None:
            peer, _ = door.accept()
            with peer:
                peer.recv(65536)
                peer.sendall(answer)

        thread = threading.Thread(target=speak)
        thread.start()
        assert isinstance(client(tmp_path).processes(), RpcFailed)
        thread.join(10)


def test_the_file_as_supervisor_reads_it(tmp_path: Path) -> None:
    """Includes, numprocs, groups, expansions and environment are exact; nothing is touched."""
    conf = write(tmp_path)
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    found = read_programs(str(conf))
    assert not isinstance(found, ConfUnreadable)
    programs = {program.name: program for program in found}

    assert set(programs) == {
        *(ProcessName("job", "job_00"), ProcessName("job", "job_01")),
        *(ProcessName("quick", "quick"), ProcessName("both", "grouped")),
    }
    assert programs[ProcessName("job", "job_01")].environment == {"A": "1", "B": "x y"}
    grouped = programs[ProcessName("both", "grouped")]
    assert grouped.command == f"/usr/sbin/php-fpm -F -y {tmp_path}/parts/php-fpm.conf"
    assert grouped.stderr_log == f"{tmp_path}/grouped.stderr"
    assert programs[ProcessName("quick", "quick")].startsecs == 0
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "text",
    ["[supervisord]\n[program:x]\ncommand=/bin/x S3CRET%2F\n", "no section\n", "[program:x]\n"],
)
def test_a_file_that_supervisor_refuses(tmp_path: Path, text: str) -> None:
    """The reason names the file and shows no value of it."""
    conf = tmp_path / "supervisord.conf"
    conf.write_text(text)
    refused = read_programs(str(conf))

    assert isinstance(refused, ConfUnreadable)
    assert str(conf) in refused.why
    assert "S3CRET" not in refused.why


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["supervisord", "-c", "/etc/x.conf"], "/etc/x.conf"),
        (["python3", "/usr/bin/supervisord", "-n", "-c", "x.conf"], "{cwd}/x.conf"),
        (["supervisord", "-nc", "/etc/x.conf"], "/etc/x.conf"),
        (["supervisord", "-c/etc/x.conf"], "/etc/x.conf"),
        (["supervisord", "--configuration=/etc/x.conf", "-n"], "/etc/x.conf"),
        (["supervisord", "--configuration", "/etc/x.conf"], "/etc/x.conf"),
        (["supervisord", "-n"], "{cwd}/supervisord.conf"),
    ],
)
def test_which_file_supervisord_has_read(tmp_path: Path, words: list[str], found: str) -> None:
    """The command line of supervisord tells its file; without one, where it looks itself."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    (cwd / "supervisord.conf").touch()
    process = tmp_path / "proc" / "12"
    process.mkdir(parents=True)
    (process / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    (process / "cwd").symlink_to(cwd)

    assert find_conf(12, str(tmp_path / "proc")) == found.replace("{cwd}", str(cwd))
    assert find_conf(13, str(tmp_path / "proc")) is None


def test_which_file_a_real_supervisord_has_read(
    supervisord: subprocess.Popen[bytes],
    tmp_path: Path,
) -> None:
    """It works on a supervisord that runs."""
    assert find_conf(supervisord.pid) == str(tmp_path / "supervisord.conf")
