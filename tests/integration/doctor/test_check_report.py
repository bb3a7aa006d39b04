"""`check` as CI servers run it: formats, chosen rules, known findings, settings of a project."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest

from fpm_listener import __main__ as command_line
from fpm_listener.cli import check_report
from fpm_listener.doctor import check, project_settings, selection, text_files
from fpm_listener.doctor.host_facts import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = Path(__file__).parents[2] / "data" / "schemas" / "sarif-schema-2.1.0.json"
#: The fields that GitLab requires (docs.gitlab.com/ci/testing/code_quality), and our rules on them.
GITLAB = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["description", "check_name", "fingerprint", "severity", "location"],
        "properties": {
            "description": {"type": "string", "minLength": 10, "pattern": "^[^\n]*$"},
            "check_name": {"pattern": "^FPM[0-9]{3}$"},
            "fingerprint": {"type": "string", "minLength": 32},
            "severity": {"enum": ["info", "minor", "major", "critical", "blocker"]},
            "location": {
                "type": "object",
                "required": ["path", "lines"],
                "properties": {
                    "path": {"type": "string", "pattern": "^(?!\\./)."},
                    "lines": {
                        "required": ["begin"],
                        "properties": {"begin": {"type": "integer", "minimum": 1}},
                    },
                },
            },
        },
    },
}
SUPERVISORD = """\
[supervisord]
nodaemon=true
[program:php-fpm]
command=/usr/sbin/php-fpm8.2 -F -y {folder}/docker/php-fpm.conf
environment=DATABASE_PASSWORD="s3cret-of-a-test"
startretries=3
stopsignal=TERM
"""
FPM = """\
[global]
error_log = /dev/stderr
[www]
user = www-data
listen = 9000
pm = static
nonsense = 1
"""


class Project:
    """A repository with configuration files, and the command in it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.conf = folder / "docker" / "supervisord.conf"
        self.status = 0
        self.errors = ""

    def check(self, *words: str) -> str:
        """Type the command; return what it prints."""
        self.status = command_line.main(
            ["check", "--supervisord-conf", "docker/supervisord.conf", *words]
        )
        printed = self._capsys.readouterr()
        self.errors = printed.err
        return printed.out

    def ids(self, *words: str) -> list[str]:
        """Return the ids of the findings."""
        return [one["id"] for one in json.loads(self.check("--json", *words))]

    def change(self, old: str, new: str) -> None:
        """Replace a part of supervisord's file."""
        text = self.conf.read_text()
        assert old in text
        self.conf.write_text(text.replace(old, new, 1))


@pytest.fixture
def project(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    parser_in_process: None,  # noqa: ARG001 - it changes the parser
) -> Iterator[Project]:
    """Return a repository in which the command runs."""
    folder = tmp_path / "repository"
    (folder / ".git").mkdir(parents=True)
    (folder / "docker").mkdir()
    found = Project(folder, capsys)
    found.conf.write_text(SUPERVISORD.format(folder=folder))
    (folder / "docker" / "php-fpm.conf").write_text(FPM)
    monkeypatch.chdir(folder)
    # The command would look at each process of this machine.
    real = check.check_machine
    monkeypatch.setattr(check, "check_machine", lambda path, **_: real(path, Host()))
    yield found
    shutil.rmtree(folder)


def test_the_options_are_those_of_the_settings() -> None:
    """The command line has its own copies, because it must not load the doctor."""
    assert check_report.FORMATS == project_settings.FORMATS
    assert tuple(selection.FAIL_ON) == check_report.FAIL_ON


def test_sarif_is_valid(project: Project) -> None:
    """The official schema accepts it; paths are relative to the repository; it has no secret."""
    printed = project.check("--format", "sarif")
    log = json.loads(printed)

    assert project.status == 1
    jsonschema.Draft4Validator(json.loads(SCHEMA.read_text())).validate(log)
    (run,) = log["runs"]
    uris = {
        one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]
    }
    assert uris == {"docker/supervisord.conf", "docker/php-fpm.conf"}
    assert "s3cret-of-a-test" not in printed
    assert str(project.folder) not in printed


def test_sarif_of_every_rule_is_valid() -> None:
    """Also with the address of the project, and with no finding."""
    from fpm_listener.doctor.report_sarif import to_sarif  # noqa: PLC0415 - beside its use
    from tests.unit.doctor.test_report_ci import ONE  # noqa: PLC0415

    texts = text_files.texts()
    every = [ONE._replace(id=identity) for identity in texts if "." not in identity]
    validator = jsonschema.Draft4Validator(json.loads(SCHEMA.read_text()))
    for findings in (every, []):
        validator.validate(json.loads(to_sarif(findings, texts, "1", "https://example.org/x")))


def test_gitlab_is_valid(project: Project) -> None:
    """Each finding has the fields that GitLab requires, and its own fingerprint."""
    found = json.loads(project.check("--format", "gitlab"))

    jsonschema.Draft4Validator(GITLAB).validate(found)
    assert len(found) > 5
    assert len({one["fingerprint"] for one in found}) == len(found)
    assert {one["location"]["path"] for one in found} == {
        "docker/supervisord.conf",
        "docker/php-fpm.conf",
    }


def test_github_from_a_subdirectory(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is relative to the repository, not to the working directory."""
    monkeypatch.chdir(project.folder / "docker")
    command_line.main(
        ["check", "--supervisord-conf", "supervisord.conf", "--format", "github", "--select=FPM010"]
    )
    printed = project._capsys.readouterr().out

    assert printed.startswith("::warning file=docker/supervisord.conf,line=7,title=FPM010 ")
    assert printed.count("\n") == 1


def test_a_pool_by_a_relative_path(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the file in the working directory."""
    monkeypatch.chdir(project.folder / "docker")
    command_line.main(["check", "php-fpm.conf", "--format", "github"])
    printed = project._capsys.readouterr().out

    assert "FPM068" not in printed
    assert "file=docker/php-fpm.conf,line=7,title=FPM080 " in printed


def test_chosen_rules(project: Project) -> None:
    """Lists and beginnings of ids; an unknown id is an error."""
    assert "FPM010" in project.ids()
    assert set(project.ids("--select", "FPM010,FPM007")) == {"FPM010", "FPM007"}
    assert not [one for one in project.ids("--ignore", "FPM0") if one.startswith("FPM0")]
    assert project.ids("--select=FPM01", "--select=FPM007", "--ignore=FPM010").count("FPM010") == 0
    assert project.check("--select", "FPM999") == ""
    assert project.status == 2
    assert "--select: no rule has the id FPM999" in project.errors


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--select=FPM010"], 1),
        (["--select=FPM010", "--fail-on=error"], 0),
        (["--select=FPM080", "--fail-on=error"], 1),
        (["--select=FPM104"], 0),
        (["--select=FPM104", "--fail-on=hint"], 1),
        (["--fail-on=never"], 0),
    ],
)
def test_the_severity_that_fails(project: Project, words: list[str], status: int) -> None:
    """FPM080 is an error, FPM010 a warning, FPM104 a hint."""
    assert project.check(*words)
    assert project.status == status


def test_a_comment_with_a_reason(project: Project) -> None:
    """It ignores the finding below it; without the reason the finding stays."""
    project.change("stopsignal", "; fpm-listener: ignore FPM010 because it is short\nstopsignal")
    assert {"FPM010", "FPM180", "FPM181"}.isdisjoint(project.ids())
    project.change(" because it is short", "")
    assert {"FPM010", "FPM181"} <= set(project.ids())
    assert "FPM181" not in project.ids("--ignore=FPM18")


def test_known_findings(project: Project) -> None:
    """Only a new finding is reported, also after lines have moved and in another directory."""
    assert project.check("--write-baseline", "known.json") == ""
    assert project.status == 0
    assert "wrote " in project.errors
    known = project.folder / "known.json"
    assert "s3cret-of-a-test" not in known.read_text()
    assert known.stat().st_mode & 0o777 == 0o644

    printed = project.check("--baseline", "known.json")
    assert re.fullmatch(r"nothing new found; known\.json has \d+ known findings\n", printed)
    project.change("[program:php-fpm]", "; a comment\n\n[program:php-fpm]")
    assert project.ids("--baseline", "known.json") == []
    project.change("startretries=3", "startretries=3\nexitcodes=0,70")
    assert project.ids("--baseline", "known.json") == ["FPM008"]
    assert project.errors == ""
    project.change("stopsignal=TERM", "stopsignal=QUIT")
    project.check("--baseline", "known.json")
    assert project.errors.startswith("fpm-listener: known.json: 1 known finding does not occur ")
    assert project.ids("--baseline", "known.json", "--select=FPM008") == ["FPM008"]
    assert project.errors == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{", "is not a baseline: line 1 is not JSON"),
        ("\xff", "is not a baseline: it is not UTF-8"),
        ('{"version": 3, "findings": []}', "is not a baseline: its version is not 1"),
    ],
)
def test_a_broken_baseline(project: Project, text: str | None, why: str) -> None:
    """It is an error with the way out; the findings are not printed as new ones."""
    if text is not None:
        (project.folder / "known.json").write_bytes(text.encode("latin-1"))

    assert project.check("--baseline", "known.json") == ""
    assert project.status == 2
    assert why in project.errors
    assert "--write-baseline known.json" in project.errors


def test_a_baseline_that_cannot_be_written(project: Project) -> None:
    """The error names the file."""
    project.check("--write-baseline", "none/known.json")

    assert project.status == 2
    assert "none/known.json cannot be written: No such file" in project.errors


def test_a_baseline_replaces_no_link_and_no_device(project: Project) -> None:
    """Root would replace /dev/null and /dev/stdout: nothing changes, and an error says why."""
    target = project.folder / "target"
    target.write_text("a")
    link = project.folder / "known.json"
    link.symlink_to(target)
    pipe = project.folder / "pipe"
    os.mkfifo(pipe)
    for path in (link, pipe):
        project.check("--write-baseline", str(path))
        assert project.status == 2
        assert f"{path} cannot be written: it is not a regular file" in project.errors

    assert target.read_text() == "a"
    assert link.is_symlink()
    assert pipe.is_fifo()


@pytest.mark.parametrize("option", ["--baseline", "--write-baseline"])
def test_an_empty_name_of_a_baseline(project: Project, option: str) -> None:
    """A variable without a value is an error: otherwise nothing is written, and nothing known."""
    project.check(option, "")

    assert project.status == 2
    assert f"{option} is empty; name a file" in project.errors


# -- the settings of a project ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("setup.cfg", "[metadata]\nname = x\n[tool:fpm-listener]"),
        (".fpm-listener.ini", "[fpm-listener]"),
        (".fpm-listener.ini", "[tool:fpm-listener]"),
    ],
)
def test_settings_of_a_project(project: Project, name: str, section: str) -> None:
    """They are the defaults of the options; the command line wins."""
    (project.folder / name).write_text(
        f"{section}\nselect =\n    FPM010\n    FPM080\nfail-on = error\nformat = json\n"
    )

    assert {one["id"] for one in json.loads(project.check())} == {"FPM010", "FPM080"}
    assert project.status == 1
    assert project.check("--format=text", "--ignore=FPM080").startswith("WARNING FPM010 ")
    assert project.status == 0
    assert project.check("--select=FPM010", "--fail-on=warning").startswith("[")
    assert project.status == 1
    assert "FPM007" in project.ids("--select=")


def test_where_settings_are_searched(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the working directory up to .git; the first file counts, and it names the baseline."""
    (project.folder.parent / ".fpm-listener.ini").write_text("[fpm-listener]\nselect = FPM999\n")
    (project.folder / "setup.cfg").write_text("[tool:fpm-listener]\nbaseline = known.json\n")
    project.check("--write-baseline", "known.json")
    monkeypatch.chdir(project.folder / "docker")
    words = ["check", "--supervisord-conf", "supervisord.conf"]

    assert command_line.main(words) == 0
    assert project._capsys.readouterr().out.startswith("nothing new found; ")
    (project.folder / "docker" / "setup.cfg").write_text("[metadata]\nname = x\n[metadata]\n")
    assert command_line.main(words) == 0
    (project.folder / "docker" / ".fpm-listener.ini").write_text("[fpm-listener]\n")
    assert command_line.main(words) == 1


def test_excluded_files_of_a_project(project: Project) -> None:
    """They have no findings, and comments in them are not judged."""
    comment = "; fpm-listener: ignore FPM999 because of something\n"
    pools = project.folder / "docker" / "php-fpm.conf"
    pools.write_text(comment + pools.read_text())
    assert {"FPM080", "FPM180"} <= set(project.ids())
    (project.folder / "setup.cfg").write_text("[tool:fpm-listener]\nexclude = a, */php-fpm.conf\n")

    found = project.ids()
    assert {"FPM080", "FPM180"}.isdisjoint(found)
    assert "FPM010" in found


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("setup.cfg", "[tool:fpm-listener]\nselct = FPM1\n", "unknown key 'selct'; known: select"),
        ("setup.cfg", "[tool:fpm-listener]\nselect = FPM9\n", "no rule has the id FPM9"),
        ("setup.cfg", "[tool:fpm-listener]\nfail-on = info\n", "fail-on = 'info' is none of error"),
        ("setup.cfg", "[tool:fpm-listener]\nformat = xml\n", "format = 'xml' is none of text"),
        ("setup.cfg", "[tool:fpm-listener]\nbaseline =\n", "baseline is empty"),
        ("setup.cfg", "[tool:fpm-listener]\nx\n", "is not an INI file, line 2"),
        (".fpm-listener.ini", "[check]\n", "unknown section [check]"),
        (".fpm-listener.ini", "select = FPM1\n", "line 1: a line is before [tool:fpm-listener]"),
        (".fpm-listener.ini", "[fpm-listener]\nlisten = :1\n", "unknown key 'listen'"),
        (".fpm-listener.ini", "[fpm-listener]\n[tool:fpm-listener]\n", "keep one of them"),
    ],
)
def test_wrong_settings(project: Project, name: str, text: str, why: str) -> None:
    """The error names the file and what is wrong in it; nothing is checked."""
    (project.folder / name).write_text(text)

    assert project.check() == ""
    assert project.status == 2
    assert f"{name}" in project.errors
    assert why in project.errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
@pytest.mark.parametrize("owned", ["file", "directory", "link"])
def test_settings_of_another_user(project: Project, owned: str) -> None:
    """They hide no finding of this machine from root, and one line says so."""
    path = project.folder / ".fpm-listener.ini"
    path.write_text("[fpm-listener]\nselect = FPM104\nbroken key\n")
    if owned == "link":
        path.rename(project.folder / "target")
        path.symlink_to("target")
        os.chown(path, 65534, 65534, follow_symlinks=False)
    else:
        os.chown(path if owned == "file" else project.folder, 65534, 65534)

    assert "FPM010" in project.ids()
    assert project.errors.count("\n") == 1
    assert ".fpm-listener.ini is not used: it belongs to another user (uid 65534)" in project.errors


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_a_checkout_of_another_user(project: Project) -> None:
    """A CI job that runs as root names paths in the checkout, and gets its settings."""
    path = project.folder / ".fpm-listener.ini"
    path.write_text("[tool:fpm-listener]\nselect = FPM080\nformat = github\n")
    for one in (project.folder, path):
        os.chown(one, 65534, 65534)
    status = command_line.main(["check", "docker"])
    printed = project._capsys.readouterr()

    assert status == 1
    assert printed.out.startswith("::error file=docker/php-fpm.conf,line=7,title=FPM080 ")
    assert printed.out.count("\n") == 1
    command_line.main(["check", "docker", "/etc/hostname"])
    assert "is not used: it belongs to another user" in project._capsys.readouterr().err
