"""A bind conflict that is over: the page and the status before it is resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.e2e.lab import kill
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.lab import Lab


def test_the_holder_exits(lab: Lab) -> None:
    """The remedy no longer names its pid; then the incident is recovering, with nothing to do."""
    port = free_port()
    stray = lab.hold_port(port)
    lab.settings["stable_for"] = "10m"
    lab.fpm_program(f"127.0.0.1:{port}", startretries="100")
    lab.start()

    def incident() -> dict[str, Any]:
        found: dict[str, Any] | None = lab.status("php-fpm")["incident"]
        return found or {"remedy": "", "holder": None}

    wait_until(lambda: f"kill {stray.pid}" in incident()["remedy"], "the remedy")
    kill(stray.pid)
    stray.wait()
    wait_until(lambda: str(stray.pid) not in incident()["remedy"], "the pid to be gone")
    wait_until(lambda: incident().get("recovering_at_s") is not None, "the recovery")

    one = incident()
    assert one["holder"] is None
    assert one["remedy"] == "No action is needed unless it fails again"
    assert "recovering; the problem was: " in one["summary"]
    assert one["resolves_at_s"] > one["recovering_at_s"]
    assert "will be resolved at" in lab.get("/")
