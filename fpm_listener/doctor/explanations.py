"""What `fpm-listener explain` prints: rules and causes, as text and as JSON."""

from __future__ import annotations

import difflib
import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor import suppressions
from fpm_listener.doctor.texts import Text
from fpm_listener.vocabulary import Cause

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fpm_listener.doctor.texts import CauseText

#: Columns of a terminal.
_WIDTH = 80
#: A value of a match in the text of a rule, as str.format has it.
_PLACEHOLDER = re.compile(r"\{(\w+)(?:!\w)?(?::[^{}]*)?\}")
_COMMAND = re.compile(r"`[^`]{1,60}`")
#: A blank at which a line is not broken.
_NO_BREAK = "\xa0"
#: Characters of a word that a user typed, of which similar names are looked for.
_LONGEST_WORD = 80


class Texts(NamedTuple):
    """What can be explained."""

    rules: Mapping[str, Text]  #: by id, as findings.txt has them, with variants
    causes: Mapping[Cause, CauseText]

    @property
    def names(self) -> list[str]:
        """Return the ids of all rules and the names of all causes."""
        ids = [identity for identity in self.rules if "." not in identity]
        return [*ids, *(cause.value for cause in self.causes)]

    def find(self, word: str) -> str | None:
        """Return the rule or cause that a user named, in any case and with - for _."""
        name = word.replace("-", "_").casefold()
        return next((one for one in self.names if one.casefold() == name), None)

    def causes_of(self, identity: str) -> list[str]:
        """Return the causes of incidents that name a rule."""
        return [cause.value for cause, text in self.causes.items() if identity in text.rules]

    def similar(self, word: str) -> list[str]:
        """Return names that are similar to a wrong word, the nearest first."""
        name = word[:_LONGEST_WORD].replace("-", "_").casefold()
        number = re.fullmatch(r"\D{0,5}(\d{1,3})", name)
        names = {one.casefold(): one for one in self.names}
        wanted = f"fpm{int(number[1]):03}" if number else name
        return [names[one] for one in difflib.get_close_matches(wanted, names, n=3)]


def overview(texts: Texts) -> str:
    """Return one line for each rule and each cause."""
    rules = [
        f"{identity}  {text.severity.value:7}  {text.title}"
        for identity, text in texts.rules.items()
        if "." not in identity
    ]
    causes = [f"{cause.value:15}  {text.title}" for cause, text in texts.causes.items()]
    return "\n".join(
        [
            *("Rules of fpm-listener check:", *rules),
            *("", "Causes of incidents:", *causes),
            *("", "fpm-listener explain NAME shows more about a rule or a cause."),
        ]
    )


def to_text(name: str, texts: Texts) -> str:
    """Return the explanation of a rule or a cause for a terminal."""
    if name not in texts.rules:
        cause = Cause(name)
        lines = _cause_lines(cause, texts.causes[cause], texts.rules)
    else:
        lines = _rule_lines(name, texts)
    return "\n".join(lines)


def _rule_lines(identity: str, texts: Texts) -> Iterator[str]:
    text = texts.rules[identity]
    yield from _wrapped(f"{identity} {text.severity.value}: {text.title}")
    for reason in _reasons(identity, texts.rules):
        yield from ("", *_wrapped(reason))
    yield from _part("Measured", text.measured)
    if text.fix != Text._field_defaults["fix"] and not _PLACEHOLDER.fullmatch(text.fix):
        yield from _part("Fix", without_values(text.fix))
    yield from _example("Before", text.before)
    yield from _example("After", text.after)
    if text.ignore:
        yield from _part("Ignore it if", text.ignore)
    else:
        yield from _part("Ignore it", "no usual reason is known")
    if comment := ignore_comment(identity):
        yield from ("  Write on the line above:", f"  {comment}")
    causes = texts.causes_of(identity)
    yield from _part("Causes of incidents about it", ", ".join(causes))


def _cause_lines(cause: Cause, text: CauseText, rules: Mapping[str, Text]) -> Iterator[str]:
    yield from _wrapped(f"{cause.value}: {text.title}")
    for paragraph in text.what:
        yield from ("", *_wrapped(paragraph))
    yield from _part("Measured", text.measured)
    if text.log:
        yield from ("", "Log")
        for line in text.log.split("\n"):
            yield from _wrapped(line, "  ", "    ")
    yield from ("", "What to do")
    for action in text.do:
        yield from _wrapped(action, "- ", "  ")
    if text.rules:
        yield from ("", "Rules of fpm-listener check about it")
        yield from (f"  {identity}  {rules[identity].title}" for identity in text.rules)


def to_json(name: str, texts: Texts) -> dict[str, object]:
    """Return the explanation of a rule or a cause as a document."""
    if name in texts.rules:
        rule = texts.rules[name]
        return {
            "kind": "rule",
            "id": name,
            "severity": rule.severity.value,
            "title": rule.title,
            "why": _reasons(name, texts.rules),
            "fix": without_values(rule.fix),
            "measured": rule.measured,
            "before": rule.before,
            "after": rule.after,
            "except": rule.ignore,
            "ignore_comment": ignore_comment(name),
            "causes": texts.causes_of(name),
        }
    cause = texts.causes[Cause(name)]
    return {"kind": "cause", "id": name, **cause._asdict()}


def ignore_comment(identity: str) -> str:
    """Return the comment that makes `check` ignore a finding below it; empty if none can do it."""
    return (
        "" if identity in suppressions.IDS else f"; fpm-listener: ignore {identity} because REASON"
    )


def _reasons(identity: str, rules: Mapping[str, Text]) -> list[str]:
    """Return why a rule matters, and other reasons of its variants."""
    texts = [text for one, text in rules.items() if one.partition(".")[0] == identity]
    return list(dict.fromkeys(without_values(text.why) for text in texts))


def without_values(text: str) -> str:
    """Return a text with <name> in place of the values of a match."""
    return _PLACEHOLDER.sub(r"<\1>", text)


def _part(title: str, text: str) -> Iterable[str]:
    return ("", title, *_wrapped(text, "  ", "  ")) if text else ()


def _example(title: str, lines: str) -> Iterable[str]:
    return ("", title, textwrap.indent(lines, "  ")) if lines else ()


def _wrapped(text: str, first: str = "", rest: str = "") -> list[str]:
    """Return the lines of a paragraph; no command between backquotes is broken."""
    lines = textwrap.wrap(
        _COMMAND.sub(lambda found: found[0].replace(" ", _NO_BREAK), text),
        _WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines]
