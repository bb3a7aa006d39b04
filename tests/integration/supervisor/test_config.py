"""supervisord's file in the hands of its own parser: what `test_supervisor.py` does not play."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from fpm_listener.supervisor import config
from fpm_listener.supervisor.config import ConfUnreadable, read_programs
from fpm_listener.supervisor.config_path import find_conf
from fpm_listener.supervisor.process import ProcessName, Program

CONF = """\
[supervisord]
identifier=here
user=nobody
umask=077
directory=/
logfile={folder}/logs/supervisord.log
pidfile={folder}/supervisord.pid
environment=FROM_MAIN="m",TOKEN="%(ENV_TOKEN)s"
[unix_http_server]
file={folder}/s.sock
chmod=0777
chown=nobody
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:plugin]
supervisor.rpcinterface_factory=no_such_plugin:make
[include]
files=parts/*.conf
"""
PART = """\
[program:php-fpm]
command=/usr/sbin/php-fpm -F -y %(here)s/%(ENV_SITE)s.conf -d a=100%%
directory=/tmp
environment=A="1,2",B="%(ENV_FROM_MAIN)s"
startsecs=2
startretries=7
autostart=false
autorestart=true
exitcodes=0,70
stopsignal=QUIT
stopwaitsecs=60
killasgroup=true
redirect_stderr=true
stdout_logfile={folder}/logs/fpm.log
[eventlistener:ours]
command=ours
events=PROCESS_STATE
result_handler=no_such_plugin:handler
stderr_logfile=NONE
stderr_events_enabled=false
[fcgi-program:fast]
command=/usr/bin/fast
socket=unix://{folder}/fast.sock
socket_owner=nobody
autorestart=false
stderr_events_enabled=true
[program:plain]
command=/bin/plain
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    """Return a configuration whose files of other kinds are there as well."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "logs").mkdir()
    for name in ("supervisord.pid", "s.sock", "fast.sock", "logs/supervisord.log", "logs/fpm.log"):
        (tmp_path / name).write_text("kept")
    (tmp_path / "parts" / "a.conf").write_text(PART.replace("{folder}", str(tmp_path)))
    (tmp_path / "parts" / "gone.conf").symlink_to("nowhere")
    path = tmp_path / "supervisord.conf"
    path.write_text(CONF.replace("{folder}", str(tmp_path)))
    return path


def environ(**more: str) -> dict[str, str]:
    return {**os.environ, "SITE": "www", "TOKEN": "s3cret", **more}


def described(path: Path, **more: str) -> dict[str, Any]:
    """Return what the child prints when a person runs it."""
    done = subprocess.run(
        [sys.executable, "-m", "fpm_listener.supervisor.config", str(path)],
        stdout=subprocess.PIPE,
        env=environ(**more),
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def read(path: Path, **more: str) -> dict[str, Program]:
    found = read_programs(str(path), environ=environ(**more))
    assert not isinstance(found, ConfUnreadable), found
    return {program.name.process: program for program in found}


def refusal(path: Path, **more: str) -> str:
    found = read_programs(str(path), environ=environ(**more))
    assert isinstance(found, ConfUnreadable), found
    return found.why


def test_all_that_a_section_says(conf: Path) -> None:
    """Each key is in the document as supervisor understands it, defaults included."""
    document = described(conf)
    processes = {process["name"]: process for process in document["processes"]}
    folder = conf.parent

    assert document["identifier"] == "here"
    assert {name: one["kind"] for name, one in processes.items()} == {
        "php-fpm": "program",
        "plain": "program",
        "ours": "eventlistener",
        "fast": "fcgi-program",
    }
    assert processes["php-fpm"] == {
        "group": "php-fpm",
        "name": "php-fpm",
        "kind": "program",
        "command": f"/usr/sbin/php-fpm -F -y {folder}/parts/www.conf -d a=100%",
        "directory": "/tmp",
        "environment": {"FROM_MAIN": "m", "TOKEN": "s3cret", "A": "1,2", "B": "m"},
        "startsecs": 2.0,
        "startretries": 7,
        "autostart": False,
        "autorestart": "true",
        "exitcodes": [0, 70],
        "stopsignal": 3,
        "stopwaitsecs": 60.0,
        "stopasgroup": False,
        "killasgroup": True,
        "redirect_stderr": True,
        "stdout_events_enabled": False,
        "stderr_events_enabled": False,
        "stdout_syslog": False,
        "stderr_syslog": False,
        "stdout_logfile_maxbytes": 50 << 20,
        "stderr_logfile_maxbytes": 50 << 20,
        "stdout_logfile": f"{folder}/logs/fpm.log",
        "stderr_logfile": None,
        "priority": 999,
        "buffer_size": None,
        "events": [],
        "user": None,
    }
    assert [processes[name]["autorestart"] for name in ("fast", "plain")] == ["false", "unexpected"]
    assert [processes[name]["stderr_logfile"] for name in ("ours", "plain")] == [None, "AUTO"]
    assert processes["fast"]["stderr_events_enabled"]


def test_what_the_listener_takes_of_it(conf: Path) -> None:
    """Plugins that are in supervisord's environment only are no hindrance."""
    programs = read(conf)

    assert programs["php-fpm"].name == ProcessName("php-fpm", "php-fpm")
    assert programs["php-fpm"].startsecs == 2.0
    assert programs["php-fpm"].directory == "/tmp"
    assert programs["php-fpm"].environment["B"] == "m"
    assert programs["php-fpm"].stderr_log == f"{conf.parent}/logs/fpm.log"
    assert [programs[name].stderr_log for name in ("ours", "plain")] == [None, None]


def test_nothing_is_touched(conf: Path, tmp_path: Path) -> None:
    """No file is made, removed, written or given another mode, in /tmp neither."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()

    def state() -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for path in (tmp_path, *tmp_path.rglob("*")):
            stat = path.lstat()
            found[str(path)] = (stat.st_mode, stat.st_uid, stat.st_size, stat.st_mtime_ns)
        return found

    before = state()
    read(conf, TMPDIR=str(temporary))

    assert state() == before


def test_a_secret_in_what_is_refused(conf: Path) -> None:
    """The section and its file are named; what supervisor prints of its values is not passed on."""
    part = conf.parent / "parts" / "b.conf"
    part.write_text("[program:broken]\ncommand=/bin/x --password hunter2 %(ENV_NOT_THERE)s\n")
    why = refusal(conf)

    assert why == (
        f"{conf}: environment variables are not set: NOT_THERE, "
        f"section 'program:broken' of '{part}'"
    )

    part.write_text("[program:broken]\ncommand=/bin/x --password hunter2 %(nothing)s\n")
    assert refusal(conf) == (
        f"{conf}: supervisor refuses it, section 'program:broken' of '{part}'; "
        "to see why: supervisorctl reread"
    )


def test_a_character_that_is_not_utf_8(conf: Path) -> None:
    """The line is named, also in an included file; supervisord rejects it in every such line."""
    part = conf.parent / "parts" / "b.conf"
    part.write_bytes(b"[program:b]\n; caf\xe9\ncommand=/bin/x\n")

    assert refusal(conf) == f"{conf}: line 2 of '{part}' has a character that is not UTF-8"

    conf.write_bytes(b"\xff")
    assert refusal(conf) == f"{conf}: line 1 of '{conf}' has a character that is not UTF-8"


def test_what_is_missing_for_it(conf: Path) -> None:
    """All variables that are not set are named, and the directory that does not exist."""
    part = conf.parent / "parts" / "b.conf"
    part.write_text("[program:b]\ncommand=%(ENV_X)s\nnumprocs=%(ENV_Y)s\ndirectory=%(ENV_X)s\n")
    found = config.read(str(conf), environ=environ())
    assert isinstance(found, ConfUnreadable)
    assert sorted(found.unset) == ["X", "Y"]

    part.write_text("[program:b]\ncommand=b\nstdout_logfile=/gone/b.log\n")
    found = config.read(str(conf), environ=environ())
    assert isinstance(found, ConfUnreadable)
    assert (found.unset, found.missing) == ((), "/gone/b.log")


@pytest.mark.parametrize(
    "text",
    [
        "[supervisord]\nlogfile=/none/x.log\n",
        "[supervisord]\n[eventlistener:x]\ncommand=x\nevents=NO_SUCH_EVENT\n",
        "[supervisord]\n[program:x]\n",
        "[supervisord]\n[include]\n",
        "[supervisord\n",
        "",
    ],
)
def test_what_supervisord_would_not_take(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with a file, the answer is a value."""
    path = tmp_path / "supervisord.conf"
    path.write_bytes(text.encode("latin-1"))

    assert "supervisor refuses it" in refusal(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """That is no mistake in the file."""
    assert refusal(tmp_path / "none.conf") == (
        f"{tmp_path}/none.conf: it does not exist or is not readable"
    )


def test_a_part_that_may_not_be_read() -> None:
    """A listener that is not root does not take half of the programs for all of them."""
    assert os.geteuid() == 0, "this test needs root, as the whole machine's setup does"
    folder = Path(tempfile.mkdtemp(prefix="co-"))
    folder.chmod(0o755)
    try:
        path, part = folder / "supervisord.conf", folder / "part.conf"
        path.write_text("[supervisord]\n[include]\nfiles=part.conf\n")
        part.write_text("[program:a]\ncommand=a\n")
        assert [str(program) for program in read(path)] == ["a"]
        part.chmod(0o600)
        program = (
            "import os, sys, tempfile, supervisor.options\n"
            "from fpm_listener.supervisor.config import describe\n"
            "os.setuid(65534)\n"
            "print(describe(sys.argv[1])['refused'])"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, str(path)],
            stdout=subprocess.PIPE,
            check=True,
        )
    finally:
        shutil.rmtree(folder)

    assert done.stdout.decode() == f"the included file {part} is not readable\n"


def test_a_file_that_never_ends(tmp_path: Path) -> None:
    """The child is ended when its time is over."""
    path = tmp_path / "supervisord.conf"
    os.mkfifo(path)
    began = time.monotonic()
    found = read_programs(str(path), timeout_s=1.0)

    assert time.monotonic() - began < 30
    assert found == ConfUnreadable(why=f"{path}: reading it took longer than 1 s")


def test_more_processes_than_anybody_has(tmp_path: Path) -> None:
    """A number with too many digits fills neither the memory of the child nor ours."""
    path = tmp_path / "supervisord.conf"
    path.write_text(
        "[supervisord]\n[program:a]\ncommand=a\nnumprocs=5001\nprocess_name=a%(process_num)d\n"
    )

    assert "it has 5001 processes (numprocs)" in refusal(path)


def test_modules_in_the_folder_where_supervisord_stands(
    conf: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The child, root perhaps, runs nothing that lies there: php may be able to write to it."""
    for name in ("json", "configparser", "supervisor", "fpm_listener"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)

    assert "php-fpm" in read(conf)


def test_no_supervisor_to_read_it_with(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is missing that is said, and the listener lives on without it."""
    package = Path(__file__).resolve().parents[3]
    outside = [path for path in sys.path if "-packages" not in path]
    monkeypatch.setattr(sys, "path", [str(package), *outside])

    assert refusal(conf).endswith("has no package supervisor, which is needed to read it")


# -- which file ------------------------------------------------------------------------------------


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """Return a procfs in which supervisord is pid 12, in a folder with configurations."""
    cwd = tmp_path / "cwd"
    for folder in ("etc", "venv/etc", "venv/bin"):
        (cwd / folder).mkdir(parents=True)
    (cwd / "etc" / "supervisord.conf").touch()
    (cwd / "venv" / "etc" / "supervisord.conf").touch()
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "cwd").symlink_to(cwd)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["python3", "-m", "supervisor.supervisord", "-n", "-c", "/etc/x.conf"], "/etc/x.conf"),
        (["python3", "-u", "/usr/bin/supervisord", "-n", "--conf=/etc/x.conf"], "/etc/x.conf"),
        (
            ["python3", "-c", "from supervisor.supervisord import main; main()", "-c", "x"],
            "{cwd}/x",
        ),
        (["/opt/supervisord/bin/python", "/opt/supervisord/bin/supervisord", "-c/a"], "/a"),
        (["supervisord", "-u", "-c", "-l", "--configuration", "-nc", "/a"], "/a"),
        (["supervisord", "-e", "debug", "-kc", "b/x.conf"], "{cwd}/b/x.conf"),
        (["supervisord", "-c", "/é\udcff.conf"], "/é\udcff.conf"),
        (["python3", "{cwd}/venv/bin/supervisord", "-n"], "{cwd}/venv/etc/supervisord.conf"),
        (["python3", "venv/bin/supervisord"], "{cwd}/venv/etc/supervisord.conf"),
        (["python3", "-m", "supervisor.supervisord"], "{cwd}/etc/supervisord.conf"),
        (["supervisord", "--no-such-option"], "{cwd}/etc/supervisord.conf"),
    ],
)
def test_the_file_that_a_command_line_names(proc: Path, words: list[str], found: str) -> None:
    """Options are told from their values as supervisord itself does it."""
    cwd = str(proc / "cwd")
    command = "\0".join([*words, ""]).replace("{cwd}", cwd)
    (proc / "12" / "cmdline").write_bytes(os.fsencode(command))

    assert find_conf(12, str(proc)) == found.replace("{cwd}", cwd)
