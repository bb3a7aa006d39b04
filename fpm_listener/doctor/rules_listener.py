"""Rules on event listeners, on ours above all, and on the events that they get.

Each consequence was measured with supervisor 4.3.0 and 4.2.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import listeners, our_listeners, whole
from fpm_listener.doctor.rule import KeyRule, Match, key_rules, match, rule
from fpm_listener.doctor.rules_program import sends_stderr, stderr_channel
from fpm_listener.host.fallback_names import fallbacks, is_temporary
from fpm_listener.phpfpm.config import STDERR
from fpm_listener.supervisor.ini_lines import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Section, Supervised

_EVENTS = ("PROCESS_STATE", "PROCESS_LOG", "PROCESS_GROUP", "SUPERVISOR_STATE_CHANGE")
#: The variable with supervisord's password.
_PASSWORD = "SUPERVISOR_PASSWORD"  # noqa: S105 - a name
#: Subscriptions that include all output.
_ALL_OUTPUT = {"EVENT", "PROCESS_LOG"}


def _listeners(config: CheckedConfig) -> list[Section]:
    return [process.section for process in listeners(config)]


def _ours(config: CheckedConfig) -> list[Section]:
    return [process.section for process in our_listeners(config)]


# A listener of somebody else may need few events, and may exit on purpose.
TABLE = key_rules(
    _ours,
    KeyRule("FPM105", "buffer_size", lambda n: n is not None and n < 256, {"buffer_size": "1024"}),
    KeyRule("FPM107", "autorestart", lambda how: how != "true", {"autorestart": "true"}),
    KeyRule("FPM107", "startretries", lambda n: n < 100, {"startretries": "1000000"}),
    KeyRule("FPM110", "stderr_events_enabled", bool, {"stderr_events_enabled": "false"}),
)


@rule("FPM104", whole)
def no_listener(config: CheckedConfig) -> Iterator[Match]:
    """supervisord itself sends no alerts. A repository is checked for its mistakes only."""
    if config.fpms and not our_listeners(config) and config.partial is None:
        yield match(config.fpms[0].program, "command")


@rule("FPM106", whole)
def priority(config: CheckedConfig) -> Iterator[Match]:
    """supervisord sends a rejected event to all listeners of the same priority."""
    ours = {section.name for section in _ours(config)}
    seen: dict[int, str] = {}
    for section in _listeners(config):
        number = section.values["priority"]
        other = seen.setdefault(number, section.name)
        if other != section.name and ours & {other, section.name}:
            yield match(section, "priority", number=number, other=other)


@rule("FPM108", whole)
def several_listeners(config: CheckedConfig) -> Iterator[Match]:
    """Each of them sends every alert."""
    ours = _ours(config)
    if len(ours) > 1:
        yield match(ours[1], "numprocs", count=len(ours))


@rule("FPM109", our_listeners)
def events(process: Supervised) -> Iterator[Match]:
    """The listener needs PROCESS_STATE."""
    subscribed = set(process.settings.get("events") or ())
    if subscribed and not {"PROCESS_STATE", "EVENT"} & subscribed:
        names = ", ".join(sorted(subscribed))
        yield match(process.section, "events", {"events": ",".join(_EVENTS)}, events=names)


@rule("FPM109", whole)
def events_of_output(config: CheckedConfig) -> Iterator[Match]:
    """supervisord sends the output of php-fpm, or should, and the listener does not ask for it."""
    for listener in our_listeners(config):
        subscribed = set(listener.settings.get("events") or ())
        for fpm in config.fpms:
            settings = fpm.process.settings
            name = f"PROCESS_LOG_{stderr_channel(settings).upper()}"
            is_sent = settings["redirect_stderr"] or sends_stderr(settings)
            is_needed = is_sent and "PROCESS_STATE" in subscribed
            if is_needed and not subscribed & {*_ALL_OUTPUT, name}:
                others = sorted(
                    one
                    for one in subscribed
                    if one not in _EVENTS and not one.startswith("PROCESS_LOG_")
                )
                change = {"events": ",".join((*_EVENTS, *others))}
                program = fpm.program.name
                yield match(
                    listener.section, "events", change, "output", name=name, program=program
                )
                break


@rule("FPM116", whole)
def own_settings(config: CheckedConfig) -> Iterator[Match]:
    """The listener exits at once."""
    for path, why in config.refused:
        reason = why.removeprefix(f"{path} ").removeprefix(f"{path}: ")
        yield Match(Place(path), {"reason": reason})


@rule("FPM119", whole)
def access_log_events(config: CheckedConfig) -> Iterator[Match]:
    """supervisord sends each line of stderr to listeners, and discards old events under load."""
    subscribed = {name for p in config.processes for name in p.settings.get("events") or ()}
    for fpm in config.fpms:
        settings = fpm.process.settings
        channel = stderr_channel(settings)
        is_read = subscribed & {*_ALL_OUTPUT, f"PROCESS_LOG_{channel.upper()}"}
        if is_read and sends_stderr(settings):
            for pool in fpm.pools:
                if pool.section.get("access.log") in STDERR:
                    yield match(pool.section, "access.log", pool=pool.name, channel=channel)


@rule("FPM121", whole)
def undeliverable(config: CheckedConfig) -> Iterator[Match]:
    """No receiver is configured, as in the file that we ship, or a receiver cannot work."""
    for path, (receiver, reason) in config.undeliverable:
        if receiver:
            where = Place(path, 0, f"fpm-listener:receiver:{receiver}")
            yield Match(where, {"reason": reason, "receiver": receiver})
        else:
            yield Match(Place(path), {"reason": reason}, variant="none")


@rule("FPM126", whole)
def no_password(config: CheckedConfig) -> Iterator[Match]:
    """The listener takes the password from the file, if that is not a hash and may be read."""
    servers = config.supervisord.get("servers") or ()
    # supervisord names the first unix socket to its children, then the TCP port.
    used = next((one for one in servers if one.get("family") == "unix"), next(iter(servers), None))
    own = config.all_sections and config.section("supervisord").lines.get("environment")
    if not used or not used.get("password") or (own and _PASSWORD in own.value):
        return
    for process in our_listeners(config):
        if _PASSWORD in process.settings["environment"]:
            continue
        uid = process.settings["user"]
        uid = process.settings.get("supervisord_uid") if uid is None else uid
        server = config.section(used["section"])
        place = server.lines.get("password")
        file = place.file if place else server.place.file
        supervisord = process.settings.get("supervisord_uid")
        is_strange = config.machine.owner(file) not in {None, 0, uid or 0, supervisord or 0}
        if used["hashed"]:
            yield match(process.section, "environment", server=used["section"])
        elif uid and file.startswith("/") and not config.machine.may_read(uid, file):
            user = config.machine.named_user(uid)
            yield match(process.section, "environment", {}, "unreadable", file=file, user=user)
        elif is_strange:
            yield match(process.section, "environment", {}, "owner", file=file)


@rule("FPM127", whole)
def unwritable_state_dir(config: CheckedConfig) -> Iterator[Match]:
    """The listener uses a fallback; without one it keeps alerts in memory."""
    for process in our_listeners(config):
        uid = process.settings["user"]
        uid = process.settings.get("supervisord_uid") if uid is None else uid
        for file, state_dir in config.state_dirs:
            if not uid or file not in process.command or _usable(config, uid, state_dir):
                continue
            home = process.settings["inherited"].get("XDG_STATE_HOME", "")
            others = fallbacks(home, uid)
            used = next((one for one in others if _usable(config, uid, one)), "")
            values = {"state_dir": state_dir, "user": config.machine.named_user(uid), "used": used}
            variant = "memory" if not used else "" if is_temporary(used) else "lasting"
            yield Match(Place(file, 0, "fpm-listener"), {**values, "uid": uid}, variant=variant)
        # supervisord itself opens the log, even if the listener has another user.
        log, uid = process.settings["stderr_logfile"] or "", process.settings.get("supervisord_uid")
        is_file = log.startswith("/") and not log.startswith(("/dev/", "/proc/"))
        if uid and is_file and not config.machine.may_write(uid, log):
            user = config.machine.named_user(uid)
            change = {"stderr_logfile": "AUTO"}
            yield match(process.section, "stderr_logfile", change, "log", path=log, user=user)


def _usable(config: CheckedConfig, uid: int, folder: str) -> bool:
    """Return whether a user can write to a directory, or create it."""
    while len(folder) > 1 and not config.machine.is_folder(folder):
        folder = folder.rpartition("/")[0] or "/"
    return config.machine.may_write(uid, f"{folder}/lock")


RULES = (
    *TABLE,
    *(no_listener, priority, several_listeners, events, own_settings, access_log_events),
    *(undeliverable, events_of_output, no_password, unwritable_state_dir),
)
