"""What is unknown about a configuration whose machine is not here.

Law: unknown counts as correct. A place with an unknown value, or a section whose other keys may be
in another file, has no finding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fpm_listener.supervisor.ini_lines import ConfigSection, Place

#: A variable of an environment that is not here: `%(ENV_X)s` in supervisord's files, `${X}` in
#: those of php-fpm.
_OPEN = ("%(ENV_", "%(host_node_name)")
#: Rules about such variables: FPM067.
_ABOUT_VARIABLES = {"FPM067"}


class Partial(NamedTuple):
    """The known part of a configuration."""

    files: frozenset[str] = frozenset()  #: that were read; a finding about another one is dropped
    #: True = a file of programs without the main file of supervisord
    is_fragment: bool = False
    open_lines: frozenset[Place] = frozenset()  #: whose values contain a variable
    #: headers of sections whose keys can be in other files, too
    open_sections: frozenset[Place] = frozenset()

    def hides(self, rule: str, place: Place) -> bool:
        """Return whether a finding would be a guess."""
        if rule in _ABOUT_VARIABLES or place.file not in self.files:
            return True
        if self.is_fragment and (place.section == "supervisord" or not place.line):
            return True
        return place in self.open_lines or place in self.open_sections


def open_lines(sections: Mapping[str, ConfigSection], *, php: bool = False) -> Iterator[Place]:
    """Return the places of values with a variable."""
    for section in sections.values():
        for key, line in section.lines.items():
            if "${" in line.value if php else any(one in line.value for one in _OPEN):
                yield section.where(key)


def incomplete(sections: Iterable[ConfigSection], complete: frozenset[str]) -> Iterator[Place]:
    """Return the headers of the sections of php-fpm that are not complete."""
    for section in sections:
        if section.name.lower() not in complete:
            yield section.where("")
