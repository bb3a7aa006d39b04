"""`make fuzz`: feeds every parser of outside input with inputs that atheris makes.

The time (FUZZ_SECONDS, 600) is divided among the targets; two processes run at once. Names of
targets on the command line choose some. Findings are printed; exit 1 where there are any.
"""

from __future__ import annotations

import ast
import json
import logging
import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.judge import LONGEST, Finding, run, stretch

ROOT = Path(__file__).parents[2]
#: Inputs that reached something new; kept from one run to the next.
CORPUS = ROOT / ".fuzz"
PROCESSES = 2
#: One input of this many is stretched.
_STRETCHED = 2000
#: Seconds after which an input counts as one that never ends.
_HANGS_S = 60
_STATISTICS = "stat::number_of_executed_units:"


def main(words: list[str]) -> int:
    """Fuzz the targets; return the exit status."""
    if words[:1] == ["--one"]:
        return fuzz_one(words[1], int(words[2]), int(words[3]))
    names = words or target_names()
    total_s = float(os.environ.get("FUZZ_SECONDS") or 600)
    each_s = max(1, round(total_s * PROCESSES / len(names)))
    seed = int(os.environ.get("FUZZ_SEED") or secrets.randbelow(1 << 31))
    print(f"fuzz: {len(names)} targets, {each_s} s each, FUZZ_SEED={seed}", flush=True)
    with ThreadPoolExecutor(PROCESSES) as pool:
        counts = list(pool.map(lambda name: _in_child(name, each_s, seed), names))
    findings = sum(found for found, _ in counts)
    inputs = sum(done for _, done in counts)
    print(f"fuzz: {inputs} inputs, {findings} findings")
    return int(findings > 0)


def target_names() -> list[str]:
    """Return all names; asked of a child, since this process imports nothing of the listener."""
    command = [sys.executable, "-c", "from tests.fuzz.targets import TARGETS; print(*TARGETS)"]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=-1, text=True).stdout.split()


def _in_child(name: str, seconds: int, seed: int) -> tuple[int, int]:
    """Fuzz one target; print and return how many findings and inputs there were."""
    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    left = CORPUS / f"{name}.findings"
    left.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.run", "--one", name, str(seconds), str(seed)]
    done = subprocess.run(
        command, cwd=ROOT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said = done.stdout.decode("utf-8", "replace")
    counted = [line for line in said.splitlines() if line.startswith(_STATISTICS)]
    inputs = int(counted[-1].split()[-1]) if counted else 0
    lines = left.read_text(encoding="utf-8").splitlines() if left.exists() else []
    for found in map(json.loads, lines):
        print(f"FINDING {name}: {found['error']}\n  at {found['where']}\n  input {found['data']}")
    if done.returncode:  # libFuzzer's own: an input that never ends, or takes all memory
        print(f"FINDING {name}: the fuzzer ended with {done.returncode}\n{said[-3000:]}")
    count = len(lines) + bool(done.returncode)
    print(f"fuzz: {name}: {inputs} inputs, {count} findings", flush=True)
    return count, inputs


def fuzz_one(name: str, seconds: int, seed: int) -> int:
    """Fuzz one target in this process, which libFuzzer ends."""
    import atheris  # noqa: PLC0415 - only `make fuzz` installs it

    # supervisord's own parser is not ours to cover.
    with atheris.instrument_imports(include=["fpm_listener"]):
        from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented
    logging.disable()
    target, corpus = TARGETS[name], CORPUS / name
    for number, data in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    known: set[str] = set()
    count = 0

    def take(data: bytes) -> None:
        nonlocal count
        count += 1
        found = run(target, data)
        if found is None and count % _STRETCHED == 0:
            found = stretch(target, data)
        if found is not None and found.where not in known:
            known.add(found.where)
            _keep(name, found)

    flags = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST}"]
    flags += [f"-timeout={_HANGS_S}", "-rss_limit_mb=2048", "-print_final_stats=1"]
    flags += [f"-artifact_prefix={CORPUS}/{name}-", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], take)
    atheris.Fuzz()
    return 0


def _keep(name: str, found: Finding) -> None:
    line = {"error": found.error, "where": found.where, "data": repr(found.data)}
    with (CORPUS / f"{name}.findings").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def replay(name: str, data: str) -> Finding | None:
    """Return what an input does that was printed: `replay("protocol", "b'ver:3.0'")`."""
    from tests.fuzz.targets import TARGETS  # noqa: PLC0415 - see target_names

    return run(TARGETS[name], ast.literal_eval(data))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
