"""Remedies of failures from public reports: each command can work where it is given."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.case_lab import CaseLab, running_case_lab
from tests.e2e.lab import processes
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.xdist_group("remedies"),  # one process: they share a lab
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, and change users"),
]


@pytest.fixture(scope="module")
def cases() -> Iterator[CaseLab]:
    """Run all failures at once."""
    with running_case_lab() as lab:
        lab.add_case("L13", startretries="1000")  # a busy machine can miss an exit status
        read_only = lab.add_case("L26") / "ro"
        read_only.mkdir()
        lab.add_case("L28")
        lab.add_case("L31")
        (lab.add_case("L32") / "php-fpm.conf").chmod(0o600)
        other = lab.add_case("L30") / "other.conf"
        # A mount that only this supervisord and its children see.
        mount = f"mount -t tmpfs -o ro tmpfs {read_only}"
        lab.wrapper = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
        lab.stray(sys.executable, "-m", "supervisor.supervisord", "-c", str(other))
        wait_until(lambda: processes(rf"php-fpm: pool lab{lab.web_port}L30\b"), "the other php-fpm")
        lab.start()
        yield lab


def test_another_program_crashes(cases: CaseLab) -> None:
    """L13: the remedy of a program that is no php-fpm says nothing about PHP."""
    cases.alert("L13", cause="crash_signal")

    assert "php" not in cases.shows("L13", "remedy", "core dump").lower()


def test_a_read_only_file_system(cases: CaseLab) -> None:
    """L26: rights are not the problem, so the remedy shows how to make the folder writable."""
    cases.alert("L26", cause="permission")

    cases.shows("L26", "summary", "read-only file system")
    text = cases.shows("L26", "remedy", "mount -o remount,rw")
    assert f"docker run --tmpfs {cases.folder}/L26/ro" in text
    assert "namei" not in text


def test_standard_error_of_another_user(cases: CaseLab) -> None:
    """L28: the rights of /proc/self/fd/2 cannot be changed, so another log is needed."""
    alert = cases.alert("L28", cause="permission")

    assert "/proc/self/fd/2" in alert["annotations"]["summary"]
    text = cases.shows("L28", "remedy", "Set error_log to a file")
    assert "namei" not in text


def test_another_supervisord_starts_it_again(cases: CaseLab) -> None:
    """L30: a kill of the holder would not last, so the remedy names its supervisord."""
    cases.alert("L30", cause="bind_conflict")
    text = cases.shows("L30", "remedy", " stop php-fpm")

    assert "Another supervisord" in text
    assert f"{cases.folder}/L30/other.conf" in text
    assert "kill -QUIT" not in text
    # If supervisord gave up meanwhile, a second command starts the program afterwards.
    command = text.partition("Stop it there: ")[2].partition(", then ")[0].split()
    assert command[:2] == ["supervisorctl", "-s"] or command[0].endswith("/supervisorctl")
    program = shutil.which("supervisorctl") or f"{sys.executable.rpartition('/')[0]}/supervisorctl"
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    assert done.stdout == "php-fpm: stopped\n", done

    def runs() -> bool:
        state = cases.state("L30")
        if state == "FATAL":
            cases.ctl("start", "L30")
        return state == "RUNNING"

    wait_until(runs, "our own php-fpm to run")


def test_a_pool_that_runs_as_root(cases: CaseLab) -> None:
    """L31: `php-fpm -t` does not report this, so the remedy does not contain it."""
    cases.alert("L31", cause="config_error")

    assert " -t" not in cases.shows("L31", "remedy", "user and group")


def test_a_configuration_that_its_user_may_not_read(cases: CaseLab) -> None:
    """L32: `php-fpm -t` as root reports no error, so the remedy shows the rights of the file."""
    cases.alert("L32", cause="permission")
    text = cases.shows("L32", "remedy", f"{cases.folder}/L32/php-fpm.conf")

    assert " -t" not in text
    assert re.search(r"namei -l |ls -ld ", text)
