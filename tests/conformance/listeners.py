"""The listeners under test, and a factory that runs each in a harness and ends it afterwards."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .supervisor_harness import SupervisorHarness

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .supervisor_harness import Violation

SPECIMENS = Path(__file__).parent / "specimens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A command to test."""

    name: str
    argv: tuple[str, ...]
    takes_settings: bool = False  #: it is fpm-listener
    takes_url: bool = False  #: its last argument is the URL of a receiver

    def command(self, folder: Path, settings: str, url: str) -> list[str]:
        """Return the whole command; write its settings into `folder`."""
        command = list(self.argv)
        if self.takes_settings:
            file = folder / "fpm_listener.conf"
            receiver = f"[fpm-listener:receiver:hang]\ntype = webhook\nurl = {url}\n" if url else ""
            file.write_text(
                f"[fpm-listener]\nlisten = 127.0.0.1:{_free_port()}\n"
                f"state_dir = {folder / 'state'}\n{settings}\n{receiver}",
            )
            command += ["--config", str(file)]
        if self.takes_url:
            command.append(url)
        return command


OURS = Listener(
    name="fpm-listener",
    argv=(sys.executable, "-m", "fpm_listener", "listen"),
    takes_settings=True,
)


def specimen(name: str, *, takes_url: bool = False) -> Listener:
    """Return one of the faulty listeners, or the good one."""
    argv = (sys.executable, str(SPECIMENS / f"{name}.py"))
    return Listener(name=name, argv=argv, takes_url=takes_url)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@dataclass(kw_only=True)
class HarnessFactory:
    """Creates harnesses for one listener, and closes them all."""

    listener: Listener
    folder: Path
    expected: Violation | None = None  #: its deadline is short; that of all others is long
    _stack: ExitStack = field(default_factory=ExitStack)

    def create(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        identifier: str = "supervisor",
        settings: str = "",
        url: str = "",
    ) -> SupervisorHarness:
        """Return a harness whose listener is READY.

        settings: lines for fpm-listener's own file.
        url: the URL of a receiver, if the listener takes one.
        """
        harness = SupervisorHarness(
            self.listener.command(self.folder, settings, url),
            environment=environment or {},
            identifier=identifier,
            expected=self.expected,
        )
        self._stack.callback(harness.close)
        harness.wait_until_ready()
        return harness

    def close(self) -> None:
        """End all listeners."""
        self._stack.close()
