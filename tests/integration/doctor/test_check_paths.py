"""`check PATH…`: the configurations of a repository, without the machine that they are for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor.check_paths import check_paths
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fpm_listener.doctor.check import CheckResult

MAIN = """\
[supervisord]
nodaemon=true
user=www-data
[program:php-fpm]
command=/usr/local/sbin/php-fpm -F
directory=/no/such/directory
numprocs=%(ENV_COUNT)s
process_name=%(process_num)s
stdout_logfile=/no/such/directory/out.log
[include]
files = conf.d/*.conf /etc/supervisor/conf.d/*.conf
"""
WORKER = "[program:worker]\ncommand=sh -c 'sleep 1'\nstopwaitsec=3\n"
REPOSITORY = {
    ".git/HEAD": "ref: a\n",
    "vendor/a.conf": "[program:no]\ncommand=a\nstopwaitsec=3\n",
    "docker/supervisord.conf": MAIN,
    "docker/conf.d/worker.conf": WORKER,
    "docker/other/alone.ini": "[program:alone]\ncommand=cat\nstopwaitsec=3\n",
    "docker/other/group.ini": "[group:all]\nprograms=elsewhere\n[program:b]\ncommand=cat\na=1\n",
    "docker/zz-docker.conf": "[global]\ndaemonize = no\n[www]\nlisten = 9000\n",
    "docker/pool.conf": "[shop]\nuser = shop\nlisten = 9001\npm = static\npm.max_childs = 2\n",
    "docker/template.conf.j2": "[program:{{ name }}]\ncommand=a\n",
    "docker/env.conf": "[supervisord]\nuser=${APP_USER}\nloglevel=${LEVEL}\n",
    "docker/latin.conf": "[program:latin]\ncommand=caf\xe9\n",
    "node_modules/a/supervisord.conf": "[supervisord]\nnonsense=1\n",
    "nginx.conf": "user nginx;\nhttp { server { listen 80; } }\n",
    "php.ini": "[PHP]\nerror_log = /dev/stderr\nmemory_limit = 1G\n[opcache]\nopcache.enable=1\n",
    "my.cnf": "[mysqld]\nuser = mysql\npid-file = /run/a.pid\n",
    "smb.conf": "[global]\nworkgroup = A\ninclude = /a\n[homes]\nuser = a\npath = /b\n",
    "setup.cfg": "[metadata]\nname = a\n[tool:pytest]\naddopts = -q\n",
    "uwsgi.ini": "[uwsgi]\nlisten = 100\nuser = a\nprocesses = 4\n",
}


def write(folder: Path, files: Mapping[str, str]) -> Path:
    """Write files into a folder, and return it."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="latin-1")
    return folder


def found(result: CheckResult, folder: Path, *, rules: str = "") -> set[tuple[str, str]]:
    """Return the rules and places of findings; rules: only these."""
    return {
        (one.id, f"{one.file.removeprefix(f'{folder}/')} [{one.section}]")
        for one in result.findings
        if not rules or one.id in rules
    }


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with many files."""
    folder = write(tmp_path_factory.mktemp("repository"), REPOSITORY)
    (folder / "docker" / "loop").symlink_to(folder)
    (folder / "docker" / "passwd.conf").symlink_to("/etc/passwd")
    (folder / "docker" / "again.conf").symlink_to("conf.d/worker.conf")
    (folder / "docker" / "gone.conf").symlink_to("nowhere.conf")
    return folder


@pytest.fixture(scope="module")
def result(repository: Path) -> CheckResult:
    """Return the result for the repository."""
    return check_paths([str(repository)], is_offline=True)


def test_each_configuration_of_a_repository(repository: Path, result: CheckResult) -> None:
    """Each file is reported once: as a part of its main file, as programs, or as a pool."""
    assert found(result, repository, rules="FPM112 FPM080") == {
        ("FPM112", "docker/conf.d/worker.conf [program:worker]"),
        ("FPM112", "docker/other/alone.ini [program:alone]"),
        ("FPM112", "docker/other/group.ini [program:b]"),
        ("FPM080", "docker/pool.conf [shop]"),
    }
    assert {one.id for one in result.findings if "zz-docker" in one.file} <= {"FPM047"}


def test_what_only_the_machine_knows(result: CheckResult) -> None:
    """Users, directories, programs and variables make no finding."""
    absent = {"FPM023", "FPM030", "FPM033", "FPM049", "FPM063", "FPM067", "FPM068", "FPM111"}
    assert not {one.id for one in result.findings} & {*absent, "FPM113", "FPM016"}


def test_notes(repository: Path, result: CheckResult) -> None:
    """What was not checked is a note with its reason."""
    notes = {note.removeprefix(f"{repository}/docker/") for note in result.notes}

    template = "it is a template ({{ … }} of Jinja or a similar language)"
    rejects = "supervisord may reject it, because ${APP_USER} is unknown"
    assert notes == {
        "supervisord.conf: not in these files, so not checked: /etc/supervisor/conf.d/*.conf",
        "other/group.ini: a [group:x] names programs of a file that is not here",
        f"template.conf.j2: not checked: {template}. Check the file that is made of it",
        "latin.conf: not checked: line 2 is not UTF-8, and supervisord rejects it",
        f"passwd.conf: not checked: it is a link that leads out of {repository}",
        "gone.conf: not checked: it is a link to a file that does not exist",
        f"env.conf: checked in part: {rejects}. Check the file with its values, too",
    }
    assert result.mode.startswith("checked 7 files without this machine (offline)")


def test_paths_without_a_configuration(repository: Path) -> None:
    """They are an error that says what to name."""
    for path, why in {
        "nginx.conf": "by its content it is no configuration",
        ".git": "no configuration of supervisord or php-fpm is there",
        "*.nothing": "no file matches this pattern",
        "absent.conf": "there is no such file",
    }.items():
        with pytest.raises(FpmListenerError, match=why):
            check_paths([str(repository / path)])
