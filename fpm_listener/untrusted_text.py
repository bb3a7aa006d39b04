"""Text of others as people may see it."""

from __future__ import annotations


def plain(text: str) -> str:
    """Return text that cannot move the cursor or colour the terminal, nor hide or turn itself."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def short_name(name: str) -> str:
    """Return `php-fpm` for `php-fpm:php-fpm`; of any other name all of it."""
    group, _, process = name.partition(":")
    return process if group == process else name
