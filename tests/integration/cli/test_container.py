"""`fpm-listener init --container`: the file of an image, changed."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from supervisor import datatypes, options

from fpm_listener.__main__ import main
from fpm_listener.cli import container, container_draft
from fpm_listener.cli.init import shipped_listener
from fpm_listener.doctor import container_plan
from fpm_listener.doctor.container_plan import Choices
from fpm_listener.doctor.host_facts import Host
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.supervisor import config
from fpm_listener.values import FpmListenerError
from tests.container import PATH as USUAL_PATH
from tests.fakes import FakeHost

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.cli.container_draft import Draft
    from fpm_listener.supervisor.config import ConfUnreadable

SAMPLES = Path(__file__).parents[2] / "data" / "container-samples"
NAMES = sorted(path.stem for path in SAMPLES.iterdir())
CHOICES = Choices(
    command="fpm-listener",
    command_elsewhere="fpm-listener",
    file="supervisord.conf",
    shipped=shipped_listener(),
)
#: supervisord's environment.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SUPERVISOR_PASSWORD": "s3cret",
    "RUN_AS": "root",
    "PHP_VERSION": "8.2",
    "APP_DIR": "/var/www",
    "WEB_COMMAND": "caddy run",
}


def parse(path: str, environ: Mapping[str, str], text: str) -> dict[str, Any] | ConfUnreadable:
    """Do as config.read does, without a child: it costs 0.3 s, and there are many samples."""
    names = (
        *((options, name) for name in ("existing_directory", "existing_dirpath", "name_to_uid")),
        *((datatypes, name) for name in ("existing_directory", "existing_dirpath")),
        (options, "colon_separated_user_group"),
        (tempfile, "tempdir"),
    )
    with pytest.MonkeyPatch.context() as patch:
        for module, name in names:
            patch.setattr(module, name, getattr(module, name))  # and back, at the end
        for name in os.environ:
            patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        answer: dict[str, Any] = json.loads(json.dumps(config.describe(path, text)))
    return config.unreadable(path, answer) or answer


def improve(path: Path, environ: dict[str, str] | None = None, user: str = "root") -> Draft:
    """Return the changed file, on a host where every file exists."""
    text = path.read_bytes().decode()
    known = ENVIRONMENT if environ is None else environ
    return container_draft.improve(str(path), text, FakeHost(), known, CHOICES, user, parse=parse)


@pytest.fixture(params=NAMES)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return each sample, as a file of its own directory."""
    path = tmp_path / "supervisord.conf"
    path.write_bytes((SAMPLES / f"{request.param}.conf").read_bytes())
    return path


#: php-fpm's files, and scripts, are in the image only.
ELSEWHERE = {"FPM027", "FPM068"}


def test_every_shape_becomes_clean(sample: Path) -> None:
    """The doctor finds nothing but hints; the result is also that of a second run."""
    draft = improve(sample)
    worse = [one for one in draft.findings if one.severity is not FindingSeverity.HINT]
    assert [one for one in worse if one.id not in ELSEWHERE] == []
    processes = {one.name: one for one in draft.config.processes}
    assert any(one.is_our_listener for one in processes.values())


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Put a program with our name into PATH, as the lines of the Dockerfile do."""
    path = tmp_path_factory.mktemp("bin") / "fpm-listener"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent))
    return path


def said(path: Path, /, *, expects: int = 0, **options: Any) -> str:  # noqa: ANN401 - as Options
    """Return what the command prints about a file."""
    found: list[str] = []
    machine = FakeHost()
    given = container.Options(conf=str(path), **options)
    assert container.run(given, found.append, found.append, machine, parse) == expects
    return "\n".join(found)


def sample_in(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Write a sample into a folder, with other texts in it."""
    text = (SAMPLES / f"{name}.conf").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "supervisord.conf"
    path.write_text(text)
    return path


def test_only_the_file_that_is_named_changes(tmp_path: Path) -> None:
    """It keeps its mode, the old one stays beside it, and a second run changes nothing."""
    path = sample_in(tmp_path, "official-root")
    path.chmod(0o640)
    old = path.read_text()
    printed = said(path)
    assert path.read_text() == old
    assert "+command=fpm-listener guard --hold -- php-fpm -F\n" in printed

    assert f"{path} written" in said(path, write=True)
    kept = path.with_name("supervisord.conf.before-fpm-listener")
    assert (kept.read_text(), path.stat().st_mode & 0o777) == (old, 0o640)
    new = path.read_text()
    assert f"{path}: nothing to change" in said(path, write=True)
    assert path.read_text() == new
    assert sorted(one.name for one in tmp_path.iterdir()) == [path.name, kept.name]


def test_only_lines_with_a_reason_change(tmp_path: Path) -> None:
    """Comments, order and blank lines of the other lines stay."""
    path = sample_in(tmp_path, "debian-package")
    old = path.read_text().splitlines()
    said(path, write=True)
    new = path.read_text().splitlines()
    assert [line for line in old if line not in new] == [
        "command = /usr/sbin/php-fpm8.2 --nodaemonize --fpm-config /etc/php/8.2/fpm/php-fpm.conf"
    ]
    kept = [line for line in new if line and line in old]
    assert kept == [line for line in old if line and line in new]


def test_no_text_is_lost(tmp_path: Path) -> None:
    """A file that somebody changed after the first run gets a copy of its own."""
    path = sample_in(tmp_path, "official-root")
    first = path.read_text()
    said(path, write=True)
    second = f"{first}[program:new]\ncommand=/usr/bin/new\n"
    path.write_text(second)
    kept = path.with_name("supervisord.conf.before-fpm-listener")
    assert f"the old file is {kept}.2" in said(path, write=True)
    assert (kept.read_text(), Path(f"{kept}.2").read_text()) == (first, second)
    path.write_text(first)
    assert f"the old file is {kept}\n" in said(path, write=True)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends(end: str, tmp_path: Path) -> None:
    """The new lines end as the others, also after a last line without an end."""
    path = sample_in(tmp_path, "recipe")
    path.write_bytes(path.read_text().rstrip().replace("\n", end).encode())
    said(path, write=True)
    text = path.read_bytes().decode()
    assert text.count("\n") == text.count(end)
    assert f"stopasgroup=true{end}" not in text
    assert f"{end}{end}[unix_http_server]{end}file=" in text


def test_metrics_for_others_need_a_token(tmp_path: Path) -> None:
    """Without the option, only the container can reach them."""
    path = sample_in(tmp_path, "official-root")
    assert "0.0.0.0" not in said(path)
    printed = said(path, token_file="/run/secrets/token", textfile="/metrics/a.prom")
    assert "+listen = 0.0.0.0:19253\n+web_token_file = /run/secrets/token\n" in printed
    assert "+textfile = /metrics/a.prom\n" in printed


def test_paths_of_another_user(tmp_path: Path) -> None:
    """They need nothing but /tmp, or a directory that this user can write."""
    path = sample_in(tmp_path, "alpine-nobody")
    draft = improve(path, user="nobody")
    assert "file=/run/supervisor/supervisor.sock" in draft.text  # every directory exists there
    nothing = container_plan.places(65534, Host(str(tmp_path)))
    assert nothing == ("/tmp/supervisor.sock", "/tmp/fpm-listener")
    assert container_plan.places(0, Host(str(tmp_path))) == ("/run/supervisor.sock", "")
    assert container_plan.places(None, FakeHost()) == nothing


def test_the_dockerfile_names_system_and_user(tmp_path: Path) -> None:
    """Only the lines for this system are printed, and the user's paths are used."""
    path = sample_in(tmp_path, "official-root", ("user=root\n", ""))
    image = tmp_path / "Dockerfile"
    image.write_text(
        "FROM php:8.4-fpm-alpine\nCOPY supervisord.conf /etc/web.conf\nHEALTHCHECK CMD true\n"
        "USER 10001\n"
    )
    printed = said(path, dockerfile=str(image))
    assert ("apk add" in printed, "apt-get" in printed, "HEALTHCHECK" in printed) == (1, 0, 0)
    assert "listen --config %(here)s/web.conf" in printed
    assert "file=/run/supervisor/supervisor.sock" in printed


def test_the_access_log_is_no_event(tmp_path: Path) -> None:
    """The official image writes it to stderr, and php-fpm's own stdout is /dev/null."""
    printed = said(sample_in(tmp_path, "official-root"))
    assert "+stderr_events_enabled=true" in printed
    assert (
        "RUN printf '%s\\n' '[global]' 'process_control_timeout = 10s' '[www]'"
        " 'access.log = /dev/null' > /usr/local/etc/php-fpm.d/zzz-fpm-listener.conf" in printed
    )


@pytest.mark.parametrize("name", ["alpine-nobody", "entry-script"])
def test_the_log_of_a_php_fpm_that_is_elsewhere(name: str, tmp_path: Path) -> None:
    """Its error_log can be stderr, as in most images: without it, no alert shows a cause."""
    draft = improve(sample_in(tmp_path, name))
    of_php = draft.text.partition("[program:php-fpm]")[2].partition("[")[0].replace(" = ", "=")
    assert "stderr_events_enabled=true\n" in of_php


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("entry-script", (), "FPM027 (warning)"),
        ("exit-on-fatal", (), "[eventlistener:stop-container] also gets events"),
        ("official-root", (), "[program:php-fpm] autorestart was false and is now true"),
        ("without-php", (), "No program starts php-fpm"),
        ("alpine-nobody", (), "Set process_control_timeout = 10s"),
        ("recipe", (("php-fpm -F'", "php-fpm -F; true'"),), "there is no safe place for the guard"),
        ("inet-with-password", (("%(ENV_SUPERVISOR_PASSWORD)s", "%(ENV_SECRET)s"),), "SECRET"),
        ("inet-with-password", (("127.0.0.1:9001\nu", "*:9001\nu"),), "FPM102 (warning)"),
        (
            "inet-with-password",
            (("127.0.0.1:9001\nu", "*:9001\n;u"), ("\npassword", "\n;password")),
            "FPM102 (error)",
        ),
    ],
)
def test_what_needs_a_decision(
    name: str, changes: tuple[tuple[str, str], ...], says: str, tmp_path: Path
) -> None:
    """It is one line of the output."""
    printed = said(sample_in(tmp_path, name, *changes))
    assert [line for line in printed.splitlines() if says in line and line.startswith("# - ")]


def test_a_script_gets_the_guard_by_hand(tmp_path: Path) -> None:
    """The command that runs a script does not change."""
    script = tmp_path / "start.sh"
    script.write_text("#!/bin/sh\nexec php-fpm -F\n")
    script.chmod(0o755)
    path = sample_in(
        tmp_path, "entry-script", ("/usr/local/bin/docker-entrypoint.sh php-fpm", str(script))
    )
    draft = improve(path)
    assert f"command={script}\n" in draft.text
    asked = f"starts php-fpm in {script}. Write there: exec fpm-listener guard --hold -- php-fpm"
    assert asked in said(path)
    script.write_text("#!/bin/sh\nexec fpm-listener guard --hold -- php-fpm -F\n")
    assert asked not in said(path)


def test_an_included_file(tmp_path: Path) -> None:
    """Its changes are printed only: --write changes the file that is named."""
    path = sample_in(tmp_path, "without-php")
    other = tmp_path / "php.conf"
    other.write_text("[program:php-fpm]\ncommand=php-fpm -F\n")
    path.write_text(path.read_text() + "[include]\nfiles = php.conf\n")
    printed = said(path, write=True)
    assert other.read_text() == "[program:php-fpm]\ncommand=php-fpm -F\n"
    assert f"+++ {other}\n" in printed
    assert "+command=fpm-listener guard --hold -- php-fpm -F\n" in printed
    assert f"--write changes only {path}" in printed
    assert "there is no safe place for the guard" not in printed
    assert "Set killasgroup=true" not in printed


def test_outside_of_the_image(tmp_path: Path) -> None:
    """The paths of this machine are not used, and what was not checked is said."""
    path = sample_in(tmp_path, "official-root")
    machine = FakeHost(missing=frozenset(f"{one}/php-fpm" for one in USUAL_PATH.split(":")))
    found: list[str] = []
    given = container.Options(conf=str(path))
    container.run(given, found.append, found.append, machine, parse)
    printed = "\n".join(found)
    assert "+command=fpm-listener guard" in printed
    assert "The php-fpm of this file is not on this machine, so its files and users" in printed
    assert ("apk add" in printed, "apt-get" in printed) == (True, True)
    assert "FPM068" not in printed


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[supervisord]\nnodaemon=maybe\n", "supervisor rejects it"),
        ("[supervisord]\n[program:x]\ncommand=a 5%\n", "single percent sign"),
        ("[program:x]\ncommand=a\n", "not the main file"),
        ("\ufeff[supervisord]\n", "byte order mark"),
    ],
)
def test_a_file_that_supervisor_rejects(text: str, reason: str, tmp_path: Path) -> None:
    """It stays as it is, and the error says why."""
    path = tmp_path / "supervisord.conf"
    path.write_text(text)
    with pytest.raises(FpmListenerError, match=f"stays unchanged: .*{reason}"):
        said(path, write=True)
    assert path.read_text() == text


def test_a_file_that_is_not_utf_8(tmp_path: Path) -> None:
    """supervisord rejects such a file, so no section is added to it."""
    path = tmp_path / "supervisord.conf"
    path.write_bytes(b"[supervisord]\n; caf\xe9\n")
    with pytest.raises(FpmListenerError, match="line 2 has a character that is not UTF-8"):
        said(path, write=True)
    assert path.read_bytes() == b"[supervisord]\n; caf\xe9\n"


def test_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    """A missing file, a directory and a foreign symlink are errors, and nothing is written."""
    with pytest.raises(FpmListenerError, match="does not exist, or this user may not read it"):
        said(tmp_path / "absent.conf")
    with pytest.raises(FpmListenerError, match="is a directory"):
        said(tmp_path)
    path = sample_in(tmp_path, "recipe")
    link = tmp_path / "link.conf"
    link.symlink_to(path)
    assert f"{link} written; the old file is {path}" in said(link, write=True)
    assert link.is_symlink()
    os.lchown(link, 65534, 65534)
    path.write_text((SAMPLES / "recipe.conf").read_text())
    with pytest.raises(FpmListenerError, match="stays unchanged: it is a symlink of user 65534"):
        said(link, write=True)


def test_the_path_of_the_program(
    program: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is not in PATH is named by its path, so that php-fpm starts on this machine."""
    path = sample_in(tmp_path, "official-root")
    assert "fpm-listener is not in PATH" not in said(path)
    program.unlink()
    zipped = program.with_name("fpm-listener.pyz")
    zipped.write_text("#!/bin/sh\n")
    zipped.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(zipped)])
    assert f"fpm-listener is not in PATH here, so command= starts {zipped}." in said(path)
    (tmp_path / "Dockerfile").write_text("FROM php:8-fpm\n")
    printed = said(path, dockerfile=str(tmp_path / "Dockerfile"))
    assert "+command=fpm-listener guard --hold -- php-fpm -F\n" in printed

    said(path, write=True)
    new = path.read_text()
    assert f"command={zipped} guard --hold -- php-fpm -F\n" in new
    assert f"{path}: nothing to change" in said(path, write=True)
    assert path.read_text() == new


def test_a_path_with_a_blank_and_a_wrong_name(tmp_path: Path) -> None:
    """The path gets quotes; behind another name, nobody would find php-fpm."""
    path = sample_in(tmp_path, "official-root")
    printed = said(path, path="/opt/my apps/fpm-listener.pyz")
    assert "+command='/opt/my apps/fpm-listener.pyz' guard --hold -- php-fpm -F\n" in printed
    with pytest.raises(FpmListenerError, match="--path /opt/fpm: the name of the file must be"):
        said(path, path="/opt/fpm")


def test_options_of_the_command_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A wrong mixture of them is an error with the right one."""
    assert main(["init", "--container", str(tmp_path)]) == 2
    assert main(["init", "--write"]) == 2
    errors = capsys.readouterr().err
    assert "name it with -c, not as DIR" in errors
    assert "--write needs --container" in errors
