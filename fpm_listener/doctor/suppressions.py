"""Comments in configuration files that ignore findings: `; fpm-listener: ignore ID because REASON`.

Laws:
1. A comment without a reason ignores nothing.
2. A comment never ignores a finding about comments (FPM180, FPM181).
3. A comment counts as unused only if its rule was certainly applied: not if the rule asks the
   machine, not if a value is open, and not if a configuration could not be read.
"""

from __future__ import annotations

import bisect
import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor.checked_config import folder_of
from fpm_listener.doctor.rule import Match
from fpm_listener.doctor.rules import ASK_MACHINE, NEED_PHP_FPM, finding_of, in_order
from fpm_listener.supervisor.ini_lines import Place
from fpm_listener.untrusted_text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fpm_listener.doctor.rule import Finding
    from fpm_listener.doctor.texts import Text

UNUSED, NO_REASON = "FPM180", "FPM181"
#: The rules about these comments; `doctor.rules` does not have them.
IDS = frozenset({UNUSED, NO_REASON})
#: A configuration that was not read: most rules were not applied.
_NOT_READ = frozenset({"FPM068", "FPM111"})

_MARK = "fpm-listener:"
_HEADER = re.compile(r"\s*\[([^]]+)\]")
#: A header of supervisord's files, in which # begins a comment too. In php-fpm's files it does not.
_SUPERVISORD = re.compile(
    r"^\s*\[(?:supervisord|supervisorctl|include|unix_http_server|inet_http_server"
    r"|(?:program|group|eventlistener|fcgi-program|rpcinterface|ctlplugin):[^]\n]*)\]",
    re.MULTILINE,
)
#: A value that depends on the environment.
_OPEN = re.compile(r"%\(ENV_|\$\{")
#: Characters of a word that is repeated, and words of one comment.
_LONGEST, _MOST = 20, 50


class _Ignore(NamedTuple):
    """One comment, and the lines whose findings it ignores."""

    place: Place
    ids: tuple[str, ...]
    has_reason: bool
    first: int = 0  #: 0 = no key and no section is below it
    last: int = 0
    is_at_top: bool = False  #: it also ignores findings about the whole file
    is_open: bool = False  #: a value on these lines is unknown
    pool: str = ""  #: the section below it, in a file of php-fpm

    def covers(self, finding: Finding) -> bool:
        """Return whether a finding in its file is on its lines."""
        return self.first <= finding.line <= self.last if finding.line else self.is_at_top


def apply(
    findings: Iterable[Finding],
    files: Mapping[str, str],
    texts: Mapping[str, Text],
    *,
    is_whole: bool = True,
) -> list[Finding]:
    """Return the findings that no comment ignores, and those about the comments.

    files: texts of all configuration files, by path as in the findings. texts: of the rules.
    is_whole: False = other files of their machine can be missing.
    """
    findings = list(findings)
    ignores = [one for path, text in files.items() for one in _scan(path, text, is_whole)]
    # No finding here has an id of IDS: they are added below (law 2).
    in_file: dict[tuple[str, str], list[_Ignore]] = {}
    # php-fpm merges sections of the same name, and a missing key is reported at the first header.
    of_pool: dict[tuple[str, str, str], list[_Ignore]] = {}
    for one in ignores:
        for identity in one.ids if one.has_reason else ():
            in_file.setdefault((one.place.file, identity), []).append(one)
            if one.pool:
                pool = (folder_of(one.place.file), one.pool, identity)
                of_pool.setdefault(pool, []).append(one)
    used: set[tuple[Place, str]] = set()
    kept = []
    for finding in findings:
        named = in_file.get((finding.file, finding.id), ())
        matching = [one for one in named if one.covers(finding)]
        pool = (folder_of(finding.file), finding.section.lower(), finding.id)
        if pool in of_pool and _HEADER.match(_line(files, finding)):
            matching += of_pool[pool]
        used |= {(one.place, finding.id) for one in matching}
        if not matching:
            kept.append(finding)
    known = {identity for identity in texts if "." not in identity}
    uncertain = ASK_MACHINE if is_whole else ASK_MACHINE | NEED_PHP_FPM
    certain = set() if any(one.id in _NOT_READ for one in findings) else known - uncertain
    own = [match for one in ignores for match in _problems(one, used, known, certain)]
    return in_order([*kept, *(finding_of(identity, match, texts) for identity, match in own)])


def _line(files: Mapping[str, str], finding: Finding) -> str:
    """Return the line at which a finding is; empty if it is unknown."""
    lines = files.get(finding.file, "").split("\n", finding.line)
    return lines[finding.line - 1] if 0 < finding.line <= len(lines) else ""


def _problems(
    ignore: _Ignore, used: set[tuple[Place, str]], known: set[str], certain: set[str]
) -> Iterator[tuple[str, Match]]:
    """Return what is wrong with a comment."""
    if not ignore.ids:
        yield UNUSED, Match(ignore.place, {}, variant="empty")
    elif not ignore.has_reason:
        yield NO_REASON, Match(ignore.place, {"ids": ",".join(ignore.ids)})
    else:
        for identity in ignore.ids:
            variant = None
            if identity in IDS:
                variant = "own"
            elif identity not in known:
                variant = "unknown"
            elif (ignore.place, identity) in used:
                continue
            elif not ignore.first and not ignore.is_at_top:
                variant = "nowhere"
            elif identity in certain:
                variant = None if ignore.is_open else ""
            if variant is not None:
                yield UNUSED, Match(ignore.place, {"id": identity}, variant=variant)


def _scan(path: str, text: str, is_whole: bool) -> Iterator[_Ignore]:  # noqa: FBT001 - internal
    """Return the comments of a file; the next line has their key or section."""
    if _MARK not in text.lower():
        return
    lines = text.split("\n")
    signs = ";#" if _SUPERVISORD.search(text) else ";"
    headers = [number for number, line in enumerate(lines, 1) if _HEADER.match(line)]
    pending: list[_Ignore] = []
    section, is_at_top = "", True
    for number, line in enumerate(lines, 1):
        stripped = line.strip()
        if stripped[:1] in {";", "#"}:
            if stripped[0] in signs and (found := _parsed(stripped)):
                # Elsewhere, another file can have the sections that this one lacks.
                is_open = is_at_top and not is_whole
                place = Place(path, number, section)
                ignore = _Ignore(place, *found, is_at_top=is_at_top, is_open=is_open)
                pending.append(ignore)
            continue
        if not stripped:
            yield from pending
            pending = []
            continue
        header = _HEADER.match(line)
        section = header[1].strip() if header else section
        is_at_top = False
        if not pending:
            continue
        last = number
        if header:
            following = bisect.bisect_right(headers, number)
            last = headers[following] - 1 if following < len(headers) else len(lines)
        pool = section.lower() if header and signs == ";" else ""
        is_open = any(_OPEN.search(one) for one in lines[number - 1 : last])
        is_open |= bool(pool) and not is_whole  # another file can set the keys of the pool
        for one in pending:
            yield one._replace(
                place=one.place._replace(section=section),
                first=number,
                last=last,
                is_open=is_open or one.is_open,
                pool=pool,
            )
        pending = []
    yield from pending


def _parsed(comment: str) -> tuple[tuple[str, ...], bool] | None:
    """Return the ids of a comment and whether it has a reason; None for other comments."""
    rest = comment.lstrip(";# \t")
    if not rest.lower().startswith(_MARK):
        return None
    word, *others = rest[len(_MARK) :].split(None, 1) or [""]
    if word.lower() != "ignore":
        return None
    rest = "".join(others)
    at = rest.lower().find("because")
    ids, reason = (rest, "") if at < 0 else (rest[:at], rest[at + len("because") :])
    words = [word for word in re.split(r"[,\s]+", ids) if word][:_MOST]
    shown = tuple(dict.fromkeys(clean(word)[:_LONGEST].upper() for word in words))
    return shown, any(character.isalnum() for character in reason)
