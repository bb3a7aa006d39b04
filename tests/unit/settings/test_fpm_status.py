"""`fpm_status` is off, on or full; it was a boolean in earlier versions."""

from __future__ import annotations

import pytest

from fpm_listener.settings.fpm_status import FpmStatus, read
from fpm_listener.settings.settings import parse
from fpm_listener.values import FpmListenerError


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (("off", "false", "no", "0", "Off"), FpmStatus.OFF),
        (("on", "true", "yes", "1", "ON"), FpmStatus.ON),
        (("full", "Full"), FpmStatus.FULL),
    ],
)
def test_all_words(words: tuple[str, ...], value: FpmStatus) -> None:
    """The booleans of earlier versions stay valid."""
    assert {read(word) for word in words} == {value}


def test_another_word() -> None:
    """The error names file, section, key, the value and what is expected."""
    where = r"x.conf \[fpm-listener\]: fpm_status = 'fully' is invalid; expected off, on or full"
    with pytest.raises(FpmListenerError, match=where):
        parse("x.conf", "[fpm-listener]\nfpm_status = fully\n", {})
