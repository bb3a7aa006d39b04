"""`fpm-listener init`: files for this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fpm_listener.cli import init
from fpm_listener.cli.init import Php, find_php
from fpm_listener.doctor import check
from fpm_listener.doctor.host_facts import Host
from fpm_listener.settings.settings import load
from fpm_listener.supervisor import config
from fpm_listener.values import FpmListenerError
from tests.integration.doctor.test_check import nobody

if TYPE_CHECKING:
    from pathlib import Path

#: Two versions side by side, as Sury's packages have them.
BOTH = [
    Php("/usr/sbin/php-fpm8.2", "/etc/php/8.2/fpm/php-fpm.conf", 0.0),
    Php("/usr/sbin/php-fpm8.4", "/etc/php/8.4/fpm/php-fpm.conf", 60.0),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder to drop files in."""
    made = tmp_path / "conf.d"
    made.mkdir()
    return made


def with_main(folder: Path) -> str:
    """Return a supervisord.conf that includes the folder."""
    path = folder.parent / "supervisord.conf"
    path.write_text(
        f"[unix_http_server]\nfile={folder}/s\n[supervisord]\nnodaemon=true\n"
        f"[include]\nfiles={folder}/*.conf\n",
    )
    return str(path)


def test_the_php_fpm_of_this_machine() -> None:
    """It is found, once, with its configuration."""
    real = os.environ["PHP_FPM"]
    found = find_php()

    assert [one for one in found if os.path.realpath(one.binary) == os.path.realpath(real)]
    assert all(os.path.isfile(one.config) for one in found)  # noqa: PTH113 - texts
    assert find_php(["/nonexistent/php-fpm*"]) == []


def test_what_is_written_is_sound(folder: Path) -> None:
    """supervisor reads it, the listener reads it, and the doctor finds nothing in it."""
    said: list[str] = []
    assert init.write(str(folder), said.append) == 0
    findings = check.check(with_main(folder), Host(), search=nobody)

    assert {one.id for one in findings if one.where.startswith(str(folder))} == {"FPM121"}
    assert load(str(folder / "fpm_listener.conf"), {}).receivers == ()
    assert said[-1] == "then run: supervisorctl update"


def test_several_versions(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program for each, with its own logs, and time enough to finish requests."""
    monkeypatch.setattr(init, "find_php", lambda: BOTH)
    init.write(str(folder), print)
    read = config.read(with_main(folder))
    assert isinstance(read, dict)
    programs = {one["name"]: one for one in read["processes"] if one["kind"] == "program"}

    assert sorted(programs) == ["php-fpm8.2", "php-fpm8.4"]
    for php in BOTH:
        one = programs[f"php-fpm{php.binary[-3:]}"]
        assert one["command"].endswith(f"-- {php.binary} -F --fpm-config {php.config}")
        assert one["stderr_logfile"] == f"/var/log/{one['name']}.stderr.log"
        assert one["stopwaitsecs"] >= php.timeout_s + 10
        assert one["killasgroup"]


def test_a_section_that_is_there_already(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No second [program:php-fpm] is written; it says what to change in the first."""
    monkeypatch.setattr(init, "find_php", lambda: BOTH[:1])
    site = folder / "site.conf"
    site.write_text(
        "[program:other]\ncommand=x\n[program:php-fpm]\nstopsignal=QUIT\n"
        'command=bash -c "sleep 1 && php-fpm -F"\n'
    )
    said: list[str] = []
    init.write(str(folder), said.append)
    text = "\n".join(said)

    assert f"{site}:3: [program:php-fpm] exists, so no second one is written" in text
    assert "\n    startsecs=3\n" in text
    assert "guard --hold" in text
    assert "stopsignal" not in text
    assert not (folder / "php-fpm.conf").exists()
    assert (folder / "fpm_listener.conf").exists()


def test_an_access_log_on_stderr(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request would become an event: that is said."""
    conf = tmp_path / "php-fpm.conf"
    conf.write_text("[www]\nlisten = 9000\naccess.log = /proc/self/fd/2\n")
    monkeypatch.setattr(init, "find_php", lambda: [Php("/usr/sbin/php-fpm8.2", str(conf), 0.0)])
    said: list[str] = []
    init.write(str(folder), said.append)

    assert any("FPM119" in line for line in said)


def test_nothing_is_overwritten(folder: Path) -> None:
    """What is there stays, and is named."""
    mine = folder / "php-fpm.conf"
    mine.write_text("mine")
    said: list[str] = []
    init.write(str(folder), said.append)

    assert mine.read_text() == "mine"
    assert f"{mine} exists and stays unchanged" in said
    assert (folder / "fpm_listener.conf").exists()


def test_without_a_php_fpm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener's file is written all the same, for the other programs."""
    monkeypatch.setattr(init, "find_php", list)
    said: list[str] = []
    init.write(str(folder), said.append)

    assert "found no php-fpm with a configuration" in said[0]
    assert sorted(path.name for path in folder.iterdir()) == ["fpm_listener.conf"]


def test_nowhere_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The places that were looked for are named."""
    with pytest.raises(FpmListenerError, match="no such directory"):
        init.write(str(tmp_path / "none"), print)
    monkeypatch.setattr(init, "FOLDERS", ((str(tmp_path / "none"), "conf"),))
    with pytest.raises(FpmListenerError, match="fpm-listener init DIR"):
        init.write(None, print)


def test_the_command(folder: Path) -> None:
    """As one types it; the endings are those of the folder's system."""
    words = [sys.executable, "-m", "fpm_listener", "init", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=200, check=False)

    assert done.returncode == 0
    assert f"{folder}/fpm_listener.conf written" in done.stdout
    assert "command=" in (folder / "php-fpm.conf").read_text()
