"""Writes requests and reads answers of XML-RPC.

xmlrpc.client would load http.client, OpenSSL, gzip and decimal: 6 MiB for each idle listener.

Law: an answer that is damaged or too odd raises ValueError, and nothing else.

Source: http://xmlrpc.com/spec.md; supervisor/xmlrpc.py (4.2.5 and 4.3.0), which sends strings,
integers, booleans, arrays and structs.
"""

from __future__ import annotations

from typing import Any

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
    from xml.parsers import expat  # noqa: PLC0415 - the listener starts faster without it

    reader = _Reader()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
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
        raise FaultError(str(text))
    return value


class _Reader:
    """Collects values; those of an open array or struct are at the end of the list."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.is_fault = False
        self._begins: list[int] = []  # of the open arrays and structs
        self._text = ""
        self._is_untyped = False  # a <value> without a type is a string

    def start(self, tag: str, _: dict[str, str]) -> None:
        """An element begins."""
        if tag in {"array", "struct"}:
            self._begins.append(len(self.values))
        self._is_untyped = tag == "value"
        self._text = ""

    def characters(self, text: str) -> None:
        """Keep the text of the present element."""
        self._text += text

    def end(self, tag: str) -> None:
        """An element ends. Raises ValueError, LookupError and TypeError."""
        if tag in {"string", "name"} or (tag == "value" and self._is_untyped):
            self.values.append(self._text)
        elif tag in {"int", "i4", "i8"}:
            self.values.append(int(self._text))
        elif tag == "boolean":
            self.values.append({"0": False, "1": True}[self._text.strip()])
        elif tag == "double":
            self.values.append(float(self._text))
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
        elif tag in {"base64", "dateTime.iso8601"}:
            raise ValueError(f"unexpected {tag}")
        self._is_untyped = False
        self._text = ""
