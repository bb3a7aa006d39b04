"""The files with the output of programs are found; devices and pipes are no files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fpm_listener.daemon.output_finder import OutputFinder
from fpm_listener.supervisor import config
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.process import Logs, ProcessName, Program
from fpm_listener.supervisor.rpc import LogFiles, RpcFailed, SupervisorRpc

NAME = ProcessName("web", "node")


class AutoRpc(SupervisorRpc):
    """A supervisord that has chosen names."""

    def __init__(self) -> None:
        super().__init__("unix:///none")

    def log_files(self) -> dict[ProcessName, LogFiles] | RpcFailed:
        return {NAME: LogFiles("/tmp/auto-out.log", "/tmp/auto-err.log")}


def find(logs: Logs | None, rpc: SupervisorRpc | None = None) -> tuple[object, ...]:
    finder = OutputFinder(rpc, os.getpid())
    finder.ask()
    found = finder.find(Program(name=NAME, logs=logs))
    return found.stdout_file, found.stderr_file, found.stdout_target, found.stderr_target


def test_files_that_the_configuration_names(tmp_path: Path) -> None:
    """A file that does not exist yet counts; a relative one is in supervisord's directory."""
    logs = Logs(stdout=f"{tmp_path}/new.log", stderr="err.log")
    assert find(logs) == (f"{tmp_path}/new.log", f"{Path.cwd()}/err.log", "", "")


@pytest.mark.parametrize("log", ["/dev/stderr", "/dev/fd/1", "/proc/self/fd/2", "/dev/tty9"])
def test_devices(log: str) -> None:
    """They are no files, whatever they are now."""
    assert find(Logs(stdout="syslog", stderr=log)) == (None, None, "syslog", log)


def test_a_link_to_a_device(tmp_path: Path) -> None:
    """As in the images of nginx: error.log is a link to /dev/stderr."""
    (tmp_path / "err.log").symlink_to("/dev/null")
    os.mkfifo(tmp_path / "fifo")
    logs = Logs(stdout=f"{tmp_path}/fifo", stderr=f"{tmp_path}/err.log")
    assert find(logs) == (None, None, f"{tmp_path}/fifo", f"{tmp_path}/err.log")


def test_a_pipe_whose_size_is_limited(tmp_path: Path) -> None:
    """supervisord cannot ask a pipe or a terminal for a position, but a file and /dev/null."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").touch()
    targets = [
        *((str(tmp_path / "fifo"), True), (str(tmp_path / "file"), False), ("NONE", False)),
        *(("syslog", False), ("/dev/null", False), ("/dev/full", True), ("/dev/fd/99", True)),
    ]
    finder = OutputFinder(None, os.getpid())
    for path, is_pipe in targets:
        assert finder.find(Program(name=NAME, logs=Logs(stderr=path))).rotates_pipe is is_pipe
        joined = Logs(stdout=path, redirect_stderr=True)
        assert finder.find(Program(name=NAME, logs=joined)).rotates_pipe is is_pipe
    unlimited = Logs(stderr=str(tmp_path / "fifo"), stderr_maxbytes=0)
    assert not finder.find(Program(name=NAME, logs=unlimited)).rotates_pipe


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_the_output_of_supervisord(path: str, tmp_path: Path) -> None:
    """It is that of supervisord, not of the listener."""
    program = Program(name=NAME, logs=Logs(stdout=path, redirect_stderr=True))
    with (tmp_path / "out").open("wb") as file:
        for target, is_pipe in ((subprocess.PIPE, True), (file, False)):
            with subprocess.Popen(["sleep", "60"], stdout=target) as supervisord:
                found = OutputFinder(None, supervisord.pid).find(program)
                supervisord.kill()
            assert found.rotates_pipe is is_pipe


def test_the_events_that_the_listener_gets() -> None:
    """They are in its own section; without it nothing is claimed."""
    finder = OutputFinder(None, os.getpid())
    joined = Program(name=NAME, logs=Logs(redirect_stderr=True))
    separate = Program(name=NAME, logs=Logs())
    assert finder.find(joined).subscribed is None
    for events, found in (
        (("PROCESS_STATE", "PROCESS_LOG_STDERR"), [False, True]),
        (("PROCESS_LOG",), [True, True]),
        (("EVENT",), [True, True]),
        (("PROCESS_STATE",), [False, False]),
    ):
        own = Program(name=ProcessName("fpm-listener", "fpm-listener"), events=events)
        finder.know([joined, own], own.name)
        assert [finder.find(one).subscribed for one in (joined, separate)] == found


@pytest.mark.parametrize(
    ("level", "log", "setting"),
    [
        ("info", "/var/log/s.log", ""),
        ("info", "", ""),
        ("error", "/var/log/s.log", "loglevel=error"),
        ("error", "/dev/null", "logfile=/dev/null"),
        ("info", "/dev/stdout", "logfile=/dev/stdout"),
    ],
)
def test_the_setting_that_hides_exits(level: str, log: str, setting: str) -> None:
    """A log that is no file cannot be read through XML-RPC."""
    finder = OutputFinder(None, os.getpid())
    found = finder.find(Program(name=NAME, logs=Logs(level=level, main=log)))
    assert found.exits_hidden_by == setting


def test_no_log_and_redirected_stderr(tmp_path: Path) -> None:
    """stdout has both."""
    logs = Logs(stdout=f"{tmp_path}/o", stderr=None, redirect_stderr=True)
    assert find(logs) == (f"{tmp_path}/o", None, "", "")
    assert find(Logs(stdout=None, stderr=None)) == (None, None, "NONE", "NONE")
    assert find(Logs(stdout="/dev/null", stderr="/dev/null")) == (None, None, "NONE", "NONE")


def test_names_that_supervisord_has_chosen() -> None:
    """XML-RPC names them."""
    assert find(Logs(), AutoRpc())[:2] == ("/tmp/auto-out.log", "/tmp/auto-err.log")


def test_chosen_names_without_xml_rpc(tmp_path: Path) -> None:
    """The file in childlogdir; none if there are two, or if it is a link."""
    logs = Logs(auto=f"{tmp_path}/node-{{channel}}---supervisor-")
    only = tmp_path / "node-stderr---supervisor-a1b2c3d4.log"
    only.touch()
    (tmp_path / "node-stdout---supervisor-a1b2c3d4.log").touch()
    (tmp_path / "node-stdout---supervisor-e5f6a7b8.log").touch()
    assert find(logs)[:2] == (None, str(only))
    only.rename(tmp_path / "other")
    only.symlink_to(tmp_path / "other")
    assert find(logs)[:2] == (None, None)


def test_settings_of_a_section(tmp_path: Path) -> None:
    """supervisor's own parser reads them."""
    path = tmp_path / "supervisord.conf"
    path.write_text(
        f"[supervisord]\nchildlogdir={tmp_path}\nidentifier=lab\n"
        "[program:a]\ncommand=/bin/cat\n"
        "[program:b]\ncommand=/bin/cat\nredirect_stderr=true\nstdout_logfile=/dev/stdout\n"
        "stdout_logfile_maxbytes=0\nstdout_events_enabled=true\n"
        "[program:c]\ncommand=/bin/cat\nstdout_logfile=NONE\nstderr_logfile=syslog\n"
    )
    read = config.read_programs(str(path))
    assert not isinstance(read, ConfUnreadable)
    first, second, third = (program.logs for program in read)
    assert first == Logs(auto=f"{tmp_path}/a-{{channel}}---lab-", main="supervisord.log")
    assert second is not None
    assert second[:6] == ("/dev/stdout", None, True, True, False, 0)
    assert third is not None
    assert third[:2] == (None, "syslog")


def test_the_default_directory_is_the_temporary_one(tmp_path: Path) -> None:
    """The parser looks for it nowhere, so that it opens no file."""
    path = tmp_path / "supervisord.conf"
    path.write_text("[supervisord]\n[program:a]\ncommand=/bin/cat\n")
    code = (
        "from fpm_listener.supervisor import config;"
        f"print(config.read_programs({str(path)!r})[0].logs.auto)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": "/var/tmp"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "/var/tmp/a-{channel}---supervisor-\n"
