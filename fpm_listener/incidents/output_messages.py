"""Returns the cause of a failed start that the output of any program shows.

Laws:
1. Every program can write any line. A line counts only in a short run that has failed, not by a
   signal, and with the exit status that fits the line. `explain` checks that.
2. A line with two meanings has no fact.
3. A line is bounded before it is read, and nothing raises.

Source: ld.so of glibc and musl; bash, dash, busybox and env(1): 127 = not found, 126 = not
executable.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.incidents import bind_messages
from fpm_listener.phpfpm import log_parser
from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind, LogFact
from fpm_listener.supervisor import spawn_error
from fpm_listener.untrusted_text import escaped
from fpm_listener.vocabulary import Fault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.supervisor.exit_log import ExitReason

#: Seconds that a failed start can last: nginx and gunicorn try for 5 s, Java starts slowly.
LONGEST_START_S = 70.0

#: Statuses of shells, env(1) and the kernel's loader: not found, and not executable.
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
#: The status of a php-fpm that does not understand its options (FPM_EXITUSAGE).
USAGE = 64

#: Programs quote a name with these, or do not.
_QUOTES = "'\"`\u2018\u2019"
_NAME = rf"[{_QUOTES}]?(?P<named>[^\s:{_QUOTES}]{{1,512}})[{_QUOTES}]?"
#: `sh: 1: `, `/entry.sh: line 3: exec: `, `env: `
#: A folder for `cd` is not a command.
_SHELL = rf"(?:(?!cd: )[^\s:{_QUOTES}]{{1,256}}: (?:line )?(?:[0-9]{{1,6}}: )?){{1,2}}(?:exec: )?"


class FailedRun(NamedTuple):
    """A run that has failed, as far as it decides which lines count."""

    reason: ExitReason | None  #: None = unknown
    lasted_s: float | None  #: None = unknown
    is_fpm: bool
    refused: str | None = None  #: the word of the command that php-fpm refuses


class _Message(NamedTuple):
    """One kind of message."""

    pattern: str
    kind: FactKind
    fault: Fault | None
    statuses: frozenset[int]  #: exit statuses that fit; empty = all


def _table(
    kind: FactKind, fault: Fault | None, statuses: Iterable[int], *patterns: str
) -> list[_Message]:
    fitting = frozenset(statuses)
    return [_Message(pattern, kind, fault, fitting) for pattern in patterns]


_MESSAGES = (
    *_table(
        *(FactKind.MISSING_PATH, Fault.NO_LIBRARY, (_NOT_FOUND, 1)),
        rf".{{0,512}}error while loading shared libraries: {_NAME}: cannot open shared object",
        rf"Error loading shared library {_NAME}: No such file or directory",
    ),
    *_table(
        *(FactKind.MISSING_PATH, Fault.NO_COMMAND, (_NOT_FOUND,)),
        rf"{_SHELL}{_NAME}: (?:command )?not found$",
        rf"{_SHELL}{_NAME}: No such file or directory$",
        rf"{_SHELL}can't execute {_NAME}: No such file or directory$",
        rf"{_SHELL}failed to (?:run command|execute) {_NAME}: No such file or directory$",
        rf"zsh:[0-9]{{0,6}}: command not found: {_NAME}$",
        rf".{{0,80}}\bexec {_NAME} failed: No such file or directory$",
    ),
    *_table(
        *(FactKind.MISSING_PATH, Fault.NO_COMMAND, ()),
        rf".{{0,80}}exec: {_NAME}: executable file not found in \$PATH",
    ),
    *_table(
        # Also a directory, or a file that only some users may execute: the machine shows which.
        *(FactKind.PERMISSION, None, (_NOT_EXECUTABLE,)),
        rf"{_SHELL}{_NAME}: [Pp]ermission denied$",
        rf"{_SHELL}failed to (?:run command|execute) {_NAME}: Permission denied$",
        rf".{{0,80}}\bexec {_NAME} failed: Permission denied$",
    ),
    *_table(
        *(FactKind.CONFIG_ERROR, Fault.NO_FORMAT, (_NOT_EXECUTABLE, 2)),
        rf"{_SHELL}{_NAME}: (?:cannot execute binary file: )?[Ee]xec format error$",
        rf"{_SHELL}failed to (?:run command|execute) {_NAME}: Exec format error$",
    ),
    # php-fpm prints this if it does not understand its options.
    *_table(
        *(FactKind.CONFIG_ERROR, Fault.USAGE, (USAGE,)),
        r"Usage: \S{1,512} \[-n\] \[-e\] \[-h\] \[-i\]",
    ),
)


#: Other reasons why a program cannot listen on the address that the line names.
_REFUSED = (
    (bind_messages.forbidden_port, FactKind.PERMISSION),
    (bind_messages.absent_address, FactKind.ADDRESS_ABSENT),
)


def explain(run: FailedRun, lines: Sequence[str]) -> list[LogFact]:
    """Return what the output of a failed run says about its cause.

    lines: the last ones of the run, oldest first.
    """
    reason = run.reason
    is_short = run.lasted_s is None or run.lasted_s <= LONGEST_START_S
    if not is_short or (reason is not None and reason.signal is not None):
        return []
    status = None if reason is None else reason.status
    facts: list[LogFact] = []
    lines = [line for line in lines if line.rstrip() != spawn_error.CHILD_ENDS]
    if run.is_fpm and status == USAGE:
        facts.append(_usage(run))
    for index, line in enumerate(lines):
        # On standard output PHP leaves out its name.
        text = f"PHP {line}" if line.startswith("Fatal error: ") else line
        if run.is_fpm and (own := log_parser.classify(text)) is not None:
            if own.kind is FactKind.READY:
                facts.clear()  # php-fpm runs: earlier lines are not the reason
            facts += (
                [own._replace(line=line[: log_parser.KEPT])] if own.kind in START_FAILURES else []
            )
            continue
        found = _match(line)
        if found is None:
            continue
        fact, statuses = found
        if fact.fault is Fault.USAGE and run.is_fpm:
            # Its usage has many lines, so this one is not the last one.
            facts += [_usage(run)] if status is None and not facts else []
            continue
        # Many programs write lines like those of a shell. Only supervisord's child writes its own.
        is_child = line.startswith(spawn_error.CHILD) and index == len(lines) - 1
        if not statuses or status in statuses or (status is None and is_child):
            facts.append(fact)
    return _with_address(facts, lines, run)


def _usage(run: FailedRun) -> LogFact:
    what = (
        f"does not understand {run.refused}" if run.refused else "does not understand its options"
    )
    line = escaped(f"seen: php-fpm {what}")
    named = run.refused and escaped(run.refused)
    return LogFact(kind=FactKind.CONFIG_ERROR, line=line, named=named, fault=Fault.USAGE)


def _match(line: str) -> tuple[LogFact, frozenset[int]] | None:
    """Return the fact of a line, and the exit statuses with which it counts; empty = all."""
    text = line[: log_parser.KEPT].rstrip()
    if (in_use := bind_messages.parse(text)) is not None:
        address = in_use.address and escaped(in_use.address)
        return LogFact(kind=FactKind.BIND_CONFLICT, line=text, address=address), frozenset()
    for find, kind in _REFUSED:
        if (address := find(text)) is not None:
            return LogFact(kind=kind, line=text, address=escaped(address)), frozenset()
    if text.startswith(spawn_error.CHILD) and (refused := spawn_error.parse(text)) is not None:
        kind = FactKind(refused.cause.value)
        fact = LogFact(kind=kind, line=text, named=refused.named, fault=refused.fault)
        return fact, frozenset(refused.statuses)
    for pattern, message in _patterns():
        if found := pattern.match(text):
            named = found.groupdict().get("named")
            fact = LogFact(
                kind=message.kind, line=text, named=named and escaped(named), fault=message.fault
            )
            return fact, message.statuses
    return None


@cache
def _patterns() -> list[tuple[re.Pattern[str], _Message]]:
    """Return the compiled patterns; the listener starts without them."""
    return [(re.compile(message.pattern), message) for message in _MESSAGES]


def _with_address(facts: list[LogFact], lines: Sequence[str], run: FailedRun) -> list[LogFact]:
    """Return the facts; a conflict without an address gets that of another line."""
    conflicts = [fact for fact in facts if fact.kind is FactKind.BIND_CONFLICT]
    if run.is_fpm or not conflicts or any(fact.address for fact in conflicts):
        return facts
    shown = [address for line in lines if (address := bind_messages.shown_address(line))]
    if not shown:
        return facts
    return [fact._replace(address=shown[-1]) if fact is conflicts[-1] else fact for fact in facts]
