"""Makes the output of any program into lines of evidence, and chooses among them.

Laws:
1. The output is untrusted text: each line is bounded, escaped, and without markup and secrets.
2. Lines of an error are preferred to other lines, and these to known noise. The order stays.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from fpm_listener.host.masking import masked_line
from fpm_listener.untrusted_text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: Characters of a line that are kept, as in php-fpm's log_limit.
LONGEST = 1024
#: Latest lines whose results are kept: each failure asks several times about the same ones.
_LATEST = 128
#: The times that supervisord, php-fpm, nginx and many libraries put before their lines.
_STAMP = re.compile(
    r"\[?\d\d-\w{3}-\d{4} [\d:.]+(?: [\w/+:-]+)?\] "
    r"|\[?\d{4}[-/]\d\d[-/]\d\d[ T][\d:,.]+(?:Z| ?[+-]\d\d:?\d\d)?\]? "
)
#: Colours and other commands for a terminal.
_ANSI = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
#: PHP's own HTML around an error (html_errors, on by default in a php-fpm without php.ini).
_PHP_HTML = re.compile(
    r"<b>(?:[A-Z][A-Za-z]+ )?(?:[Ee]rror|[Ww]arning|[Nn]otice|[Dd]eprecated)</b>"
)
_TAG = re.compile(r"</?(?:b|br|i|p|a|code|font|pre|strong)(?: [^<>]*)?/?>", re.IGNORECASE)
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#039;", "'"), ("&amp;", "&"))
_ONLY_TAGS = re.compile(r"(?:\s*<(?:br|/?p)\s*/?>\s*)+", re.IGNORECASE)

#: In lower case. Ignoring the case instead costs ten times as much.
_ERROR = re.compile(
    r"error|fatal|panic|exception|traceback|fail|cannot|can't|could not|couldn't|unable|denied"
    r"|refused|emerg|\balert|\bcrit|no such|not found|not available|abort|segfault|invalid|illegal"
    r"|in use|out of memory|killed|unknown|undefined|unexpected|missing|no space|read-only"
    r"|not permitted|not allowed"
)
#: The name of an error number, such as EADDRINUSE.
_ERROR_NAME = re.compile(r"\bE[A-Z]{4,}\b")
_ACCESS = (
    r"\S+ (?:-|\S+) (?:-|\S+)?\s*\[?\d\d/\w{3}/\d{4}:"
    r'|.{0,80}"(?:GET|POST|HEAD|PUT|PATCH|DELETE|OPTIONS) \S{0,2000}(?: HTTP/[\d.]+)?" \d{3}\b'
    r'|[^"]{0,80}"\S{1,40} \S{1,2000}" [1-5]\d\d\b'
)
_ACCESS_LINE = re.compile(_ACCESS)
_NOISE = re.compile(
    r"\s*$"
    r"|\s+at .*\(.*\)\s*$"  # a frame of JavaScript or Java
    r"|#\d+ "  # a frame of PHP
    r"|(?:\[[^\]]*\] )?(?:NOTICE|DEBUG): "  # php-fpm
    r"|(?:\[[^\]]*\] )?\[(?:NOTICE|DEBUG|INFO)\] "
    rf"|{_ACCESS}"
)

#: Lines of supervisord and our own; they are later than the output of the program.
_OF_OTHERS = re.compile(r"(?:\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ )?(?:exited|stopped|spawnerr): |seen: ")


def is_access(line: str) -> bool:
    """Return whether a line of output is one of an access log, which quotes each request."""
    return '" ' in line and _ACCESS_LINE.match(line) is not None


def is_of_program(line: str) -> bool:
    """Return whether a line of evidence was written by the program."""
    return not _OF_OTHERS.match(line)


def readable(lines: Iterable[str]) -> list[str]:
    """Return lines of output as evidence shows them; empty ones are left out."""
    return [shown for line in lines if (shown := _readable(line))]


@lru_cache(_LATEST)
def _readable(line: str) -> str:
    line = line[: 2 * LONGEST]
    if "\x1b" in line:
        line = _ANSI.sub("", line)
    line = line.rpartition("\r")[2] or line.rstrip("\r")  # a progress bar
    if "<" in line:
        line = _without_html(line)
    text = escaped(line.replace("\t", "    ").rstrip())
    return masked_line(text)[:LONGEST] if text.strip() else ""


def _without_html(line: str) -> str:
    """Return an error of PHP without its HTML; any other line as it is."""
    if _ONLY_TAGS.fullmatch(line):
        return ""
    if not _PHP_HTML.search(line):
        return line
    line = _TAG.sub("", line)
    for entity, character in _ENTITIES:
        line = line.replace(entity, character)
    return line


@lru_cache(_LATEST)
def without_time(line: str) -> str:
    """Return a line without the time at its beginning: the same line of two runs is equal."""
    return _STAMP.sub("", line, count=1)


@lru_cache(_LATEST)
def importance(line: str) -> int:
    """Return 2 for a line of an error, 0 for known noise, 1 for any other line."""
    text = without_time(line)
    if _NOISE.match(text) or _NOISE.match(line):
        return 0
    return 2 if _ERROR.search(text.lower()) or _ERROR_NAME.search(text) else 1


def choose(lines: Sequence[str], most: int) -> list[str]:
    """Return at most `most` lines: the most important, among these the newest, in their order.

    Noise is shown only if there is nothing else.
    """
    last = {without_time(line): index for index, line in enumerate(lines)}  # each text once
    ranked = [(importance(lines[index]), index) for index in last.values()]
    if any(rank for rank, _ in ranked):
        ranked = [(rank, index) for rank, index in ranked if rank]
    chosen = sorted(index for _, index in sorted(ranked, reverse=True)[:most])
    return [lines[index] for index in chosen]
