"""Fuzz targets: the output and the commands of any program."""

from __future__ import annotations

import sys
from pathlib import Path

from fpm_listener.host.executable import read_elf
from fpm_listener.incidents import bind_messages
from fpm_listener.incidents.output_messages import FailedRun, explain
from fpm_listener.phpfpm.log_parser import KEPT
from fpm_listener.supervisor import spawn_error
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.listen_options import guess
from tests.fuzz.target import DATA, SPLIT, Target, check, parts, text

_RUNS = tuple(
    FailedRun(reason=reason, lasted_s=1.0, is_fpm=is_fpm)
    for reason in (None, ExitReason(status=127), ExitReason(status=64), ExitReason(signal=9))
    for is_fpm in (False, True)
)


def output(data: bytes) -> None:
    """No line raises; what a fact names is short and printable, and an address can be found."""
    lines = text(data).split("\n")[:40]
    for fact in (fact for run in _RUNS for fact in explain(run, lines)):
        check(len(fact.line) <= KEPT, "a line is too long")
        named = f"{fact.address or ''}{fact.named or ''}"
        check(len(named) <= 2 * KEPT, "a long name")
    for line in lines:
        found = bind_messages.parse(line)
        address = bind_messages.shown_address(line) or (found and found.address)
        if address and "/" not in address and "localhost" not in address:
            check(0 < int(address.rpartition(":")[2]) < 1 << 16, "a port that is none")


def listen_options(data: bytes) -> None:
    """No command raises; the address has a port."""
    command, port = map(text, parts(data, 2))
    address = guess(command, {"PORT": port})
    check(address is None or 0 < int(address.rpartition(":")[2]) < 1 << 16, "a port that is none")


def spawn_reason(data: bytes) -> None:
    """No line raises; what is shown of it is printable."""
    for line in text(data).split("\n")[:40]:
        found = spawn_error.parse(line)
        check(found is None or found.evidence.isprintable(), "evidence with control characters")


def executable_head(data: bytes) -> None:
    """No file raises."""
    read_elf(data)


_MESSAGES = tuple(
    row.rpartition(b"\t")[2] for row in (DATA / "bind-messages.txt").read_bytes().splitlines()
)

TARGETS = {
    "output": Target(
        output,
        (
            *_MESSAGES,
            b"sh: 1: nosuch: not found\n/e.sh: line 3: exec: x: Permission denied",
            b"a: error while loading shared libraries: libx.so.1: cannot open shared object file",
            b"Usage: php [-n] [-e] [-h] [-i] [-m] [-v]",
        ),
    ),
    "spawn-error": Target(
        spawn_reason,
        (
            b"2026-11-23 08:39:55,123 INFO spawnerr: can't find command '/srv/run.sh'",
            b"supervisor: couldn't exec /srv/run.sh: ENOENT",
        ),
    ),
    "elf": Target(executable_head, (Path(sys.executable).read_bytes()[:1024],)),
    "listen-options": Target(
        listen_options,
        (
            b"gunicorn --bind=[::1]:8000 app:app",
            b"sh -c 'exec java -Dserver.port=9090 -p 8080'" + SPLIT + b"3000",
        ),
    ),
}
