"""The shipped Prometheus rules: promtool parses them, and runs their tests."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from fpm_listener.vocabulary import Cause
from release import metadata

ROOT = Path(__file__).resolve().parents[2]
RULES, TESTS = ROOT / "monitoring" / "rules.yml", ROOT / "monitoring" / "rules_test.yml"
METRICS = ROOT / "tests" / "data" / "metrics-golden.txt"
DASHBOARD = ROOT / "monitoring" / "grafana-dashboard.json"
RUNBOOK = ROOT / "docs" / "runbook.md"


def promtool(*words: str) -> str:
    """Run promtool, which must succeed; return its output."""
    program = shutil.which("promtool")
    assert program, "no promtool on this machine: run scripts/setup.sh"
    done = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules() -> None:
    """promtool accepts them."""
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_rules_that_fire_and_do_not_fire() -> None:
    """Each rule has a case in which it fires, and one in which it does not."""
    assert "SUCCESS" in promtool("test", "rules", str(TESTS))
    text = TESTS.read_text()
    for alert in re.findall(r"- alert: (\w+)", RULES.read_text()):
        scenes = re.findall(rf"alertname: {alert}\s+eval_time: \w+\s+exp_alerts:( \[\])?", text)
        assert set(scenes) == {"", " []"}, alert


def test_metrics_of_rules_and_panels() -> None:
    """The listener serves each of them; otherwise the rule would never fire."""
    served = METRICS.read_text()
    for text in (*expressions(), *(expression for _, expression in panels())):
        for name in re.findall(r"\b(?:phpfpm|fpm_listener)_\w+", text):
            assert re.search(rf"^{name}[{{ ]", served, re.MULTILINE), name


def expressions() -> list[str]:
    """Return the expressions of all rules."""
    found = re.findall(r"expr: (?:>-\n)?((?:.|\n {10})+)", RULES.read_text())
    assert len(found) == len(names())
    return found


def names() -> list[str]:
    """Return the names of all rules."""
    return re.findall(r"- alert: (\w+)", RULES.read_text())


# -- the dashboard ---------------------------------------------------------------------------------


def panels() -> list[tuple[dict[str, Any], str]]:
    """Return each panel with each of its expressions."""
    dashboard = json.loads(DASHBOARD.read_text())
    return [
        (panel, target["expr"])
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


def with_values(expression: str) -> str:
    """Return an expression as Grafana sends it; each window depends on the panel."""
    assert set(re.findall(r"\[.*?\]", expression)) <= {"[$__rate_interval]", "[$__range]"}
    assert 'job=~"$job"' in expression
    values = {"$instance": "web1", "$job": ".*", "$__rate_interval": "5m", "$__range": "1h"}
    for name, value in values.items():
        expression = expression.replace(name, value)
    return expression


def test_mixin() -> None:
    """Without a configuration it has the shipped rules; the configuration changes them."""
    _jsonnet: Any = importlib.import_module("_jsonnet")  # it has no types

    def alerts(config: str) -> dict[str, Any]:
        text = f"((import 'mixin.libsonnet') + {{_config+:: {config}}}).prometheusAlerts"
        found = json.loads(_jsonnet.evaluate_snippet(f"{RULES.parent}/x", text))
        return {rule["alert"]: rule for rule in found["groups"][0]["rules"]}

    assert list(alerts("{}")) == names()
    found = alerts(
        "{job: 'job=\"x\"', runbookBase: 'https://x/', without: ['FpmFlapping'],"
        " durations: {FpmListenQueue: '9m'}, severities: {FpmListenQueue: 'info'}}"
    )
    assert set(found) == set(names()) - {"FpmFlapping"}
    assert found["FpmListenerAbsent"]["expr"] == 'up{job="x"} == 0'
    queue = found["FpmListenQueue"]
    assert (queue["for"], queue["labels"]) == ("9m", {"severity": "info"})


def test_expressions_of_the_dashboard(tmp_path: Path) -> None:
    """promtool accepts each, with a host instead of the variable."""
    rules = [
        {"record": f"panel:{number}:x", "expr": with_values(expression)}
        for number, (_, expression) in enumerate(panels())
    ]
    assert len(rules) > 20
    path = tmp_path / "panels.json"  # YAML has JSON in it
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    assert "SUCCESS" in promtool("check", "rules", str(path))


def test_panels() -> None:
    """Each has a title, a description and a unit, and none covers another."""
    places: set[tuple[int, int]] = set()
    for panel, _ in panels():
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & places, panel["title"]
        assert at["x"] + at["w"] <= 24
        places |= cells


# -- the runbook -----------------------------------------------------------------------------------


def test_runbook() -> None:
    """It has a section for each cause, and for each rule under the rule's link."""
    text = RUNBOOK.read_text()
    sections = re.findall(r"^### (.+)$", text, re.MULTILINE)
    wanted = [*names(), *(f"`{cause.value}`" for cause in Cause)]
    assert sorted(sections) == sorted(wanted)
    for name in names():
        link = metadata.runbook_url(metadata.project_url(), name)
        assert f"runbook_url: {link}\n" in RULES.read_text(), "the links have another PROJECT_URL"
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        assert len(section.split()) > 15, section


def test_example_for_prometheus() -> None:
    """promtool accepts it, with the rules that it names."""
    conf = str(ROOT / "monitoring" / "prometheus.yml")
    assert f"{len(names())} rules found" in promtool("check", "config", conf)


def test_example_for_prometheus_with_a_token(tmp_path: Path) -> None:
    """promtool accepts it too, and it names the file of the token."""
    text = (ROOT / "monitoring" / "prometheus.yml").read_text()
    lines = re.search(r"    # (authorization:)\n    #(   credentials_file: )(\S+)\n", text)
    assert lines
    token = tmp_path / "token"
    token.write_text("s3cret")
    asked = f"    {lines[1]}\n    {lines[2]}{token}\n"
    (tmp_path / "prometheus.yml").write_text(text.replace(lines[0], asked))
    shutil.copy(RULES, tmp_path)

    assert "SUCCESS" in promtool("check", "config", str(tmp_path / "prometheus.yml"))
