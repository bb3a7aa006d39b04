"""supervisord's XML-RPC, with deadlines: what its events do not tell.

Laws:
1. A wedged supervisord costs a few seconds of one thread, never more.
2. An answer is a value: what was asked for, or why it could not be had.

Why not supervisor's own transport: it has no time-out at all, and importing it costs 15 MiB. The
protocol is the standard library's; only the unix socket is ours.
"""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fpm_listener.core.effects import ProcessSeen
from fpm_listener.core.snapshot import State
from fpm_listener.core.values import ProcessName, Program

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds for one call.
TIMEOUT_S = 3.0

_LOCKED = (
    "supervisord asks for a password: set SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD in "
    "environment= of the listener's section"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcFailed:
    """supervisord has not answered, or has said no."""

    why: str


class SupervisorRpc:
    """Used by one thread."""

    def __init__(self, url: str, username: str = "", password: str = "") -> None:
        self._url = url
        self._credentials = f"{username}:{password}" if username else ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> SupervisorRpc | None:
        """Return a client for the supervisord that has started us; None where it serves no RPC."""
        url = environ.get("SUPERVISOR_SERVER_URL", "")
        if not url.startswith(("unix://", "http://")):
            return None
        name, password = environ.get("SUPERVISOR_USERNAME"), environ.get("SUPERVISOR_PASSWORD")
        return cls(url, name or "", password or "")

    def log_tail(self, length: int) -> str | RpcFailed:
        """Return the last `length` bytes of supervisord's own log."""
        answer = self._call("supervisor.readLog", -length, 0)
        return answer if isinstance(answer, RpcFailed) else str(answer)

    def processes(self) -> tuple[ProcessSeen, ...] | RpcFailed:
        """Return all processes as they are now."""
        answer = self._call("supervisor.getAllProcessInfo")
        if isinstance(answer, RpcFailed):
            return answer
        return tuple(
            ProcessSeen(
                name=ProcessName(str(info["group"]), str(info["name"])),
                state=State.__members__.get(str(info["statename"]), State.UNKNOWN),
                pid=int(info["pid"]) or None,
                started_at_s=float(info["start"]) or None,
            )
            for info in answer
        )

    def stderr_logs(self) -> dict[ProcessName, str] | RpcFailed:
        """Return the file that each process's stderr is written to, where there is one.

        Only supervisord knows the names that it has made up itself (`AUTO`, its default).
        """
        answer = self._call("supervisor.getAllProcessInfo")
        if isinstance(answer, RpcFailed):
            return answer
        return {
            ProcessName(str(info["group"]), str(info["name"])): str(path)
            for info in answer
            if (path := info["stderr_logfile"] or info["stdout_logfile"])
        }

    def programs(self) -> tuple[Program, ...] | RpcFailed:
        """Return all programs as they were configured when supervisord read its files.

        supervisor 4.2.5 does not tell commands.
        """
        answer = self._call("supervisor.getAllConfigInfo")
        if isinstance(answer, RpcFailed):
            return answer
        if not all("command" in info for info in answer):
            return RpcFailed(why="this supervisord does not tell commands (4.3.0 does)")
        return tuple(
            Program(
                name=ProcessName(str(info["group"]), str(info["name"])),
                command=str(info["command"]),
                directory=None if info["directory"] == "none" else str(info["directory"]),
                startsecs=float(info["startsecs"]),
            )
            for info in answer
        )

    def _call(self, method: str, *arguments: int) -> Any:  # noqa: ANN401 - each caller knows
        # Imported here: the listener starts faster without it, and may have no supervisord to ask.
        import http.client  # noqa: PLC0415
        import xmlrpc.client  # noqa: PLC0415
        from xml.parsers.expat import ExpatError  # noqa: PLC0415

        headers = {"Content-Type": "text/xml"}
        if self._credentials:
            word = base64.b64encode(self._credentials.encode()).decode()
            headers["Authorization"] = f"Basic {word}"
        connection = self._connection()
        try:
            body = xmlrpc.client.dumps(arguments, method)
            connection.request("POST", "/RPC2", body.encode(), headers)
            response = connection.getresponse()
            text = response.read()
            if response.status == http.client.UNAUTHORIZED:
                return RpcFailed(why=_LOCKED)
            if response.status != http.client.OK:
                return RpcFailed(why=f"supervisord answered with status {response.status}")
            return xmlrpc.client.loads(text)[0][0]
        except xmlrpc.client.Fault as fault:
            return RpcFailed(why=f"supervisord refused: {fault.faultString}")
        except (ExpatError, xmlrpc.client.ResponseError, ValueError):
            return RpcFailed(why="supervisord's answer is no XML (control characters in its log?)")
        except OSError as error:
            return RpcFailed(why=f"supervisord cannot be reached: {error.strerror or error}")
        except http.client.HTTPException as error:
            return RpcFailed(why=f"supervisord broke off: {type(error).__name__}")
        finally:
            connection.close()

    def _connection(self) -> Any:  # noqa: ANN401 - the type is imported late, see above
        import http.client  # noqa: PLC0415

        if self._url.startswith("http://"):
            parts = urlsplit(self._url)
            return http.client.HTTPConnection(
                parts.hostname or "",
                parts.port or 80,
                timeout=TIMEOUT_S,
            )
        connection = http.client.HTTPConnection("localhost", timeout=TIMEOUT_S)
        connection.sock = _UnixSocket(self._url.removeprefix("unix://"))
        return connection


class _UnixSocket:
    """Connects when it is first used, so that a refusal is an answer like any other."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def sendall(self, data: bytes) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(TIMEOUT_S)
            self._socket.connect(self._path)
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> Any:  # noqa: ANN401 - whatever the socket gives
        if self._socket is None:
            raise OSError("not connected")
        return self._socket.makefile("rb")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
