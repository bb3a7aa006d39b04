"""The variables in `environment=`, as supervisor reads them.

Source: supervisor/datatypes.py, `dict_of_key_value_pairs` (4.2.5 and 4.3.0).
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

#: What stands for the value of an expansion such as `%(ENV_X)s`, which is not known here.
EXPANDED = "__expanded__"


class Variable(NamedTuple):
    """One variable."""

    name: str
    value: str
    ends_at: str  #: the word after the value, which is not a comma; empty if there is none


def parse(text: str) -> list[Variable] | None:
    """Return the variables in the order of the text; None = supervisor rejects it."""
    text = re.sub(r"%\(\w{1,100}\)[sd]", EXPANDED, text)
    words = _words(text)
    if words is None:
        return None
    found = []
    for at in range(0, len(words), 4):
        pair = words[at : at + 3]
        if len(pair) != 3 or pair[1] != "=":
            return None
        after = "".join(words[at + 3 : at + 4])
        found.append(Variable(pair[0], pair[2].strip("'\""), "" if after in {",", ";"} else after))
    everything = _words(text, comments="") or []
    if found and len(everything) > len(words):
        found[-1] = found[-1]._replace(ends_at="#")
    return found


def _words(text: str, comments: str = "#") -> list[str] | None:
    """Return the words of the text; None = a quote is not closed."""
    lexer = shlex.shlex(text)
    lexer.wordchars += "/.+-():"
    lexer.commenters = comments
    try:
        return list(lexer)
    except ValueError:
        return None
