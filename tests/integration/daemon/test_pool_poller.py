"""What the log says about pools."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from fpm_listener.daemon.pool_poller import PoolPoller
from fpm_listener.phpfpm.pool_life import QUEUED, Life
from fpm_listener.phpfpm.status_page import PoolTarget, PoolView
from fpm_listener.supervisor.process import ProcessName

if TYPE_CHECKING:
    import pytest

WWW = PoolTarget("www", "/run/www.sock")


def test_a_pool_that_runs_again_does_not_answer_yet(caplog: pytest.LogCaptureFixture) -> None:
    """Its workers were stopped. After SIGCONT they are busy; it answers when it accepts clients."""
    poller = PoolPoller(1.0, put=lambda _: None, failed=lambda _: None)
    fine = PoolView(pool="www", up=True)
    stopped = PoolView(pool="www", up=False, silent=True, life=Life.STOPPED, detail=QUEUED)
    busy = PoolView(pool="www", up=None, silent=True, life=Life.ALIVE)
    lines = []
    views = (fine, stopped, stopped, busy, busy, fine, fine)
    with caplog.at_level("INFO"):
        for before, view in pairwise(views):
            caplog.clear()
            poller._log_change(ProcessName("web", "php-fpm"), WWW, before, view)
            lines.append(caplog.messages[0].partition(" program")[0] if caplog.messages else "")
    assert lines == ["pool does not answer", "", "", "", "pool answers again", ""]
