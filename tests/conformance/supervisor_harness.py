"""A harness in which supervisor's own code tests one event listener.

Laws:
1. What supervisord does is done by supervisor's own classes, from reading the section to delivering
   a dead listener's event again; this module only turns their main loop.
2. Every byte that the listener writes to stdout is compared with the words of the protocol.
3. A fault of the listener raises a ProtocolViolationError with a Violation. All other exceptions
   are faults of the tests.
"""

from __future__ import annotations

import array
import enum
import fcntl
import io
import os
import select
import shlex
import signal
import termios
import time
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # supervisor 4.2.5 imports pkg_resources, which warns of itself
    from supervisor import events, loggers
    from supervisor.options import ServerOptions
    from supervisor.states import EventListenerStates, getEventListenerStateDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: supervisor has no types; whatever is an object of its own is this.
Supervisors: TypeAlias = Any

READY = b"READY\n"
ACKNOWLEDGED = b"RESULT 2\nOK"

_SECTION = """
[supervisord]
identifier = {identifier}

[eventlistener:judged]
command = {command}
environment = {environment}
events = EVENT
buffer_size = 20000
startsecs = 0
autorestart = true
stopwaitsecs = 3600
stdout_logfile = NONE
stderr_logfile = NONE
"""


class Violation(enum.Enum):
    """What a listener can do wrong."""

    SILENT = "never said READY"
    DEAF = "did not answer in time"
    FAIL = "answered FAIL"
    STRAY = "wrote something else than the protocol's words to stdout"
    UNTIMELY = "spoke out of turn"
    DIED = "ended, although nobody had asked it to"
    STUBBORN = "did not end in time"


class ProtocolViolationError(AssertionError):
    """The listener broke a rule."""

    def __init__(self, violation: Violation, evidence: str) -> None:
        super().__init__(f"the listener {violation.value}\n{evidence}")
        self.violation = violation


class SupervisorHarness:
    """One listener in the hands of supervisor's pool; `wait_until_ready` starts it.

    command: as it would stand in the section. environment: added to our own.
    patience_s: seconds within which all that is asked of the listener must have happened.
    """

    def __init__(
        self,
        command: list[str],
        *,
        environment: Mapping[str, str],
        identifier: str = "supervisor",
        patience_s: float,
    ) -> None:
        self.patience_s = patience_s
        self.exits: list[int] = []  #: how each life ended, as waitpid tells it
        self.headers: list[str] = []  #: of all events sent
        self.wire = bytearray()  #: all that this life has written to stdout
        self.stderr = b""
        #: Sends some of the data and returns how many bytes; stands for os.write.
        self.valve: Callable[[int, bytes], int] = os.write
        self.rewrite: Callable[[str], str] = lambda envelope: envelope
        self.raw = False  #: keep what the listener says from supervisor's state machine
        self._stray = False
        events.clear()
        self.options: Supervisors = ServerOptions()
        self.options.configfile = io.StringIO(
            _SECTION.format(
                identifier=identifier,
                command=shlex.join(command).replace("%", "%%"),
                environment=",".join(f'{k}="{v}"' for k, v in environment.items()),
            ),
        )
        self.options.realize(args=[])
        self.options.logger = loggers.getLogger(loggers.LevelsByName.INFO)
        loggers.handle_boundIO(self.options.logger, "%(levelname)s %(message)s\n", 1 << 16)
        self.options.readfd = self._read
        self.options.write = self._write
        self.pool: Supervisors = self.options.process_group_configs[0].make_group()
        self._envelope = self.pool._eventEnvelope
        self.pool._eventEnvelope = self._write_envelope
        self.listener: Supervisors = self.pool.processes["judged"]

    def send(self, *samples: Supervisors) -> None:
        """Let supervisor tell of these events, in order; return when all are acknowledged."""
        for event in samples:
            events.notify(event)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the listener is READY and nothing is left to be sent."""
        self.run_until(self._is_ready, Violation.DEAF if READY in self.wire else Violation.SILENT)

    def send_half(self, event: Supervisors) -> None:
        """Let supervisor send an event without its end: the listener is BUSY and will stay so."""
        self.valve = valve = ShutAfter(len(event.payload()) // 2)
        events.notify(event)
        self.run_until(lambda: not valve.left, Violation.DEAF)

    def inject(self, data: bytes) -> None:
        """Write to the listener's stdin behind supervisor's back."""
        written = os.write(self.listener.pipes["stdin"], data)
        assert written == len(data), "more than the empty pipe takes"

    def signal(self, number: signal.Signals) -> None:
        """Let supervisor send a signal, as `supervisorctl signal` does."""
        self.listener.signal(number)

    def stop(self) -> int:
        """Let supervisor stop the listener (SIGTERM); return its wait status."""
        self.listener.stop()
        return self.wait_for_exit()

    def close_pipes(self, *pipes: str) -> None:
        """Close our ends of these pipes (`stdin`, `stdout`, `stderr`)."""
        for pipe in pipes:
            descriptor = self.listener.pipes[pipe]
            self.listener.pipes[pipe] = None
            del self.listener.dispatchers[descriptor]
            os.close(descriptor)

    def wait_for_exit(self) -> int:
        """Return the wait status of the life that now ends."""
        lives = len(self.exits)
        self.run_until(lambda: len(self.exits) > lives, Violation.STUBBORN)
        return self.exits[-1]

    def run_until(self, condition: Callable[[], bool], otherwise: Violation) -> None:
        """Turn supervisor's main loop until the condition holds.

        Raises ProtocolViolationError: with the given violation after the deadline, or as soon as
        the listener does what is never right.
        """
        lives, deadline = len(self.exits), time.monotonic() + self.patience_s
        while True:
            if self._stray:
                violation = Violation.FAIL if b"FAIL" in self.wire else Violation.STRAY
            elif self._is_untimely():
                violation = Violation.UNTIMELY
            elif condition():
                return
            elif len(self.exits) > lives:
                violation = Violation.DIED
            elif time.monotonic() > deadline:
                violation = otherwise
            else:
                self.run_once()
                continue
            raise ProtocolViolationError(violation, self._evidence())

    def run_once(self) -> None:
        """Do what one turn of supervisord's main loop does (supervisord.py, runforever)."""
        self.pool.transition()
        dispatchers = self.pool.get_dispatchers()
        readable, writable, _ = select.select(
            [fd for fd, dispatcher in dispatchers.items() if dispatcher.readable()],
            [fd for fd, dispatcher in dispatchers.items() if dispatcher.writable()],
            [],
            0.02,
        )
        for fd in readable:
            if self.raw and fd == self.listener.pipes["stdout"]:
                self._read(fd)
            else:
                dispatchers[fd].handle_read_event()
        for fd in writable:
            dispatchers[fd].handle_write_event()
        pid, status = os.waitpid(self.listener.pid, os.WNOHANG) if self.listener.pid else (0, 0)
        if pid:
            self.listener.finish(pid, status)
            self.exits.append(status)
            self.wire = bytearray()
            self.valve = os.write

    def run_turns(self, turns: int) -> None:
        """Turn the main loop so many times; the listener may do what it likes that is right."""
        left = iter(range(turns))
        self.run_until(lambda: next(left, None) is None, Violation.DEAF)

    def close(self) -> None:
        """End the listener and what it has started; let its pipes go."""
        events.clear()
        if self.listener.pid:
            for kill in (os.killpg, os.kill):
                with suppress(ProcessLookupError):
                    kill(self.listener.pid, signal.SIGKILL)
            os.waitpid(self.listener.pid, 0)
            self.options.close_parent_pipes(self.listener.pipes)

    def _is_ready(self) -> bool:
        ready = self.listener.listener_state == EventListenerStates.READY
        return bool(ready and not self.pool.event_buffer)

    def _is_untimely(self) -> bool:
        """Return whether supervisor has cast it out, or it has answered to half an event."""
        state = self.listener.listener_state
        stdin = self.listener.dispatchers.get(self.listener.pipes.get("stdin"))
        half_sent = bool(stdin and stdin.input_buffer)
        return bool(
            state == EventListenerStates.UNKNOWN
            or (half_sent and state != EventListenerStates.BUSY)
        )

    def _write(self, fd: int, data: bytes) -> int:
        return self.valve(fd, data)

    def _read(self, fd: int) -> bytes:
        data: bytes = ServerOptions.readfd(self.options, fd)
        if fd == self.listener.pipes["stdout"]:
            self._stray |= data != _words(len(self.wire), len(data))
            self.wire += data
        else:
            self.stderr += data
        return data

    def _write_envelope(self, *of: Supervisors) -> str:
        envelope = self.rewrite(self._envelope(*of))
        self.headers.append(envelope.partition("\n")[0])
        return envelope

    def _evidence(self) -> str:
        log = self.options.logger.handlers[0].stream.getvalue()
        state = self.listener.listener_state
        return "\n".join(
            [
                f"  supervisor's idea of it: {getEventListenerStateDescription(state)}",
                f"  events waiting: {len(self.pool.event_buffer)}",
                f"  last event sent: {self.headers[-1:]}",
                f"  its lives ended with: {self.exits[-5:]}",
                f"  end of its stdout: {bytes(self.wire[-200:])!r}",
                f"  end of its stderr: {self.stderr[-2000:].decode(errors='replace')}",
                f"  end of supervisor's log: {log[-1000:].decode(errors='replace')}",
            ],
        )


def _words(start: int, length: int) -> bytes:
    """Return what a listener says that only ever says what it should, from byte `start` on."""
    cycle = READY + ACKNOWLEDGED
    first = start % len(cycle)
    return (cycle * (length // len(cycle) + 2))[first : first + length]


# -- valves: how much of an event goes through the pipe at once ------------------------------------


def pieces_of(size: int) -> Callable[[int, bytes], int]:
    """Return a valve that lets `size` bytes through when all before were read by the listener."""

    def write(fd: int, data: bytes) -> int:
        waiting = array.array("i", [0])
        fcntl.ioctl(fd, termios.FIONREAD, waiting)
        return 0 if waiting[0] else os.write(fd, data[:size])

    return write


class ShutAfter:
    """A valve that lets `left` bytes through and no more."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, fd: int, data: bytes) -> int:
        """Write what goes through."""
        written = os.write(fd, data[: self.left]) if self.left else 0
        self.left -= written
        return written
