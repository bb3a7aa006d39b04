"""`fpm-listener explain`: rules and causes, for people and for editors."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.__main__ import main
from fpm_listener.doctor import text_files
from fpm_listener.doctor.explanations import Texts, to_text
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from fpm_listener.doctor.texts import CauseText

ROOT = Path(__file__).resolve().parents[3]
TEXTS = Texts(text_files.texts(), text_files.causes())
RUNBOOK = ROOT / "docs" / "runbook.md"
MARKER = "<!-- tests/integration/cli/test_explain.py writes the rest of this page -->\n"


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return what `explain` prints for words that it knows."""
    assert main(["explain", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", TEXTS.names)
def test_every_explanation_fits_a_terminal(name: str) -> None:
    """It begins with the name, has no placeholder of a text, and at most 80 columns."""
    printed = to_text(name, TEXTS)

    assert re.match(rf"{name}( \w+)?: ", printed)
    assert [line for line in printed.split("\n") if len(line) > 80] == []
    assert not re.search(r"\{[a-z_]+[!:]?[^}\"]*\}", printed)


def test_names_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    """Several names give several explanations, each once."""
    printed = explain(capsys, "fpm014", "BIND-CONFLICT", "FPM014")

    assert printed.startswith("FPM014 warning: ")
    assert "\n\n\nbind_conflict: " in printed
    assert printed.count("FPM014 warning: ") == 1


def test_all_names_in_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name it lists each rule and each cause."""
    lines = explain(capsys).split("\n")

    assert [line for line in lines if len(line) > 80] == []
    listed = [line.split()[0] for line in lines if "  " in line]
    assert listed == TEXTS.names


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("FPM14", "Did you mean FPM014"),
        ("bind_conflct", "Did you mean bind_conflict?"),
        ("?" * 5000, "??? is neither"),
        ("\x1b[2J", "is neither"),
    ],
)
def test_an_unknown_name(word: str, nearest: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line on standard error names what is similar; nothing else is printed."""
    assert main(["explain", "FPM014", word]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert nearest in printed.err
    assert "\x1b" not in printed.err
    assert len(printed.err) < 300


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A list of documents, of all names if none is given."""
    rule, cause = json.loads(explain(capsys, "--json", "FPM014", "bind_conflict"))

    assert (rule["kind"], rule["id"], rule["severity"]) == ("rule", "FPM014", "warning")
    assert rule["ignore_comment"].startswith("; fpm-listener: ignore FPM014 because ")
    assert rule["causes"] == ["bind_conflict", "stop_timeout"]
    assert (cause["kind"], cause["id"]) == ("cause", "bind_conflict")
    assert [one["id"] for one in json.loads(explain(capsys, "--json"))] == TEXTS.names


def test_each_cause_has_a_text() -> None:
    """In the order of the causes, with something to do, and with rules that exist."""
    assert list(TEXTS.causes) == list(Cause)
    for text in TEXTS.causes.values():
        assert text.do
        assert set(text.rules) <= set(TEXTS.rules)


def test_each_cause_is_in_the_runbook() -> None:
    """The second half of the runbook has the texts of all causes.

    With FPM_LISTENER_WRITE_GOLDEN=1 this writes the part of the page after the marker.
    """
    head = RUNBOOK.read_text().partition(MARKER)[0]
    page = head + MARKER + "".join(map(_section, TEXTS.causes, TEXTS.causes.values()))
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        RUNBOOK.write_text(page)

    assert RUNBOOK.read_text() == page
    rules = {f"### {one}: {text.title}" for one, text in TEXTS.rules.items() if "." not in one}
    assert rules <= set((ROOT / "docs" / "checks.md").read_text().splitlines())  # the links


def _section(cause: Cause, text: CauseText) -> str:
    """Return the section about a cause, in Markdown."""
    names = text.title.startswith(("php-fpm", "supervisord"))
    title = text.title if names else text.title[0].upper() + text.title[1:]
    lines = [f"\n### `{cause.value}`", f"{title}.", *text.what]
    if text.measured:
        lines += [f"Measured: {text.measured}."]
    if text.log:
        lines += ["", "```text", text.log, "```"]
    lines += ["", "What to do:", "", *(f"- {action}" for action in text.do)]
    if text.rules:
        links = [f"[{one}](checks.md#{_anchor(one)})" for one in text.rules]
        lines += ["", f"Rules of `fpm-listener check` about it: {', '.join(links)}."]
    return "\n".join([*lines, ""])


def _anchor(identity: str) -> str:
    """Return the anchor of the heading of a rule, as GitHub makes it."""
    heading = f"{identity}: {TEXTS.rules[identity].title}".lower()
    return re.sub(r"[^\w -]", "", heading).replace(" ", "-")
