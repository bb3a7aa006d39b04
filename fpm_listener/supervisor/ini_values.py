"""Values of supervisord's configuration, with `%(name)s` expanded.

Source: supervisor/options.py (4.2.5 and 4.3.0), `expand` and `read_include_config`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.supervisor import ini_lines

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.supervisor.ini_lines import ConfigSection

#: Characters of a value with `%(name)s`, and too many digits of a width in it.
_LONGEST_TEMPLATE = 4096
_WIDE = re.compile(r"%\([^)]*\)[-#0 +]*(?:\d{4}|\d*\.\d{4})")


def included(text: str, expansions: Mapping[str, str]) -> tuple[str, ...]:
    """Return the patterns of the included files."""
    section = ini_lines.scan([("", text)]).get("include")
    value = get(section, "files", "", expansions)
    return tuple(value.split()) if value else ()


def get(
    section: ConfigSection | None, key: str, default: str, expansions: Mapping[str, str] | None
) -> str | None:
    """Return a value, expanded unless `expansions` is None; None if that fails."""
    if section is None or key not in section.lines:
        return default
    value = section.lines[key].value
    if expansions is None or "%" not in value:
        return value
    try:
        return expand(value, expansions)
    except (KeyError, ValueError, TypeError):
        return None


def expand(template: str, expansions: Mapping[str, object]) -> str:
    """Return the expanded text. Raises KeyError, ValueError and TypeError.

    Law: a width of a billion characters must not fill the memory before php-fpm starts.
    """
    if len(template) > _LONGEST_TEMPLATE or _WIDE.search(template):
        raise ValueError("the expanded text would be too long")
    return template % expansions
