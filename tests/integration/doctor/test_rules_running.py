"""The doctor beside a supervisord that runs: what is in the file only."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor import check, gathering
from fpm_listener.doctor.rules_running import not_loaded
from fpm_listener.supervisor.process import Loaded
from tests.fakes import FakeHost
from tests.integration.doctor.test_check import nobody
from tests.integration.supervisor.test_pipe import run
from tests.waiting import accepts, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONF = """\
[unix_http_server]
file={folder}/s.sock
{password}
[supervisord]
{user}
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
childlogdir={folder}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:one]
command=/bin/sleep 1000
numprocs=2
process_name=%(program_name)s_%(process_num)02d
directory=/tmp
exitcodes=0,7
stopsignal=QUIT
environment=A="1"
stdout_logfile=NONE
[program:two]
command=/bin/sleep 2000
startsecs=0
[program:three]
command=%(ENV_SLEEP)s 3000
autostart=false
"""


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the file of a supervisord that runs, in another environment than ours."""
    path = tmp_path / "supervisord.conf"
    write(path)
    monkeypatch.setenv("SLEEP", "/bin/sleep")
    child = run(path)
    monkeypatch.setenv("SLEEP", "/usr/bin/sleep")
    try:
        wait_until(lambda: accepts(tmp_path / "s.sock"), "supervisord to listen")
        yield path
    finally:
        child.terminate()
        child.wait(30)


def write(path: Path, *changes: tuple[str, str], password: str = "") -> None:
    text = CONF.format(
        folder=path.parent,
        user="user=root" if os.geteuid() == 0 else "",
        password=password,
    )
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def found(path: Path, live: bool = True) -> list[tuple[str, str]]:  # noqa: FBT001, FBT002 - a test's
    findings = check.check(str(path), FakeHost(), live=live, search=nobody)
    return [(one.what, one.fix) for one in findings if one.id == "FPM115"]


def update(group: str) -> str:
    return f"Load the file: supervisorctl reread && supervisorctl update {group}"


def test_what_is_only_in_the_file(conf: Path) -> None:
    """Nothing while they agree; then what has changed, come and gone, each with its command."""
    assert found(conf) == []

    write(
        conf,
        ("sleep 1000", "sleep 1001"),
        ("exitcodes=0,7", "exitcodes=0"),
        ("[program:two]", "[program:four]"),
    )
    assert sorted(found(conf)) == [
        ("four is in the file, but not in the running supervisord", update("four")),
        ("one:one_00 runs with another command, exitcodes", update("one")),
        ("supervisord runs two, which is not in the file", update("two")),
    ]
    assert found(conf, live=False) == []

    write(conf, ("numprocs=2", "numprocs=3"))
    assert found(conf) == [("supervisord does not know one:one_02", update("one"))]


def test_a_file_that_may_not_be_read_beside_one_that_runs(conf: Path) -> None:
    """What could not be checked is said, with who runs; 2."""
    command = [sys.executable, "-m", "fpm_listener", "check", "--supervisord-conf"]
    done = subprocess.run(
        [*command, str(conf.parent / "none.conf")],
        env={**os.environ, "SUPERVISOR_SERVER_URL": f"unix://{conf.parent}/s.sock"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "none.conf: does not exist, or this user may not read it" in done.stderr
    assert f"A supervisord runs (unix://{conf.parent}/s.sock; one, three, two)" in done.stderr
    assert "its files and php-fpm's were not checked" in done.stderr


def test_one_that_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody there, or a password that is not known: silence."""
    monkeypatch.setenv("SLEEP", "/bin/sleep")
    path = tmp_path / "supervisord.conf"
    write(path, password="username=u\npassword=p")
    assert found(path) == []
    child = run(path)
    try:
        wait_until(lambda: accepts(tmp_path / "s.sock"), "supervisord to listen")
        write(path, ("sleep 1000", "sleep 1001"), password="username=u\npassword=p")
        wait_until(lambda: len(found(path)) == 1, "the password of the file to be used")
        hashed = f"{{SHA}}{hashlib.sha1(b'p').hexdigest()}"  # noqa: S324 - supervisor's
        write(path, ("sleep 1000", "sleep 1001"), password=f"username=u\npassword={hashed}")
        assert found(path) == []
        monkeypatch.setenv("SUPERVISOR_USERNAME", "u")
        monkeypatch.setenv("SUPERVISOR_PASSWORD", "p")
        assert len(found(path)) == 1
    finally:
        child.terminate()
        child.wait(30)


def test_keys_that_a_supervisord_does_not_tell(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are not compared."""
    monkeypatch.setenv("SLEEP", "/bin/sleep")
    path = tmp_path / "supervisord.conf"
    write(path)
    names = [("one", "one_00"), ("one", "one_01"), ("two", "two"), ("three", "three")]
    told = tuple({"group": group, "name": name} for group, name in names)
    checkup = gathering.gather(str(path), FakeHost(), os.environ)

    assert list(not_loaded.check(checkup._replace(loaded=Loaded(told, told)))) == []
