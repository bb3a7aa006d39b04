"""The findings for CI servers: what their parsers read."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.doctor.report_github import to_github
from fpm_listener.doctor.report_gitlab import to_gitlab
from fpm_listener.doctor.report_sarif import to_sarif
from fpm_listener.doctor.rule import Finding, FindingSeverity
from tests.unit.doctor.checked_configs import TEXTS

ONE = Finding(
    *("FPM014", FindingSeverity.ERROR, "a b/s.conf:7 [program:x]"),
    *("killasgroup is false", "Its workers run", "Set it to 100%"),
    file="a b/s.conf",
    line=7,
    section="program:x",
    key="killasgroup",
)
WHOLE = ONE._replace(file="/etc/x", line=0, section="", severity=FindingSeverity.HINT)


def unescaped(text: str, replacements: str) -> str:
    """Return a text as the runner of GitHub reads it; %25 is last."""
    for letter in replacements:
        text = text.replace(f"%{ord(letter):02X}", letter)
    return text.replace("%25", "%")


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """Return a workflow command as the runner of GitHub reads it."""
    found = re.fullmatch(r"::(\w+) (.*?)::(.*)", line)
    assert found, line
    pairs = dict(pair.split("=", 1) for pair in found[2].split(","))
    properties = {key: unescaped(value, "\r\n:,") for key, value in pairs.items()}
    return found[1], properties, unescaped(found[3], "\r\n")


def test_github() -> None:
    """The file, the line and a title; what, why and fix are lines of the message."""
    first, second = to_github([ONE, WHOLE], TEXTS).split("\n")

    assert read_command(first) == (
        "error",
        {"file": "a b/s.conf", "line": "7", "title": f"FPM014 {TEXTS['FPM014'].title}"},
        "killasgroup is false\nWhy: Its workers run\nFix: Set it to 100%",
    )
    assert "100%25" in first
    assert read_command(second)[0] == "notice"
    assert read_command(second)[1]["line"] == "1"
    assert to_github([], TEXTS) == ""


@given(st.text(max_size=50), st.text(max_size=50))
def test_any_text_on_github(file: str, what: str) -> None:
    """It is one command of one line, and nothing in it becomes another command."""
    line = to_github([ONE._replace(file=f"x{file}", what=what)], TEXTS)
    command, properties, message = read_command(line)

    assert (command, properties["title"][:6]) == ("error", "FPM014")
    assert "\n" not in line
    assert "\r" not in line
    assert message.endswith("Why: Its workers run\nFix: Set it to 100%")


def test_gitlab() -> None:
    """Each finding has the fields that GitLab requires, and its own fingerprint."""
    found = json.loads(to_gitlab([ONE, ONE._replace(line=9), WHOLE], TEXTS))

    assert found[0] == {
        "description": f"{TEXTS['FPM014'].title}: killasgroup is false. Set it to 100%",
        "check_name": "FPM014",
        "fingerprint": found[0]["fingerprint"],
        "severity": "critical",
        "location": {"path": "a b/s.conf", "lines": {"begin": 7}},
    }
    assert (found[2]["severity"], found[2]["location"]["lines"]) == ("info", {"begin": 1})
    assert len({one["fingerprint"] for one in found}) == 3
    assert to_gitlab([], TEXTS) == "[]"


def sarif(*findings: Finding, url: str = "https://example.org/x/") -> dict[str, Any]:
    """Return the one run of a log."""
    log: dict[str, Any] = json.loads(to_sarif(findings, TEXTS, "1.2.3", url))
    (run,) = log["runs"]
    found: dict[str, Any] = run
    return found


def test_sarif() -> None:
    """A result refers to its rule; its path is relative to the root of the repository."""
    run = sarif(ONE, WHOLE, ONE._replace(id="FPM013"))

    assert [one["id"] for one in run["tool"]["driver"]["rules"]] == ["FPM013", "FPM014"]
    assert [one["ruleIndex"] for one in run["results"]] == [1, 1, 0]
    assert [one["level"] for one in run["results"]] == ["error", "note", "error"]
    first, second, _ = (one["locations"][0]["physicalLocation"] for one in run["results"])
    assert first == {
        "artifactLocation": {"uri": "a%20b/s.conf", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 7},
    }
    assert second["artifactLocation"] == {"uri": "file:///etc/x"}
    assert run["results"][0]["message"] == {
        "text": "killasgroup is false. Its workers run. Fix: Set it to 100%"
    }


def test_sarif_rules() -> None:
    """A rule has help and a link; without the address of the project it has no link."""
    identities = [identity for identity in TEXTS if "." not in identity]
    driver = sarif(*(ONE._replace(id=one) for one in identities))["tool"]["driver"]
    bare = sarif(ONE, url="")["tool"]["driver"]

    assert driver["informationUri"] == "https://example.org/x"
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert len(rule["help"]["text"]) > 20
        assert not re.search(r"\{[a-z_]+\}", json.dumps(rule["help"]))
        page = f"https://example.org/x/blob/HEAD/docs/checks.md#{rule['id'].lower()}-"
        assert rule["helpUri"].startswith(page)
    assert "informationUri" not in bare
    assert "helpUri" not in bare["rules"][0]


def test_a_moved_line_in_sarif() -> None:
    """GitHub recognises the alert again."""
    first = sarif(ONE)["results"][0]
    moved = sarif(ONE._replace(line=70))["results"][0]

    assert moved["partialFingerprints"] == first["partialFingerprints"]


def test_bytes_that_are_no_text() -> None:
    """A file name that is not UTF-8 gives valid JSON and a URI with these bytes."""
    odd = ONE._replace(file="a\udcff/s.conf", what="a\udcff\x1b[0m")
    location = sarif(odd)["results"][0]["locations"][0]["physicalLocation"]

    assert location["artifactLocation"]["uri"] == "a%FF/s.conf"
    assert "\\udcff" not in to_gitlab([odd], TEXTS) + to_sarif([odd], TEXTS, "1", "")
    to_github([odd], TEXTS).encode()
