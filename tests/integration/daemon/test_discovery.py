"""Programs come from supervisord's own file; the php-fpm among them are known with their logs."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fpm_listener.daemon.discovery import Discovery, probe_targets
from fpm_listener.daemon.fpm_finder import FpmFinder
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.phpfpm import command_line, config_files
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.config_files import DiskFiles
from fpm_listener.phpfpm.pool_probe import ProbeTarget
from fpm_listener.phpfpm.status_page import PoolTarget
from fpm_listener.supervisor.process import ProcessName, Program
from fpm_listener.supervisor.rpc import RpcFailed
from fpm_listener.vocabulary import Where
from tests.fakes import FakeRpc

FPM = ProcessName("web", "fpm")
#: A process that is told of a file as supervisord is, says that it runs, and waits.
WAIT = "import sys; print(flush=True); sys.stdin.read()"


@pytest.fixture
def supervisord(tmp_path: Path) -> Iterator[int]:
    """Return the pid of a process whose command line names the configuration."""
    script = write(tmp_path / "bin" / "supervisord", WAIT)
    process = subprocess.Popen(
        [sys.executable, script, "-n", "-c", tmp_path / "supervisord.conf"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process.pid
    process.communicate(timeout=200)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def configure(folder: Path, command: str, more: str = "") -> None:
    """Write a supervisord.conf whose programs stand in an included file."""
    write(
        folder / "supervisord.conf",
        f"[supervisord]\nlogfile={folder}/s.log\n[include]\nfiles = conf.d/*.conf\n",
    )
    text = f"[group:web]\nprograms=fpm\n[program:fpm]\ncommand={command}\n{more}\n"
    write(
        folder / "conf.d" / "web.conf",
        text + "[program:worker]\ncommand=/bin/cat\nnumprocs=2\n"
        "process_name=%(program_name)s_%(process_num)d\n",
    )


def fpm_conf(folder: Path, error_log: str) -> Path:
    write(
        folder / "pool.d" / "www.conf",
        "[www]\nlisten = 127.0.0.1:${PORT}\n[api]\nlisten = /run/$pool.sock\n",
    )
    text = f"[global]\nerror_log = {error_log}\ninclude = {folder}/pool.d/*.conf\n"
    return write(folder / "fpm.conf", text)


def test_a_php_fpm_and_its_files(tmp_path: Path, supervisord: int) -> None:
    """Its addresses, pools and log are known, its environment applied; others have no site."""
    conf = fpm_conf(tmp_path, "/var/log/x.log")
    pools = tmp_path / "pool.d" / "www.conf"
    configure(tmp_path, f"php-fpm8.2 -F -y {conf}", 'environment=PORT="9077"')
    rpc = FakeRpc(RpcFailed(why="not asked"))
    known = Discovery(rpc, supervisord).read(all_configs=True)
    names = {str(program.name) for program in known.programs}
    assert names == {"web:fpm", "worker:worker_0", "worker:worker_1"}
    assert known.sites == {
        FPM: FpmSite(
            addresses=("127.0.0.1:9077", "/run/api.sock"),
            pools=("www", "api"),
            error_logs=("/var/log/x.log",),
            targets=(
                PoolTarget("www", "127.0.0.1:9077", config=str(conf)),
                PoolTarget("api", "/run/api.sock", config=str(conf)),
            ),
            probes=(ProbeTarget("www", "127.0.0.1:9077"), ProbeTarget("api", "/run/api.sock")),
            config=str(conf),
            check_command=f"php-fpm8.2 -t -y {conf}",
            listen_places=(("www", f"{pools}:2"), ("api", f"{pools}:4")),
        ),
    }
    assert known.needs[FPM] == Needs(
        program="php-fpm8.2",
        command="php-fpm8.2",
        files=("/run/api.sock", "/var/log/x.log"),
        addresses=("127.0.0.1:9077", "/run/api.sock"),
        config=str(conf),
        logs=("/tmp/",),
    )
    assert known.needs[ProcessName("worker", "worker_1")] == Needs(
        program="/bin/cat", command="/bin/cat", logs=("/tmp/",)
    )
    assert rpc.asked == 0


def test_what_a_php_fpm_cannot_do_without(tmp_path: Path, supervisord: int) -> None:
    """Folders of sockets, pid file and log, and names of users; numbers need no entry."""
    conf = write(
        tmp_path / "fpm.conf",
        "[global]\npid = /run/php/x.pid\nerror_log = /var/log/php/e.log\n"
        "[a]\nuser = one\ngroup = 33\nlisten = /run/php/a.sock\nchdir = /srv/a\n"
        "access.log = /proc/self/fd/2\nslowlog = /var/log/never.log\n"
        "[b]\nuser = two\ngroup = staff\nlisten = 9000\nchroot = /srv/jail\nchdir = /www\n"
        "access.log = /var/log/a.log\nslowlog = /var/log/s.log\nrequest_slowlog_timeout = 5s\n",
    )
    configure(tmp_path, f"./bin/php-fpm8.2 -F -y {conf}", "directory=/opt/php")
    needs = Discovery(None, supervisord).read(all_configs=True).needs[FPM]

    named = os.geteuid() == 0
    assert needs == Needs(
        program="/opt/php/./bin/php-fpm8.2",
        files=(
            *("/run/php/a.sock", "/run/php/x.pid", "/var/log/php/e.log"),
            *("/var/log/a.log", "/var/log/s.log"),
        ),
        pid_file="/run/php/x.pid",
        directory="/opt/php",
        addresses=("/run/php/a.sock", "9000"),
        config=str(conf),
        worker_folders=("/srv/a", "/srv/jail", "/srv/jail/www"),
        logs=("/tmp/",),
        users=("one", "two") if named else (),
        groups=("staff",) if named else (),
    )


def test_a_log_on_stderr(tmp_path: Path, supervisord: int) -> None:
    """There is no file to follow."""
    conf = fpm_conf(tmp_path, "/proc/self/fd/2")
    configure(tmp_path, f"sh -c 'exec php-fpm8.2 -F -y {conf}'")
    assert Discovery(None, supervisord).read(all_configs=True).sites[FPM].error_logs == ()


def test_paths_below_the_programs_directory(tmp_path: Path, supervisord: int) -> None:
    """A relative -y and a relative -p are read from where the program is started."""
    write(tmp_path / "app" / "inc" / "a.conf", "[a]\nlisten = 9000\n")
    write(tmp_path / "app" / "fpm.conf", "error_log = e.log\ninclude = inc/*.conf\n")
    configure(tmp_path, "php-fpm8.2 -F -p . -y fpm.conf", f"directory={tmp_path}/app")
    site = Discovery(None, supervisord).read(all_configs=True).sites[FPM]
    assert site.addresses == ("9000",)
    assert [str(Path(path)) for path in site.error_logs] == [f"{tmp_path}/app/e.log"]


def test_a_configuration_that_changes(tmp_path: Path, supervisord: int) -> None:
    """php-fpm's is read each time, supervisord's when it may have changed."""
    conf = fpm_conf(tmp_path, "/a.log")
    configure(tmp_path, f"php-fpm8.2 -F -y {conf}")
    programs = Discovery(None, supervisord)
    assert programs.read(all_configs=True).sites[FPM].error_logs == ("/a.log",)
    fpm_conf(tmp_path, "/b.log")
    configure(tmp_path, "/bin/cat")
    assert programs.read(all_configs=False).sites[FPM].error_logs == ("/b.log",)
    assert programs.read(all_configs=True).sites == {}


def test_a_php_fpm_that_only_tests(tmp_path: Path, supervisord: int) -> None:
    """It serves nothing: no site."""
    configure(tmp_path, "php-fpm8.2 -t")
    assert Discovery(None, supervisord).read(all_configs=True).sites == {}


def test_a_file_that_supervisor_refuses(
    tmp_path: Path,
    supervisord: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The live supervisord is asked instead, and nothing is complained of."""
    write(tmp_path / "supervisord.conf", "[supervisord]\n[program:x]\n")
    program = Program(name=FPM, command=f"php-fpm8.2 -F -y {fpm_conf(tmp_path, '/a.log')}")
    rpc = FakeRpc((program,))
    known = Discovery(rpc, supervisord).read(all_configs=True)
    assert known.programs == (program,)
    assert known.sites[FPM].error_logs == ("/a.log",)
    assert caplog.records == []


def test_no_way_to_the_programs(
    tmp_path: Path,
    supervisord: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Both reasons are said, once; what was known stays known."""
    configure(tmp_path, "php-fpm8.2 -F")
    programs = Discovery(FakeRpc(RpcFailed(why="it is away")), supervisord)
    known = programs.read(all_configs=True).programs
    write(tmp_path / "supervisord.conf", "[supervisord]\n[program:x]\npassword=secret\n")
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        assert programs.read(all_configs=True).programs == known
        assert programs.read(all_configs=True).programs == known
    said = [record.message for record in caplog.records if "unknown" in record.message]
    assert len(said) == 1
    assert "supervisor refuses it" in said[0]
    assert "it is away" in said[0]
    assert "secret" not in caplog.text


def test_a_supervisord_that_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is known, and the listener goes on."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=200)
    known = Discovery(None, process.pid).read(all_configs=True)
    assert (known.programs, dict(known.sites)) == ((), {})
    assert "was not found" in caplog.text


def test_a_php_fpm_configuration_that_is_not_there(
    tmp_path: Path,
    supervisord: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said once, with the path; the program is known as php-fpm all the same."""
    configure(tmp_path, f"php-fpm8.2 -F -y {tmp_path}/none.conf")
    programs = Discovery(None, supervisord)
    for _ in range(2):
        assert programs.read(all_configs=False).sites[FPM].addresses == ()
    assert caplog.text.count("No such file or directory") == 1
    assert f"{tmp_path}/none.conf" in caplog.text


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 do not stop the reading."""
    path = tmp_path / "x.conf"
    path.write_bytes(b"; caf\xe9\n[a]\n")
    assert DiskFiles(None).read(str(path)).endswith("\n[a]\n")


@pytest.mark.parametrize("which", ["fpm.conf", "pool.d/www.conf"])
def test_a_configuration_that_cannot_be_read_for_a_moment(
    tmp_path: Path, supervisord: int, which: str
) -> None:
    """What is known stays: php-fpm runs with it, and no other log is followed."""
    conf = fpm_conf(tmp_path, "/var/log/x.log")
    configure(tmp_path, f"php-fpm8.2 -F -y {conf}")
    programs = Discovery(None, supervisord)
    known = programs.read(all_configs=True).sites[FPM]
    text = (tmp_path / which).read_text()
    (tmp_path / which).unlink()
    (tmp_path / which).symlink_to(tmp_path / "gone")  # as a file of a volume that is not mounted
    assert programs.read(all_configs=False).sites[FPM] == known
    assert programs.read(all_configs=True).sites[FPM] == known

    (tmp_path / which).unlink()
    write(tmp_path / which, text.replace("x.log", "y.log").replace("www", "other"))
    changed = programs.read(all_configs=False).sites[FPM]
    assert changed != known


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    """It is refused, and no descriptor stays open."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a text
    with pytest.raises(IsADirectoryError):
        DiskFiles("/").read(str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - the same


def test_an_unexpected_error_over_one_program(
    tmp_path: Path, supervisord: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported, what was known of that program stays, and the others are read."""
    conf = fpm_conf(tmp_path, "/var/log/x.log")
    configure(tmp_path, f"php-fpm8.2 -F -y {conf}")
    caught: list[Where] = []
    programs = Discovery(None, supervisord, lambda where, _: caught.append(where))
    known = programs.read(all_configs=True)

    def fail(*_: object, **__: object) -> None:
        raise LookupError

    monkeypatch.setattr(config_files, "read", fail)
    assert programs.read(all_configs=False) == known
    assert caught == [Where.PROGRAMS]

    monkeypatch.setattr(command_line, "find", fail)
    fresh = Discovery(None, supervisord, lambda where, _: caught.append(where)).read(
        all_configs=True
    )
    assert fresh.programs == known.programs
    assert fresh.sites == {}
    assert fresh.needs == {}


def test_a_php_fpm_that_only_the_settings_name(tmp_path: Path, supervisord: int) -> None:
    """It has no configuration, and its stderr is followed."""
    stderr = write(tmp_path / "stderr.log", "")
    configure(tmp_path, "/opt/start", f"stderr_logfile={stderr}")
    finder = FpmFinder()
    programs = Discovery(None, supervisord, finder=finder)
    assert programs.read(all_configs=True).sites == {}
    finder.named = ("web:fpm",)

    assert programs.read(all_configs=False).sites == {FPM: FpmSite(error_logs=(str(stderr),))}


def test_whom_listen_allowed_clients_restricts(tmp_path: Path) -> None:
    """Clients of TCP only: a pool on a unix socket that hangs up does not work."""
    common = "pm = static\npm.max_children = 1\nlisten.allowed_clients = 10.0.0.1\n"
    path = tmp_path / "fpm.conf"
    path.write_text(
        f"[tcp]\nlisten = 127.0.0.1:9000\n{common}[unix]\nlisten = {tmp_path}/s\n{common}"
    )
    invocation = command_line.FpmInvocation("php-fpm", config=str(path), foreground=True)
    conf = config_files.read(invocation, directory=None, environment={})

    assert [one.is_restricted for one in probe_targets(conf)] == [True, False]
