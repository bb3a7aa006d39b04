"""What the doctor finds: the values, and the list of rules that find them.

Laws:
1. A rule looks and says; it reads no file and asks no clock: what it needs is in the Checkup.
2. An id is for ever: it names one rule, and no other one gets it later.
3. A finding says where, what, why it will hurt, and what to write instead.
4. A value that can be a secret is in no finding.
"""

from __future__ import annotations

import re
import shlex
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fpm_listener.core.fpmcommand import FpmInvocation
    from fpm_listener.core.fpmconf import FpmConf, Pool
    from fpm_listener.core.holders import HolderReport
    from fpm_listener.core.snapshot import ReceiverProblem
    from fpm_listener.core.values import Loaded


#: A shell with a command of its own: `/bin/sh -c "..."`.
SHELL = re.compile(r"^(\S*/)?((?:ba|da|z|k|a)?sh)\s+(?:-\w+\s+)*-\w*c\b")


def words_of(command: str) -> list[str]:
    """Return the words of a command as supervisor splits it; none where it cannot be split."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


class Severity(Enum):
    """How bad it is."""

    ERROR = "error"  #: will break
    WARNING = "warning"  #: breaks under load, at a restart, or when something else breaks
    HINT = "hint"  #: would be better otherwise


class Edit(NamedTuple):
    """A change of one key: what mends a finding without a decision of anybody's."""

    file: str
    section: str
    key: str
    value: str | None  #: None = without this key
    php: bool = False  #: of php-fpm's files


class Finding(NamedTuple):
    """One result of the doctor."""

    id: str
    severity: Severity
    where: str  #: file, line and section, as far as they are known
    what: str
    why: str
    mend: str
    edits: tuple[Edit, ...] = ()  #: that make it go away, where that needs no decision

    def to_json(self) -> dict[str, str]:
        """Return it as a document, without the edits."""
        document = {**self._asdict(), "severity": self.severity.value}
        del document["edits"]
        return document


# -- what is looked at -----------------------------------------------------------------------------


class Line(NamedTuple):
    """One `key = value` of an INI file."""

    file: str
    number: int
    value: str  #: as it stands there; of supervisor's files without comments
    cut: str = ""  #: the comment behind it, in supervisor's files
    last: int = 0  #: the number of its last line, where it has several
    overrides: str = ""  #: where the key stood before, for nothing: file:number


class Section(NamedTuple):
    """One section of an INI file, or of several files: later ones win."""

    name: str
    file: str
    number: int  #: 0 = where the file begins, without a header
    lines: Mapping[str, Line]  #: by key, small letters
    again: tuple[str, ...] = ()  #: file:line of each further header of this name

    def where(self, key: str) -> str:
        """Return where a key stands, or where it would."""
        line = self.lines.get(key)
        file, number = (line.file, line.number) if line else (self.file, self.number)
        return f"{file}{f':{number}' if number else ''} [{self.name}]"

    def edit(self, key: str, value: str | None, *, php: bool = False) -> Edit:
        """Return a change of a key where it stands, or where it would."""
        line = self.lines.get(key)
        return Edit(line.file if line else self.file, self.name, key, value, php)


class Supervised(NamedTuple):
    """One process as supervisor reads it, with its section."""

    kind: str  #: program, eventlistener, fcgi-program
    group: str
    name: str
    section: Section
    settings: Mapping[str, Any]  #: by the names of the section's keys; types as supervisor has them

    @property
    def command(self) -> str:
        """Return the command, expansions done."""
        return str(self.settings["command"])


class Fpm(NamedTuple):
    """A php-fpm among the programs."""

    process: Supervised
    invocation: FpmInvocation
    conf: FpmConf
    sections: Mapping[str, Section]  #: of php-fpm's own files: global, and pools by name
    version: tuple[int, ...] = ()

    def at(self, key: str) -> str:
        """Return where a key of the program stands."""
        return self.process.section.where(key)

    def in_fpm(self, section: str, key: str) -> str:
        """Return where a key of php-fpm's configuration stands, or where it would."""
        known = self.sections.get(section.lower())
        return known.where(key) if known else f"{self.conf.path} [{section}]"

    def edits(self, **values: str | None) -> tuple[Edit, ...]:
        """Return changes of the program's keys."""
        section = self.process.section
        return tuple(section.edit(key, value) for key, value in values.items())

    def edits_in_fpm(self, section: str, values: Mapping[str, str]) -> tuple[Edit, ...]:
        """Return changes of keys of php-fpm's configuration; none where the section is not seen."""
        known = self.sections.get(section.lower())
        if known is None:
            return ()
        return tuple(known.edit(key, value, php=True) for key, value in values.items())

    @property
    def guarded(self) -> bool:
        """Return whether our guard starts it."""
        words = words_of(self.process.command)
        return any(word.endswith(("fpm-listener", "fpm_listener")) for word in words[:3])

    @property
    def in_shell(self) -> bool:
        """Return whether a shell starts it."""
        return SHELL.match(self.process.command) is not None

    def option(self, pool: Pool, key: str, otherwise: str = "") -> str:
        """Return a setting of a pool as php-fpm's scanner yields it."""
        return pool.options.get(key, otherwise)


class Held(NamedTuple):
    """Who has an address that a php-fpm of the configuration listens on."""

    address: str
    report: HolderReport
    families: Mapping[int, tuple[int, ...]]  #: by a holder's pid: its own, its parent's, and so on
    relatives: frozenset[int]  #: pids that are children of the supervisord of this configuration


class Machine(Protocol):
    """What the doctor asks the host."""

    def exists(self, path: str) -> bool:
        """Return whether there is such a file or folder."""

    def is_folder(self, path: str) -> bool:
        """Return whether it is a folder."""

    def user(self, name: str) -> bool:
        """Return whether there is such a user."""

    def group(self, name: str) -> bool:
        """Return whether there is such a group."""

    def init_scripts(self) -> tuple[str, ...]:
        """Return the init scripts of php-fpm."""

    def php_fpms(self) -> tuple[str, ...]:
        """Return the paths of the php-fpm binaries that are installed."""

    def enabled_units(self) -> tuple[str, ...]:
        """Return the systemd services of php-fpm that are enabled."""

    def port_range(self) -> tuple[int, int]:
        """Return the ports that outgoing connections use."""

    def memory_limit(self) -> int | None:
        """Return the bytes that everything here may use: of the cgroup, or of the host."""

    def in_container(self) -> bool:
        """Return whether this is a container."""


class Checkup(NamedTuple):
    """All that is looked at."""

    supervisord: Mapping[str, Any]  #: of [supervisord]: nodaemon, minfds; inet and unix servers
    sections: Mapping[str, Section]  #: of supervisord's files
    processes: tuple[Supervised, ...]
    fpms: tuple[Fpm, ...]
    machine: Machine
    refused: tuple[tuple[str, str], ...] = ()  #: files of our own settings, and what is wrong
    #: files of our own settings, and why alerts will not be delivered
    undeliverable: tuple[tuple[str, ReceiverProblem], ...] = ()
    loaded: Loaded | None = None  #: None = nobody answers, or does not say
    held: tuple[Held, ...] = ()  #: of the addresses that some process listens on now

    def where(self, section: str, key: str = "") -> str:
        """Return where a key of supervisord's files stands, or where it would."""
        known = self.sections.get(section)
        if known:
            return known.where(key)
        first = next(iter(self.sections.values()), None)
        return f"{first.file if first else 'supervisord.conf'} [{section}]"

    def edits(self, section: str, **values: str) -> tuple[Edit, ...]:
        """Return changes of keys of supervisord's files; a new section goes into the main one."""
        first = next(iter(self.sections.values()), None)
        known = self.sections.get(section) or Section(section, first.file if first else "", 0, {})
        return tuple(known.edit(key, value) for key, value in values.items()) if first else ()


# -- the list of rules -----------------------------------------------------------------------------


class Said(NamedTuple):
    """What a rule says of one place."""

    where: str
    what: str
    why: str
    mend: str
    edits: tuple[Edit, ...] = ()
    severity: Severity | None = None  #: None = that of the rule


class Rule(NamedTuple):
    """One thing that the doctor looks for."""

    id: str
    severity: Severity
    title: str
    look: Callable[[Checkup], Iterator[Said]]


RULES: dict[str, Rule] = {}


def rule(
    identity: str, severity: Severity, title: str
) -> Callable[[Callable[[Checkup], Iterator[Said]]], Callable[[Checkup], Iterator[Said]]]:
    """Return what puts a function into the list."""

    def put(look: Callable[[Checkup], Iterator[Said]]) -> Callable[[Checkup], Iterator[Said]]:
        if identity in RULES:
            raise ValueError(f"two rules are called {identity}")
        RULES[identity] = Rule(identity, severity, title, look)
        return look

    return put


def for_each_fpm(
    look: Callable[[Fpm], Iterator[Said]],
) -> Callable[[Checkup], Iterator[Said]]:
    """Return a rule over all of a rule over one php-fpm."""

    def over_all(checkup: Checkup) -> Iterator[Said]:
        for fpm in checkup.fpms:
            yield from look(fpm)

    return over_all


def examine(checkup: Checkup) -> list[Finding]:
    """Return what all rules find, the worst first."""
    order = list(Severity)

    def place(finding: Finding) -> tuple[int, list[tuple[str, int]], str, str]:
        """Return what to sort by: lines by their numbers, not letter by letter."""
        parts = re.findall(r"(\D+)(\d*)", finding.where)
        where = [(text, int(number or 0)) for text, number in parts]
        return order.index(finding.severity), where, finding.id, finding.what

    found = {
        Finding(one.id, said.severity or one.severity, *said[:5])
        for one in RULES.values()
        for said in one.look(checkup)
    }
    return sorted(found, key=place)
