"""The fast start of an unchanged php-fpm on held sockets: nothing is read or bound again.

Clients wait for it while php-fpm is down. So it imports very little: it takes 10 ms, and the whole
guard 60 ms.

Laws:
1. All must be as the last guard found it: the command, the working directory, the configuration
   files and their directories, each by inode, size and time of its last change.
2. In all other cases the guard starts from the beginning: nothing has been done yet.
"""

from __future__ import annotations

import os

from fpm_listener.guard import handover_channel, orphans
from fpm_listener.guard.handover_messages import Hello, Keep, Offer
from fpm_listener.host import exec as host_exec
from fpm_listener.host import state_directory
from fpm_listener.host.exec import become
from fpm_listener.phpfpm.inherited_sockets import environment, is_inherited

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def attempt(words: Sequence[str]) -> bool:
    """Become php-fpm, or return whether the listener did not answer in time.

    words: the guard's. A listener that was silent is not asked again: that takes as long.
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
        if orphans.have_left_processes(record.read()):
            return False  # the guard deals with orphans
        connection = handover_channel.connect(state_dir)
        handover_channel.send(connection, Hello(group, process, hold=True))
        offer, descriptors = handover_channel.receive(connection, Offer)
        record.set_from_listener(offer.masters)
        usable = bool(descriptors) and all(map(os.get_blocking, descriptors))
        if (
            not usable
            or not offer.stamp
            or stamp(words, offer.watched) != offer.stamp
            or orphans.have_left_processes(record.read())
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
    except Exception as error:  # noqa: BLE001 - the guard starts from the beginning, and reports errors
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
    """Return the guard's own options and php-fpm's command."""
    if "--" not in words:
        return (), ()
    at = words.index("--")
    return words[:at], words[at + 1 :]


def stamp(words: Sequence[str], watched: Sequence[str]) -> str:
    """Return a text that differs if the command or a watched path has changed.

    words: the guard's; watched: paths of files and directories.
    """
    parts = [working_directory() or "", *words]
    for path in watched:
        try:
            found = os.stat(path)  # noqa: PTH116 - pathlib costs milliseconds
        except OSError:
            parts.append(f"{path} is not there")
        else:
            parts.append(f"{path} {found.st_ino} {found.st_size} {found.st_ctime_ns}")
    return "\n".join(parts)


def working_directory() -> str | None:
    """Return the working directory; None if it was removed."""
    try:
        return os.getcwd()  # noqa: PTH109 - the same
    except OSError:
        return None


def glance_at_state_dir(config: str | None) -> str:
    """Return the listener's `state_dir` without parsing all of its settings. Raises OSError."""
    return state_directory.locate(state_directory.configured(config, os.environ))


def original_environment() -> dict[bytes, bytes]:
    """Return the environment that we were started with, without FPM_SOCKETS."""
    words = host_exec.original_environment()
    return {name: value for name, value in words.items() if not is_inherited(os.fsdecode(name))}
