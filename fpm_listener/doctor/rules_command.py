"""Rules on the command that starts php-fpm.

Each consequence was measured with supervisor 4.3.0 and php-fpm 8.2.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import fpms, processes, words_of
from fpm_listener.doctor.rule import match, rule
from fpm_listener.host.masking import masked_text
from fpm_listener.phpfpm import command_line, guard_command, shell_commands
from fpm_listener.phpfpm.shell_commands import SHELL
from fpm_listener.phpfpm.start_script import INIT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import Fpm, Supervised
    from fpm_listener.doctor.rule import Match
    from fpm_listener.phpfpm.command_line import FpmInvocation

_WAITS = re.compile(r"(?:^|[\s;&|'\"])(sleep|wait-for|wait-for-it|wait-for-it\.sh)\s")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
#: How a command begins.
_CODE = re.compile(r"exec\s|/\S|\w+=\S")
_GUARD_WAIT_S = guard_command.wait_s(guard_command.WAIT.default or "")
_STAYS = {
    "bash": "bash 5.1 and later stay only if the command has a redirection; older versions stay",
    "sh": "/bin/sh is dash on Debian, and dash stays",
    "dash": "dash stays",
}


def _without_shell(fpm: Fpm) -> dict[str, str | None]:
    """Return the keys that replace a shell by the guard, if the shell only waits for php-fpm."""
    line = fpm.program.lines.get("command")
    call = command_line.find_behind_sleep(line.value) if line else None
    better = _foreground(call, shlex.join([call.binary, *call.arguments])) if call else None
    ours = fpm.machine.fpm_listener()
    if not better or not ours:
        return {}
    change: dict[str, str | None] = {"command": f"{ours} guard --hold -- {better}"}
    if fpm.process.settings["stopasgroup"]:
        change["stopasgroup"] = None
    if fpm.process.settings["startsecs"] <= _GUARD_WAIT_S:
        change["startsecs"] = "3"
    return change


def _in_foreground(fpm: Fpm) -> dict[str, str | None]:
    line = fpm.program.lines.get("command")
    call = command_line.find(line.value) if line else None
    better = _foreground(call, line.value) if line and call else None
    return {"command": better} if better else {}


def _foreground(call: FpmInvocation, command: str) -> str | None:
    """Return the command with -F and without -D; None if that needs more than one changed word."""
    if call.foreground:
        return command
    words = re.sub(r"\s(?:-D|--daemonize)(?=\s|$)", "", command)
    better = words.replace(call.binary, f"{call.binary} -F", 1)
    found = command_line.find(better)
    return better if found and found.foreground else None


@rule("FPM001", fpms)
def waits(fpm: Fpm) -> Iterator[Match]:
    """A sleep that is longer than startsecs, or nearly."""
    found = _WAITS.search(fpm.process.command)
    if found and not fpm.guarded:
        yield match(fpm.program, "command", _without_shell(fpm), program=found[1])


@rule("FPM002", fpms)
def shell(fpm: Fpm) -> Iterator[Match]:
    """The supervised pid is that of the shell."""
    found = SHELL.match(fpm.process.command)
    if fpm.script is not None:
        if not fpm.script.execs:
            names = {"script": fpm.script.path, "program": fpm.script.runs}
            yield match(fpm.program, "command", {}, "script", **names)
    elif found and not _becomes_php_fpm(found[2], fpm.process.command[found.end(2) :]):
        stays = _STAYS.get(found[2], f"{found[2]} may stay")
        yield match(fpm.program, "command", _without_shell(fpm), shell=found[2], stays=stays)


def _becomes_php_fpm(shell: str, rest: str) -> bool:
    """Return whether php-fpm replaces the shell: with exec, or as the only command of a bash.

    rest: the command after the name of the shell.
    """
    text, arguments = shell_commands.command_string(words_of(rest))
    commands = [words for words in shell_commands.simple_commands(text, arguments) if words]
    starts = [
        [word for at, word in enumerate(words) if at or not _ASSIGNMENT.match(word)]
        for words in commands
        if command_line.find_in(list(words))
    ]
    if any(words[:1] == ["exec"] for words in starts):
        return True
    return shell == "bash" and len(commands) == 1 and not shell_commands.syntax(text)


@rule("FPM003", fpms)
def daemonizes(fpm: Fpm) -> Iterator[Match]:
    """daemonize = yes without -F, or -D."""
    if fpm.conf.daemonize and (fpm.is_read or fpm.invocation.foreground is False):
        change = _without_shell(fpm) if fpm.in_shell else _in_foreground(fpm)
        found = match(fpm.program, "command", change, "option")
        if fpm.invocation.foreground is None:
            found = found._replace(where=fpm.main.where("daemonize"), variant="")
        yield found


@rule("FPM004", processes)
def init_script(process: Supervised) -> Iterator[Match]:
    """An init script starts php-fpm and exits."""
    if process.kind == "program" and INIT.search(process.command):
        yield match(process.section, "command")


@rule("FPM006", fpms)
def guard_waits(fpm: Fpm) -> Iterator[Match]:
    """supervisord reports a start that waits that long as RUNNING."""
    found = re.search(r"--wait[ =](\S+)", fpm.process.command)
    try:
        wait_s = guard_command.wait_s(found[1]) if found else _GUARD_WAIT_S
    except ValueError:
        return
    startsecs = fpm.process.settings["startsecs"]
    if fpm.guarded and wait_s >= startsecs >= 2:
        change = {"startsecs": str(int(wait_s) + 2)}
        yield match(fpm.program, "startsecs", change, startsecs=startsecs, wait_s=wait_s)


@rule("FPM017", fpms)
def wrong_option(fpm: Fpm) -> Iterator[Match]:
    """-c is for php.ini."""
    file = fpm.invocation.php_ini or ""
    name = file.rpartition("/")[2]
    if name.endswith(".conf") and ("fpm" in name or not name.startswith("php")):
        yield match(fpm.program, "command", file=file)


@rule("FPM018", fpms)
def allows_root(fpm: Fpm) -> Iterator[Match]:
    """-R lets pools run as root."""
    if fpm.invocation.allow_root:
        yield match(fpm.program, "command")


@rule("FPM022", fpms)
def fpm_sockets(fpm: Fpm) -> Iterator[Match]:
    """php-fpm uses FPM_SOCKETS to pass its sockets to itself."""
    for name in fpm.process.settings["environment"] or {}:
        if str(name).startswith("FPM_SOCKETS") and not fpm.guarded:
            yield match(fpm.program, "environment", variable=name)


def _is_code(cut: str) -> bool:
    """Return whether a comment looks like a part of a command."""
    text = cut.lstrip(";# ")
    found = command_line.find(text)
    is_php_fpm = found is not None and bool(found.arguments) and not found.refused
    return is_php_fpm or _CODE.match(text) is not None


@rule("FPM024", processes)
def cut_short(process: Supervised) -> Iterator[Match]:
    """` ;` and ` #` begin a comment in every value; a real comment is not a mistake."""
    line = process.section.lines.get("command")
    if line and line.cut and (not words_of(process.command) or _is_code(line.cut)):
        command = masked_text(process.command)
        yield match(process.section, "command", sign=line.cut[0], command=command)


@rule("FPM026", fpms)
def fcgi_program(fpm: Fpm) -> Iterator[Match]:
    """supervisord has the socket, and php-fpm binds its own."""
    if fpm.process.kind == "fcgi-program":
        yield match(fpm.program, "socket", group=fpm.process.group)


RULES = (
    *(waits, shell, daemonizes, init_script, guard_waits, wrong_option, allows_root),
    *(fpm_sockets, cut_short, fcgi_program),
)
