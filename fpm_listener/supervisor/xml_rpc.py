"""Writes requests and reads answers of XML-RPC.

xmlrpc.client would load http.client, OpenSSL, gzip and decimal: 6 MiB for each idle listener.

Laws:
1. An answer that is damaged or too odd raises ValueError, and nothing else.
2. Any user can be at the other end: time and memory are proportional to the answer's length.

Source: http://xmlrpc.com/spec.md; supervisor/xmlrpc.py (4.2.5 and 4.3.0), which sends strings,
integers, booleans, arrays and structs.
"""

from __future__ import annotations

import math
import re
from typing import Any

#: Elements that supervisord sends. pyexpat keeps the name of each other one: 300 MiB for 16 MiB.
_TAGS = frozenset(
    {
        *("methodResponse", "params", "param", "fault", "value"),
        *("array", "data", "struct", "member", "name"),
        *("string", "int", "i4", "i8", "boolean", "double", "nil"),
    }
)
#: A long tag: expat keeps the names of all its attributes. supervisord escapes `<` in texts.
_LONG_TAG = re.compile(rb"<[^<>]{100}")
#: Arrays and structs that are open, and in the whole answer; supervisord has three open, and sends
#: one or two for each process.
_DEEPEST, _MOST = 20, 100_000
#: Characters of the longest number.
_LONGEST_NUMBER = 32
#: Characters of the longest text of a fault; it goes into the log.
_LONGEST_FAULT = 1000
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class FaultError(Exception):
    """supervisord has refused the request."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def request(method: str, arguments: tuple[int | str | bool, ...]) -> bytes:
    """Return the body of a call."""
    params = "".join(f"<param><value>{_written(one)}</value></param>" for one in arguments)
    return (
        "<?xml version='1.0'?><methodCall>"
        f"<methodName>{method}</methodName><params>{params}</params></methodCall>"
    ).encode()


def _written(value: int | str) -> str:
    if isinstance(value, bool):
        return f"<boolean>{value:d}</boolean>"
    if isinstance(value, int):
        return f"<int>{value}</int>"
    return f"<string>{value.translate(_ESCAPES)}</string>"


def answer(body: bytes) -> Any:  # noqa: ANN401 - the caller knows its type
    """Return the value of an answer in UTF-8. Raises FaultError and ValueError."""
    from xml.parsers import expat  # noqa: PLC0415 - late, see ADR 044

    if _LONG_TAG.search(body):
        raise ValueError("a long tag")
    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse  # a DTD can contain entities that grow
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.characters
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, TypeError) as error:
        raise ValueError("no XML-RPC") from error
    if len(reader.values) != 1:
        raise ValueError("not one value")
    (value,) = reader.values
    if reader.is_fault:
        text = value.get("faultString", "") if isinstance(value, dict) else value
        if not isinstance(text, str):
            raise ValueError("a fault without a text")
        raise FaultError(text[:_LONGEST_FAULT])
    return value


def _refuse(*_: object) -> None:
    raise ValueError("a document type")


class _Reader:
    """Collects values; those of an open array or struct are at the end of the list."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.is_fault = False
        self._begins: list[int] = []  # of the open arrays and structs
        self._count = 0  # of all arrays and structs
        self._pieces: list[str] = []  # of the text of the present element
        self._is_untyped = False  # a <value> without a type is a string

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins. Raises ValueError."""
        if tag not in _TAGS or attributes:
            raise ValueError(f"unexpected {tag}")
        if tag in {"array", "struct"}:
            self._count += 1
            if len(self._begins) == _DEEPEST or self._count > _MOST:
                raise ValueError(f"too many {tag}s")
            self._begins.append(len(self.values))
        self._is_untyped = tag == "value"
        self._pieces.clear()

    def characters(self, text: str) -> None:
        """Keep the text of the present element."""
        self._pieces.append(text)

    def end(self, tag: str) -> None:
        """An element ends. Raises ValueError, LookupError and TypeError."""
        text = "".join(self._pieces)
        if tag in {"string", "name"} or (tag == "value" and self._is_untyped):
            self.values.append(text)
        elif tag in {"int", "i4", "i8", "double"}:
            self.values.append(_number(text, tag))
        elif tag == "boolean":
            self.values.append({"0": False, "1": True}[text.strip()])
        elif tag == "nil":
            self.values.append(None)
        elif tag in {"array", "struct"}:
            begin = self._begins.pop()
            found = self.values[begin:]
            is_array = tag == "array"
            self.values[begin:] = [
                found if is_array else dict(zip(found[::2], found[1::2], strict=True))
            ]
        elif tag == "fault":
            self.is_fault = True
        self._is_untyped = False
        self._pieces.clear()


def _number(text: str, tag: str) -> int | float:
    """Return a number that is finite as a float too. Raises ValueError."""
    if len(text) > _LONGEST_NUMBER:
        raise ValueError("too long")
    number = float(text) if tag == "double" else int(text)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number
