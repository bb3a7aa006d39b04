"""The start of an unchanged php-fpm on sockets that are held: nothing is read or bound anew.

It is what clients wait for while php-fpm is away, so it has a way of its own, which imports next to
nothing: some 10 ms where the guard's whole way takes 60.

Laws:
1. It is taken only where all is as the last guard found it: command, folder, configuration files
   and the folders that are searched for them, each by inode, size and time of its last change.
2. Whatever is not plain is left to the guard, which begins anew: nothing has been done yet.
"""

from __future__ import annotations

import os

from fpm_listener import regular_file
from fpm_listener.guard import handover_channel, orphans
from fpm_listener.guard.handover_messages import Hello, Keep, Offer
from fpm_listener.host import state_directory
from fpm_listener.host.exec import become
from fpm_listener.phpfpm.inherited_sockets import environment, is_inherited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_STATE_DIR = "/var/lib/fpm-listener"


def attempt(words: Sequence[str]) -> bool:
    """Become php-fpm; return where that takes more than this. words: the guard's.

    The answer is whether the listener is there and was silent: to ask it again would take as long.
    """
    options, command = _split(words)
    group = os.environ.get("SUPERVISOR_GROUP_NAME")
    process = os.environ.get("SUPERVISOR_PROCESS_NAME")
    if "--hold" not in options or not command or not group or not process:
        return False
    descriptors: list[int] = []
    config = options[options.index("--config") + 1] if "--config" in options[:-1] else None
    try:
        state_dir = glance_at_state_dir(config)
        record = orphans.MasterRecord(state_dir, f"{group}:{process}")
        if orphans.have_left_somebody(record.read()):
            return False  # orphans: the guard knows what to do with them
        connection = handover_channel.connect(state_dir)
        handover_channel.send(connection, Hello(group, process, hold=True))
        offer, descriptors = handover_channel.receive(connection, Offer)
        record.learn(offer.masters)
        usable = bool(descriptors) and all(map(os.get_blocking, descriptors))
        if (
            not usable
            or not offer.stamp
            or stamp(words, offer.watched) != offer.stamp
            or orphans.have_left_somebody(record.read())
        ):
            connection.close()
            _close(descriptors)
            return False
        try:
            record.add_self()
        except OSError:
            if not record.is_shared:
                raise
        handover_channel.send(connection, Keep())
    except Exception as error:  # noqa: BLE001 - the guard begins again, and reports what it finds
        _close(descriptors)
        return isinstance(error, TimeoutError)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    given = environment(list(zip(offer.keys, descriptors, strict=True)))
    try:
        become(
            command,
            original_environment() | {os.fsencode(k): os.fsencode(v) for k, v in given.items()},
        )
    except OSError:
        _close(descriptors)
    return False


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _split(words: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Return the guard's own options, and php-fpm's command."""
    if "--" not in words:
        return (), ()
    at = words.index("--")
    return words[:at], words[at + 1 :]


def stamp(words: Sequence[str], watched: Sequence[str]) -> str:
    """Return what tells these circumstances from others.

    words: the guard's; watched: paths of files and folders.
    """
    circumstances = [working_directory() or "", *words]
    for path in watched:
        try:
            found = os.stat(path)  # noqa: PTH116 - pathlib costs milliseconds
        except OSError:
            circumstances.append(f"{path} is not there")
        else:
            circumstances.append(f"{path} {found.st_ino} {found.st_size} {found.st_ctime_ns}")
    return "\n".join(circumstances)


def working_directory() -> str | None:
    """Return where we are; None where that folder was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - the same
    except OSError:
        return None


def glance_at_state_dir(config: str | None) -> str:
    """Return the listener's `state_dir`, without reading its settings for good. Raises OSError.

    The whole reading costs 12 ms, and its mistakes are the listener's to complain of.
    """
    value, section = os.environ.get("FPM_LISTENER_STATE_DIR", "").strip(), ""
    if config is None:
        return state_directory.locate(value or DEFAULT_STATE_DIR)
    text = regular_file.read_text(config)
    lines = [] if value else text.splitlines()
    for line in lines:
        if line.startswith("["):
            section = line[1:].partition("]")[0]
        elif section == "fpm-listener" and line[:9].lower() == "state_dir":
            rest = line[9:].lstrip()
            if rest[:1] in {"=", ":"}:
                value = _uncommented(rest[1:]).strip()
    folder = os.path.dirname(os.path.abspath(config))  # noqa: PTH100, PTH120 - the same
    path = os.path.join(folder, value or DEFAULT_STATE_DIR)  # noqa: PTH118 - the same
    return state_directory.locate(path)


def _uncommented(value: str) -> str:
    """Return a value as supervisor reads it: a comment begins with ; or # behind a blank."""
    for at, letter in enumerate(value):
        if letter in ";#" and (at == 0 or value[at - 1].isspace()):
            return value[:at]
    return value


def original_environment() -> dict[bytes, bytes]:
    """Return the environment that we were started with, less what would hand sockets to php-fpm.

    Not os.environ: Python adds LC_CTYPE to it in the C locale (PEP 538).
    """
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - pathlib costs milliseconds
            pairs = [word.partition(b"=") for word in file.read().split(b"\0")]
        words = {name: value for name, equals, value in pairs if name and equals}
    except OSError:
        words = dict(os.environb)
    return {name: value for name, value in words.items() if not is_inherited(os.fsdecode(name))}
