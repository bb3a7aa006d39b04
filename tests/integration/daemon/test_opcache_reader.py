"""The numbers of OPcache, from a real php-fpm whose pools allow and forbid the script."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.daemon.opcache_reader import OpcacheReader
from fpm_listener.daemon.pool_watch import PoolWatch
from fpm_listener.phpfpm import fastcgi, opcache
from fpm_listener.phpfpm.fastcgi import NoAnswer
from fpm_listener.phpfpm.status_page import PoolTarget
from fpm_listener.supervisor.process import ProcessName
from tests.other_user import needs_root
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.phpfpm.opcache import OpcacheView

SITE = ProcessName("php-fpm", "php-fpm")
POOLS = {
    "www": "",
    "basedir": "php_admin_value[open_basedir] = /nowhere\n",
    "extensions": "security.limit_extensions = .html\n",
    "disabled": "php_admin_flag[opcache.enable] = off\n",
    "functions": "php_admin_value[disable_functions] = opcache_get_status\n",
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Run php-fpm with a small OPcache and all POOLS.

    The user of the pools must reach the script. Each start of pytest closes its own folder of
    temporary files to others, so this one is elsewhere.
    """
    folder = Path(tempfile.mkdtemp(prefix="opcache-"))
    folder.chmod(0o711)
    script = shutil.copy("fpm_listener/phpfpm/opcache_status.php", folder)
    os.chmod(script, 0o644)  # noqa: PTH101 - a path as text
    for number in range(400):
        array = ",".join(f"'{number}_{key}'=>[{key},'{number}x{key}']" for key in range(200))
        (folder / f"page{number}.php").write_text(f"<?php return [{array}];")
    text = f"[global]\nerror_log = {folder}/fpm.log\ndaemonize = no\n"
    for pool, lines in POOLS.items():
        text += f"[{pool}]\nlisten = {folder}/{pool}.sock\npm = static\npm.max_children = 1\n"
        text += "user = www-data\ngroup = www-data\n" * (os.geteuid() == 0) + lines
    (folder / "fpm.conf").write_text(text)
    # php-fpm starts with at least 8 MiB, and caches no new file for 2 s by default.
    options = (
        "opcache.file_update_protection=0",
        "opcache.memory_consumption=8",
        "opcache.interned_strings_buffer=1",
    )
    words = [word for option in options for word in ("-d", option)]
    process = subprocess.Popen(
        [os.environ["PHP_FPM"], "-F", "-y", f"{folder}/fpm.conf", *words], stderr=subprocess.DEVNULL
    )
    try:
        wait_until((folder / "functions.sock").exists, "php-fpm listens")
        yield folder
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def targets(folder: Path, *pools: str) -> list[PoolTarget]:
    """Return where the pools listen."""
    return [PoolTarget(pool, f"{folder}/{pool}.sock") for pool in pools]


def watched(pools: list[PoolTarget]) -> list[PoolWatch]:
    """Return the pools, as the listener watches them without `fpm_status`."""
    return [PoolWatch(pool, 15.0, asks=False) for pool in pools]


def seen(script: str, pools: list[PoolTarget]) -> OpcacheView:
    """Return a reading; a busy machine can need several."""

    def numbers_or_obstacle() -> OpcacheView | None:
        view = OpcacheReader(script).read(SITE, watched(pools))
        return None if view is None or "does not answer" in view.problem else view

    return wait_until(numbers_or_obstacle, "an answer")


@pytest.mark.parametrize(
    ("pool", "problem"),
    [
        ("basedir", "add its directory to open_basedir"),
        ("extensions", "security.limit_extensions"),
        ("disabled", "OPcache is disabled; set opcache.enable = 1"),
        ("functions", "remove it from disable_functions"),
    ],
)
def test_pool_that_refuses(folder: Path, pool: str, problem: str) -> None:
    """The message names the obstacle; another pool of the same php-fpm has the numbers."""
    script = str(folder / "opcache_status.php")
    alone = seen(script, targets(folder, pool))
    together = seen(script, targets(folder, pool, "www"))

    assert problem in alone.problem
    assert not together.problem


def test_full_opcache(folder: Path) -> None:
    """More scripts than fit: full, with misses; the numbers are those of this OPcache."""
    script = str(folder / "opcache_status.php")
    for number in range(400):
        fastcgi.get(f"{folder}/www.sock", f"{folder}/page{number}.php", "", time.monotonic() + 60)
    view = seen(script, targets(folder, "www"))

    assert view.is_full
    memory = sum(view.numbers[f"memory_{part}"] for part in ("used", "free", "wasted"))
    assert memory == 8 << 20
    assert view.numbers["misses"] > view.numbers["scripts"] > 0


def test_request_of_a_web_server(folder: Path) -> None:
    """Without the parameter of the listener the script prints nothing."""
    script = str(folder / "opcache_status.php")
    more = {"HTTP_FPM_LISTENER_OPCACHE": "1"}
    answer = fastcgi.get(f"{folder}/www.sock", script, "", time.monotonic() + 60, more)

    assert answer == fastcgi.Response(404, "")


@needs_root
def test_script_that_the_pool_cannot_read(folder: Path) -> None:
    """The message names the folder that other users cannot enter."""
    hidden = folder / "hidden"
    hidden.mkdir(0o700)
    script = shutil.copy("fpm_listener/phpfpm/opcache_status.php", hidden)
    view = seen(str(script), targets(folder, "www"))

    assert f"other users cannot enter {hidden}; install fpm-listener elsewhere" in view.problem


class Scripted(PoolWatch):
    """A pool that gives these answers, one after the other."""

    def __init__(self, pool: str, *answers: fastcgi.Response | NoAnswer | None) -> None:
        super().__init__(PoolTarget(pool, f"/{pool}.sock"), 15.0, asks=False)
        self.answers = list(answers)

    def run_script(self, *_: object) -> fastcgi.Response | NoAnswer | None:
        """Return the next answer."""
        return self.answers.pop(0)


GOOD = fastcgi.Response(
    200, '\nfpm-listener-opcache {"status":{"opcache_enabled":true,"cache_full":false}}\n'
)
FORBIDDEN = NoAnswer("uid 65534 may not connect: see listen.owner, .group and .mode", silent=False)
SILENT = NoAnswer("it accepts connections and does not answer", silent=True)
ABSENT = NoAnswer("no connection: Connection refused", silent=False, absent=True)


def test_pools_without_an_answer() -> None:
    """Each obstacle is told; a pool that has not started, or is busy, is none."""
    for answer, problem in (
        (FORBIDDEN, "pool www: uid 65534 may not"),
        (SILENT, "does not answer"),
    ):
        view = OpcacheReader("/x").read(SITE, [Scripted("www", answer)])
        assert view is not None
        assert problem in view.problem
    starting = OpcacheReader("/x")
    assert starting.read(SITE, [Scripted("www", ABSENT), Scripted("api", None)]) is None
    assert starting.due_s([SITE]) < time.monotonic() + 10
    reader = OpcacheReader("/x", 0.0)
    assert reader.read(SITE, [Scripted("www", GOOD)]) == opcache.OpcacheView()
    assert reader.read(SITE, [Scripted("www", SILENT)]) is None  # the last numbers stay


def test_pool_that_answered_last() -> None:
    """It is asked first, so that a pool that refuses is asked once."""
    reader, pools = (
        OpcacheReader("/x", 0.0),
        [Scripted("www", FORBIDDEN), Scripted("api", GOOD, GOOD)],
    )
    for _ in range(2):
        assert reader.read(SITE, pools) == opcache.OpcacheView()
    assert [pool.answers for pool in pools] == [[], []]


def test_pools_with_a_chroot() -> None:
    """No pool is asked."""
    view = OpcacheReader("/x").read(SITE, watched([PoolTarget("www", "/x.sock", chroot="/srv")]))

    assert view is not None
    assert "chroot" in view.problem
