"""Comments that ignore findings: which findings, and what is wrong with a comment."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.doctor import suppressions
from fpm_listener.doctor.rule import Finding, FindingSeverity
from tests.unit.doctor.checked_configs import TEXTS

SUPERVISORD = """\
[supervisord]
nodaemon=true

[program:a]
command=/bin/a
killasgroup=false
[program:b]
command=/bin/b
killasgroup=false
"""
FPM = "[global]\nerror_log = /x\n[www]\nlisten = 9000\n"
#: A comment that is right, for a place in a text.
WHY = "; fpm-listener: ignore FPM014 because the container ends with it"


def finding(line: int, identity: str = "FPM014", file: str = "f") -> Finding:
    """Return a finding at a line."""
    where = f"{file}:{line}" if line else file
    texts = (where, "what", "why", "fix")
    return Finding(identity, FindingSeverity.ERROR, *texts, file=file, line=line)


def left(text: str, *findings: Finding, is_whole: bool = True) -> list[str]:
    """Return what is left: the id and the line of each finding."""
    found = suppressions.apply(findings, {"f": text}, TEXTS, is_whole=is_whole)
    return [f"{one.id}:{one.line}" for one in sorted(found, key=lambda one: (one.line, one.id))]


def above(text: str, line: str, comment: str) -> str:
    """Return a text with a comment above the first such line."""
    assert f"{line}\n" in text
    return text.replace(f"{line}\n", f"{comment}\n{line}\n", 1)


def test_a_comment_above_a_key() -> None:
    """It ignores findings at this key, and no others."""
    text = above(SUPERVISORD, "killasgroup=false", WHY)

    assert left(text, finding(7), finding(10), finding(7, "FPM013")) == ["FPM013:7", "FPM014:10"]


@pytest.mark.parametrize("blank", ["\t", "  ", " \t "])
def test_blanks_in_a_comment(blank: str) -> None:
    """A tab is a blank, too."""
    text = above(SUPERVISORD, "killasgroup=false", blank + WHY.replace(" ", blank))

    assert left(text, finding(7)) == []


def test_a_comment_above_a_header() -> None:
    """It ignores findings of the whole section: at its header, and at each key."""
    text = above(SUPERVISORD, "[program:a]", WHY)

    assert left(text, finding(5), finding(7), finding(10)) == ["FPM014:10"]
    assert left(above(SUPERVISORD, "[program:b]", WHY), finding(4), finding(8), finding(10)) == [
        "FPM014:4"
    ]


@pytest.mark.parametrize(
    "comment",
    [
        "# fpm-listener: ignore FPM014 because the container ends with it",
        "   ;fpm-listener:ignore fpm014 BECAUSE it ends",
        ";; FPM-Listener: ignore FPM010,FPM014 , FPM013 because it ends",
        "; fpm-listener: ignore FPM014 FPM013 because it ends because of this",
        "; another comment\n" + WHY + "\n; a third one",
    ],
)
def test_spellings(comment: str) -> None:
    """Blanks, case and the kind of list do not matter; other comments can be beside it."""
    text = above(SUPERVISORD, "killasgroup=false", comment)
    number = text.split("\n").index("killasgroup=false") + 1

    assert "FPM014" not in str(left(text, finding(number)))


def test_a_number_sign_in_a_file_of_php_fpm() -> None:
    """There it begins no comment, so it ignores nothing."""
    comment = WHY.replace(";", "#", 1)

    assert left(above(FPM, "listen = 9000", comment), finding(5)) == ["FPM014:5"]
    assert left(above(FPM, "listen = 9000", WHY), finding(5)) == []


def test_a_comment_at_the_top_of_a_file() -> None:
    """It also ignores findings that have no line."""
    assert left(f"{WHY}\n{FPM}", finding(0), finding(2)) == []
    assert left(f"{WHY}\n\n{FPM}", finding(0), finding(3)) == ["FPM014:3"]
    assert left(above(FPM, "[www]", WHY), finding(0), finding(4)) == ["FPM014:0"]


@pytest.mark.parametrize(
    ("file", "line", "section", "is_left"),
    [
        ("php-fpm.d/www.conf", 1, "www", False),
        ("php-fpm.d/www.conf", 2, "www", True),
        ("php-fpm.d/www.conf", 3, "api", True),
        ("other/www.conf", 1, "www", True),
    ],
)
def test_a_pool_in_several_files(file: str, line: int, section: str, is_left: bool) -> None:  # noqa: FBT001
    """A key that no file sets is a finding at the first header; a comment at another one counts."""
    missing = finding(line, file=file)._replace(section=section)
    files = {
        file: "[www]\nuser = a\n[api]\n",
        "php-fpm.d/zz-app.conf": f"{WHY}\n[WWW]\nlisten = 9000\n",
    }
    found = suppressions.apply([missing], files, TEXTS)

    assert (missing in found) == is_left
    assert ("FPM180" in str(found)) == is_left


def test_a_comment_of_another_file() -> None:
    """It ignores nothing here."""
    text = above(SUPERVISORD, "killasgroup=false", WHY)

    assert left(text, finding(7, file="g"), finding(7)) == ["FPM014:7"]


@pytest.mark.parametrize("reason", ["", " because", " because …", " because   - "])
def test_a_comment_without_a_reason(reason: str) -> None:
    """The finding stays, and a warning says why."""
    text = above(SUPERVISORD, "killasgroup=false", f"; fpm-listener: ignore FPM014{reason}")

    assert left(text, finding(7)) == ["FPM181:6", "FPM014:7"]
    (own,) = suppressions.apply([], {"f": text}, TEXTS)
    assert (own.severity, own.where) == (FindingSeverity.WARNING, "f:6 [program:a]")


@pytest.mark.parametrize(
    ("ids", "what"),
    [
        ("FPM013", "there is no such finding below it"),
        ("FPM999", "FPM999, which is not an id"),
        ("FPM01", "FPM01, which is not an id"),
        ("FPM180", "FPM180, which is about such comments"),
        ("FPM181", "FPM181, which is about such comments"),
        ("", "the comment has no id"),
    ],
)
def test_a_comment_that_ignores_nothing(ids: str, what: str) -> None:
    """It is a hint, so that old comments do not hide new mistakes."""
    comment = f"; fpm-listener: ignore {ids} because of something"
    text = above(SUPERVISORD, "killasgroup=false", comment)
    (own,) = suppressions.apply([], {"f": text}, TEXTS)

    assert (own.id, own.severity) == ("FPM180", FindingSeverity.HINT)
    assert what in own.what


def test_one_unused_id_of_several() -> None:
    """Only this one is named."""
    comment = "; fpm-listener: ignore FPM014,FPM013 because of something"
    text = above(SUPERVISORD, "killasgroup=false", comment)
    (own,) = suppressions.apply([finding(7)], {"f": text}, TEXTS)

    assert "ignores FPM013," in own.what


@pytest.mark.parametrize(
    "text", [f"{SUPERVISORD}{WHY}\n", SUPERVISORD.replace("\n\n", f"\n{WHY}\n\n")]
)
def test_nothing_below_a_comment(text: str) -> None:
    """An empty line or the end of the file is below it."""
    (own,) = suppressions.apply([], {"f": text}, TEXTS)

    assert "the next line has no key and no section" in own.what


def test_when_a_comment_may_be_used() -> None:
    """Nothing is said if the rule was perhaps not applied."""
    text = above(SUPERVISORD, "killasgroup=false", WHY)

    assert left(text) == ["FPM180:6"]
    assert left(text.replace("FPM014", "FPM023")) == []
    assert left(text, finding(1, "FPM111")) == ["FPM111:1"]
    assert left(text.replace("killasgroup=false", "killasgroup=%(ENV_KILL)s", 1)) == []
    assert left(above(FPM.replace("9000", "${PORT}"), "[www]", WHY)) == []
    assert left(above(FPM, "[www]", WHY)) == ["FPM180:3"]
    assert left(above(FPM, "[www]", WHY), is_whole=False) == []
    assert left(above(FPM, "listen = 9000", WHY), is_whole=False) == ["FPM180:4"]
    other = above(SUPERVISORD, "[program:a]", WHY.replace("FPM014", "FPM013"))
    assert left(other) == ["FPM180:4"]
    assert left(other, is_whole=False) == []


@pytest.mark.parametrize(
    "line",
    [
        "; fpm-listener: detects restart loops",
        "; fpm-listener ignore FPM014 because",
        "command=/bin/echo '; fpm-listener: ignore FPM014 because'",
        "; see fpm-listener: ignore FPM014 because",
        "; fpm-listener: ignored",
        "; fpm-listener:",
    ],
)
def test_other_lines(line: str) -> None:
    """They are no such comment."""
    assert left(above(SUPERVISORD, "killasgroup=false", line), finding(7)) == ["FPM014:7"]


def test_strange_words() -> None:
    """They are cut, and nothing in them reaches a terminal."""
    comment = f"; fpm-listener: ignore \x1b[31m{'x' * 5000} because of something"
    (own,) = suppressions.apply([], {"f": above(SUPERVISORD, "command=/bin/a", comment)}, TEXTS)

    assert "\x1b" not in own.what
    assert len(own.what) < 100


@given(st.text(alphabet=";#[]=\n fpm-listener:ignoreFPM014,because", max_size=200))
def test_any_text(text: str) -> None:
    """It raises nothing, and only a comment with a reason ignores a finding."""
    found = suppressions.apply([finding(1)], {"f": f"fpm-listener:\n{text}"}, TEXTS)

    assert finding(1) in found or "because" in text
