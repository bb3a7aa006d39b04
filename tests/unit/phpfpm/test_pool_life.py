"""What the states of a pool's processes prove."""

from __future__ import annotations

import pytest

from fpm_listener.phpfpm.pool_life import Life, SocketUser, judge

MASTER, WORKER = "php-fpm: master process (/etc/php-fpm.conf)", "php-fpm: pool www"


@pytest.mark.parametrize(
    ("users", "life"),
    [
        ([], Life.UNKNOWN),
        ([("nginx", "T")], Life.UNKNOWN),
        ([(MASTER, "T"), (WORKER, "T"), (WORKER, "t")], Life.STOPPED),
        ([(MASTER, "S"), (WORKER, "T")], Life.STOPPED),
        ([(MASTER, "T")], Life.STOPPED),
        ([(MASTER, "S")], Life.NO_WORKERS),
        ([(MASTER, "T"), (WORKER, "T"), (WORKER, "S")], Life.ALIVE),
        ([(MASTER, "S"), (WORKER, "D")], Life.ALIVE),
    ],
)
def test_each_crowd(users: list[tuple[str, str]], life: Life) -> None:
    """One worker that is not stopped can be busy."""
    assert judge([SocketUser(*one) for one in users]) is life
