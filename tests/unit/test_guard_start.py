"""The first steps of the command `guard`."""

import pytest

from fpm_listener.__main__ import main
from fpm_listener.guard import fast_start, guard
from fpm_listener.host import exec as host_exec


@pytest.mark.parametrize("name", ["php-fpm", None])
def test_the_priority_is_raised_before_the_fast_start(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """Once, and only for a guard that supervisord has started."""
    steps = []

    def attempt(_: object) -> bool:
        steps.append("fast start")
        return False

    def run(_: object, *, listener_is_silent: bool) -> int:
        steps.append("guard")
        return int(listener_is_silent)

    monkeypatch.delenv("SUPERVISOR_PROCESS_NAME", raising=False)
    if name is not None:
        monkeypatch.setenv("SUPERVISOR_PROCESS_NAME", name)
    monkeypatch.setattr(host_exec, "raise_priority", lambda: steps.append("priority"))
    monkeypatch.setattr(fast_start, "attempt", attempt)
    monkeypatch.setattr(guard, "run", run)

    assert main(["guard", "--hold", "--", "php-fpm"]) == 0
    assert steps == ["priority"] * (name is not None) + ["fast start", "guard"]
