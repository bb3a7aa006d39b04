"""How fast fpm-listener starts: as a package, unpacked from the zip file, and from the zip file.

`make bench-zip`. The order changes in each round, and the median counts, since machines are noisy.
The guard becomes a program that exits at once, after it has read a configuration of php-fpm and
asked for its address.
"""

from __future__ import annotations

import argparse
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from release import build_pyz  # noqa: E402 - it is found now


def programs(folder: Path) -> dict[str, list[str]]:
    """Install it in three ways; return how each is started."""
    build_pyz.download()
    archive = folder / "fpm-listener.pyz"
    build_pyz.build(archive)
    unpacked = folder / "unpacked"
    venv = folder / "venv"
    wheels = sorted(str(path) for path in build_pyz.WHEELS.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", f"--python={venv}/bin/python", "install", "--quiet"]
    pip += ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation"]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(venv)],
        [*pip, "setuptools"],  # it builds the package
        [*pip, *wheels, str(ROOT)],
        # The same Python for all three: modules that another one loads at its start cost time, too.
        [f"{venv}/bin/python", str(archive), "unpack", str(unpacked)],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return {
        "package": [f"{venv}/bin/fpm-listener"],
        "unpacked": [f"{unpacked}/bin/fpm-listener"],
        "zip file": [f"{venv}/bin/python", str(archive)],
    }


def ready_s(program: list[str], folder: Path) -> float:
    """Return the seconds until the listener has written READY."""
    conf = folder / "fpm_listener.conf"
    conf.write_text(f"[fpm-listener]\nlisten = 127.0.0.1:0\nstate_dir = {folder}/state\n")
    before = time.monotonic()
    with subprocess.Popen(
        [*program, "listen", "--config", str(conf)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as child:
        assert child.stdout
        assert child.stdout.read(6) == b"READY\n"
        took = time.monotonic() - before
        child.kill()
    return took


def guard_s(program: list[str], folder: Path) -> float:
    """Return the seconds until the guard has become the program, which exits at once."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    conf = folder / "php-fpm.conf"
    conf.write_text(f"[www]\nlisten = 127.0.0.1:{port}\npm = static\npm.max_children = 1\n")
    php_fpm = folder / "php-fpm"
    if not php_fpm.is_symlink():
        php_fpm.symlink_to("/bin/true")
    before = time.monotonic()
    subprocess.run([*program, "guard", "--", str(php_fpm), "-F", "-y", str(conf)], check=True)
    return time.monotonic() - before


def processor_s() -> float:
    """Return the processor time of all children that have exited."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print the times side by side."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="zip-") as name:
        folder = Path(name)
        ways = programs(folder)
        order = list(ways)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(rounds):
            for way in order[number % 3 :] + order[: number % 3]:
                for what, measure in (("READY", ready_s), ("guard", guard_s)):
                    before = processor_s()
                    took = measure(ways[way], folder)
                    found.setdefault((what, way), []).append((took, processor_s() - before))
    print(f"median of {rounds} rounds, one run, Python {sys.version.split()[0]}")
    for what in ("READY", "guard"):
        yardsticks = medians(found[what, "package"])
        for way in order:
            for label, seconds, yardstick in zip(
                ("time", "processor time"), medians(found[what, way]), yardsticks, strict=True
            ):
                aim = "  aim at most 1.1" if way == "unpacked" else ""
                print(
                    f"{what}: {way:<9} {label:<15} {seconds * 1000:6.0f} ms "
                    f" {seconds / yardstick:.2f}{aim}"
                )


def medians(pairs: list[tuple[float, float]]) -> list[float]:
    return [statistics.median(one) for one in zip(*pairs, strict=True)]


if __name__ == "__main__":
    main()
