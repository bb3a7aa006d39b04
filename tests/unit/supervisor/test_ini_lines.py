"""Where keys of INI files stand, and how they are changed there."""

from __future__ import annotations

import pytest

from fpm_listener.doctor.checked_config import Section
from fpm_listener.doctor.ini_edits import Edit, apply, lines_of
from fpm_listener.supervisor.ini_lines import ConfigSection, Line, Place, scan


def lines(text: str, section: str, *, php: bool = False) -> dict[str, tuple[str, int]]:
    """Return value and line number by key."""
    return {
        key: (line.value, line.number)
        for key, line in scan([("f", text)], php=php)[section].lines.items()
    }


def test_keys_of_supervisor() -> None:
    """Keys are small letters; = and : end one; a comment begins at the start or after a blank."""
    text = "; c\n[a]\nKey = 1 ; no\nb:2\n c=3#4\n\n[b]\n# x=1\nd=5 # no\nnothing\n"
    sections = scan([("f", text)])

    assert lines(text, "a") == {"key": ("1", 3), "b": ("2", 4)} | {"b": ("2 c=3#4", 4)}
    assert lines(text, "b") == {"d": ("5", 9)}
    assert (sections["a"].file, sections["a"].number) == ("f", 2)
    assert sections["a"].lines["key"].cut == "; no"
    assert sections["b"].lines["d"].cut == "# no"
    assert sections["a"].lines["b"].cut == ""


def test_a_value_of_several_lines() -> None:
    """What is indented more goes on with it; the last line is known."""
    text = "[a]\nx = 1,\n  2,\n\n  3\ny = 4\n"

    assert scan([("f", text)])["a"].lines == {
        "x": Line("f", 2, "1, 2, 3", "", 5),
        "y": Line("f", 6, "4", "", 6),
    }


def test_indented_keys() -> None:
    """Keys with the same indentation are keys; a section ends a value."""
    text = "[a]\n  x = 1\n  y = 2\n[b]\n   z = 3\n"

    assert lines(text, "a") == {"x": ("1", 2), "y": ("2", 3)}
    assert lines(text, "b") == {"z": ("3", 5)}


def test_a_key_before_any_section() -> None:
    """It belongs to none."""
    assert scan([("f", "x=1\n")]) == {}


def test_a_key_that_stands_twice() -> None:
    """The last one counts, in one file or in two, and knows the one before."""
    found = scan([("f", "[a]\nx=1\nx=2\n"), ("g", "[a]\ny=3\n[b]\n[a]\nx=4\n")])

    assert found["a"].lines["x"] == Line("g", 5, "4", "", 5, "f:3")
    assert found["a"].lines["y"] == Line("g", 2, "3", "", 2)
    assert (found["a"].file, found["a"].number) == ("f", 1)


def test_keys_of_php_fpm() -> None:
    """A semicolon at the start of a line begins a comment; a colon and a # belong to the key."""
    text = "\ufeffpid = p\n; no\n  ;no=1\n[WWW]\nListen = [::1]:9000 \n#a = 1\n:b = 2\nbroken\nx\n"
    sections = scan([("f", text)], php=True)

    assert lines(text, "global", php=True) == {"pid": ("p", 1)}
    assert lines(text, "www", php=True) == {
        "Listen": ("[::1]:9000", 5),
        "#a": ("1", 6),
        ":b": ("2", 7),
    }
    assert (sections["global"].number, sections["www"].number) == (0, 4)


def test_the_main_section_of_php_fpm() -> None:
    """Before its header it begins with the file; afterwards it is where the header stands."""
    found = scan([("f", "[www]\nuser=a\n"), ("g", "x = 1\n[global]\ny = 2\n")], php=True)

    assert (found["global"].file, found["global"].number) == ("g", 2)
    assert {key: line.number for key, line in found["global"].lines.items()} == {"x": 1, "y": 3}


def test_where_a_key_stands() -> None:
    """A missing one would stand in the section; a file without a header has no number."""
    section = ConfigSection("a", "f", 3, {"x": Line("g", 7, "1")})

    assert str(section.where("x")) == "g:7 [a]"
    assert str(section.where("y")) == "f:3 [a]"
    assert str(ConfigSection("global", "f", 0, {}).where("y")) == "f [global]"
    assert Section(section, {}).edits({"x": "2"}) == (Edit("g", "a", "x", "2", php=False),)
    assert Section(section, {}, php=True).edits({"y": None}) == (Edit("f", "a", "y", None, True),)


def edit(key: str, value: str | None, section: str = "a", *, php: bool = False) -> Edit:
    return Edit("f", section, key, value, php)


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        ("[a]\nx=1 ; c\ny=2\n", edit("x", "3"), "[a]\nx=3\ny=2\n"),
        ("[a]\n  x : 1\n", edit("x", "3"), "[a]\n  x : 3\n"),
        ("[a]\nx=1", edit("x", "3"), "[a]\nx=3"),
        ("[a]\r\nx=1\r\ny=2\r\n", edit("x", "3"), "[a]\r\nx=3\r\ny=2\r\n"),
        ("[a]\nx=\ny=2\n", edit("x", "3"), "[a]\nx=3\ny=2\n"),
        ("[a]\nx=1,\n  2\ny=2\n", edit("x", "3"), "[a]\nx=3\ny=2\n"),
        ("[a]\nx=1,\n  2\ny=2\n", edit("x", None), "[a]\ny=2\n"),
        ("[a]\nx=1\n", edit("y", None), "[a]\nx=1\n"),
        ("[a]\nx=1\n\n[b]\n", edit("y", "2"), "[a]\nx=1\ny=2\n\n[b]\n"),
        ("[a]\nx = 1\n[b]\n", edit("y", "2"), "[a]\nx = 1\ny = 2\n[b]\n"),
        ("[a]\n", edit("y", "2"), "[a]\ny=2\n"),
        ("[a]\n", edit("y", "2", php=True), "[a]\ny = 2\n"),
        ("[a]\nx=1", edit("y", "2"), "[a]\nx=1\ny=2\n"),
        ("[a]\r\nx=1", edit("y", "2"), "[a]\r\nx=1\r\ny=2\r\n"),
        ("[a]\nx=1\n", edit("y", "2", "b"), "[a]\nx=1\n\n[b]\ny=2\n"),
        ("\ufeff[a]\nx=1\n", edit("x", "2"), "\ufeff[a]\nx=2\n"),
        ("pid=1\n[b]\n", edit("y", "2", "global", php=True), "pid=1\ny=2\n[b]\n"),
        ("[b]\nz=1\n", edit("y", "2", "global", php=True), "[global]\ny = 2\n[b]\nz=1\n"),
        (
            "[global]\nx = 1\ninclude = p\n",
            edit("y", "2", "global", php=True),
            "[global]\ny = 2\nx = 1\ninclude = p\n",
        ),
    ],
)
def test_a_change(before: str, change: Edit, after: str) -> None:
    """Only the key's lines change; a new key goes behind the last one of its section."""
    assert apply(before, [change]) == after


def test_two_changes() -> None:
    """Of two for one key the first counts; others are all made."""
    changes = [edit("x", "2"), edit("x", "3"), edit("y", "4"), edit("x", "5", "b")]

    assert apply("[a]\nx=1\n[b]\nx=1\n", changes) == "[a]\nx=2\ny=4\n[b]\nx=5\n"


def test_lines() -> None:
    """Only a line feed ends one."""
    assert lines_of("a\r\nb\u2028c\x0c\n\nd") == ["a\r\n", "b\u2028c\x0c\n", "\n", "d"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("/etc/a.conf:12", Place("/etc/a.conf", 12)),
        ("/etc/a.conf", Place("/etc/a.conf")),
        ("/etc/a:b.conf", Place("/etc/a:b.conf")),
        ("/etc/a:b.conf:3", Place("/etc/a:b.conf", 3)),
        ("", Place("")),
    ],
)
def test_a_place_from_its_text(text: str, place: Place) -> None:
    """The number after the last colon is the line; without one it is the whole file."""
    assert Place.parse(text) == place
    assert str(place) == text
    assert Place.parse(text, "www") == place._replace(section="www")


@pytest.mark.parametrize("php", [False, True])
@pytest.mark.parametrize("line", ["a{}x", "a{}=x", "a=x{}y", "a={}y"])
def test_many_blanks(line: str, *, php: bool) -> None:
    """A file of another user takes linear time: quadratic time would be minutes."""
    text = "[s]\n" + line.format(" " * 200_000)

    assert len(scan([("f", text)], php=php)["s"].lines) == ("=" in line)
