"""The policy of the page allows its own script and style, and nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import re

import pytest

from fpm_listener.status import page
from fpm_listener.status.html import escaped


@pytest.mark.parametrize(
    ("element", "expected"), [("script", page._SCRIPT), ("style", page._STYLE)]
)
def test_the_policy_has_the_digests_of_the_template(element: str, expected: str) -> None:
    """After a change of page.html, copy the new digest from this failure to status/page.py."""
    (text,) = re.findall(rf"<{element}>(.*?)</{element}>", page._TEMPLATE, re.DOTALL)
    digest = f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"

    assert digest == expected
    assert f"{element}-src '{digest}';" in page.POLICY


def test_escaped_is_what_python_escapes() -> None:
    """Every character has no meaning in HTML."""
    text = "".join(map(chr, range(0x20, 0x7F)))

    assert escaped(text) == html.escape(text)
