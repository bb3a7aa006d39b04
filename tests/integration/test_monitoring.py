"""The shipped Prometheus rules: they parse, fire and keep silent as their tests say."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RULES, TESTS = ROOT / "monitoring" / "rules.yml", ROOT / "monitoring" / "rules_test.yml"
METRICS = ROOT / "tests" / "data" / "metrics-golden.txt"


def promtool(*words: str) -> str:
    """Return what promtool says; it must be content."""
    program = shutil.which("promtool")
    assert program, "no promtool on this machine: run scripts/setup.sh"
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_are_good() -> None:
    """promtool reads them."""
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_they_fire_and_keep_silent() -> None:
    """Each has a scene in which it fires, and one in which it does not."""
    assert "SUCCESS" in promtool("test", "rules", str(TESTS))
    text = TESTS.read_text()
    for alert in re.findall(r"- alert: (\w+)", RULES.read_text()):
        scenes = re.findall(rf"alertname: {alert}\s+eval_time: \w+\s+exp_alerts:( \[\])?", text)
        assert set(scenes) == {"", " []"}, alert


def test_every_metric_of_the_rules_is_served() -> None:
    """A rule over a metric that nobody has is silent for ever."""
    served = METRICS.read_text()
    names = set(re.findall(r"\bfpm_listener_\w+", "\n".join(expressions())))

    assert names
    for name in names:
        assert re.search(rf"^{name}[{{ ]", served, re.MULTILINE), name


def expressions() -> list[str]:
    """Return the expressions of all rules."""
    return re.findall(r"^\s+expr: (.+)$", RULES.read_text(), re.MULTILINE)
