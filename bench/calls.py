"""How many calls between modules one event needs: `make bench-calls`.

What counts is defined in `tests/engine_calls.py`. The event is played twice: with supervisord's log
(the alert waits for the exit status) and without it (the alert is sent in the same step).
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.engine_calls import MOST_CALLS, MOST_RETURNS, count_calls


def main() -> int:
    """Print the numbers and the calls; return 1 if they are above the goal."""
    status = 0
    for readable in (True, False):
        counted = count_calls(log_is_readable=readable)
        calls, returns = len(counted.calls), counted.returns
        print(
            f"third BACKOFF, bind conflict: {calls} calls (goal {MOST_CALLS}), {returns} returns "
            f"(goal {MOST_RETURNS}); log readable={readable} alert sent={counted.is_notified}"
        )
        for caller, module, function in counted.calls:
            print(f"    {caller} -> {module}.{function}")
        if calls > MOST_CALLS or returns > MOST_RETURNS:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
