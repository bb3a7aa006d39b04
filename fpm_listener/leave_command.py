"""Has a running listener leave a program alone: the one stop that supervisord does not tell of.

supervisord refuses to stop what does not run, so that nobody hears of an operator who does not
want a program back that loops or was given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.control import Request, ask
from fpm_listener.core.values import FpmListenerError

if TYPE_CHECKING:
    from fpm_listener.settings import Settings


def leave(settings: Settings, program: str) -> str:
    """Return what was done. Raises FpmListenerError where that was nothing."""
    known = ask(settings.state_dir, Request(action="leave", receiver=program))
    if known is None:
        raise FpmListenerError(
            f"no listener runs with {settings.source}, so that nothing is started by one"
        )
    if not known:
        raise FpmListenerError(
            f"the listener knows no program {program!r}; `fpm-listener status` lists them"
        )
    return f"{program} is left alone until somebody starts it: supervisorctl start {program}"
