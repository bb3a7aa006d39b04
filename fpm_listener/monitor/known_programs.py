"""The programs that supervisord's configuration contains: an input of the engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fpm_listener.host.operator_commands import OperatorCommands
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.incidents.program_known import ProgramKnown
from fpm_listener.incidents.program_output import UNKNOWN, ProgramOutput

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fpm_listener.phpfpm.config import FpmSite
    from fpm_listener.supervisor.process import ProcessName, Program


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramsKnown:
    """Input: the programs in supervisord's configuration, and which of them are php-fpm."""

    programs: tuple[Program, ...]
    sites: Mapping[ProcessName, FpmSite]  #: a key for each php-fpm
    needs: Mapping[ProcessName, Needs] = field(default_factory=dict)
    outputs: Mapping[ProcessName, ProgramOutput] = field(default_factory=dict)
    commands: OperatorCommands = field(default_factory=OperatorCommands)

    def about(self, program: Program) -> ProgramKnown:
        """Return what is known about one program."""
        name = program.name
        return ProgramKnown(
            self.sites.get(name),
            self.needs.get(name, Needs()),
            self.outputs.get(name, UNKNOWN),
            self.commands,
            program,
        )
