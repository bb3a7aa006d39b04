"""Compare `check` with `php-fpm -t` for generated configurations: `check_parity.py SEED COUNT`.

Prints each configuration that php-fpm rejects and `check` does not, and the reverse.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor import check
from fpm_listener.doctor.host_facts import Host
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.host.address_holders import HolderReport
from tests.broken_configs import ENVIRONMENT, Broken, generate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fpm_listener.doctor.rule import Finding

#: Rules that also find what `php-fpm -t` accepts and a start rejects.
STARTS = {"FPM040", "FPM043", "FPM044", "FPM049", "FPM050", "FPM063", "FPM067", "FPM085"}
#: Warnings that may be rejections: php-fpm uses no such name here, or a variable may be set later.
_AS_ERRORS = {"FPM067", "FPM085"}
#: Rules of errors with which php-fpm starts.
_RUNS = {"FPM045", "FPM047", "FPM073"}
_PLACE = re.compile(r"\[(/[^\]:]+:\d+)\]")


class Answer(NamedTuple):
    """What php-fpm and `check` say about one configuration."""

    broken: Broken
    accepted: bool
    output: str
    errors: tuple[Finding, ...]

    @property
    def problem(self) -> str:
        """Return how the answers differ; empty if they agree."""
        if self.accepted:
            false = [one for one in self.errors if one.id not in STARTS | _RUNS]
            return "FALSE" if false else ""
        errors = [one for one in self.errors if one.id not in _RUNS]
        if not errors:
            return "MISSED"
        places = set(_PLACE.findall(self.output))
        # After an include php-fpm counts lines from the included file on.
        if any("\ninclude =" in text for text in (self.broken.main, *self.broken.others.values())):
            places = {place.partition(":")[0] for place in places}
        if places and not any(one.where.startswith(tuple(places)) for one in errors):
            return "OTHER LINE"
        return ""

    def __str__(self) -> str:
        found = "".join(f"  {one.id} {one.where}: {one.what}\n" for one in self.errors)
        files = {"php-fpm.conf": self.broken.main, **self.broken.others}
        text = "".join(f"--- {name}\n{text}" for name, text in files.items())
        return f"===== {self.problem}\n{text}php-fpm:\n{self.output}check:\n{found}"


def compare(configs: Iterable[Broken], php_fpm: str, folder: Path) -> list[Answer]:
    """Return the answers of both; one `check` reads all configurations as programs."""
    broken = list(configs)
    mains = []
    for number, one in enumerate(broken):
        own = folder / f"c{number:04}"
        own.mkdir()
        mains.append(one.write(own))
    conf = folder / "supervisord.conf"
    programs = [f"[program:{m.parent.name}]\ncommand={php_fpm} -F -y {m}\n" for m in mains]
    conf.write_text("".join(["[supervisord]\n", *programs]))
    findings = check.check(str(conf), Host(), ENVIRONMENT, search=nobody)
    errors = [
        one for one in findings if one.severity is FindingSeverity.ERROR or one.id in _AS_ERRORS
    ]
    return [
        Answer(
            one,
            *verdict(php_fpm, main),
            tuple(error for error in errors if error.where.startswith(f"{main.parent}/")),
        )
        for one, main in zip(broken, mains, strict=True)
    ]


def nobody(address: str) -> HolderReport:
    """Return that no process has the address."""
    return HolderReport(address=address, holders=())


def verdict(php_fpm: str, main: Path) -> tuple[bool, str]:
    """Return what `php-fpm -t` says."""
    done = subprocess.run(
        [php_fpm, "-t", "-y", str(main)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd="/",
        env=ENVIRONMENT,
        timeout=200,
        check=False,
    )
    text = (done.stdout + done.stderr).decode(errors="replace")
    return done.returncode == 0, text


def main() -> int:
    """Compare, and return 1 if the answers differ."""
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        answers = compare(generate(seed, count), os.environ["PHP_FPM"], Path(folder))
    differ = [one for one in answers if one.problem]
    for one in differ:
        print(one)  # noqa: T201 - the output of this program
    rejected = sum(not one.accepted for one in answers)
    kinds = {
        kind: sum(one.problem == kind for one in answers)
        for kind in ("MISSED", "FALSE", "OTHER LINE")
    }
    print(f"seed {seed}: {count} configurations, {rejected} rejected by php-fpm: {kinds}")  # noqa: T201
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
