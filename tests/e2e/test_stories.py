"""Failures on a real supervisord and php-fpm: each alert has the right cause and remedy.

All programs fail at the same time under one supervisord, and no alert names another's cause.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.e2e.lab import HOLDER, Lab, kill, listens, php_fpm
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Causes that say how a program fails, before its reason is known.
SYMPTOMS = {"restart_loop", "gave_up"}


class Failure(NamedTuple):
    """How one program fails, and what its alert must say."""

    prepare: Callable[[Lab, str], None]
    cause: str
    evidence: str  #: a pattern
    remedy: str  #: a pattern; {folder} is the lab's
    then: Callable[[Lab, str], None] | None = None  #: once everything runs


def crash_workers(lab: Lab, name: str) -> None:
    """Crash workers one after the other, as a broken extension does."""
    seen: set[int] = set()
    lab.wait_for_php_fpm(name)
    while len(seen) < 4:
        (worker, *_) = wait_until(lambda: set(lab.workers(name)) - seen, "a worker")
        seen.add(worker)
        kill(worker, signal.SIGSEGV)


def orphans(listen: Callable[[Lab], str]) -> Callable[[Lab, str], None]:
    def prepare(lab: Lab, name: str) -> None:
        lab.fpm_program(listen(lab), name=name)

    return prepare


def kill_master(lab: Lab, name: str) -> None:
    kill(lab.wait_for_php_fpm(name))


def rival(*command: str) -> Callable[[Lab, str], None]:
    def prepare(lab: Lab, name: str) -> None:
        address = f"127.0.0.1:{free_port()}"
        lab.fpm_program(address, name=name)
        other = lab.fpm_conf(address, name=f"{name}-other")
        words = [word.format(other=other, port=address.rpartition(":")[2]) for word in command]
        lab.stray(*words)
        wait_until(partial(listens, address), "the rival")

    return prepare


def daemonized(lab: Lab, name: str) -> None:
    conf = lab.fpm_conf(f"127.0.0.1:{free_port()}", name=name)
    conf.write_text(conf.read_text().replace("daemonize = no", "daemonize = yes"))
    lab.program(name, f"{php_fpm()} -y {conf}", autorestart="true")


def broken(
    listen: str = "", pool: str = "", replace: tuple[str, str] = ("", ""), **keys: str
) -> Callable[[Lab, str], None]:
    def prepare(lab: Lab, name: str) -> None:
        address = listen.format(folder=lab.folder) or f"127.0.0.1:{free_port()}"
        conf = lab.fpm_program(address, name=name, **keys)
        before, after = (word.format(folder=lab.folder) for word in replace)
        text = conf.read_text().replace(before, after) if before else conf.read_text()
        conf.write_text(text + pool.format(address=address))
        lab.fpm_log(name).touch()
        lab.fpm_log(name).chmod(0o666)  # for a master that is not root

    return prepare


def missing_binary(lab: Lab, name: str) -> None:
    conf = lab.fpm_conf(f"127.0.0.1:{free_port()}", name=name)
    lab.program(name, f"/usr/sbin/php-fpm5.0 -F -y {conf}", autorestart="true")


FAILURES = {
    "orphans-tcp": Failure(
        orphans(lambda _: f"127.0.0.1:{free_port()}"),
        "bind_conflict",
        r"Address already in use \(98\)",
        r"kill -QUIT -\d+$",
        kill_master,
    ),
    "orphans-unix": Failure(
        orphans(lambda lab: f"{lab.folder}/orphans.sock"),
        "bind_conflict",
        "Another FPM instance seems to already listen on",
        r"kill -QUIT -\d+$",
        kill_master,
    ),
    "workers": Failure(
        orphans(lambda _: f"127.0.0.1:{free_port()}"),
        "crash_signal",
        r"child \d+ exited on signal 11 \(SIGSEGV",
        "Look for a faulty PHP extension",
        crash_workers,
    ),
    "another-master": Failure(
        rival(php_fpm(), "-F", "-y", "{other}"),
        "bind_conflict",
        r"Address already in use \(98\)",
        r"Stop the other php-fpm \(kill -QUIT \d+\), .*distribution's service",
    ),
    "daemonized": Failure(
        daemonized,
        "bind_conflict",
        r"Address already in use \(98\)",
        r"Stop it \(kill -QUIT \d+\): it runs this very configuration.*daemonize = yes",
    ),
    "foreign": Failure(
        rival(sys.executable, "-c", HOLDER),
        "bind_conflict",
        r"Address already in use \(98\)",
        r"Stop it \(kill \d+\), or use another address",
    ),
    "two-pools": Failure(
        broken(
            pool="[twin]\nuser = www-data\nlisten = {address}\npm = static\npm.max_children = 1\n"
        ),
        "config_error",
        "it's already used in another pool",
        "Give each pool another value of `listen`",
    ),
    "directive": Failure(
        broken(pool="nonsense = 1\n"),
        "config_error",
        r"directive.conf:\d+\] unknown entry 'nonsense'",
        "php-fpm[0-9.]* -t -y {folder}/directive.conf",
    ),
    "user": Failure(
        broken(pool="user = nosuch\n"),
        "unknown_user",
        "cannot get uid for user 'nosuch'",
        "useradd --system nosuch",
    ),
    "folder": Failure(
        broken(listen="{folder}/gone/w.sock"),
        "missing_path",
        r"No such file or directory \(2\)",
        "install -d -o www-data {folder}/gone",
    ),
    "port-80": Failure(
        broken(listen="127.0.0.1:80", user="www-data"),
        "permission",
        r"Permission denied \(13\)",
        "Only root may listen on port 80",
    ),
    "binary": Failure(
        missing_binary,
        "missing_path",
        "php-fpm5.0 does not exist",
        "Install /usr/sbin/php-fpm5.0 again, or set another .*this host has /usr/sbin/php-fpm",
    ),
    "log-folder": Failure(
        broken(replace=("error_log = {folder}", "error_log = {folder}/lost")),
        "missing_path",
        r"failed to open error_log .* No such file or directory \(2\)",
        "install -d {folder}/lost",
    ),
}


def test_many_programs_fail_for_different_reasons(lab: Lab) -> None:
    """Each program has an alert with its cause and evidence and no other cause, and its remedy."""
    failures = dict(FAILURES)
    if int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()) <= 80:
        del failures["port-80"]  # every user can use this port here
    for name, failure in failures.items():
        failure.prepare(lab, name)
    lab.fpm_program(f"127.0.0.1:{free_port()}", name="operated")
    lab.start()
    for name, failure in failures.items():
        if failure.then:
            failure.then(lab, name)
    lab.wait_for_php_fpm("operated")
    assert "stopped" in lab.ctl("stop", "operated")
    assert "started" in lab.ctl("start", "operated")
    assert "started" in lab.ctl("restart", "operated")

    for name, failure in failures.items():

        def told(name: str = name, failure: Failure = failure) -> dict[str, Any] | None:
            alerts = lab.webhook.alerts("firing", name)
            return next((a for a in alerts if a["annotations"]["cause"] == failure.cause), None)

        wait_until(told, f"{failure.cause} of {name}")
        # The machine can show the cause before the log line is read.
        wait_until(partial(has_evidence, lab, name, failure.evidence), f"the evidence of {name}")
        # An alert waits 0.2 s for what the listener looks up; the remedy may need more time.
        wait_until(partial(has_remedy, lab, name, failure.remedy), f"{failure.remedy} for {name}")
    assert lab.webhook.alerts("firing", "operated") == []
    for name, failure in failures.items():
        causes = {alert["annotations"]["cause"] for alert in lab.webhook.alerts(process=name)}
        assert causes <= {failure.cause, *SYMPTOMS}, (name, causes)


def has_evidence(lab: Lab, name: str, pattern: str) -> bool:
    """Return whether an alert of a program, or its open incident, has this evidence."""
    texts = [alert["annotations"]["evidence"] for alert in lab.webhook.alerts("firing", name)]
    incident = lab.status(name)["incident"]
    return any(re.search(pattern, text) for text in (*texts, *(incident or {}).get("evidence", ())))


def has_remedy(lab: Lab, name: str, pattern: str) -> bool:
    """Return whether an alert or the open incident has this remedy."""
    incident = lab.status(name)["incident"]
    found = [alert["annotations"]["remedy"] for alert in lab.webhook.alerts("firing", name)]
    found += [incident["remedy"]] if incident else []
    return any(re.search(pattern.format(folder=lab.folder), remedy) for remedy in found)


def is_removed(group: Path) -> bool:
    group.rmdir()  # raises OSError while a process of it is still ending
    return True


@pytest.fixture
def small_memory() -> Iterator[Path]:
    """Return a memory cgroup with a limit of 200 MiB, if this user can create one."""
    name = f"lab-{os.getpid()}"
    for group, limit in (
        (Path("/sys/fs/cgroup/memory") / name, "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup") / name, "memory.max"),
    ):
        try:
            group.mkdir()
            (group / limit).write_text(str(200 << 20))
        except OSError:
            with contextlib.suppress(OSError):
                group.rmdir()
            continue
        yield group
        wait_until(partial(is_removed, group), "the cgroup to be empty")
        return
    pytest.skip("no cgroup may be made here; test_oomkills.py has the kernel's files instead")


def test_out_of_memory_and_a_slow_restart_loop(small_memory: Path, lab: Lab) -> None:
    """The kernel's counter shows the OOM kill; a program that fails slowly has an alert too."""
    lab.settings |= {"loop": "3 in 6s", "slow_loop": "3 in 5m"}
    lab.wrapper = ("sh", "-c", 'echo $$ >"$0" && exec "$@"', f"{small_memory}/cgroup.procs")
    hog = f"{sys.executable} -c 'x = bytearray(1 << 30)'"
    lab.program("hog", hog, autorestart="true", startretries="1000", startsecs="0")
    lab.program("slow", "/bin/sh -c 'sleep 4; exit 3'", autorestart="true", startsecs="0")
    lab.fpm_program(f"127.0.0.1:{free_port()}", name="good")
    lab.start()

    def told(process: str, cause: str) -> dict[str, Any] | None:
        alerts = [alert["annotations"] for alert in lab.webhook.alerts("firing", process)]
        return next((said for said in alerts if said["cause"] == cause), None)

    hog_said = wait_until(lambda: told("hog", "out_of_memory"), "out of memory")
    assert re.search(
        r"seen: cgroup .*its limit is 200 MiB, its peak was \d+ MiB", hog_said["evidence"]
    )
    # While it runs for a moment, the summary is in the past tense.
    assert re.search(r"because memory (is|was) short \(limit 200 MiB\)", hog_said["summary"])
    assert "Let the program use less memory" in hog_said["remedy"]
    slow_said = wait_until(lambda: told("slow", "restart_loop"), "the slow one")
    lab.wait_for_summary("slow:slow", "exit status 3")
    # Memory is not ruled out for it: the kernel has killed just now, if another.
    assert "ruled out: a missing program or folder (/" in slow_said["description"]
    (alert, *_) = lab.webhook.alerts("firing", "slow")
    assert alert["labels"]["severity"] == "warning"
    assert lab.webhook.alerts("firing", "good") == []
