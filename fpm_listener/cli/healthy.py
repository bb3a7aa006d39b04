"""`fpm-listener healthy`: one line and an exit status, for HEALTHCHECK and probes.

Laws:
1. The status is 0 or 1, even after a mistake on the command line: Docker reserves 2. With --nagios
   it is 0, 2 or 3.
2. It is called every few seconds, so it imports almost nothing: no argparse, no json, no settings.
   `-h` and `--direct` load more.
"""

from __future__ import annotations

import _socket
import os
import time

from fpm_listener import FOLDERS
from fpm_listener.cli.healthy_options import NoVerdict, Options, parse
from fpm_listener.host import state_directory
from fpm_listener.host.unix_connection import SocketPath, peer_of
from fpm_listener.untrusted_text import plain

TYPE_CHECKING = False  # `typing` costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: Seconds that the listener has for its own work, beside the timeout.
_BESIDE_S = 3.0
_SOCKET_NAME = "control.sock"
_LONGEST_ANSWER = 1 << 20
_UNKNOWN = 3
#: How an answer begins: with an exit status.
_STARTS = frozenset({"0 ", "1 ", "2 ", "3 "})


def run(words: list[str]) -> int:
    """Print the result; return the exit status."""
    is_nagios = "--nagios" in words
    try:
        options = parse(words)
        if options.direct:
            from fpm_listener.cli import healthy_direct  # noqa: PLC0415 - law 2

            text = healthy_direct.answer(options)
        else:
            text = _ask(options)
    except NoVerdict as error:
        text = f"{_UNKNOWN} FPM UNKNOWN - {error}" if is_nagios else f"1 unknown: {error}"
    except KeyboardInterrupt:
        return 1
    status, _, line = text.partition(" ")
    _print(line)
    return int(status) if status in {"0", "1", "2", "3"} else 1


def _print(line: str) -> None:
    """Print one line; a closed output changes no result."""
    out = plain(line).encode("utf-8", "backslashreplace") + b"\n"
    try:
        os.write(1, out)
    except OSError:
        return


class _NotHere(Exception):  # noqa: N818 - it is a result
    """No listener of ours answers in a directory; the text is empty if there is none."""


def _ask(options: Options) -> str:
    """Return the listener's exit status and line. Raises NoVerdict."""
    state_dir = find_state_dir(options.config, os.environ)
    try:
        return _ask_in(state_directory.locate(state_dir), options)
    except _NotHere as error:
        problem = str(error)
    from fpm_listener.host import fallback_directory  # noqa: PLC0415 - law 2

    for folder in fallback_directory.fallbacks(os.environ):
        if fallback_directory.read_owner(folder) == state_dir:
            try:
                return _ask_in(folder, options)
            except _NotHere:
                continue
    return _ask_elsewhere(state_dir, options, problem)


def _ask_elsewhere(state_dir: str, options: Options, problem: str) -> str:
    """Return the answer of a listener that uses another directory. Raises NoVerdict."""
    from fpm_listener.daemon import control_client  # noqa: PLC0415 - law 2

    question = {
        "programs": options.programs,
        "timeout_s": options.timeout_s,
        "start_period_s": options.start_period_s,
        "nagios": options.nagios,
    }
    # Without settings here, the only listener is the right one.
    is_set = options.config or os.environ.get(state_directory.VARIABLE) or _usual_file()
    asked = control_client.ControlRequest(
        action="healthy", question=question, state_dir=state_dir if is_set else None
    )
    patience_s = options.timeout_s + _BESIDE_S
    answers, _ = control_client.ask_elsewhere(state_dir, asked, patience_s)
    if len(answers) > 1:
        raise NoVerdict("several listeners run here; name the settings of one: --config FILE")
    if not answers or not isinstance(answers[0], str) or answers[0][:2] not in _STARTS:
        raise NoVerdict(problem or _no_listener(state_dir))
    return answers[0]


def _ask_in(folder: str, options: Options) -> str:
    """Return the answer of the listener in a directory. Raises _NotHere, NoVerdict."""
    ends_at_s = time.monotonic() + options.timeout_s + _BESIDE_S
    client = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        client.settimeout(_BESIDE_S)
        try:
            with SocketPath(folder, _SOCKET_NAME) as path:
                client.connect(path)
            _, uid = peer_of(client)
            trusted = {0, os.geteuid(), os.stat(folder).st_uid}  # noqa: PTH116 - a text
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            raise _NotHere from None
        except OSError as error:
            raise _NotHere(
                f"{folder}/{_SOCKET_NAME}: cannot connect to the listener:"
                f" {error.strerror or error}; run this as root or as the listener's user, or ask"
                " php-fpm itself: --direct"
            ) from None
        if uid not in trusted:
            raise _NotHere(f"{folder}/{_SOCKET_NAME}: user {uid} listens there, not our listener")
        try:
            client.sendall(request(options))
            answer = b"".join(_received(client, ends_at_s))
        except OSError:
            answer = b""
    finally:
        client.close()
    text = decode(answer)
    if text is None:
        raise NoVerdict(
            f"{folder}/{_SOCKET_NAME}: the program that listens there gives no answer. Is it a"
            " listener of an older version, or does it hang? See its log, or use --direct"
        )
    return text


def _no_listener(state_dir: str) -> str:
    return (
        f"no listener runs with state_dir {state_dir}; check it with supervisorctl status, name its"
        " settings with --config FILE, or ask php-fpm itself: --direct"
    )


def _received(client: _socket.socket, ends_at_s: float) -> Iterator[bytes]:
    """Yield the parts of an answer. Raises OSError if it is late or too long."""
    size = 0
    while True:
        client.settimeout(max(0.001, ends_at_s - time.monotonic()))
        chunk = client.recv(1 << 16)
        if not chunk:
            return
        size += len(chunk)
        if size > _LONGEST_ANSWER or time.monotonic() > ends_at_s:
            raise TimeoutError
        yield chunk


def request(options: Options) -> bytes:
    """Return the request, one line of JSON; `json` itself costs ten milliseconds."""
    names = ", ".join(_quoted(name) for name in options.programs)
    nagios = "true" if options.nagios else "false"
    question = (
        f'{{"programs": [{names}], "timeout_s": {options.timeout_s!r},'
        f' "start_period_s": {options.start_period_s!r}, "nagios": {nagios}}}'
    )
    return f'{{"action": "healthy", "question": {question}}}\n'.encode()


def _quoted(text: str) -> str:
    """Return a string of JSON."""
    return (
        '"'
        + "".join(c if c.isalnum() and c.isascii() else f"\\u{ord(c):04x}" for c in _bmp(text))
        + '"'
    )


def _bmp(text: str) -> str:
    """Return characters of 16 bits: others cannot be in an escape of JSON."""
    return "".join(c if ord(c) < 0x10000 else "\ufffd" for c in text)


def decode(answer: bytes) -> str | None:
    """Return the text in the answer, a string of JSON with `STATUS LINE`; None = it is none."""
    text = answer.decode("utf-8", "replace").strip()
    if text[:1] != '"':
        return None
    try:
        try:
            from _json import scanstring  # noqa: PLC0415 - law 2; only CPython has it
        except ImportError:
            import json  # noqa: PLC0415 - law 2

            found = str(json.loads(text))
        else:
            found = str(scanstring(text, 1)[0])
    except ValueError:
        return None
    return found if found[:2] in _STARTS else None


# -- the settings ----------------------------------------------------------------------------------


def find_state_dir(config: str | None, environ: Mapping[str, str]) -> str:
    """Return the setting state_dir. Raises NoVerdict if a named file cannot be read."""
    path = config or _usual_file()
    try:
        return state_directory.configured(path, environ)
    except OSError as error:
        raise NoVerdict(f"{path}: cannot be read: {error.strerror}") from None


def _usual_file() -> str | None:
    """Return the settings at a usual place; None = there are none."""
    usual = (f"{folder}/fpm_listener.{ending}" for folder, ending in FOLDERS)
    return next((path for path in usual if os.access(path, os.R_OK)), None)
