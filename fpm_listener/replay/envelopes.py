"""Removes what container tools and syslog put around the lines of a program.

Laws:
1. The beginning of a file decides which envelopes it has: most of its lines have them. A single
   line of an application cannot choose an envelope.
2. A file that a runtime writes (CRI, json-file) has an envelope around each line. A line without
   it is not read.
3. A line is bounded, and nothing raises.

Source: docker logs -t, docker compose logs, kubectl logs --prefix and --timestamps, the log format
of CRI (kubernetes/cri-client pkg/logs/logs.go), Docker's json-file driver, journalctl -o short,
short-iso and short-precise, rsyslog's two formats.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Envelopes around one line, such as compose and a time.
_DEEPEST = 3
#: Lines in ten that have an envelope, so that the file has it.
_MOST_OF_TEN = 8

_TIME = rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)"
#: Colours and other commands for a terminal.
_ANSI = re.compile(rb"\x1b\[[0-9;?]{0,16}[ -/]{0,4}[@-~]")


class Unwrapped(NamedTuple):
    """A line as its program wrote it."""

    text: bytes
    stamp: bytes = b""  #: the time that the envelope contains
    stream: bytes = b""  #: `stdout` or `stderr`; empty = the envelope does not show it
    container: bytes = b""  #: name of the container; empty = the envelope does not show it
    ident: bytes = b""  #: the program's name in syslog; empty = the envelope does not show it
    is_partial: bool = False  #: the next line of the same stream continues it


class Envelope(NamedTuple):
    """One format."""

    name: str  #: for people
    unwrap: Callable[[bytes], Unwrapped | None]
    is_strict: bool = False  #: each line has it
    can_be_partial: bool = False  #: a long line is several records
    has_idents: bool = False  #: lines of php-fpm can have the form for syslog: `[ERROR] …`


def _matched(pattern: bytes) -> Callable[[bytes], Unwrapped | None]:
    compiled = re.compile(pattern)

    def unwrap(line: bytes) -> Unwrapped | None:
        found = compiled.match(line)
        if found is None:
            return None
        words = {name: value or b"" for name, value in found.groupdict().items()}
        is_partial = words.pop("tag", b"F") == b"P"
        return Unwrapped(line[found.end() :], is_partial=is_partial, **words)

    return unwrap


def _from_json(line: bytes) -> Unwrapped | None:
    if not line.startswith(b'{"log":"'):
        return None
    try:
        record = json.loads(line)
        text, stream, stamp = record["log"], record.get("stream", ""), record.get("time", "")
        is_partial = not text.endswith("\n")
        text, stream, stamp = (one.encode("utf-8", "replace") for one in (text, stream, stamp))
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return None
    return Unwrapped(text.rstrip(b"\r\n"), stamp, stream, is_partial=is_partial)


_DOCKER_JSON = Envelope("Docker's json-file", _from_json, is_strict=True, can_be_partial=True)
_CRI = Envelope(
    "Kubernetes (CRI)",
    _matched(rb"(?P<stamp>" + _TIME + rb") (?P<stream>stdout|stderr) (?P<tag>[FP])(?::\S{0,64})? "),
    is_strict=True,
    can_be_partial=True,
)
_COMPOSE = Envelope(
    "docker compose", _matched(rb"(?P<container>[A-Za-z0-9][\w.-]{0,127}) {0,128}\| ?")
)
_KUBECTL = Envelope("kubectl --prefix", _matched(rb"\[pod/(?P<container>[\w./-]{1,253})\] "))
_SYSLOG = Envelope(
    "syslog",
    _matched(
        rb"(?:<\d{1,3}>1? ?)?"
        rb"(?P<stamp>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,9})? |" + _TIME + rb" )"
        rb"(?:[\w.:-]{1,255} )?(?P<ident>[\w./-]{1,64})(?:\[[\w./-]{1,64}\])?: "
    ),
    has_idents=True,
)
_STAMPED = Envelope("a time", _matched(rb"(?P<stamp>" + _TIME + rb") "))
_EXPORT = Envelope(
    "an export with columns",
    _matched(
        rb"(?P<stamp>\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:\.\d{1,9})?)"
        rb"[\t,](?P<stream>stdout|stderr)[\t,]"
    ),
)
#: The most exact one first.
_ENVELOPES = (_DOCKER_JSON, _CRI, _KUBECTL, _COMPOSE, _SYSLOG, _STAMPED, _EXPORT)


class Envelopes(NamedTuple):
    """The envelopes of one file, the outermost first."""

    layers: tuple[Envelope, ...] = ()

    @property
    def can_be_partial(self) -> bool:
        """Return whether a line can have several records."""
        return any(layer.can_be_partial for layer in self.layers)

    @property
    def has_idents(self) -> bool:
        """Return whether php-fpm's lines can have the form for syslog."""
        return any(layer.has_idents for layer in self.layers)

    def unwrap(self, line: bytes) -> Unwrapped | None:
        """Return a line as its program wrote it; None = it has no envelope, and must have one."""
        known = Unwrapped(without_colours(line))
        if not self.layers:
            return known
        for layer in self.layers:
            inner = layer.unwrap(known.text)
            if inner is None:
                if layer.is_strict:
                    return None
                continue
            known = _joined(known, inner)
        return known


def _joined(outer: Unwrapped, inner: Unwrapped) -> Unwrapped:
    """Return what both envelopes show; the outer time is that of the runtime."""
    return Unwrapped(
        without_colours(inner.text),
        outer.stamp or inner.stamp,
        outer.stream or inner.stream,
        outer.container or inner.container,
        outer.ident or inner.ident,
        outer.is_partial or inner.is_partial,
    )


def without_colours(line: bytes) -> bytes:
    """Return a line without commands for a terminal."""
    return _ANSI.sub(b"", line) if b"\x1b" in line else line


def detect(sample: Sequence[bytes]) -> Envelopes:
    """Return the envelopes of a file. sample: its first whole lines."""
    lines = [without_colours(line) for line in sample if line.strip()]
    layers: list[Envelope] = []
    while lines and len(layers) < _DEEPEST:
        for envelope in _ENVELOPES:
            inner = [found for line in lines if (found := envelope.unwrap(line)) is not None]
            if envelope not in layers and len(inner) * 10 >= len(lines) * _MOST_OF_TEN:
                layers.append(envelope)
                lines = [found.text for found in inner if found.text.strip()]
                break
        else:
            break
    return Envelopes(tuple(layers))
