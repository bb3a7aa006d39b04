"""Rules on what supervisord needs to execute a program: its file, its directory, its words.

Each consequence was measured with supervisor 4.3.0 and php-fpm 8.2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import fpms, whole, words_of
from fpm_listener.doctor.machine import is_number
from fpm_listener.doctor.rule import match, rule
from fpm_listener.doctor.rules_fpm_rejections import pool_logs
from fpm_listener.host.addresses import UnixAddress
from fpm_listener.phpfpm import shell_commands
from fpm_listener.phpfpm.shell_commands import SHELL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm, Supervised
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.rule import Match

#: Commands of a shell that are not programs.
_BUILTINS = {
    *("cd", "exec", "export", "set", "source", ".", "ulimit", "umask", "unset", "eval", "trap"),
    *("if", "while", "until", "for", "case", "{", "(", "!", "[[", "alias", "command", "builtin"),
}
#: The sections with a user.
_WITH_USER = ("supervisord", "program:", "eventlistener:", "fcgi-program:")
#: chroot, whose program is in another tree of directories.
_CHROOT = re.compile(r"(?:^|[\s/'\"])chroot\s")
#: supervisord's PATH if it has none, and the directories of most systems.
_DEFAULT_PATH = "/bin:/usr/bin:/usr/local/bin"
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@rule("FPM023", whole)
def program_missing(config: CheckedConfig) -> Iterator[Match]:
    """An upgrade removes the old version, or the package has another name."""
    fpms = {fpm.program.name: fpm for fpm in config.fpms}
    for process in config.processes:
        words = words_of(process.command)
        fpm = fpms.get(process.section.name)
        seen = fpm if fpm and not _CHROOT.search(process.command) else None
        binaries = dict.fromkeys([*words[:1], *([seen.invocation.binary] if seen else [])])
        for binary in binaries:
            fault = _fault(config, process, binary)
            if not fault:
                continue
            others = config.machine.php_fpms()
            variant = ("others" if others[1:] else "other") if others else ""
            if fpm is None or binary != fpm.invocation.binary:
                variant = "builtin" if binary in _BUILTINS else "program"
            names = {"binary": binary, "fault": fault, "installed": ", ".join(others)}
            yield match(process.section, "command", {}, variant, **names)
            break


def _fault(config: CheckedConfig, process: Supervised, binary: str) -> str:
    """Return why supervisord cannot execute a file, as a clause; empty if it can."""
    if binary.startswith("/"):
        return config.machine.command_fault(binary)
    if "/" in binary:
        return ""  # FPM114
    own = process.settings.get("path") or _DEFAULT_PATH
    program = process.settings["inherited"].get("PATH", "")
    usual = "" if config.is_environment_known else _USUAL_PATH
    folders = [one for path in (own, program, usual) for one in path.split(":") if one]
    is_there = any(config.machine.exists(f"{folder}/{binary}") for folder in folders)
    return "" if is_there else "is in no directory of PATH"


@rule("FPM027", whole)
def not_analysed(config: CheckedConfig) -> Iterator[Match]:
    """`nothing found` must not be the result for a php-fpm that was not examined."""
    for process, reason, _ in config.unknown:
        first = next(iter(words_of(process.command)), "")
        # FPM029 or FPM023 says why.
        is_known = shell_commands.syntax(process.command) or _fault(config, process, first)
        if not is_known:
            yield match(process.section, "command", reason=reason)


@rule("FPM028", fpms)
def unknown_option(fpm: Fpm) -> Iterator[Match]:
    """php-fpm prints its usage."""
    word = fpm.invocation.refused
    is_list = shell_commands.syntax(fpm.process.command) == ";"
    if word and not (fpm.in_plain_words and (is_list or shell_commands.syntax(word))):
        yield match(fpm.program, "command", word=word)


@rule("FPM029", whole)
def shell_syntax(config: CheckedConfig) -> Iterator[Match]:
    """supervisord runs no shell: each word is an argument of the first one."""
    for process in config.processes:
        sign = shell_commands.syntax(process.command)
        if sign:
            first = next(iter(words_of(process.command)), "")
            variant = "variable" if sign.startswith("$") else ""
            if SHELL.match(process.command) and _is_one_word(process.command):
                variant = "quotes"
            yield match(process.section, "command", {}, variant, sign=sign, first=first)


def _is_one_word(command: str) -> bool:
    """Return whether the text after -c is one word: it has no quotes."""
    text, _ = shell_commands.command_string(words_of(command)[1:])
    return len(text.split()) == 1


@rule("FPM030", whole)
def directory_missing(config: CheckedConfig) -> Iterator[Match]:
    """The child of supervisord exits before it executes the program."""
    for process in config.processes:
        folder = process.settings["directory"] or ""
        if folder.startswith("/") and not config.machine.is_folder(folder):
            yield match(process.section, "directory", folder=folder)


@rule("FPM031", fpms)
def not_readable(fpm: Fpm) -> Iterator[Match]:
    """php-fpm reads its configuration as the user of the program."""
    if fpm.uid not in {None, 0}:
        for path in fpm.conf.files or (fpm.conf.path,):
            if not _may_read(fpm.machine, fpm.uid, path):
                yield match(fpm.program, "user", path=path, **_user(fpm))


@rule("FPM034", fpms)
def not_writable(fpm: Fpm) -> Iterator[Match]:
    """php-fpm opens its log, its pid file and its sockets as the user of the program."""
    if fpm.uid in {None, 0} or not fpm.is_read:
        return
    places = [
        (fpm.main, "error_log", fpm.conf.opened_file),
        (fpm.main, "pid", fpm.conf.pid_file),
        *(
            (pool.section, "listen", pool.listen.path)
            for pool in fpm.pools
            if isinstance(pool.listen, UnixAddress)
        ),
    ]
    for checked, pool in zip(fpm.pools, fpm.conf.pools, strict=True):
        logs = [one for one in pool_logs(pool) if not one[1].startswith(("/dev/", "/proc/"))]
        places += [(checked.section, key, path) for key, path in logs]
    for section, key, path in places:
        if path and path.startswith("/") and not fpm.machine.may_write(fpm.uid, path):
            # Each start creates its pid file and its sockets again. That needs the directory.
            is_file = key not in {"pid", "listen"} and fpm.machine.exists(path)
            yield match(section, key, {}, "file" if is_file else "", path=path, **_user(fpm))


@rule("FPM033", whole)
def user_missing(config: CheckedConfig) -> Iterator[Match]:
    """supervisord needs its number, of its own user and of each program's."""
    for section in config.all_sections:
        line = section.lines.get("user")
        name = line.value if line and section.name.startswith(_WITH_USER) else ""
        if name and "%" not in name and not config.machine.user(name):
            variant = "number" if is_number(name) else ""
            yield match(section, "user", {}, variant, name=name)


@rule("FPM169", whole)
def other_user(config: CheckedConfig) -> Iterator[Match]:
    """Only root may change the user."""
    line = config.section("supervisord").lines.get("user")
    own = line.value if line else ""
    for section in config.all_sections if own and "%" not in own else ():
        line = section.lines.get("user")
        name = line.value if line and section.name.startswith(_WITH_USER[1:]) else own
        if "%" not in name and _are_different(config.machine, own, name):
            yield match(section, "user", {}, user=name, own=own)


def _are_different(machine: Machine, own: str, name: str) -> bool:
    """Return whether supervisord's user is another one than a program's, and not root."""
    if is_number(own) == is_number(name):
        return own not in {name, "root", "0"}
    uids = machine.uid(own), machine.uid(name)
    return None not in uids and uids[0] not in {0, uids[1]}


def _user(fpm: Fpm) -> dict[str, str]:
    """Return the user of a program for people, and for a command."""
    named = fpm.machine.named_user(fpm.uid)
    return {"user": named, "owner": named.partition(" ")[0]}


def _may_read(machine: Machine, uid: int, path: str) -> bool:
    return not path.startswith("/") or machine.may_read(uid, path)


RULES = (
    *(program_missing, not_analysed, unknown_option, shell_syntax, directory_missing),
    *(not_readable, not_writable, user_missing, other_user),
)
