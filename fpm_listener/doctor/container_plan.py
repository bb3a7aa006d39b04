"""What `fpm-listener init --container` changes in the one supervisord.conf of an image.

Laws:
1. supervisord and php-fpm start with the result alone: it needs no further directory or file.
2. Nothing becomes reachable from the network, except with a token.
3. A key gets a new value only if a rule of the doctor asks for it, if the guard needs it, or if
   php-fpm's configuration is not here: its log can be stderr, and shows why it fails.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor import guarded_command
from fpm_listener.doctor.checked_config import folder_of, listeners, our_listeners
from fpm_listener.doctor.ini_edits import Edit
from fpm_listener.supervisor import ini_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm
    from fpm_listener.doctor.machine import Machine
    from fpm_listener.doctor.rule import Finding

_FACTORY = "supervisor.rpcinterface:make_main_rpcinterface"
#: The rule that asks for the servers, which `blocks` adds; rules on a shell before php-fpm.
SERVERS, _SHELL = "FPM101", {"FPM001", "FPM002"}
#: Keys of the listener that depend on the image.
_OWN_KEYS = ("stderr_logfile", "stderr_logfile_maxbytes", "stderr_logfile_backups")
#: php-fpm of the official image. Its error_log and its access.log are standard error.
_OFFICIAL = {"php-fpm", "/usr/local/sbin/php-fpm"}
_PROGRAMS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_DEVICES = ("/dev/", "/proc/")
_TMP = "/tmp"  # noqa: S108 - the socket has mode 0700, and the listener checks the owner of state_dir


class Choices(NamedTuple):
    """What the configuration itself does not say."""

    command: str  #: of fpm-listener, if this machine is the image
    command_elsewhere: str  #: the same, if it is not
    file: str  #: the name of supervisord's file in the image
    shipped: Mapping[str, str]  #: the keys of the listener in our own file
    uid: int | None = 0  #: of supervisord; None = not root, and the number is unknown
    token_file: str = ""
    textfile: str = ""


class Places(NamedTuple):
    """Paths that supervisord's user can create."""

    socket: str
    state_dir: str  #: empty = the default


def places(uid: int | None, machine: Machine) -> Places:
    """Return paths for a user: in a private directory if there is one, otherwise in /tmp."""
    if uid == 0:
        return Places("/run/supervisor.sock", "")
    sockets = (one for one in ("/run/supervisor", "/run") if _may_create(uid, one, machine))
    states = (one for one in ("/var/lib/fpm-listener",) if _may_create(uid, one, machine))
    return Places(
        f"{next(sockets, _TMP)}/supervisor.sock",
        next(states, f"{_TMP}/fpm-listener"),
    )


def _may_create(uid: int | None, folder: str, machine: Machine) -> bool:
    known = uid is not None and machine.is_folder(folder)
    return known and machine.may_write(uid or 0, f"{folder}/new")


def is_image(config: CheckedConfig) -> bool:
    """Return whether this machine has the php-fpm of the configuration."""
    found = [_is_here(config.machine, fpm.invocation.binary) for fpm in config.fpms]
    return all(found) if found else config.machine.in_container()


def _is_here(machine: Machine, binary: str) -> bool:
    if "/" in binary:
        return not machine.command_fault(binary)
    return any(machine.exists(f"{folder}/{binary}") for folder in _PROGRAMS)


def edits(config: CheckedConfig, findings: Iterable[Finding], choices: Choices) -> list[Edit]:
    """Return the changes of existing sections, in every file of supervisord."""
    known = list(findings)
    shells = {one.where for one in known if one.id in _SHELL}
    found = [*_guards(config, choices, shells), *_logs(config)]
    found += [edit for one in known if one.id != SERVERS for edit in one.edits if not edit.php]
    if config.supervisord["nodaemon"] is False:
        found += config.section("supervisord").edits({"nodaemon": "true"})
    return found


def _guards(config: CheckedConfig, choices: Choices, shells: set[str]) -> Iterator[Edit]:
    for fpm in config.fpms:
        new = guarded(fpm, choices.command, is_shell=str(fpm.program.where("command")) in shells)
        if new:
            line = fpm.program.lines["command"]
            yield Edit(line.file, fpm.program.name, "command", f"{new} {line.cut}".rstrip())


def _logs(config: CheckedConfig) -> Iterator[Edit]:
    """Let the listener read stderr of a php-fpm that is elsewhere: it is error_log in images."""
    unread = [fpm.process for fpm in config.fpms if not fpm.is_read]
    for process in [*unread, *(process for process, _, _ in config.unknown)]:
        settings = process.settings
        if not settings["redirect_stderr"] and not settings["stderr_events_enabled"]:
            yield from process.section.edits({"stderr_events_enabled": "true"})


def is_official_elsewhere(fpm: Fpm) -> bool:
    """Return whether it is php-fpm of the official image, but this machine is another one."""
    return not fpm.is_read and fpm.invocation.binary in _OFFICIAL and fpm.invocation.config is None


def guarded(fpm: Fpm, command: str, *, is_shell: bool = False) -> str | None:
    """Return the command of a program with the guard; None if it does not change.

    command: of fpm-listener. is_shell: a shell only waits for php-fpm, or stays its parent.
    """
    line = fpm.program.lines.get("command")
    if line is None or fpm.script is not None or fpm.process.kind != "program":
        return None
    guard = f"{command} guard --hold --"
    simple = guarded_command.without_shell(line.value, guard) if is_shell else None
    names = _names(fpm)
    return simple or guarded_command.with_guard(
        line.value, guard, lambda text: _expanded(text, names)
    )


def _names(fpm: Fpm) -> dict[str, object]:
    """Return what supervisor expands in the command of a program."""
    environ = fpm.process.settings["inherited"]
    return {
        **{f"ENV_{name}": value for name, value in environ.items()},
        "here": folder_of(fpm.program.lines["command"].file),
        "program_name": fpm.program.name.partition(":")[2],
        "group_name": fpm.process.group,
        "process_num": 0,
        "numprocs": 1,
    }


def _expanded(template: str, names: Mapping[str, object]) -> str:
    try:
        return ini_values.expand(template, names)
    except (KeyError, ValueError, TypeError):
        return template


def blocks(config: CheckedConfig, choices: Choices) -> list[str]:
    """Return the sections to add to the main file, each as text."""
    own = places(choices.uid, config.machine)
    servers = config.supervisord.get("servers") or ()
    found = []
    if not any(server["family"] == "unix" for server in servers):
        found.append(_section("unix_http_server", {"file": own.socket, "chmod": "0700"}))
        if "supervisorctl" not in config.sections:
            found.append(_section("supervisorctl", {"serverurl": f"unix://{own.socket}"}))
    if not any(name.startswith("rpcinterface:") for name in config.sections):
        keys = {"supervisor.rpcinterface_factory": _FACTORY}
        found.append(_section("rpcinterface:supervisor", keys))
    if not our_listeners(config):
        found.append(_section("eventlistener:fpm-listener", _listener(config, choices)))
        if "fpm-listener" not in config.sections:
            found.append(_settings(choices, own))
    return found


def _section(name: str, keys: Mapping[str, str], comments: str = "", equals: str = "=") -> str:
    lines = "".join(f"{key}{equals}{value}\n" for key, value in keys.items())
    return f"[{name}]\n{comments}{lines}"


def _listener(config: CheckedConfig, choices: Choices) -> dict[str, str]:
    """Return the keys of [eventlistener:fpm-listener]."""
    taken = {one.settings["priority"] for one in listeners(config)}
    wished = int(choices.shipped["priority"])
    priority = next(number for number in range(wished, wished - 1000, -1) if number not in taken)
    shipped = {key: value for key, value in choices.shipped.items() if key not in _OWN_KEYS}
    return {
        **shipped,
        "command": f"{choices.command} listen --config %(here)s/{choices.file}",
        "priority": str(priority),
        **_log(config),
    }


def _log(config: CheckedConfig) -> dict[str, str]:
    """Return the log of the listener: the container's, if supervisord can open it.

    A supervisord that is no longer root may not open /dev/stderr. If another program logs there, it
    can.
    """
    logs = [
        str(one.settings[key] or "")
        for one in config.processes
        for key in ("stdout_logfile", "stderr_logfile")
    ]
    drops = config.supervisord.get("uid") not in {None, 0}
    if drops and not any(log.startswith(_DEVICES) for log in logs):
        return {"stderr_logfile": "AUTO", "stderr_logfile_maxbytes": "1MB"}
    return {"stderr_logfile": "/dev/stderr", "stderr_logfile_maxbytes": "0"}


def _settings(choices: Choices, own: Places) -> str:
    keys = {}
    comments = "; Every setting is in the file that fpm-listener init DIR writes.\n"
    if choices.token_file:
        keys["listen"] = "0.0.0.0:19253"
        keys["web_token_file"] = choices.token_file
    else:
        comments += (
            "; Metrics and the status page are for this container only. Others need a token.\n"
            ";listen = 127.0.0.1:19253\n"
        )
    if choices.textfile:
        keys["textfile"] = choices.textfile
    if own.state_dir:
        keys["state_dir"] = own.state_dir
    return _section("fpm-listener", keys, comments, " = ")
