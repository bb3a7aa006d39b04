"""The doctor on many programs: `make bench-check`.

Figures stand beside their yardstick, measured in the same run: supervisor's own parser on the same
files, in a process of its own. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from run import row

ROOT = Path(__file__).resolve().parent.parent
PARSE = (
    "import sys; from supervisor.options import ServerOptions; o = ServerOptions();"
    "o.configfile = sys.argv[1]; o.process_config_file(do_usage=False)"
)
RUNS = 5


def lay_out(folder: Path, programs: int) -> Path:
    """Write that many php-fpm programs, each with a file and a configuration of its own."""
    folder.chmod(0o755)
    (folder / "conf.d").mkdir()
    for n in range(programs):
        conf = folder / f"fpm{n}.conf"
        conf.write_text(
            f"[global]\nerror_log = {folder}/{n}.log\n[www]\nuser = www-data\n"
            f"listen = 127.0.0.1:{10000 + n}\npm = static\npm.max_children = 2\n"
        )
        (folder / "conf.d" / f"{n}.conf").write_text(
            f"[program:fpm{n}]\ncommand=/usr/sbin/php-fpm8.2 -F -y {conf}\nautorestart=true\n"
        )
    path = folder / "supervisord.conf"
    path.write_text(f"[supervisord]\nchildlogdir={folder}\n[include]\nfiles=conf.d/*.conf\n")
    return path


def as_nobody() -> list[str]:
    """Return what runs Python as user nobody; nothing where we may not, or it may not be run."""
    if os.geteuid():
        return []
    for python in (sys.executable, "/usr/bin/python3"):  # one below /root may not be run
        packages = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
        command = [
            *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
            *("env", f"PYTHONPATH={os.pathsep.join(packages)}", python, "-B"),
        ]
        tried = subprocess.run(
            [*command, "-c", "import fpm_listener.doctor.check, supervisor.options"],
            capture_output=True,
            check=False,
            cwd="/",
        )
        if tried.returncode == 0:
            return command
    return []


def seconds(command: list[str], findings: int = 0) -> float:
    """Return how long the command takes: the median of some runs. Raises RuntimeError.

    findings: how many it prints at least, which is not done by failing fast.
    """
    taken = []
    for _ in range(RUNS):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, check=False, cwd=ROOT)
        taken.append(time.perf_counter() - began)
        if done.returncode != bool(findings) or done.stdout.count(b'"id"') < findings:
            raise RuntimeError(f"status {done.returncode}: {done.stderr.decode()[-300:]}")
    return median(taken)


def main() -> None:
    """Print what `check` takes on one program and on many."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=200)
    options = parser.parse_args()
    nobody = as_nobody()
    row("figure", "check", "supervisor alone", "ratio", "aim")
    for programs in (1, options.programs):
        with tempfile.TemporaryDirectory(prefix="bc-") as name:
            conf = lay_out(Path(name), programs)
            alone_s = seconds([sys.executable, "-c", PARSE, str(conf)])
            words = ["check", "--json", "--supervisord-conf", str(conf)]
            ways = {"": [sys.executable, "-m", "fpm_listener", *words]}
            if nobody:
                ways[", as nobody"] = [*nobody, "-m", "fpm_listener", *words]
            for who, command in ways.items():
                taken_s = seconds(command, programs)
                figure = f"{programs} php-fpm program{'s' * (programs > 1)}{who}"
                row(
                    figure,
                    f"{taken_s:.2f} s",
                    f"{alone_s:.2f} s",
                    f"{taken_s / alone_s:.1f}",
                    "< 2 s" if programs > 1 else "",
                )


if __name__ == "__main__":
    main()
