"""The messages of `fpm-listener guard`: a stable code with fields, then a sentence for people.

`fpm-listener guard: [bind_conflict address=127.0.0.1:9000 pid=812] 127.0.0.1:9000 is in use by …`

Laws:
1. The listener reads code and fields only. Codes never change; sentences can.
2. A message is one line. A value that is not plain is quoted and escaped as in JSON, so a hostile
   path cannot forge a field or a code.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from fpm_listener.untrusted_text import escaped

PREFIX = "fpm-listener guard: "


class GuardCode(Enum):
    """What a message is about, with its fields."""

    # A start that failed. These names are names of FactKind, too.
    BIND_CONFLICT = "bind_conflict"  #: address, pid (unless the holder is unknown)
    ADDRESS_ABSENT = "address_absent"  #: address
    MISSING_PATH = "missing_path"  #: address, or program
    PERMISSION = "permission"  #: address, or program

    CANNOT_EXECUTE = "cannot_execute"  #: program
    NOT_PHP_FPM = "not_php_fpm"  #: program
    CONFIG_PROBLEM = "config_problem"
    SETTINGS_UNREADABLE = "settings_unreadable"  #: file
    START_NOT_RECORDED = "start_not_recorded"  #: file
    MORE_RIGHTS = "more_rights"  #: address
    ORPHAN_SIGNALLED = "orphan_signalled"  #: pid, signal
    ORPHAN_SERVES = "orphan_serves"  #: pid
    NOT_HELD = "not_held"
    LEFT_TO_PHP_FPM = "left_to_php_fpm"  #: address
    SOCKET_COPIED = "socket_copied"  #: address, pid
    LISTENER_KILLED = "listener_killed"  #: pid
    LISTENER_NOT_KILLED = "listener_not_killed"  #: pid
    UNEXPECTED_ERROR = "unexpected_error"  #: step, error


#: Codes of a start that failed.
FAILED_STARTS = frozenset(
    {
        GuardCode.BIND_CONFLICT,
        GuardCode.ADDRESS_ABSENT,
        GuardCode.MISSING_PATH,
        GuardCode.PERMISSION,
    }
)


class GuardMessage(NamedTuple):
    """A message without its sentence."""

    code: GuardCode
    fields: dict[str, str]


#: Characters of one value.
_LONGEST = 1024
_PLAIN = rf"[A-Za-z0-9_./:%@+,-]{{1,{_LONGEST}}}"
_VALUE = rf'(?:{_PLAIN}|"(?:[^"\\]|\\u[0-9a-f]{{4}}){{0,{_LONGEST}}}")'
# Not compiled here: most guards print nothing, and each pattern costs a fraction of a millisecond.
_FIELD = f" ([a-z]+)=({_VALUE})"
_HEAD = rf"{PREFIX}\[([a-z_]+)((?: [a-z]+={_VALUE})*)\] "
_ESCAPE = r"\\u([0-9a-f]{4})"
_CODES = {code.value: code for code in GuardCode}


def write(code: GuardCode, sentence: str, **fields: object) -> str:
    """Return the line, without its newline."""
    head = " ".join([code.value, *(f"{name}={_quoted(str(v))}" for name, v in fields.items())])
    return escaped(f"{PREFIX}[{head}] {sentence}")


def parse(line: str) -> GuardMessage | None:
    """Return code and fields of a line, or None."""
    head = re.match(_HEAD, line)
    code = _CODES.get(head[1]) if head else None
    if head is None or code is None:
        return None
    fields = re.findall(_FIELD, head[2])
    return GuardMessage(code, {name: _unquoted(value) for name, value in fields})


def _quoted(value: str) -> str:
    value = value[:_LONGEST]
    return value if re.fullmatch(_PLAIN, value) else f'"{"".join(map(_escape, value))}"'


def _escape(letter: str) -> str:
    if letter.isprintable() and letter not in '"\\':
        return letter
    return f"\\u{ord(letter):04x}" if letter <= "\uffff" else "\\ufffd"


def _unquoted(value: str) -> str:
    if value[0] != '"':
        return value
    return re.sub(_ESCAPE, lambda found: chr(int(found[1], 16)), value[1:-1])
