"""What /proc shows of one process."""

import os

from fpm_listener.host import procfs


def test_pid_and_start() -> None:
    """The start distinguishes a process from a later one with the same pid; 0 = unknown."""
    assert procfs.pid_and_start(os.getpid())[1] > 0
    assert procfs.pid_and_start(0, "/nonexistent") == (0, 0)


def test_a_name_with_parentheses() -> None:
    """An executable can have any name, so the last parenthesis ends it."""
    stat = procfs.ProcessStat("7 (a) b ( c) S 1 7 7 " + " ".join(["0"] * 15) + " 99 0")

    assert (stat.pid, stat.name, stat.state, stat.ppid, stat.started) == (7, "a) b ( c", "S", 1, 99)
