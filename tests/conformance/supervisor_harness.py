"""A harness in which supervisor's own code tests one event listener.

Laws:
1. Supervisor's own classes do the work of supervisord, from parsing the section to repeating the
   event of a dead listener. This module only runs their main loop.
2. Every byte on the listener's stdout is compared with the words of the protocol.
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
    warnings.simplefilter("ignore")  # supervisor 4.2.5 imports pkg_resources, which warns
    from supervisor import events, loggers
    from supervisor.options import ServerOptions
    from supervisor.states import EventListenerStates, getEventListenerStateDescription

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

#: supervisor has no types; this stands for all its objects.
Supervisors: TypeAlias = Any

#: Seconds until a wait ends with the violation that the test expects, and with another one.
EXPECTED_AFTER_S, DEADLINE_S = 1.0, 60.0

READY = b"READY\n"
ACKNOWLEDGED = b"RESULT 2\nOK"

_SECTION = """
[supervisord]
identifier = {identifier}

[eventlistener:tested]
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
    """A fault of a listener."""

    NO_READY = "never said READY"
    NO_ANSWER = "did not answer in time"
    ANSWERED_FAIL = "answered FAIL"
    OTHER_OUTPUT = "wrote other words than those of the protocol to stdout"
    OUT_OF_TURN = "wrote out of turn"
    EXITED = "exited although nobody stopped it"
    NO_EXIT = "did not exit in time"


class ProtocolViolationError(AssertionError):
    """The listener broke a rule."""

    def __init__(self, violation: Violation, evidence: str) -> None:
        super().__init__(f"the listener {violation.value}\n{evidence}")
        self.violation = violation


class SupervisorHarness:
    """One listener in supervisor's pool; `wait_until_ready` starts it.

    command: as in the section. environment: added to our own.
    expected: a violation that the test expects; a wait for it fails soon.
    """

    def __init__(
        self,
        command: list[str],
        *,
        environment: Mapping[str, str],
        identifier: str = "supervisor",
        expected: Violation | None = None,
    ) -> None:
        self.exits: list[int] = []  #: the wait status of each run
        self.headers: list[str] = []  #: of all events sent
        self.wire = bytearray()  #: the stdout of this run
        self.stderr = b""
        #: Writes some of the data and returns the number of bytes, as os.write does.
        self.write_some: Callable[[int, bytes], int] = os.write
        self.rewrite: Callable[[str], str] = lambda envelope: envelope
        self.raw = False  #: supervisor's state machine does not see the listener's output
        self._expected = expected
        self._has_other_output = False
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
        self.listener: Supervisors = self.pool.processes["tested"]

    def send(self, *samples: Supervisors) -> None:
        """Let supervisor send these events in order; return when all are acknowledged."""
        for event in samples:
            events.notify(event)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the listener is READY and no event is waiting."""
        self.run_until(
            self._is_ready, Violation.NO_ANSWER if READY in self.wire else Violation.NO_READY
        )

    def send_half(self, event: Supervisors) -> None:
        """Let supervisor send an event without its end: the listener is BUSY and stays BUSY."""
        self.write_some = limit = WriteLimit(len(event.payload()) // 2)
        events.notify(event)
        self.run_until(lambda: not limit.left, Violation.NO_ANSWER)

    def inject(self, data: bytes) -> None:
        """Write to the listener's stdin without supervisor."""
        written = os.write(self.listener.pipes["stdin"], data)
        assert written == len(data), "more than the empty pipe takes"

    def signal(self, number: signal.Signals) -> None:
        """Let supervisor send a signal, as `supervisorctl signal` does."""
        self.listener.signal(number)

    def stop(self) -> int:
        """Let supervisor stop the listener with SIGTERM; return its wait status."""
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
        """Wait until the listener exits; return its wait status."""
        before = len(self.exits)
        self.run_until(lambda: len(self.exits) > before, Violation.NO_EXIT)
        return self.exits[-1]

    def run_until(self, condition: Callable[[], bool], otherwise: Violation) -> None:
        """Run supervisor's main loop until the condition holds.

        Raises ProtocolViolationError: with the given violation after the deadline, or as soon as
        the listener does something that is never right.
        """
        deadline_s = EXPECTED_AFTER_S if otherwise is self._expected else DEADLINE_S
        before, end_s = len(self.exits), time.monotonic() + deadline_s
        while True:
            if self._has_other_output:
                violation = (
                    Violation.ANSWERED_FAIL if b"FAIL" in self.wire else Violation.OTHER_OUTPUT
                )
            elif self._is_out_of_turn():
                violation = Violation.OUT_OF_TURN
            elif condition():
                return
            elif len(self.exits) > before:
                violation = Violation.EXITED
            elif time.monotonic() > end_s:
                violation = otherwise
            else:
                self.run_once()
                continue
            raise ProtocolViolationError(violation, self._evidence())

    def run_once(self) -> None:
        """Do one turn of supervisord's main loop (supervisord.py, runforever)."""
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
            self.write_some = os.write

    def run_turns(self, turns: int) -> None:
        """Run the main loop this many times; the listener may do everything that is right."""
        left = iter(range(turns))
        self.run_until(lambda: next(left, None) is None, Violation.NO_ANSWER)

    def close(self) -> None:
        """End the listener and its children; close its pipes."""
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

    def _is_out_of_turn(self) -> bool:
        """Return whether supervisor rejected the listener, or it answered half an event."""
        state = self.listener.listener_state
        stdin = self.listener.dispatchers.get(self.listener.pipes.get("stdin"))
        half_sent = bool(stdin and stdin.input_buffer)
        return bool(
            state == EventListenerStates.UNKNOWN
            or (half_sent and state != EventListenerStates.BUSY)
        )

    def _write(self, fd: int, data: bytes) -> int:
        return self.write_some(fd, data)

    def _read(self, fd: int) -> bytes:
        data: bytes = ServerOptions.readfd(self.options, fd)
        if fd == self.listener.pipes["stdout"]:
            self._has_other_output |= data != _protocol_words(len(self.wire), len(data))
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
                f"  state for supervisor: {getEventListenerStateDescription(state)}",
                f"  events waiting: {len(self.pool.event_buffer)}",
                f"  last event sent: {self.headers[-1:]}",
                f"  wait statuses of its runs: {self.exits[-5:]}",
                f"  end of its stdout: {bytes(self.wire[-200:])!r}",
                f"  end of its stderr: {self.stderr[-2000:].decode(errors='replace')}",
                f"  end of supervisor's log: {log[-1000:].decode(errors='replace')}",
            ],
        )


def _protocol_words(start: int, length: int) -> bytes:
    """Return the output of a correct listener, from byte `start`."""
    cycle = READY + ACKNOWLEDGED
    first = start % len(cycle)
    return (cycle * (length // len(cycle) + 2))[first : first + length]


# -- writers: how much of an event goes into the pipe at once --------------------------------------


def in_pieces_of(size: int) -> Callable[[int, bytes], int]:
    """Return a writer that writes `size` bytes when the listener has read all bytes before."""

    def write(fd: int, data: bytes) -> int:
        waiting = array.array("i", [0])
        fcntl.ioctl(fd, termios.FIONREAD, waiting)
        return 0 if waiting[0] else os.write(fd, data[:size])

    return write


class WriteLimit:
    """A writer that writes `left` bytes and no more."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self, fd: int, data: bytes) -> int:
        """Write as much as is allowed."""
        written = os.write(fd, data[: self.left]) if self.left else 0
        self.left -= written
        return written
