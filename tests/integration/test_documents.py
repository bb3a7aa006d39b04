"""The documents are right: their snippets work, and the pages name everything that exists."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from fpm_listener.cli.arguments import make_parser
from fpm_listener.doctor import project_settings, text_files
from fpm_listener.phpfpm.guard_messages import GuardCode
from fpm_listener.settings import settings
from fpm_listener.supervisor import config
from fpm_listener.supervisor.config import ConfUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *sorted(ROOT.glob("README*.md")),
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/reference/*.md")),
]
#: Other kinds of blocks, and the test that runs them.
ELSEWHERE = {
    "console": "tests/e2e/test_docs.py",
    "text": "",  # what programs have printed
    "dockerfile": "tests/e2e/test_shapes.py",  # parts of one: tests/integration/test_zip.py
    "promql": "tests/integration/test_monitoring.py",
    "yaml": "tests/integration/test_ci.py",
}
#: Blocks for a shell: how they begin, and the test that runs them.
SHELL = {
    "python3 -m venv /opt/fpm-listener": "tests/e2e/test_install.py",
    "fpm-listener init --container": "tests/integration/cli/test_container.py",
    "make demo": "tests/e2e/test_demo.py",
    "mkdir rootfs && docker export": "tests/integration/test_ci.py",
    "fpm-listener check docker/": "tests/integration/test_ci.py",
    "#!/bin/sh\n# Prepares the container": "tests/e2e/test_shapes.py",
    "fpm-listener guard [--wait 2s]": "tests/integration/test_documents.py",  # the usage, see below
    "#!/bin/sh\n# Exits with 1 if fpm-listener": "tests/e2e/test_healed.py",
}


class Snippet(NamedTuple):
    """A fenced block of a page."""

    where: str
    kind: str
    text: str


def snippets() -> Iterator[Snippet]:
    """Return all blocks of all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text[: found.start()].count("\n") + 1
            yield Snippet(f"{page.relative_to(ROOT)}:{line}", found[1], found[2])


ALL = list(snippets())
INI = [snippet for snippet in ALL if snippet.kind == "ini"]


def php_fpm() -> str:
    """Return the php-fpm that the setup script installed."""
    found = os.environ.get("PHP_FPM") or shutil.which("php-fpm8.2")
    assert found, "no php-fpm on this machine: run scripts/setup.sh"
    return found


@pytest.mark.parametrize("snippet", INI, ids=[snippet.where for snippet in INI])
def test_configuration_snippets(snippet: Snippet, tmp_path: Path) -> None:
    """The listener, supervisord or php-fpm reads each of them without an error."""
    text = snippet.text.replace("/run/app", str(tmp_path))  # a directory of an image
    if text.startswith("command="):
        text = f"[program:php-fpm]\n{text}"
    sections = re.findall(r"^\[([^\]]+)\]", text, re.MULTILINE)
    assert sections, snippet
    read_by = set()
    conf = tmp_path / "snippet.conf"
    if sections == ["tool:fpm-listener"]:
        assert project_settings.parse("x", "setup.cfg", text, text_files.texts()).ignore
        read_by.add("check")
    if any(name.startswith("fpm-listener") for name in sections):
        conf.write_text(text)
        assert settings.load(str(conf), {}).source == str(conf)
        read_by.add("the listener")
    if any(name.startswith(("program:", "eventlistener:")) for name in sections):
        conf.write_text(f"[supervisord]\nlogfile={tmp_path}/log\n{text}")
        programs = config.read_programs(str(conf))
        assert not isinstance(programs, ConfUnreadable), programs
        assert programs
        read_by.add("supervisord")
    if sections == ["www"]:
        rest = "user = nobody\npm = static\npm.max_children = 1\nlisten = 127.0.0.1:9000\n"
        conf.write_text(f"[global]\nerror_log = {tmp_path}/log\n{text}{rest}")
        check = [php_fpm(), "-t", "-R", "-y", str(conf)]
        done = subprocess.run(check, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        read_by.add("php-fpm")
    assert read_by, f"nobody reads {snippet.where}"


def test_other_snippets() -> None:
    """Each is run by a test; no test misses a snippet."""
    for snippet in ALL:
        if snippet.kind == "sh":
            runs = [test for begin, test in SHELL.items() if snippet.text.startswith(begin)]
            assert runs, f"no test runs {snippet.where}"
            assert all((ROOT / test).is_file() for test in runs)
        elif snippet.kind == "json":
            assert json.loads(snippet.text)
        elif snippet.kind not in {"ini", "diff"}:
            assert snippet.kind in ELSEWHERE, f"{snippet.where}: {snippet.kind!r}"
            assert (ROOT / ELSEWHERE[snippet.kind]).exists()


def test_links() -> None:
    """Each link to a file of this project finds the file."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: {target}"


# -- the man page and the completions --------------------------------------------------------------


def commands() -> dict[str, set[str]]:
    """Return each command with its long options, and its actions."""
    (subparsers,) = (
        action
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    found: dict[str, set[str]] = {}
    for name, parser in subparsers.choices.items():
        words = {word for action in parser._actions for word in action.option_strings}
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                words |= set(action.choices)
                for inner in action.choices.values():
                    words |= {word for one in inner._actions for word in one.option_strings}
        found[name] = {word for word in words if word not in {"-h", "--help"}}
    return found


@pytest.mark.parametrize(
    "path",
    [
        "docs/man/fpm-listener.1",
        "completions/fpm-listener.bash",
        "completions/_fpm-listener",
        "completions/fpm-listener.fish",
    ],
)
def test_commands_and_options_in_documents(path: str) -> None:
    """The manual page and the completions have those of the parser, and no others."""
    text = (ROOT / path).read_text()
    for command, words in commands().items():
        assert re.search(rf"\b{command}\b", text), command
        for word in words:
            bare = word.lstrip("-")
            assert re.search(rf"(?:--|-l |Fl -|\b){bare}\b", text), (command, word)


def run(*command: str) -> str:
    """Run a command that must succeed; return its output."""
    assert shutil.which(command[0]), f"no {command[0]} on this machine: run scripts/setup.sh"
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_man_page() -> None:
    """mandoc reports nothing, and shows the page."""
    assert run("mandoc", "-T", "lint", "-W", "warning", "docs/man/fpm-listener.1") == ""
    assert "supervisord" in run("mandoc", "-T", "utf8", "docs/man/fpm-listener.1")


@pytest.mark.parametrize(
    ("words", "offers"),
    [
        ("al", {"alerts"}),
        ("guard --o", {"--orphans"}),
        ("guard --orphans ", {"quit", "report"}),
        ("alerts re", {"retry"}),
    ],
)
def test_completions(words: str, offers: set[str]) -> None:
    """bash and fish offer what fits; zsh can read its file."""
    *before, last = f"fpm-listener {words}".split(" ")
    listed = " ".join(f"'{word}'" for word in (*before, last))
    script = (
        f"source completions/fpm-listener.bash; COMP_WORDS=({listed}); COMP_CWORD={len(before)}; "
        '_fpm_listener; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert set(run("bash", "-c", script).split()) == offers
    script = f'source completions/fpm-listener.fish; complete -C "fpm-listener {words}"'
    assert {line.split("\t")[0] for line in run("fish", "-N", "-c", script).splitlines()} == offers
    run("zsh", "-n", "completions/_fpm-listener")


def test_every_message_of_the_guard_is_documented() -> None:
    """The table has each code once, and no other."""
    text = (ROOT / "docs/reference/guard.md").read_text()
    table = text.partition("## Messages")[2].partition("\n## ")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == [one.value for one in GuardCode]
