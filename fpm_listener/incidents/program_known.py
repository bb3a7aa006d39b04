"""What the configuration of a program contains, as far as an incident needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.host.operator_commands import OperatorCommands
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.incidents.program_output import UNKNOWN, ProgramOutput

if TYPE_CHECKING:
    from fpm_listener.phpfpm.config import FpmSite
    from fpm_listener.supervisor.process import Program


class ProgramKnown(NamedTuple):
    """Input of one process: what its program is."""

    site: FpmSite | None = None  #: None = no php-fpm
    needs: Needs = Needs()
    output: ProgramOutput = UNKNOWN
    commands: OperatorCommands = OperatorCommands()
    program: Program | None = None  #: its section; None = unknown
