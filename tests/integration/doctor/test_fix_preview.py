"""`check --fix-preview`: a diff that applies, and after which its findings are gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor import check, report
from fpm_listener.doctor.host_facts import Host
from tests.config_samples import ENVIRONMENT, NAMES, write_sample
from tests.fakes import FakeHost
from tests.integration.doctor.test_check import CASES, Case, nobody
from tests.integration.doctor.test_check import examine as examine_case
from tests.integration.doctor.test_config_samples import examine

if TYPE_CHECKING:
    from fpm_listener.doctor.rule import Finding

TOOLS = {"git": ["git", "apply"], "patch": ["patch", "-p0", "--no-backup-if-mismatch"]}


def apply(diff: str, tool: str = "git") -> None:
    """Have the diff applied, as the documentation says: from the root folder."""
    command = TOOLS[tool]
    done = subprocess.run(
        command,
        input=diff.encode("utf-8", "surrogateescape"),
        cwd="/",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode() + diff


def ids(findings: list[Finding]) -> set[tuple[str, str]]:
    return {(one.id, one.what) for one in findings}


def fixed(findings: list[Finding]) -> set[tuple[str, str]]:
    return ids([one for one in findings if one.edits])


def judge(before: list[Finding], after: list[Finding]) -> None:
    """Assert that what has edits is gone, and that they have brought nothing new."""
    assert fixed(before) & ids(after) == set()
    assert {one.id for one in after} <= {one.id for one in before if not one.edits}


@pytest.mark.usefixtures("parser_in_process")
@pytest.mark.parametrize("name", NAMES)
def test_a_shape(name: str, tmp_path: Path) -> None:
    """The diff of each shape applies by either tool, and mends all that it says it mends."""
    before = examine(name, tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    diff = report.preview(before)
    assert {path: path.read_bytes() for path in files} == files, "nothing is written"
    assert bool(diff) == any(one.edits for one in before)
    results = set()
    for tool in TOOLS:
        if not diff:
            continue
        for path, data in files.items():
            path.write_bytes(data)
        apply(diff, tool)
        results.add(tuple(path.read_bytes() for path in files))
    assert len(results) <= 1

    after = check.check(f"{tmp_path}/supervisord.conf", FakeHost(), ENVIRONMENT, search=nobody)
    judge(before, after)
    assert report.preview(after) == ""


@pytest.mark.usefixtures("parser_in_process")
@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.what[:20]}" for case in CASES])
def test_a_rule(case: Case, tmp_path: Path) -> None:
    """One thing wrong: where it has edits, nothing is wrong with the result."""
    before = examine_case(tmp_path, case)
    if not any(one.edits for one in before):
        return
    apply(report.preview(before))
    answers = dict(case.machine)
    answers.pop("workers", None)  # no edit is about their memory
    if answers.get("missing") == {"LOGS"}:
        answers["missing"] = {str(tmp_path)}
    after = check.check(
        f"{tmp_path}/supervisord.conf", FakeHost(**answers), {"PATH": "/usr/bin"}, search=nobody
    )

    judge(before, after)


def test_the_recipe_becomes_a_guarded_program(tmp_path: Path) -> None:
    """The shell and its sleep are gone, and each key says what it should."""
    path = write_sample("recipe-2015", tmp_path)
    apply(report.preview(examine("recipe-2015", tmp_path)))
    text = path.read_text()

    assert text.partition("[program:php-fpm]\n")[2].startswith(
        "command=/opt/bin/fpm-listener guard --hold -- /usr/sbin/php-fpm -F"
        f" --fpm-config {tmp_path}/php-fpm.conf --pid {tmp_path}/run/php-fpm.pid\n"
        "autorestart=true\nstartretries=5\nexitcodes=0\nstopsignal=QUIT\nstopwaitsecs=20\n"
    )
    assert {"killasgroup=true", "startsecs=3"} <= set(text.splitlines())
    assert "process_control_timeout = 10s\n" in (tmp_path / "php-fpm.conf").read_text()


def test_the_command(tmp_path: Path) -> None:
    """stdout is the diff and nothing else; stderr says what is left to decide; 1 = findings."""
    path = write_sample("recipe-2015", tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "fpm_listener", "check", "--fix-preview"),
            *("--supervisord-conf", str(path)),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout.startswith(f"--- {tmp_path}/php-fpm.conf\n+++ {tmp_path}/php-fpm.conf\n@@ ")
    assert "the others need a decision" in done.stderr


CASES_FOLDER = Path(__file__).parents[2] / "data" / "cases"


@pytest.mark.usefixtures("parser_in_process")
@pytest.mark.parametrize(
    ("case", "old", "new", "edit"),
    [
        ("D30", "", "", "+request_terminate_timeout = 330s\n"),
        ("D30", "php_admin_value", "php_value", "+request_terminate_timeout = 330s\n"),
        ("D30", "php_admin_value[max_execution_time] = 300\n", "", ""),
        ("D30", "= 300\n", "= 0\n", ""),
        ("D31", "", "", ""),
        ("D31", "pm.max_requests = ${FPM_MAX_REQUESTS}", "pm.max_requests = 0", "requests = 1000"),
        ("D31", "process_control_timeout = 10s", "process_control_timeout = ${DRAIN}", ""),
    ],
)
def test_a_configuration_that_works(
    case: str, old: str, new: str, edit: str, tmp_path: Path
) -> None:
    """No request is cut earlier than max_execution_time, and no variable loses its effect."""
    for source in (CASES_FOLDER / case).iterdir():
        text = source.read_text().replace("/tmp/t/", f"{tmp_path}/")
        (tmp_path / source.name).write_text(text.replace(old, new) if old else text)
    environ = {"PATH": "/usr/bin", "DRAIN": "0"}
    path = str(tmp_path / "supervisord.conf")
    diff = report.preview(check.check(path, FakeHost(), environ, search=nobody))

    assert edit in diff
    assert "-pm.max_requests = $" not in diff
    assert "-process_control_timeout = $" not in diff
    if not edit:
        assert "terminate_timeout" not in diff


@pytest.mark.usefixtures("parser_in_process")
@pytest.mark.parametrize(
    ("case", "rule", "what"),
    [
        ("D10", "FPM081", "pm.start_servers: "),
        ("D12", "FPM082", "chdir: "),
        ("D14", "FPM083", "slowlog: "),
        ("D16", "FPM081", "request_slowlog_timeout: it needs slowlog"),
    ],
)
def test_a_configuration_that_php_fpm_rejects(
    case: str, rule: str, what: str, tmp_path: Path
) -> None:
    """The finding says what `php-fpm -t` says."""
    for source in (CASES_FOLDER / case).iterdir():
        text = source.read_text().replace("/tmp/t/", f"{tmp_path}/")
        (tmp_path / source.name).write_text(text)
    path = str(tmp_path / "supervisord.conf")
    found = check.check(path, Host(), {"PATH": "/usr/bin"}, search=nobody)

    assert [what in one.what for one in found if one.id == rule] == [True]
