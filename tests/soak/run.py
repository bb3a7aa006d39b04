"""`make soak`: 24 simulated hours (SOAK_HOURS), then 600 real seconds (SOAK_SECONDS) of faults.

SOAK_SEED repeats the decisions of a run; the simulated half is the same then, event by event.
0 hours or 0 seconds leave a half out. Exit status 1 where a law does not hold.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "e2e")]  # the tests are no packages

from tests.soak import real, simulated  # noqa: E402 - only now can they be found


def main() -> int:
    """Run both halves; return the exit status."""
    seed = int(os.environ.get("SOAK_SEED") or secrets.randbelow(1 << 31))
    hours = float(os.environ.get("SOAK_HOURS") or 24)
    seconds = float(os.environ.get("SOAK_SECONDS") or 600)
    print(
        f"soak: {hours:g} simulated hours, {seconds:g} real seconds, SOAK_SEED={seed}", flush=True
    )
    passed = hours <= 0 or simulated.run(seed, hours)
    passed &= seconds <= 0 or real.run(seed, seconds)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
