"""Mistakes with `on_fatal` that the log reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon.shutdown_hints import ShutdownHints
from fpm_listener.host import run_channel
from fpm_listener.settings.policy import HealingPolicy
from fpm_listener.supervisor.process import ProcessName

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = (ProcessName("php-fpm", "php-fpm"), ProcessName("workers", "worker_00"))
ON = HealingPolicy(shutdown_on_fatal=True)
RUN = {run_channel.VARIABLE: "name"}


@pytest.mark.parametrize(
    ("supervisord", "environ", "policy", "message"),
    [
        (1, {}, ON, "start supervisord with: fpm-listener run -- supervisord"),
        (1, RUN, ON, ""),
        (7, {}, ON, ""),
        (1, {}, HealingPolicy(), ""),
        (1, RUN, ON._replace(fatal_programs=("php-fpm", "workers:*")), ""),
        (1, RUN, ON._replace(fatal_programs=("php-fpm", "worker")), "glob='worker'"),
        (
            7,
            {},
            HealingPolicy(fatal_programs=("php-fpm",)),
            "no effect without on_fatal = shutdown",
        ),
    ],
)
def test_a_hint(
    caplog: pytest.LogCaptureFixture,
    supervisord: int,
    environ: Mapping[str, str],
    policy: HealingPolicy,
    message: str,
) -> None:
    """It is logged once, with what to write; without a mistake there is none."""
    hints = ShutdownHints(supervisord, environ)
    hints.look(policy, ())  # the programs are not known yet
    hints.look(policy, NAMES)
    hints.look(policy, NAMES)
    assert [message in line for line in caplog.messages] == ([True] if message else [])
