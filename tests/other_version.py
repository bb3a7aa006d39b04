"""A listener of an unknown version: `other_version.py fpm-listener listen STATE_DIR ADDRESS`.

It holds the listening socket of the address, and answers each guard in another protocol.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import sys
import time
from pathlib import Path

from fpm_listener.guard import handover_channel
from fpm_listener.host import procfs


def copy(address: str) -> socket.socket:
    """Return the socket on which php-fpm listens at the address; wait for it for some time."""
    port = int(address.rpartition(":")[2])
    while True:
        for pid in procfs.pids():
            if not procfs.title(pid).startswith("php-fpm: master process"):
                continue
            process = os.pidfd_open(pid)
            for name in Path(f"/proc/{pid}/fd").iterdir():
                number = ctypes.CDLL(None).syscall(438, process, int(name.name), 0)
                try:
                    found = socket.socket(fileno=number)
                except OSError:  # it is no socket
                    if number >= 0:
                        os.close(number)
                    continue
                if found.family == socket.AF_INET and found.getsockname()[1] == port:
                    return found
                found.close()
            os.close(process)
        time.sleep(0.05)


def main(state_dir: str, address: str) -> None:
    """Hold the socket, acknowledge events, and answer guards in another protocol."""
    os.write(1, b"READY\n")
    Path(state_dir).mkdir(mode=0o700, exist_ok=True)
    Path(state_dir, "guard.sock").unlink(missing_ok=True)
    doors = [socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    names = (f"{state_dir}/guard.sock", handover_channel.channel_name(os.getppid()))
    for door, name in zip(doors, names, strict=True):
        assert name is not None
        door.bind(name)
        door.listen(8)
    held = copy(address)
    while held.fileno() >= 0:
        for ready in select.select([0, *(door.fileno() for door in doors)], [], [])[0]:
            if ready == 0:
                header = b""
                while not header.endswith(b"\n"):
                    byte = os.read(0, 1)
                    if not byte:
                        return
                    header += byte
                os.read(0, int(header.split(b"len:")[1].split()[0]))
                os.write(1, b"RESULT 2\nOKREADY\n")
            else:
                (door,) = [door for door in doors if door.fileno() == ready]
                connection = door.accept()[0]
                with connection, contextlib.suppress(OSError):
                    connection.recv(1000)
                    connection.send(b"Bonjour\0?")


if __name__ == "__main__":
    main(*sys.argv[3:5])
