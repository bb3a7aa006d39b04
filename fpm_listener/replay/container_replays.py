"""Replays the lines of each container apart: each has its own supervisord, pids and order.

Law: what happens in one container neither begins nor ends an incident of another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fpm_listener.replay.log_lines import LogLine
    from fpm_listener.replay.replayer import Replayer

#: Containers at once: a forged log must not fill the memory.
_MOST = 100


class ContainerReplays:
    """Takes lines; those of one container are in order of time."""

    def __init__(self, make: Callable[[str], Replayer]) -> None:
        """`make`: returns the replayer of a container; "" = the logs name none."""
        self.replayers: dict[str, Replayer] = {}  #: by the name of the container
        self.left_out = 0  #: lines of further containers
        self._make = make

    def take(self, line: LogLine) -> None:
        """Take one line."""
        found = self.replayers.get(line.container)
        if found is None:
            if len(self.replayers) >= _MOST:
                self.left_out += 1
                return
            found = self.replayers[line.container] = self._make(line.container)
        found.take(line)

    def end(self) -> None:
        """Take what still waits. Logs without a line are those of one container."""
        if not self.replayers:
            self.replayers[""] = self._make("")
        for replayer in self.replayers.values():
            replayer.end()
