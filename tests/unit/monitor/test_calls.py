"""One event needs few calls between modules."""

from __future__ import annotations

import pytest

from tests.engine_calls import MOST_CALLS, MOST_RETURNS, count_calls


@pytest.mark.parametrize("readable", [True, False])
def test_the_third_backoff_needs_few_calls(readable: bool) -> None:  # noqa: FBT001 - a parameter
    """The event opens an incident; without supervisord's log it also sends the alert."""
    counted = count_calls(log_is_readable=readable)

    assert counted.is_notified is not readable
    assert counted.calls[0] == ("monitor.engine", "monitor.process_monitor", "take")
    assert len(counted.calls) <= MOST_CALLS
    assert counted.returns <= MOST_RETURNS
