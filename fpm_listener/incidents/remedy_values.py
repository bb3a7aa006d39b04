"""The values in the texts of incidents that are the same in every language, commands among them.

Law: a command is returned only if the facts show that it can work on this host. Its arguments are
quoted, because paths and names come from logs and configurations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.host.address_holders import UDP
from fpm_listener.host.holder_remedies import look_command
from fpm_listener.incidents.program_output import NO_LOG, section_of
from fpm_listener.supervisor.exit_log import signal_name
from fpm_listener.untrusted_text import quoted

if TYPE_CHECKING:
    from fpm_listener.host.operator_commands import OperatorCommands
    from fpm_listener.incidents.incident_facts import IncidentFacts


def values(facts: IncidentFacts) -> dict[str, str | None]:
    """Return the values by their names in the texts; None = unknown, so a default is used."""
    port = facts.privileged_port
    return {
        "address": facts.address,
        "host": (facts.address or "").rpartition(":")[0].strip("[]"),
        "named": facts.named,
        "what": facts.named or facts.address,
        "folder": facts.folder,
        "path": facts.forbidden_path,
        "port": None if port is None else str(port),
        "name": facts.name.shown,
        "section": section_of(facts.name),
        "usage": f"{quoted(facts.needs.program or 'php-fpm')} -h",
        "php_ini": facts.site.php_ini,
        "signal": _signal(facts),
        "opcache_setting": facts.live.opcache_setting,
        "worker_folder": facts.live.workers.folder,
        "blind": facts.holder.blind if facts.holder else None,
        **_commands(facts, facts.commands),
    }


def _signal(facts: IncidentFacts) -> str | None:
    number = facts.live.workers.signal or (facts.last_exit.signal if facts.last_exit else None)
    return signal_name(number) if number else None


def _commands(facts: IncidentFacts, commands: OperatorCommands) -> dict[str, str | None]:
    name, tools = quoted(facts.name.shown), commands.tools
    group = quoted(facts.name.group)
    folder = quoted(facts.folder) if facts.folder else ""
    restart_all = f"kill -HUP {commands.supervisord}" if commands.supervisord else None
    return {
        "look": look_command(facts.address, tools),
        "addresses": "ip address" if "ip" in tools else "cat /proc/net/fib_trie",
        "create_user": _create_user(facts.named or "user NAME", tools),
        "create_folder": _create_folder(facts, folder) if folder else None,
        "mount_folder": folder,
        "file": quoted(facts.named or "FILE"),
        "look_user": _look_user(facts.address or "", tools),
        "denied": _denied(facts.forbidden_path or "", tools),
        "modules": f"{quoted(facts.needs.program or 'php-fpm')} -m",
        "check": facts.site.check_command,
        "ini_files": f"{facts.site.check_command.replace(' -t', ' -i', 1)} | grep -F .ini",
        "disk": folder or "/run /var/log",
        "start": commands.control("start", name) or restart_all,
        "restart": commands.control("restart", name) or restart_all,
        "update": commands.control("update", group) or restart_all,
        "workers": _workers(name, commands),
        "raise_memory": _raise_memory(facts),
    }


def reading(facts: IncidentFacts) -> tuple[str, str]:
    """Return how to read the last output: the name of a sentence, and the value in it."""
    output, commands = facts.output, facts.commands
    if output.to_read:
        return "read_file", f"tail {' '.join(map(quoted, output.to_read))}"
    stream = "stdout" if output.redirect_stderr else "stderr"
    target = output.stdout_target if output.redirect_stderr else output.stderr_target
    if target == NO_LOG:
        return "read_none", f"[{section_of(facts.name)}] {stream}_logfile=AUTO"
    if target == "syslog":
        return "read_syslog", target
    if target:
        return "read_device", target
    tail = commands.control("tail", f"{quoted(facts.name.shown)} {stream}")
    return ("read_file", tail) if tail and output.known else ("read_unknown", "")


def remount(facts: IncidentFacts) -> str:
    """Return the command that makes the file system of the folder writable; empty = impossible."""
    if not facts.folder or "sys_admin" not in facts.commands.capabilities:
        return ""
    return f"mount -o remount,rw $(df -P {quoted(facts.folder)} | awk 'END {{print $6}}')"


def _raise_memory(facts: IncidentFacts) -> str | None:
    """Return the command that doubles the memory limit of a service; None = impossible."""
    unit = facts.oom.where.rpartition("/")[2] if facts.oom else ""
    limit = facts.oom.limit if facts.oom else None
    if limit is None or not unit.endswith(".service") or "systemctl" not in facts.commands.tools:
        return None
    return f": systemctl set-property {quoted(unit)} MemoryMax={2 * limit >> 20}M"


def _look_user(address: str, tools: frozenset[str]) -> str:
    """Return the command that shows the uid of a holder without any capability."""
    if "/" in address.removesuffix(UDP):
        return f"ls -l {quoted(address)}"
    port, udp, _ = address.rpartition(":")[2].partition(UDP)
    if "ss" in tools:
        return f"ss -l{'u' if udp else 't'}ne 'sport = :{port}'"
    table = "udp" if udp else "tcp"
    number = int(port) if port.isdecimal() and len(port) <= 5 else 0
    return f"grep -i ':{number:04x} ' /proc/net/{table} /proc/net/{table}6"


def _create_user(named: str, tools: frozenset[str]) -> str:
    kind, _, account = named.partition(" ")
    usual, of_busybox = ("groupadd", "addgroup") if kind == "group" else ("useradd", "adduser")
    command = f"{usual} --system" if usual in tools else f"{of_busybox} -S"  # Alpine has BusyBox
    return f"{command} {quoted(account)}"


def _create_folder(facts: IncidentFacts, folder: str) -> str:
    of_socket = facts.address is not None and facts.address.rpartition("/")[0] == facts.folder
    user = facts.site.user if of_socket else None
    if "install" in facts.commands.tools:
        return f"install -d {f'-o {quoted(user)} ' if user else ''}{folder}"
    owner = f" && chown {quoted(user)} {folder}" if user else ""
    return f"mkdir -p {folder}{owner}"


def _denied(path: str, tools: frozenset[str]) -> str:
    """Return the command that shows the rights of a path and of each folder above it."""
    if "namei" in tools:
        return f"namei -l {quoted(path)}"
    parts = path.split("/")
    paths = ("/".join(parts[: end + 1]) or "/" for end in range(len(parts)))
    return f"ls -ld {' '.join(map(quoted, paths))}"


def _workers(name: str, commands: OperatorCommands) -> str:
    """Return the command that shows what php-fpm's workers do."""
    if "ps" not in commands.tools:
        return "grep -E '^(Name|State|PPid):' /proc/[0-9]*/status"
    master = commands.control("pid", name)
    if master is None:
        return "ps -eo pid,ppid,stat,etime,wchan:20,cmd | grep [p]hp-fpm"
    return f"ps -o pid,stat,etime,wchan:20,cmd --ppid $({master})"
