"""The supervisord.conf of `init --container`, and what the doctor finds in it."""

from __future__ import annotations

import os
import pwd
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from fpm_listener import regular_file
from fpm_listener.doctor import container_plan, gathering, ini_edits, text_files
from fpm_listener.doctor.rules import examine
from fpm_listener.doctor.sources import LONGEST
from fpm_listener.supervisor import config as supervisor_config
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig
    from fpm_listener.doctor.container_plan import Choices
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.rule import Finding
    from fpm_listener.supervisor.config import ConfUnreadable

Parse: TypeAlias = "Callable[..., dict[str, Any] | ConfUnreadable]"
#: A change can make another rule apply: redirect_stderr=false, then stderr_events_enabled.
_MOST_ROUNDS = 6


class Draft(NamedTuple):
    """The changed text of the file, and what the doctor finds in it."""

    text: str
    config: CheckedConfig
    findings: list[Finding]
    before: CheckedConfig  #: of the unchanged text
    others: Mapping[str, str]  #: changed texts of included files, by path
    choices: Choices  #: with the user and the command
    is_image: bool  #: this machine has the php-fpm of the file
    unset: frozenset[str]  #: variables that this shell does not have


def improve(
    path: str,
    text: str,
    machine: Machine,
    environ: Mapping[str, str],
    choices: Choices,
    user: str = "",
    *,
    parse: Parse = supervisor_config.read,
) -> Draft:
    """Return the text with all changes. Raises FpmListenerError if supervisor rejects the file.

    user: that supervisord starts as; empty = as its file says, or this one. parse: as config.read.
    """

    def gather(text: str, environ: Mapping[str, str] = environ) -> CheckedConfig:
        return gathering.gather(path, machine, environ, draft=text, read=parse)

    config, unset = _first(path, text, environ, gather)
    known = {**environ, **dict.fromkeys(unset, "1")}
    is_image = container_plan.is_image(config)
    choices = choices._replace(
        uid=_uid(config, user),
        command=choices.command if is_image else choices.command_elsewhere,
    )
    before, others = config, dict[str, str]()
    findings: list[Finding] = []
    for _ in range(_MOST_ROUNDS):
        found = examine(config, text_files.texts(), plans_listener=True)
        findings = _trusted(found, config, unset)
        edits = container_plan.edits(config, findings, choices)
        own = [edit for edit in edits if edit.file == path]
        for other in dict.fromkeys(edit.file for edit in edits if edit.file != path):
            others[other] = ini_edits.apply(read(other), [e for e in edits if e.file == other])
        new = ini_edits.apply(text, own)
        for block in container_plan.blocks(config, choices):
            new = _with_block(new, block)
        if new == text:
            break
        text = new
        config = gather(text, known)
    kept = {other: new for other, new in others.items() if new != read(other)}
    return Draft(text, config, findings, before, kept, choices, is_image, unset)


def _first(
    path: str, text: str, environ: Mapping[str, str], gather: Callable[..., CheckedConfig]
) -> tuple[CheckedConfig, frozenset[str]]:
    """Return the configuration, and the variables that this shell does not have."""
    config = gather(text)
    unset = frozenset(config.supervisord.get("unset") or ())
    if unset:
        # Their values do not matter for the changes. "1" is a number, a name and a path.
        config = gather(text, {**environ, **dict.fromkeys(unset, "1")})
    if "refused" in config.supervisord:
        raise FpmListenerError(f"{path} stays unchanged: {_refusal(path, text, config)}")
    return config, unset


def _refusal(path: str, text: str, config: CheckedConfig) -> str:
    """Return why supervisor rejects a file."""
    if text.startswith("\ufeff"):
        fix = f"sed -i '1s/^\\xEF\\xBB\\xBF//' {shlex.quote(path)}"
        return f"supervisor rejects it, because it begins with a byte order mark; remove it: {fix}"
    if "supervisord" not in config.sections:
        return "it has no [supervisord], so it is not the main file; name that with -c"
    found = examine(config, text_files.texts())
    if not found or found[0].what.startswith(path):
        return "supervisor rejects it; correct it first: supervisord -n -c FILE prints the line"
    where = found[0].where.removeprefix(f"{path}:")
    return f"supervisor rejects it at {where}: {found[0].what}. {found[0].fix}"


def _trusted(
    findings: list[Finding], config: CheckedConfig, unset: frozenset[str]
) -> list[Finding]:
    """Return the findings without those about values with an unknown variable."""
    unknown = {
        str(section.where(key))
        for section in config.sections.values()
        for key, line in section.lines.items()
        if any(f"%(ENV_{name})" in line.value for name in unset)
    }
    return [one for one in findings if one.where not in unknown]


def _with_block(text: str, block: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text or text.endswith("\n") else end
    return f"{text}{gap}{end}" + block.replace("\n", end)


def _uid(config: CheckedConfig, user: str) -> int | None:
    """Return the number of supervisord's user; None = it is not root, and has no account here."""
    own = config.supervisord.get("uid")
    if own is not None:
        return int(own)
    line = config.section("supervisord").lines.get("user")
    name = user or (line.value if line else "")
    if not name:
        return os.geteuid()
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return None


def read(path: str) -> str:
    """Return the text of a file, with its line ends. Raises FpmListenerError."""
    try:
        content = regular_file.read(path, LONGEST)
    except OSError as error:
        raise FpmListenerError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FpmListenerError(
            f"{path}: line {line} has a character that is not UTF-8, and supervisord does not start"
            " with it; write the file in UTF-8, for example:"
            f" iconv -f LATIN1 -t UTF-8 {shlex.quote(path)}",
        ) from error
