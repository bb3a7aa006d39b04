"""Reads the programs in supervisord's configuration, and parses only changed files again.

Law: a refusal is not kept. It can have a cause outside the files, such as a missing directory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fpm_listener.supervisor import config, config_state
from fpm_listener.supervisor.config import ConfUnreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.supervisor.process import Program


class ConfigReader:
    """Keeps the programs as long as the files of the configuration do not change."""

    def __init__(
        self, read: Callable[[str], dict[str, Any] | ConfUnreadable] = config.read
    ) -> None:
        """`read`: as config.read."""
        self._read = read
        self._path = ""
        self._seen: Mapping[str, Any] | None = None
        self._programs: tuple[Program, ...] = ()

    def programs(self, path: str) -> tuple[Program, ...] | ConfUnreadable:
        """Return the processes of the configuration at `path`."""
        if path == self._path and self._seen is not None and config_state.is_unchanged(self._seen):
            return self._programs
        self._seen = None
        answer = self._read(path)
        if isinstance(answer, ConfUnreadable):
            return answer  # the law
        self._path, self._seen = path, answer["seen"]
        self._programs = config.programs_of(answer)
        return self._programs
