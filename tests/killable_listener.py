"""A listener that kills itself at one of its steps: `killable_listener.py SETTINGS`.

A step is visible from outside: a statement of the database, data to or from a receiver, the answer
to supervisord. KILL_AT is the number of the step of the kind KILL_KIND (1, 2, …; 0 = none). The
count begins at the `start` or at the first `event`, see KILL_SINCE. KILL_WHEN is `before` or
`after` the step. Each counted step writes the line `step KIND` to stderr, and the last line is
`killed WHEN KIND`.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from fpm_listener.__main__ import main
from fpm_listener.delivery.receivers import plain_http
from fpm_listener.host import timed_socket
from fpm_listener.host.timed_socket import TimedSocket
from fpm_listener.supervisor.pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


class Steps:
    """Counts the steps of all threads."""

    def __init__(self, kill_at: int, kill_kind: str, kill_when: str, *, counts: bool) -> None:
        self.counts = counts
        self._kill_at = kill_at
        self._kill_kind = kill_kind
        self._kill_when = kill_when
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    def run(self, name: str, step: Callable[..., Value], *arguments: Any) -> Value:  # noqa: ANN401 - of any step
        """Run a step and return its result, unless the listener is killed here."""
        with self._lock:
            self._taken[name] += self.counts
            number = self._taken[name] if self.counts else 0
            last = name == self._kill_kind and 0 < number == self._kill_at
        if number:
            os.write(2, f"step {name}\n".encode())
        if last and self._kill_when == "before":
            self._end(name)
        try:
            return step(*arguments)
        finally:
            if last:
                self._end(name)

    def _end(self, name: str) -> None:
        os.write(2, f"killed {self._kill_when} {name}\n".encode())
        os.kill(os.getpid(), signal.SIGKILL)


STEPS = Steps(
    int(os.environ["KILL_AT"]),
    os.environ["KILL_KIND"],
    os.environ["KILL_WHEN"],
    counts=os.environ["KILL_SINCE"] == "start",
)


class Connection(sqlite3.Connection):
    """A database connection whose statements are steps."""

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as sqlite3's
        """Run a statement."""
        return STEPS.run(sql.split(maxsplit=1)[0], super().execute, sql, *values)


class Socket(TimedSocket):
    """A connection to a receiver whose sends and receives are steps."""

    def sendall(self, *arguments: Any) -> None:  # noqa: ANN401 - as socket's
        """Send data."""
        STEPS.run("sendall", super().sendall, *arguments)

    def recv(self, *arguments: Any) -> bytes:  # noqa: ANN401 - as socket's
        """Receive data."""
        return STEPS.run("recv", super().recv, *arguments)


def count_steps() -> None:
    """Count these calls as steps."""
    read, acknowledge = Pipe.read, Pipe.acknowledge

    def connect_in_steps(address: tuple[str, int], ends_at_s: float) -> TimedSocket:
        plain = STEPS.run("connect", timed_socket.connect, address, ends_at_s)
        connection = Socket(fileno=plain.detach())
        connection.ends_at_s = ends_at_s
        return connection

    def read_and_count(self: Pipe) -> Any:  # noqa: ANN401 - as Pipe's
        STEPS.counts = True
        return read(self)

    def acknowledge_as_a_step(self: Pipe) -> None:
        STEPS.run("acknowledge", acknowledge, self)

    patched: list[tuple[Any, str, object]] = [
        (sqlite3, "connect", partial(sqlite3.connect, factory=Connection)),
        # Not for connections to supervisord.
        (plain_http, "timed_socket", SimpleNamespace(connect=connect_in_steps)),
        (Pipe, "read", read_and_count),
        (Pipe, "acknowledge", acknowledge_as_a_step),
    ]
    for owner, name, value in patched:
        setattr(owner, name, value)


if __name__ == "__main__":
    count_steps()
    sys.exit(main(["listen", "--config", sys.argv[1]]))
