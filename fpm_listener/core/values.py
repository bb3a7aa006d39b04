"""The small values that every room of the core speaks in: names, moments, programs, errors.

Laws: a value never changes; units stand in its name; no value knows where it came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from fpm_listener.core.display import short_name

if TYPE_CHECKING:
    from collections.abc import Mapping


class FpmListenerError(Exception):
    """A message for people: what, where, why, what to do. `__main__` prints it and exits 2."""


def assert_never(value: NoReturn) -> NoReturn:
    """Prove to the type checker that a match is exhaustive (typing has it from 3.11 on)."""
    raise AssertionError(f"not expected here: {value!r}")


class ProcessName(NamedTuple):
    """A supervised process as supervisor names it: `group:process`.

    A named tuple, not a dataclass: it is hashed several times for each event.
    """

    group: str
    process: str

    def __str__(self) -> str:
        return f"{self.group}:{self.process}"

    @property
    def shown(self) -> str:
        """Return `php-fpm` for `php-fpm:php-fpm`: supervisorctl takes both."""
        return short_name(str(self))


class Instant(NamedTuple):
    """One moment on both clocks, read once by the shell and passed down.

    Decisions use `monotonic_s`; `wall_s` (seconds since 1970, UTC) is only shown to people.
    """

    monotonic_s: float
    wall_s: float


class Program(NamedTuple):
    """One process of supervisord's configuration, as far as we use it.

    A named tuple here and in all that the guard imports: dataclasses cost it ten milliseconds.
    """

    name: ProcessName
    command: str = ""  #: as supervisor reads it, expansions done
    directory: str | None = None  #: where it is started; None = supervisord's own
    environment: Mapping[str, str] = {}  #: what the section adds
    startsecs: float = 1.0  #: seconds; supervisor's default
    stderr_log: str | None = None  #: the file that supervisord writes its stderr to, where known


class Loaded(NamedTuple):
    """What a supervisord that runs tells of itself."""

    configs: tuple[Mapping[str, Any], ...]  #: getAllConfigInfo
    processes: tuple[Mapping[str, Any], ...]  #: getAllProcessInfo
