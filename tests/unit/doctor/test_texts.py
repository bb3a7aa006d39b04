"""The texts of the doctor's rules: their format, and plain English."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fpm_listener.doctor import rules, suppressions
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.doctor.rules import RULES
from fpm_listener.doctor.texts import Text, parse_texts
from tests.unit.doctor.checked_configs import TEXTS

#: What the code of a rule uses of the machine, and of the supervisord that runs.
_ASKS = re.compile(r"\bmachine\b|\.(?:held|loaded|running|is_environment_known)\b")
ONE = """\
FPM001 error it is wrong
  what  {key} is 1
  why   The first line
        and the second line
  fix   Set it to 2

FPM001.other
  fix   Set it to 3

FPM002 hint it could be better
  why   A reason
  measured  supervisor 4.3.0: 41 of
        150 failed starts
  except  It is intended
  before
        [program:php-fpm]
        environment=A="{x}",
          B="2"
  after
        [program:php-fpm]
        startsecs=3
"""
#: Idioms that a translation or a reader at night misunderstands.
IDIOMS = (
    *("for ever", "anew", "at all", "of its own", "by way of", "whoever", "nobody hears", "nor "),
    *("mend", "in vain", "is taken", "keeps silent", "is content", "what is ", "who "),
)


def test_the_format() -> None:
    """Lines are joined, missing parts have a default, a variant has the parts of its rule."""
    found = parse_texts(ONE)

    assert found["FPM001"] == Text(
        FindingSeverity.ERROR,
        "it is wrong",
        "{key} is 1",
        "The first line and the second line",
        "Set it to 2",
    )
    assert found["FPM001.other"] == found["FPM001"]._replace(fix="Set it to 3")
    assert found["FPM002"].what == "{key} is {value}"
    assert found["FPM002"].fix == "Set {change} in [{section}]"
    assert found["FPM002"].measured == "supervisor 4.3.0: 41 of 150 failed starts"
    assert found["FPM002"].ignore == "It is intended"


def test_examples_keep_their_lines() -> None:
    """Only the indentation of the file is removed."""
    text = parse_texts(ONE)["FPM002"]

    assert text.before == '[program:php-fpm]\nenvironment=A="{x}",\n  B="2"'
    assert text.after == "[program:php-fpm]\nstartsecs=3"


def test_a_variant_with_another_severity() -> None:
    """The title stays that of its rule."""
    found = parse_texts(ONE.replace("FPM001.other", "FPM001.other warning"))

    assert found["FPM001.other"].severity is FindingSeverity.WARNING
    assert found["FPM001.other"].title == "it is wrong"


def test_each_rule_has_a_text() -> None:
    """An id names one rule."""
    ids = {rule.id for rule in RULES} | suppressions.IDS
    assert ids == {identity.partition(".")[0] for identity in TEXTS}


@pytest.mark.parametrize("identity", TEXTS)
def test_plain_english(identity: str) -> None:
    """Each text has a reason, short sentences and no idioms."""
    text = TEXTS[identity]
    assert text.why
    for part in (text.title, text.what, text.why, text.fix, text.measured, text.ignore):
        sentences = re.split(r"[.:;] ", part)
        assert [one for one in sentences if len(one.split()) > 20] == []
        assert [idiom for idiom in IDIOMS if idiom in part] == []
        assert not part.endswith(".") or part.endswith("...")


def test_rules_that_ask_the_machine() -> None:
    """Each rule whose code uses the machine is in ASK_MACHINE: a comment for it is never unused."""
    found = set()
    for path in sorted((Path(rules.__file__).parent).glob("rules_*.py")):
        source = path.read_text()
        functions = {
            one.name: ast.get_source_segment(source, one) or ""
            for one in ast.walk(ast.parse(source))
            if isinstance(one, ast.FunctionDef)
        }
        asking = {name for name, text in functions.items() if _ASKS.search(text)}
        while more := {
            name
            for name, text in functions.items()
            if name not in asking and any(re.search(rf"\b{one}\b", text) for one in asking)
        }:
            asking |= more
        decorated = re.findall(r'@rule\("(\w+)", \w+\)\ndef (\w+)', source)
        found |= {identity for identity, name in decorated if name in asking}

    assert found - rules.ASK_MACHINE == set()
