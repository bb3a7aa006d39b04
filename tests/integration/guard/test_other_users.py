"""Other users who can write in a folder that the listener or the guard writes in."""

from __future__ import annotations

import os
import socket
import stat
import time

from fpm_listener.guard import socket_rights
from fpm_listener.phpfpm.listen_sockets import Rights
from fpm_listener.status.metrics import make_registry
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.status.textfile import TextfileWriter
from tests.other_user import OTHER_UID, as_other_user, needs_root, open_folder

#: Seconds of each race. Without the protection, the attack succeeds in the first tenth.
RACE_S = 2.0

EXCHANGE = """
import os, sys
path, target = sys.argv[1:]
spare = path + ".spare"
os.symlink(target, spare)
print("ready", flush=True)
while True:
    os.rename(path, path + ".kept")
    os.rename(spare, path)
    os.rename(path, spare)
    os.rename(path + ".kept", path)
"""


@needs_root
def test_a_socket_path_that_becomes_a_symlink() -> None:
    """A user who exchanges the socket for a symlink gets no rights on the target of the link."""
    with open_folder() as protected, open_folder(owner=OTHER_UID) as folder:
        target = protected / "shadow"
        target.write_text("secret")
        target.chmod(0o600)
        path = folder / "fpm.sock"
        changed = 0
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
            with as_other_user(EXCHANGE, str(path), str(target)):
                end_s = time.monotonic() + RACE_S
                while time.monotonic() < end_s or not changed:
                    for mode in (0o666, 0o660):
                        try:
                            rights = Rights(owner=str(OTHER_UID), mode=mode)
                            socket_rights.set_rights(str(path), rights)
                        except OSError:
                            continue
                        changed += 1
        found = target.stat()

    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (0, 0o600)


@needs_root
def test_rights_of_a_socket_are_changed() -> None:
    """The socket itself gets the owner and the mode that php-fpm would give it."""
    with open_folder() as folder, socket.socket(socket.AF_UNIX) as server:
        path = folder / "fpm.sock"
        server.bind(str(path))
        socket_rights.set_rights(str(path), Rights(owner=str(OTHER_UID), group="1", mode=0o640))
        found = path.stat()

    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (OTHER_UID, 1, 0o640)


@needs_root
def test_a_textfile_beside_links_of_another_user() -> None:
    """Neither the temporary file nor the file itself leads to a file of somebody else."""
    with open_folder() as protected, open_folder(owner=OTHER_UID) as folder:
        target = protected / "shadow"
        target.write_text("secret")
        path = folder / "fpm.prom"
        (folder / f".fpm.prom.{os.getpid()}").symlink_to(target)
        path.symlink_to(target)
        TextfileWriter(path, make_registry(Snapshot), print).write()

        assert target.read_text() == "secret"
        assert not path.is_symlink()
        assert "fpm_listener_build_info" in path.read_text()
