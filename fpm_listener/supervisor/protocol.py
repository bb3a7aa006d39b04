"""The event-listener protocol: turns bytes of supervisord into events.

Laws:
1. `len:` counts characters, not bytes (supervisor 4, process.py: the text is measured before it is
   encoded).
2. An invalid header is skipped up to the next `ver:`, so that no input stops the listener.
3. Any chunking of the same bytes gives the same events.
"""

from __future__ import annotations

import codecs
import re
from typing import NamedTuple

READY = b"READY\n"
#: No newline after OK: it would be read as the start of the next READY (dispatchers.py).
ACKNOWLEDGED = b"RESULT 2\nOK"

#: Characters. A header line has some 150; with a long identifier a few hundred.
MAX_HEADER = 4096
#: Characters. supervisord reads its children in pieces of 128 KiB. A larger length is wrong: the
#: listener would wait without end.
MAX_PAYLOAD = 64 << 20
#: Characters of garbage in a report, and after which garbage is reported without a next event.
SAMPLE, REPORT_AFTER = 80, 64 << 10

_START = re.compile(r"ver:\d")


class Event(NamedTuple):
    """One notification of supervisord, its payload not yet interpreted.

    A named tuple, because each event needs one.
    """

    server: str  #: supervisord's identifier
    pool: str
    serial: int  #: counts all events of this supervisord; -1 if the header has none
    poolserial: int  #: counts the events of this listener pool without gaps; -1 likewise
    name: str
    payload: str


class Garbage(NamedTuple):
    """Text that was skipped because it contains no header."""

    sample: str  #: repr of its beginning
    length: int  #: characters


class Decoder:
    """Turns supervisord's bytes into events; keeps incomplete ones."""

    def __init__(self) -> None:
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._text = ""
        self._header: dict[str, str] | None = None
        self._payload: list[str] = []  # pieces, so that a large payload is not copied each time
        self._missing = 0
        self._garbage = ""
        self._garbage_length = 0

    def feed(self, data: bytes) -> list[Event | Garbage]:
        """Return the events that `data` completes, in order."""
        self._text += self._utf8.decode(data)
        found: list[Event | Garbage] = []
        while self._text or (self._header is not None and not self._missing):
            if self._header is None and not self._read_header(found):
                break
            if self._header is not None and not self._read_payload(self._header, found):
                break
        return found

    def _read_header(self, found: list[Event | Garbage]) -> bool:
        """Return whether the text was shortened."""
        start = _START.match(self._text)
        end = self._text.find("\n") if start else -1
        if start and end < 0 and len(self._text) <= MAX_HEADER:
            return False
        header = parse_header(self._text[:end]) if 0 <= end <= MAX_HEADER else None
        if header is None:
            return self._skip(found)
        if self._garbage_length:
            self._report(found)
        self._text = self._text[end + 1 :]
        self._header, self._missing = header, int(header["len"])
        return True

    def _read_payload(self, header: dict[str, str], found: list[Event | Garbage]) -> bool:
        piece, self._text = self._text[: self._missing], self._text[self._missing :]
        self._payload.append(piece)
        self._missing -= len(piece)
        if self._missing:
            return False
        found.append(
            Event(
                server=header.get("server", ""),
                pool=header.get("pool", ""),
                serial=_number(header.get("serial", "")),
                poolserial=_number(header.get("poolserial", "")),
                name=header["eventname"],
                payload="".join(self._payload),
            ),
        )
        self._header = None
        self._payload.clear()
        return True

    def _skip(self, found: list[Event | Garbage]) -> bool:
        """Drop text up to the next possible header; return whether there is one."""
        following = _START.search(self._text, 1)
        if following:
            cut = following.start()
        else:
            # A possible start of `ver:3` stays.
            cut = max(0, len(self._text) - 4)
            while cut < len(self._text) and not "ver:".startswith(self._text[cut:]):
                cut += 1
        self._garbage = (self._garbage + self._text[:cut])[:SAMPLE]
        self._garbage_length += cut
        self._text = self._text[cut:]
        if self._garbage_length > REPORT_AFTER:
            self._report(found)
        return following is not None

    def _report(self, found: list[Event | Garbage]) -> None:
        found.append(Garbage(sample=repr(self._garbage), length=self._garbage_length))
        self._garbage, self._garbage_length = "", 0

    @property
    def skipping(self) -> bool:
        """Return whether garbage was dropped and no event has followed it yet."""
        return self._garbage_length > 0

    def give_up_garbage(self) -> Garbage:
        """Return and drop the garbage so far, although no event has followed it."""
        found: list[Event | Garbage] = []
        self._garbage = (self._garbage + self._text)[:SAMPLE]
        self._garbage_length += len(self._text)
        self._text = ""
        self._report(found)
        garbage = found[0]
        assert isinstance(garbage, Garbage)  # noqa: S101 - for the type checker
        return garbage


def parse_header(line: str) -> dict[str, str] | None:
    """Return the values of the header by key, or None if no event can follow it.

    Unknown keys are kept. A word without `:` belongs to the value before it, because an identifier
    can contain spaces. A value can contain `:`.
    """
    words: dict[str, str] = {}
    key = ""
    for token in line.split(" "):
        name, colon, value = token.partition(":")
        if colon:
            key = name
            words[key] = value
        elif key:
            words[key] += " " + token
    length = _number(words.get("len", ""))
    if not words.get("eventname") or not 0 <= length <= MAX_PAYLOAD:
        return None
    return words


def _number(text: str) -> int:
    """Return a number of up to 18 digits (it fits 64 bits), else -1."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
