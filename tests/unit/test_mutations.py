"""The mutants that `make mutants` puts into the pure modules."""

from __future__ import annotations

import ast

import pytest

from tests.mutations import mutants, mutated


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = a is not b", ["x = a is b"]),
        ("x = a and b", ["x = a or b"]),
        ("x = not a", ["x = a"]),
        ("x = a + b", ["x = a - b"]),
        ("x = a + 'text of'", []),
        ("x = 4", ["x = 5"]),
        ("x = True", ["x = False"]),
        ("x = 'word'", ["x = 'wordX'"]),
        ("x = 'a sentence'", []),
        ("x: Literal['word'] = y", []),
        ("'docstring'", []),
        ("if TYPE_CHECKING:\n    x = 1", []),
        ("assert_never(x)", []),
        ("x.y = z", ["pass"]),
        ("x += y", ["pass"]),
        ("f(x)", ["pass"]),
        ("raise x", ["pass"]),
        ("def f(x=1):\n    return x", ["def f(x=2):\n    return x", "def f(x=1):\n    return"]),
        ("def f():\n    return None", []),
        ("if a:\n    pass", ["if not a:\n    pass"]),
        ("while a:\n    break", ["while not a:\n    break", "while a:\n    pass"]),
        ("x = [a for a in b if c]", ["x = [a for a in b if not c]"]),
    ],
)
def test_one_change_of_one_place(source: str, expected: list[str]) -> None:
    """Each mutant is the source with one change."""
    found = [ast.unparse(mutated(source, mutant.number)) for mutant in mutants("a.py", source)]

    assert found == expected


def test_equal_changes_in_one_function() -> None:
    """Each mutant has its own name, and no line number is in it."""
    source = "class C:\n    def f():\n        g(1)\n        g(1)\n"

    names = [mutant.name for mutant in mutants("a.py", source)]

    assert names == [
        "a.py C.f: g(1) -> pass",
        "a.py C.f: g(1) -> g(2)",
        "a.py C.f: g(1) -> pass (2)",
        "a.py C.f: g(1) -> g(2) (2)",
    ]
    assert names == [mutant.name for mutant in mutants("a.py", "\n\n" + source)]
