"""The files for CI: the action, the hook of pre-commit, and the commands of docs/ci.md."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
ACTION = (ROOT / "action.yml").read_text()
HOOKS = (ROOT / ".pre-commit-hooks.yaml").read_text()
PAGE = (ROOT / "docs" / "ci.md").read_text()
MISTAKE = "[supervisord]\nnodaemon=true\n[program:php-fpm]\ncommand=/bin/sh -c 'php-fpm -F'\n"
#: The variables of the action's check, as GitHub sets them without any input.
DEFAULTS = dict.fromkeys(("SELECT", "IGNORE", "FAIL_ON", "BASELINE", "SARIF_FILE"), "")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with one supervisord.conf, which is the current directory."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "supervisord.conf").write_text(MISTAKE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scripts() -> list[str]:
    """Return the scripts of the action."""
    return [textwrap.dedent(found) for found in re.findall(r"run: \|\n((?:        .*\n)+)", ACTION)]


def run_check(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Run the second script of the action as GitHub does, with an installed fpm-listener."""
    ours = folder / "runner" / "fpm-listener" / "bin" / "fpm-listener"
    ours.parent.mkdir(parents=True)
    ours.write_text(f'#!/bin/sh\nexec {sys.executable} -m fpm_listener "$@"\n')
    ours.chmod(0o755)
    environment = {**os.environ, **DEFAULTS, "PATHS": ".", "PYTHONPATH": str(ROOT), **inputs}
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", scripts()[1]],
        env={**environment, "RUNNER_TEMP": str(folder / "runner")},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def test_the_action(repository: Path) -> None:
    """It prints annotations, writes the file for code scanning, and fails."""
    done = run_check(repository, PATHS="docker/", SARIF_FILE="out.sarif", SELECT="FPM002")

    assert done.returncode == 1, done.stderr
    (line,) = done.stdout.splitlines()
    assert "file=docker/supervisord.conf,line=4" in line
    (result,) = json.loads((repository / "out.sarif").read_text())["runs"][0]["results"]
    assert result["ruleId"] == "FPM002"


def test_inputs_of_the_action_are_no_code(repository: Path) -> None:
    """No script contains an input; each input is one word, also with blanks and commands."""
    hostile = '$(touch pwned) ; touch pwned "'
    done = run_check(repository, PATHS=f"docker/\n-x\n{hostile}", FAIL_ON="never")

    assert done.returncode == 2
    assert done.stderr.startswith("fpm-listener: ")
    assert "Traceback" not in done.stderr
    assert not list(repository.glob("**/pwned"))
    assert len(scripts()) == ACTION.count("shell: bash") == 2
    assert not [script for script in scripts() if "${{" in script]
    inputs = re.findall(r"^  ([a-z-]+):\n    description:", ACTION, re.MULTILINE)
    assert re.findall(r"\$\{\{ inputs\.([a-z-]+) \}\}", ACTION) == ["python", *inputs[:-1]]
    table = PAGE.partition("| input |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:] if row]
    listed = [name for cell in cells for name in re.findall(r"`([a-z-]+)`", cell)]
    assert listed == inputs


def test_the_hook(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It checks the repository, whatever file was changed."""
    (entry,) = re.findall(r"^  entry: fpm-listener (.+)$", HOOKS, re.MULTILINE)
    (arguments,) = re.findall(r"^  args: (.+)$", HOOKS, re.MULTILINE)

    assert "pass_filenames: false" in HOOKS
    assert main([*entry.split(), *json.loads(arguments)]) == 1
    assert f"FPM002 {os.curdir}/docker/supervisord.conf:4" in capsys.readouterr().out
    assert repository == Path.cwd()


def commands() -> Iterator[str]:
    """Yield the commands of the blocks of docs/ci.md."""
    for block in re.findall(
        r"^```(?:yaml|dockerfile|sh)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE
    ):
        yield from re.findall(r"fpm-listener (check .+)$", block, re.MULTILINE)


def test_the_commands_of_the_page(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each finds the mistakes of the repository, and prints the form that its reader expects."""
    (repository / "etc").mkdir()
    (repository / "etc" / "supervisord.conf").write_text(MISTAKE)
    printed = {}
    for command in commands():
        words = shlex.split(command.partition(" > ")[0])
        words = [str(repository) if word in {"/", "rootfs"} else word for word in words]
        known = any("baseline" in word for word in words)
        assert main(words) == (0 if known else 1), command
        printed[command] = capsys.readouterr().out

    assert len(printed) >= 6
    (github,) = [text for command, text in printed.items() if "--format github" in command]
    (gitlab,) = [text for command, text in printed.items() if "--format gitlab" in command]
    assert github.startswith("::error file=docker/supervisord.conf,line=4,title=FPM002 ")
    assert json.loads(gitlab)[0]["location"]["path"] == "docker/supervisord.conf"
