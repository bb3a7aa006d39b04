"""A client for supervisord's XML-RPC, with a deadline for each call.

Laws:
1. A supervisord that hangs costs one thread a few seconds.
2. An answer is a value: the data, or the reason why there is none.
3. Each call has its own connection.
4. A unix socket of another user gets no password, and the listener and the guard do not ask it: a
   socket in /tmp can be gone, and anybody can create it again.

supervisor's own transport has no timeout, so a supervisord that hangs would stop the listener. Its
import also loads half of supervisor. The standard library's client needs 6 MiB.
"""

from __future__ import annotations

import base64
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from fpm_listener.host import http_exchange, timed_socket
from fpm_listener.host.http_exchange import ConnectionEndedError
from fpm_listener.supervisor import rpc_answers, xml_rpc
from fpm_listener.supervisor.process import Loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.host.timed_socket import TimedSocket
    from fpm_listener.supervisor.process import ProcessName, ProcessSeen, Program
    from fpm_listener.supervisor.server_login import Login

Value = TypeVar("Value")

#: Seconds for one call.
TIMEOUT_S = 3.0
#: Bytes of the longest answer that is read: some 10,000 processes.
LONGEST_ANSWER = 16 << 20
#: Fewest bytes of supervisord's log that are requested: more than the traceback that it logs when
#: it cannot read the tail.
_SHORTEST_TAIL = 4096

#: Statuses of HTTP.
_OK, _LOGIN_NEEDED, _EXCEPTION = 200, 401, 500
_UNAUTHORIZED = (
    "supervisord asks for a password, and {why}. Set SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD "
    "in environment= of the listener's section. Until then, exit codes can be unknown, and "
    "self-healing does not work"
)
_STRANGER = "{url} is a socket of user id {uid}, neither root nor our own: it is not asked"
_REJECTED = "rejects the one that it gets"
#: XML 1.0 does not allow these, but supervisord sends them as they are in its log.
_CONTROL = bytes(range(9)) + b"\x0b\x0c" + bytes(range(14, 32))
_PRINTABLE = bytes.maketrans(_CONTROL, b"?" * len(_CONTROL))


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcFailed:
    """supervisord has not answered, or has refused."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RpcRefused(RpcFailed):
    """supervisord has refused the request, and does not execute it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ConnectionFailed(RpcFailed):
    """supervisord itself raised an exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _LoginRejected(RpcFailed):
    """supervisord wants another user name or password."""


class LogFiles(NamedTuple):
    """The files that supervisord keeps for one process; None = none."""

    stdout: str | None
    stderr: str | None


class SupervisorRpc:
    """The client. Used by one thread.

    timeout_s: for one call with its connection; only a resolver can take longer.
    """

    def __init__(
        self,
        url: str,
        username: str = "",
        password: str = "",
        timeout_s: float = TIMEOUT_S,
        find_login: Callable[[str], Login | str] | None = None,
        *,
        of_any_user: bool = False,
    ) -> None:
        """`find_login`: finds the user name and the password if the given ones are rejected.

        of_any_user: supervisord can run as another user, as long as it asks for no password.
        """
        self._of_any_user = of_any_user
        self._url = url
        self._credentials = f"{username}:{password}" if username else ""
        self._find_login = find_login
        self._timeout_s = timeout_s

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        timeout_s: float = TIMEOUT_S,
        find_login: Callable[[str], Login | str] | None = None,
        *,
        of_any_user: bool = False,
    ) -> SupervisorRpc | None:
        """Return a client for the supervisord that has started us; None if it has no RPC."""
        url = environ.get("SUPERVISOR_SERVER_URL", "")
        if not url.startswith(("unix://", "http://")):
            return None
        name, password = environ.get("SUPERVISOR_USERNAME"), environ.get("SUPERVISOR_PASSWORD")
        return cls(url, name or "", password or "", timeout_s, find_login, of_any_user=of_any_user)

    # -- requests ----------------------------------------------------------------------------------

    def read_log_tail(self, nbytes: int) -> str | RpcFailed:
        """Return the last `nbytes` bytes of supervisord's own log, or fewer.

        The first line can be incomplete. If the bytes are not UTF-8 or start within a character,
        supervisord 4.2.5 and 4.3.0 answer with status 500 (and log a traceback): then fewer bytes
        are requested.
        """
        while True:
            answer = self._ask(str, "supervisor.readLog", -nbytes, 0)
            if not isinstance(answer, _ConnectionFailed) or nbytes <= _SHORTEST_TAIL:
                return answer
            nbytes = max(_SHORTEST_TAIL, nbytes // 4)

    def processes(self) -> tuple[ProcessSeen, ...] | RpcFailed:
        """Return all processes as they are now."""
        return self._ask(
            lambda answer: tuple(map(rpc_answers.process_seen, answer)),
            "supervisor.getAllProcessInfo",
        )

    def log_files(self) -> dict[ProcessName, LogFiles] | RpcFailed:
        """Return the files with the output of each process.

        Only supervisord knows the names that it has chosen itself (`AUTO`, its default).
        """
        return self._ask(
            lambda answer: {
                rpc_answers.name_of(info): LogFiles(
                    stdout=str(info["stdout_logfile"]) or None,
                    stderr=str(info["stderr_logfile"]) or None,
                )
                for info in answer
            },
            "supervisor.getAllProcessInfo",
        )

    def spawn_error(self, name: ProcessName) -> str | RpcFailed:
        """Return why supervisord could not start a process; empty if there was a process.

        An ordinary failed start has a text too: `Exited too quickly (process log …)`.
        """
        return self._ask(
            lambda info: str(info["spawnerr"]) if info["statename"] in {"BACKOFF", "FATAL"} else "",
            "supervisor.getProcessInfo",
            str(name),
        )

    def programs(self) -> tuple[Program, ...] | RpcFailed:
        """Return all programs as configured when supervisord read its files.

        Without their environment. supervisor 4.2.5 and 4.3.0 return commands, older ones do not.
        """
        found = self._ask(rpc_answers.programs, "supervisor.getAllConfigInfo")
        if found is None:
            return RpcFailed(why="this supervisord returns no commands (4.2.5 does)")
        return found

    def loaded(self) -> Loaded | RpcFailed:
        """Return the configuration and the processes of supervisord."""
        configs = self._ask(rpc_answers.configs, "supervisor.getAllConfigInfo")
        if isinstance(configs, RpcFailed):
            return configs
        processes = self._ask(rpc_answers.processes, "supervisor.getAllProcessInfo")
        return processes if isinstance(processes, RpcFailed) else Loaded(configs, processes)

    def start(self, name: ProcessName) -> bool | RpcFailed:
        """Start a process, without waiting until it runs."""
        return self._ask(bool, "supervisor.startProcess", str(name), False)

    def stop(self, name: ProcessName) -> bool | RpcFailed:
        """Stop a process, without waiting until it has exited."""
        return self._ask(bool, "supervisor.stopProcess", str(name), False)

    def signal(self, name: ProcessName, signal_name: str) -> bool | RpcFailed:
        """Send a signal, such as KILL, to a process."""
        return self._ask(bool, "supervisor.signalProcess", str(name), signal_name)

    def shutdown(self) -> bool | RpcFailed:
        """Stop supervisord and all its programs."""
        return self._ask(bool, "supervisor.shutdown")

    # -- one call ----------------------------------------------------------------------------------

    def _ask(
        self,
        read: Callable[[Any], Value],
        method: str,
        *arguments: int | str | bool,
    ) -> Value | RpcFailed:
        try:
            raw = self._post(xml_rpc.request(method, arguments))
            if isinstance(raw, RpcFailed):
                return raw
            return read(xml_rpc.answer(raw.translate(_PRINTABLE)))
        except TimeoutError:
            return RpcFailed(why=f"supervisord timed out after {self._timeout_s:g} s")
        except OSError as error:
            return RpcFailed(why=f"cannot reach supervisord: {error.strerror or error}")
        except ConnectionEndedError:
            return RpcFailed(why="supervisord closed the connection before the end of its answer")
        except xml_rpc.FaultError as fault:
            return RpcRefused(why=f"supervisord refused: {fault.text}")
        except (ValueError, LookupError, TypeError):
            return RpcFailed(why="the answer of supervisord cannot be parsed")

    def _post(self, body: bytes) -> bytes | RpcFailed:
        """Return the body of the answer. Raises OSError, ConnectionEndedError and ValueError."""
        answer = self._post_once(body)
        if not isinstance(answer, _LoginRejected) or self._find_login is None:
            return answer
        login, before = self._find_login(self._url), self._credentials
        if isinstance(login, str):
            why = f"{_REJECTED}; {login}" if before else login
            return RpcFailed(why=_UNAUTHORIZED.format(why=why))
        self._credentials = f"{login.name}:{login.password}"
        return self._post_once(body)

    def _post_once(self, body: bytes) -> bytes | RpcFailed:
        headers = {"Host": "localhost", "Content-Type": "text/xml"}
        if self._credentials:
            word = base64.b64encode(self._credentials.encode()).decode()
            headers["Authorization"] = f"Basic {word}"
        with self._connect() as connection:
            is_any = self._of_any_user and not self._credentials
            uid = None if is_any else connection.peer_uid
            if uid not in {None, 0, os.geteuid()}:
                return RpcFailed(why=_STRANGER.format(url=self._url, uid=uid))
            response = http_exchange.post(connection, "/RPC2", headers, body, "1.0")
            status, answer = response.status, response.read(LONGEST_ANSWER + 1)
        if status == _LOGIN_NEEDED:
            why = _REJECTED if self._credentials else "none is known"
            return _LoginRejected(why=_UNAUTHORIZED.format(why=why))
        if status != _OK:
            kind = _ConnectionFailed if status == _EXCEPTION else RpcFailed
            return kind(why=f"supervisord answered with status {status}")
        if len(answer) > LONGEST_ANSWER:
            return RpcFailed(why=f"supervisord's answer is longer than {LONGEST_ANSWER} bytes")
        return answer

    def _connect(self) -> TimedSocket:
        """Return a connection to supervisord. Raises OSError."""
        ends_at_s = time.monotonic() + self._timeout_s
        if self._url.startswith("unix://"):
            return timed_socket.connect(self._url.removeprefix("unix://"), ends_at_s)
        parts = urlsplit(self._url)
        return timed_socket.connect((parts.hostname or "", parts.port or 80), ends_at_s)
