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
#: The same for many files, in one process.
PARSE_ALL = PARSE.replace("o = ServerOptions();", "").replace(
    "o.configfile = sys.argv[1]; o.process_config_file(do_usage=False)",
    "[(setattr(o := ServerOptions(), 'configfile', f), o.process_config_file(do_usage=False))"
    " for f in sys.argv[1:]]",
)
RUNS = 5
#: Files of the repository.
FILES = 500


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


def lay_out_repository(folder: Path) -> list[str]:
    """Write a repository of many services, and return its main files."""
    (folder / ".git").mkdir()
    mains = []
    for n in range(FILES // 5):
        (folder / f"{n}" / "conf.d").mkdir(parents=True)
        texts = {
            "supervisord.conf": "[supervisord]\nnodaemon=true\n[program:php-fpm]\n"
            "command=php-fpm -F\n[include]\nfiles=conf.d/*.conf\n",
            "conf.d/cron.conf": "[program:cron]\ncommand=cron -f\n",
            "worker.ini": "[program:worker]\ncommand=php artisan queue:work\nnumprocs=4\n"
            "process_name=%(process_num)s\n",
            "www.conf": "[www]\nuser = www-data\nlisten = 9000\npm = static\npm.max_children = 4\n",
            "zz-docker.conf": "[global]\ndaemonize = no\n[www]\nlisten = 9000\n",
        }
        for name, text in texts.items():
            (folder / f"{n}" / name).write_text(text)
        mains.append(str(folder / f"{n}" / "supervisord.conf"))
    return mains


def tree_kib(pid: int) -> int:
    """Return the resident memory of a process and of its children; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((line for line in status.splitlines() if line.startswith("VmRSS")), "- 0")
    return int(own.split()[1]) + sum(tree_kib(int(child)) for child in children)


def peak_mib(command: list[str]) -> float:
    """Return the most memory of the command with its children, sampled every 10 ms."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, tree_kib(process.pid))
        time.sleep(0.01)
    return most / 1024


def measure_repository() -> None:
    """Print what `check` takes on the files of a repository."""
    with tempfile.TemporaryDirectory(prefix="bc-") as name:
        mains = lay_out_repository(Path(name))
        alone = [sys.executable, "-c", PARSE_ALL, *mains]
        ours = [sys.executable, "-m", "fpm_listener", "check", "--json", name]
        alone_s, taken_s = seconds(alone), seconds(ours, len(mains))
        ratio = f"{taken_s / alone_s:.1f}"
        row(
            f"{FILES} files of a repository", f"{taken_s:.2f} s", f"{alone_s:.2f} s", ratio, "< 5 s"
        )
        ours_mib, alone_mib = peak_mib(ours), peak_mib(alone)
        ratio = f"{ours_mib / alone_mib:.1f}"
        row(
            "memory of its processes",
            f"{ours_mib:.0f} MiB",
            f"{alone_mib:.0f} MiB",
            ratio,
            "< 80 MiB",
        )


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
    measure_repository()


if __name__ == "__main__":
    main()
