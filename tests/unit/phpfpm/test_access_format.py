"""access.format, as php-fpm checks it."""

from __future__ import annotations

import pytest

from fpm_listener.phpfpm.access_format import access_format_fault


@pytest.mark.parametrize(
    "text",
    [
        *("", "%", "a%", "%%", '%R - %u %t "%m %r" %s', "%{milli}d %{KILO}M %{user}C", "%d%C%M"),
        *("%{A}e %{B}o", "%{%H:%M}t %{%Y}T", "%n %p %P %q %Q %f %l", "%{}d", "100%"),
    ],
)
def test_accepted(text: str) -> None:
    """As php-fpm8.2 -t."""
    assert access_format_fault(text) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("%x", "%x does not exist"),
        ("% d", "%  does not exist"),
        ("%{", "after %{ there must be a } and a letter"),
        ("%{milli}", "after %{ there must be a } and a letter"),
        ("%{giga}M", "%M takes bytes, kilo, kilobytes, mega, megabytes only"),
        ("%{x}C", "%C takes system, total, user only"),
        ("%e", "%e needs a name in braces, for example %{NAME}e"),
        ("%o", "%o needs a name in braces, for example %{NAME}o"),
        ("%{x}R", "%R takes no braces"),
    ],
)
def test_rejected(text: str, why: str) -> None:
    """As php-fpm8.2 -t."""
    assert access_format_fault(text) == why
