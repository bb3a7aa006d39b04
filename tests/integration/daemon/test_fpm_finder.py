"""Programs that are php-fpm, although their command does not show it."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.daemon import fpm_finder
from fpm_listener.daemon.fpm_finder import FpmFinder
from fpm_listener.supervisor.process import ProcessName, Program
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

WEB = ProcessName("web", "web")
CONFIG = "/etc/php/8.2/fpm/php-fpm.conf"
TITLE = f"php-fpm: master process ({CONFIG})"


def program(command: str = "/entrypoint.sh", **section: Any) -> Program:  # noqa: ANN401 - its keys
    """Return a program of supervisord."""
    return Program(name=WEB, command=command, **section)


def script(folder: Path, text: str) -> str:
    """Write a script; return its path."""
    path = folder / "entrypoint.sh"
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return str(path)


@contextmanager
def running(folder: Path, *, title: str = TITLE, name: str = "php-fpm8.2") -> Iterator[int]:
    """Run a process with a title behind two shells; yield the pid of the outer one."""
    binary = folder / name
    shutil.copy("/bin/sleep", binary)
    pid_file = folder / "pid"
    inner = f"echo $$ >{pid_file}; exec -a {title!r} {binary} 1000"
    words = ["bash", "-c", 'bash -c "$0"; true', inner]
    with subprocess.Popen(words, start_new_session=True) as process:
        try:
            wait_until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the pid")
            its = Path(f"/proc/{pid_file.read_text().strip()}/cmdline")
            wait_until(lambda: its.read_text().startswith(title), "the title")
            yield process.pid
        finally:
            os.killpg(process.pid, 9)


def test_the_script_of_the_command(tmp_path: Path) -> None:
    """php-fpm is known before it has ever run; a relative path is one in directory=."""
    path = script(tmp_path, f"set -e\nexec php-fpm8.2 -F -y {CONFIG}")
    for command, directory in ((path, None), ("./entrypoint.sh", str(tmp_path))):
        found = FpmFinder().find(program(command, directory=directory))
        assert found is not None
        assert (found.binary, found.config) == ("php-fpm8.2", CONFIG)


def test_a_variable_of_the_program(tmp_path: Path) -> None:
    """The environment of the section applies to the script."""
    path = script(tmp_path, 'exec php-fpm8.2 -F -y "$CONF"')
    assert FpmFinder().find(program(path)) is None
    found = FpmFinder().find(program(path, environment={"CONF": CONFIG}))
    assert found is not None
    assert found.config == CONFIG


def test_a_script_of_two_programs(tmp_path: Path) -> None:
    """A script that can also become another program needs another proof."""
    path = script(tmp_path, f"[ $1 ] && exec php artisan\nexec php-fpm8.2 -F -y {CONFIG}")
    assert FpmFinder().find(program(path)) is None
    assert FpmFinder(named=("web",)).find(program(path)) is not None


def test_another_script(tmp_path: Path) -> None:
    """Nothing says that it starts php-fpm."""
    assert FpmFinder().find(program(script(tmp_path, "exec nginx"))) is None
    assert FpmFinder().find(program("/nonexistent")) is None
    assert FpmFinder().find(program("php-fpm -t")) is None


def test_the_running_process(tmp_path: Path) -> None:
    """Its executable and its title are the proof; it stays known when it has exited."""
    finder = FpmFinder()
    with running(tmp_path) as pid:
        assert finder.has_new({WEB: pid}, 0.0)
        finder.find(program())
    for one in (finder, FpmFinder(finder.memory())):
        found = one.find(program())
        assert found is not None
        assert found.binary == str(tmp_path / "php-fpm8.2")
        assert found.config == CONFIG
        assert one.find(program("/other.sh")) is None


def test_the_running_process_completes_the_script(tmp_path: Path) -> None:
    """The script does not name the configuration, the title does."""
    path = script(tmp_path, "php-fpm8.2 -F -R")
    finder = FpmFinder()
    with running(tmp_path) as pid:
        finder.has_new({WEB: pid}, 0.0)
        found = finder.find(program(path))
    assert found is not None
    assert (found.binary, found.config, found.allow_root) == ("php-fpm8.2", CONFIG, True)


@pytest.mark.parametrize(
    ("title", "name"),
    [(TITLE, "nginx"), ("php-fpm: pool www", "php-fpm8.2"), (TITLE.replace("/", "x"), "php-fpm")],
)
def test_a_process_that_is_no_master_of_php_fpm(tmp_path: Path, title: str, name: str) -> None:
    """Each process can write any title."""
    finder = FpmFinder()
    with running(tmp_path, title=title, name=name) as pid:
        finder.has_new({WEB: pid}, 0.0)
        assert finder.find(program()) is None
    assert finder.memory() == {}


def test_each_process_gets_two_looks() -> None:
    """A restart loop causes no more of them, and neither does time."""
    finder = FpmFinder()
    assert not finder.has_new({}, 0.0)
    looks = [finder.has_new({WEB: 7}, float(second)) for second in range(100)]
    assert sum(looks) == 2
    looks = [finder.has_new({WEB: second}, float(second)) for second in range(100, 200)]
    assert sum(looks) == 10


@pytest.mark.parametrize(
    "saved", [None, 7, {"web": ["a", "b", "c"]}, {"web:web": ["a"]}, {"web:web": [1, 2, 3]}]
)
def test_a_damaged_memory(saved: object) -> None:
    """Nothing of it is used."""
    assert FpmFinder(saved).memory() == {}


def test_the_setting() -> None:
    """It names programs as supervisorctl does, or with globs."""
    finder = FpmFinder()
    assert not finder.is_named(program())
    for glob in ("web", "web:web", "web:*"):
        finder.named = (glob,)
        assert finder.is_named(program())
    finder.named = ("other",)
    assert not finder.is_named(program())


FAILED = "[28-Nov-2026 20:00:00] ERROR: FPM initialization failed"
RUNS = "[28-Nov-2026 20:00:00] NOTICE: fpm is running, pid"


@pytest.mark.parametrize(
    ("line", "is_fpm"),
    [
        (FAILED, True),
        (f"{RUNS} 7", False),
        ("ERROR: FPM initialization failed", False),
        (f"tail: {FAILED}", False),
        (f"{FAILED}, says my application", False),
    ],
)
def test_the_messages_of_a_failed_run(tmp_path: Path, line: str, *, is_fpm: bool) -> None:
    """Only php-fpm's own lines count, and they are remembered."""
    finder, one = FpmFinder(), program(script(tmp_path, 'a=(php-fpm -F)\n"${a[@]}"'))
    assert finder.take_messages(one, ("other", line)) is is_fpm
    assert finder.is_named(one) is is_fpm
    assert finder.find(one) is None
    assert FpmFinder(finder.memory()).is_named(one) is is_fpm
    assert not finder.is_named(program("/other.sh"))
    assert not finder.take_messages(None, (line,))


@pytest.mark.parametrize(
    "command",
    [
        "/usr/bin/tail -F /var/log/php-fpm.log",
        "bash -c 'exec tail -F /var/log/php-fpm.log'",
        "{script}",
        "/bin/sleep 7",
        "/nonexistent.sh",
    ],
)
def test_a_program_that_shows_the_messages_of_another(tmp_path: Path, command: str) -> None:
    """It is no php-fpm, whatever it shows."""
    path = script(tmp_path, "while ! [ -e /x ]; do sleep 1; done\ntail -f /x")
    finder, one = FpmFinder(), program(command.format(script=path))
    with running(tmp_path) as pid:  # another php-fpm
        finder.has_new({WEB: os.getpid() + 100000}, 0.0)
        assert not finder.take_messages(one, (f"{RUNS} {pid}", FAILED))
        assert not finder.take_messages(one, (FAILED,))
    assert finder.memory() == {}


def test_a_message_with_the_pid_of_its_own_php_fpm(tmp_path: Path) -> None:
    """It counts, also if the title shows no configuration."""
    finder, one = FpmFinder(), program("/usr/local/bin/start")
    with running(tmp_path, title="php-fpm") as outer:
        pid = (tmp_path / "pid").read_text().strip()
        finder.has_new({WEB: outer}, 0.0)
        assert finder.take_messages(one, (f"{RUNS} {pid}",))
        assert finder.is_named(one)


def test_a_false_memory_is_refuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program runs for a while, and none of its processes is php-fpm or a shell."""
    one = program("/usr/bin/tail -F /var/log/php-fpm.log")
    finder = FpmFinder({"web:web": [one.command, "", ""]})
    assert finder.is_named(one)
    with subprocess.Popen(["/bin/sleep", "1000"]) as other:
        try:
            finder.has_new({WEB: other.pid}, 0.0)
            finder.find(one)
            assert finder.is_named(one)  # it may still become php-fpm
            monkeypatch.setattr(fpm_finder, "_SETTLED_S", 0.0)
            finder.find(one)
            assert not finder.is_named(one)
        finally:
            other.kill()
    kept = FpmFinder({"web:web": [one.command, "", ""]})
    with running(tmp_path, title="php-fpm") as pid:
        kept.has_new({WEB: pid}, 0.0)
        kept.find(one)
    assert kept.is_named(one)
