"""Lets supervisor's parser read a text that is not a file yet, for example that of an image.

That image has other directories and users than this machine. Only the child that parses uses this.
The rules of the doctor report what is missing.

Source: supervisor/datatypes.py and options.py, 4.2.5 and 4.3.0.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def opened(text: str, path: str) -> io.StringIO:
    """Return the text as an open file with a path, which is the base of relative includes."""
    file = io.StringIO(text)
    file.name = path
    return file


def accept_missing() -> None:
    """Accept directories and users that do not exist."""
    from supervisor import datatypes, options  # noqa: PLC0415 - the child's

    for module in (datatypes, options):
        module.existing_directory = module.existing_dirpath = os.path.expanduser
    options.name_to_uid = _or(None, datatypes.name_to_uid)
    options.colon_separated_user_group = _or((-1, -1), datatypes.colon_separated_user_group)


def _or(unknown: object, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return the conversion, with a value for a name that it does not know."""

    def converted(name: str) -> Any:  # noqa: ANN401 - as in supervisor
        try:
            return convert(name)
        except ValueError:
            return unknown

    return converted
