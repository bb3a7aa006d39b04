"""Makes text of other programs safe to show: one function for each kind of output."""

from __future__ import annotations

#: Control characters, and characters that are invisible or change the direction of text.
_UNSEEN = {
    *(*range(0x20), *range(0x7F, 0xA0), *range(0x200B, 0x2010), *range(0x2028, 0x202F)),
    *(*range(0x2060, 0x2070), 0xFEFF),
}

_SAFE_IN_SHELL = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./_-"
)


def plain(text: str) -> str:
    """Return text for a terminal: `?` replaces what can move the cursor, colour or hide text."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def escaped(text: str) -> str:
    """Return text on one line: escapes replace newlines and all that is not printable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def clean(text: str) -> str:
    """Return text for messages, without invisible characters; newlines stay."""
    text = text.replace("\t", " ")
    return valid_unicode("".join(c for c in text if c == "\n" or ord(c) not in _UNSEEN))


def valid_unicode(text: str) -> str:
    """Return valid Unicode: `?` replaces lone surrogates, which strict parsers refuse.

    They stand for bytes that are not UTF-8.
    """
    return text.encode("utf-8", "replace").decode("utf-8")


def short_name(name: str) -> str:
    """Return `php-fpm` for `php-fpm:php-fpm`; any other name in full."""
    group, _, process = name.partition(":")
    return process if group == process else name


def quoted(word: str) -> str:
    """Return a word for a shell, as shlex.quote does. shlex costs the guard milliseconds."""
    return (
        word
        if word and _SAFE_IN_SHELL.issuperset(word)
        else "'" + word.replace("'", "'\"'\"'") + "'"
    )
