"""What is unknown about a configuration whose machine is not here.

Law: unknown counts as correct. A place with an unknown value, or a section whose other keys may be
in another file, has no finding.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    from fpm_listener.supervisor.ini_lines import ConfigSection, Place

#: A variable of an environment that is not here: `%(ENV_X)s` in supervisord's files, `${X}` in
#: those of php-fpm.
_OPEN = re.compile(r"%\((?:ENV_\w+|host_node_name)\)", re.ASCII)
#: A word that another program replaces: $X, ${X}, !X!, @X@, __X__, %X%. php-fpm itself has $pool.
_REPLACED = re.compile(
    r"\$\{?(?!(?:pool|prefix)\b)\w|!\w+!|@\w+@|__\w+__|%[A-Z_]{3,}%|\{[A-Z_]{3,}\}", re.ASCII
)
#: Rules about such variables: FPM067.
_ABOUT_VARIABLES = {"FPM067"}


class Partial(NamedTuple):
    """The known part of a configuration."""

    files: frozenset[str] = frozenset()  #: that were read; a finding about another one is dropped
    #: True = a file of programs without the main file of supervisord
    is_fragment: bool = False
    open_lines: frozenset[tuple[str, int]] = frozenset()  #: whose values contain a variable
    #: headers of sections whose keys can be in other files, too
    open_sections: frozenset[Place] = frozenset()
    #: files of php-fpm whose first lines continue a section of another file
    continued: frozenset[str] = frozenset()

    def hides(self, rule: str, place: Place) -> bool:
        """Return whether a finding would be a guess."""
        if rule in _ABOUT_VARIABLES or place.file not in self.files:
            return True
        if self.is_fragment and (place.section == "supervisord" or not place.line):
            return True
        if place.section == "global" and place.file in self.continued:
            return True
        return (place.file, place.line) in self.open_lines or place in self.open_sections


def open_lines(
    sections: Mapping[str, ConfigSection], *, php: bool = False
) -> Iterator[tuple[str, int]]:
    """Return the files and numbers of lines whose values contain a variable."""
    pattern = _REPLACED if php else _OPEN
    for section in sections.values():
        for line in section.lines.values():
            if pattern.search(line.value):
                yield line.file, line.number


def incomplete(sections: Iterable[ConfigSection], complete: AbstractSet[str]) -> Iterator[Place]:
    """Return the headers of the sections of php-fpm that are not complete."""
    for section in sections:
        if section.name.lower() not in complete:
            yield section.where("")
