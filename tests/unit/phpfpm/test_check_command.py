"""The command with which php-fpm checks its configuration."""

from __future__ import annotations

import pytest

from fpm_listener.phpfpm import command_line
from fpm_listener.phpfpm.check_command import check_command


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("php-fpm8.2 -F", "php-fpm8.2 -t -y /x.conf"),
        ("php-fpm8.2 -F -O -R -y /y.conf -g /run/x.pid", "php-fpm8.2 -t -y /x.conf"),
        ("php-fpm8.2 -F -p /srv/app -c '/etc/my php.ini'", "-p /srv/app -c '/etc/my php.ini'"),
        ("php-fpm8.2 -n -d memory_limit=1G -F", "php-fpm8.2 -t -y /x.conf -n -d memory_limit=1G"),
        ("php-fpm8.2 -dmemory_limit=1G --nodaemonize", "-y /x.conf -dmemory_limit=1G"),
        ("php-fpm8.2 --define a=b", "-y /x.conf -d a=b"),
    ],
)
def test_its_options(command: str, expected: str) -> None:
    """It reads what the program reads, and nothing else."""
    invocation = command_line.find(command)
    assert invocation is not None

    assert check_command(invocation, "/x.conf").endswith(expected)
