"""Every command line of the pages is run beside a real supervisord and php-fpm."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.lab import Lab

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    *sorted(ROOT.glob("README*.md")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("docs/reference/*.md")),
]
#: Exit statuses that are no failure: `check` finds something in the lab, too.
GOOD = {"check": {0, 1}}


def shown_commands() -> list[str]:
    """Return the command lines of all pages, each once."""
    lines = []
    for page in PAGES:
        for block in re.findall(
            r"^```console\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            lines += [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    return list(dict.fromkeys(lines))


def adapted(line: str, lab: Lab) -> str:
    """Return the command line with the files of this lab instead of those of the system."""
    ours = f"{sys.executable} -m fpm_listener"
    config = f"--config {lab.folder}/supervisord.d/fpm_listener.conf"
    line = re.sub(r"^fpm-listener (alerts|leave)\b", rf"fpm-listener \1 {config}", line)
    line = re.sub(r"^fpm-listener status\b", rf"fpm-listener status --url {lab.url}", line)
    line = line.replace("/etc/supervisor/supervisord.conf", f"{lab.folder}/supervisord.conf")
    line = line.partition("  #")[0]
    is_own = re.search(r"--supervisord-conf|--root|docker/", line)
    if line.startswith("fpm-listener check") and not is_own:
        line = line.replace("check", f"check --supervisord-conf {lab.folder}/supervisord.conf", 1)
    line = line.replace("/etc/fpm-listener", str(lab.folder)).replace("/tmp/f", f"{lab.folder}/f")
    return re.sub(r"^fpm-listener\b", ours, line)


def test_a_command_line_of_the_pages(lab: Lab) -> None:
    """It works, and its exit status says so."""
    lab.fpm_program(f"127.0.0.1:{free_port()}")
    lab.start()
    lab.wait_for_php_fpm()
    wait_until(lambda: "php-fpm:php-fpm" in lab.get("/status.json"), "the program")
    for folder in ("docker", "rootfs/etc"):  # a repository, and an unpacked image
        (lab.folder / folder).mkdir(parents=True)
        shutil.copy(lab.folder / "supervisord.conf", lab.folder / folder)
    lines = shown_commands()
    assert any(line.startswith("fpm-listener check") for line in lines)
    for line in lines:
        command = adapted(line, lab)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=lab.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        words = line.split()
        good = GOOD.get(words[1] if len(words) > 1 else "", {0})
        assert done.returncode in good, (line, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, line
