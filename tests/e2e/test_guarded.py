"""Restarts without failed requests: the guard, held sockets and fast restart, all real."""

from __future__ import annotations

import signal
import socket
import stat
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from fpm_listener.host import procfs
from tests.e2e.lab import NOT_HELD, Lab, children, handles, kill, php_fpm, ping
from tests.fastcgi_clients import Load, ask
from tests.ports import free_port
from tests.waiting import wait_until

CLIENTS = 4
#: Seconds between two requests of a client: without a pause, clients need more CPU than php-fpm.
PAUSE_S = 0.004
#: Errors of requests in progress whose worker is killed.
CUT = {"ConnectionResetError", "ConnectionError", "BrokenPipeError"}
#: Exits after which php-fpm has unlinked its unix socket. Until its name is restored, requests find
#: no file; their number depends on the machine. `make bench-gap` counts them.
UNLINKING = {"QUIT", "TERM", "restart"}
#: Requests that must all succeed after that.
AFTERWARDS = 50


def add_guarded_fpm(lab: Lab, *listens: str, hold: bool = True, **keys: str) -> Path:
    """Add a php-fpm behind the guard, one pool for each address; return its configuration."""
    lab.folder.chmod(0o755)  # workers run as another user
    first, *rest = listens
    conf = lab.fpm_conf(first)
    text = conf.read_text()
    glob, pool = text.split("[lab", 1)
    pools = [f"[lab{pool}"]
    for number, listen in enumerate(rest):
        name = f"lab{lab.web_port}phpfpm{number}"
        lab.pools.add(name)
        pools.append(
            f"[{name}]"
            + pools[0].partition("]")[2].replace(f"listen = {first}", f"listen = {listen}")
        )
    conf.write_text(f"{glob}process_control_timeout = 10s\n" + "".join(pools))
    config = f"{lab.folder}/supervisord.d/fpm_listener.conf"
    guard = [sys.executable, "-m", "fpm_listener", "guard", "--config", config]
    guard += ["--hold"] if hold else []
    lab.program(
        "php-fpm",
        " ".join([*guard, "--", php_fpm(), "-F", "-y", str(conf)]),
        **{
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "20",
            "stopsignal": "QUIT",
            "stopwaitsecs": "20",
            "killasgroup": "true",
            "stderr_events_enabled": "true",
            **keys,
        },
    )
    return conf


def wait_until_running(lab: Lab, *, held: int | None = None) -> int:
    """Wait until php-fpm serves and supervisord reports RUNNING; return its master."""
    wait_until(lambda: lab.state("php-fpm") == "RUNNING", "RUNNING")
    if held is not None:
        lab.wait_for_held_sockets(held)
        wait_until(lambda: lab.state("php-fpm") == "RUNNING", "RUNNING again")
    return lab.wait_for_php_fpm()


def wait_for_new_master(lab: Lab, before: int) -> int:
    """Wait for another master with its own workers."""
    return wait_until(
        lambda: new if (new := lab.master()) not in {None, before} and children(new) else None,
        "a new master",
    )


def stderr_of(lab: Lab) -> str:
    """Return the standard error of guard and php-fpm."""
    return (lab.folder / "php-fpm.stderr").read_text()


def end_master(lab: Lab, what: str) -> int:
    """End or restart php-fpm in this way; return the master before."""
    master = lab.wait_for_php_fpm()
    if what == "restart":
        assert "started" in lab.ctl("restart", "php-fpm")
    elif what == "USR2":
        lab.ctl("signal", "USR2", "php-fpm")
    elif what == "OOM":
        kill(children(master)[0])
        kill(master)
    else:
        kill(master, signal.Signals[f"SIG{what}"])
    return master


def failures_during(lab: Lab, what: str, *addresses: str) -> dict[str, int]:
    """Let clients send requests meanwhile; return the number of failures by error."""
    before = wait_until_running(lab)
    ready = lab.fpm_log().read_text().count("ready to handle connections")
    with Load(addresses, clients=CLIENTS, pause_s=PAUSE_S) as load:
        wait_until(lambda: lab.wait_for_php_fpm() == before, "the clients' first requests")
        end_master(lab, what)
        if what != "USR2":
            wait_for_new_master(lab, before)
        wait_until(
            lambda: lab.fpm_log().read_text().count("ready to handle connections") > ready,
            "php-fpm to be ready",
        )
        wait_until(lambda: all("pong" in ask(address) for address in addresses), "an answer")
        for _ in range(AFTERWARDS):
            assert all("pong" in ask(address) for address in addresses)
    assert load.report.requests >= CLIENTS
    return dict(load.report.failures)


def held_sockets(lab: Lab) -> set[str]:
    """Return the sockets that both php-fpm's master and the listener have."""
    master = wait_until(lab.master, "a master")
    return _sockets(master) & _sockets(lab.listener_pid())


def _sockets(pid: int) -> set[str]:
    links = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it is closed now
            links.add(str(entry.readlink()))
    return {link for link in links if link.startswith("socket:")}


def slow_handovers(lab: Lab) -> int:
    """Return how often the listener did not answer the guard within the guard's second."""
    return sum(NOT_HELD in line and "timed out" in line for line in stderr_of(lab).splitlines())


def check_restart(lab: Lab, what: str, *addresses: str, unix: bool) -> None:
    """Restart php-fpm under load, and fail if more requests failed than are unavoidable.

    On a busy machine the listener can be too slow for the guard, which then starts php-fpm without
    held sockets: the clients in the old queue fail. Then it is restarted again, at most twice.
    """
    slow = slow_handovers(lab)
    failures = failures_during(lab, what, *addresses)
    for _ in range(2):
        if slow_handovers(lab) == slow:
            break
        wait_until_running(lab, held=len(addresses))
        slow = slow_handovers(lab)
        failures = failures_during(lab, what, *addresses)
    print(stderr_of(lab))  # noqa: T201 - for a failure
    check(what, failures, unix=unix)


def check(what: str, failures: dict[str, int], *, unix: bool) -> None:
    """Fail if more requests failed than are unavoidable."""
    allowed = dict(failures)
    if unix and what in UNLINKING:
        print(what, "requests without a file:", allowed.pop("FileNotFoundError", 0))  # noqa: T201
    if what in {"TERM", "OOM"}:  # at most one request in progress for each client
        cut = sum(allowed.pop(name, 0) for name in CUT)
        assert cut <= CLIENTS, failures
    assert allowed == {}, (what, failures)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_the_master_ends_in_seven_ways(lab: Lab, kind: str) -> None:
    """No request is refused: clients wait in the kernel's queue until the next master serves."""
    unix = kind == "unix"
    address = f"{lab.folder}/w.sock" if unix else f"127.0.0.1:{free_port()}"
    add_guarded_fpm(lab, address)
    lab.start()
    wait_until_running(lab, held=1)
    # A start before the listener is ready may log it.
    not_held = stderr_of(lab).count(NOT_HELD) - slow_handovers(lab)
    for what in ("QUIT", "KILL", "restart", "USR2", "SEGV", "TERM", "OOM"):
        slow, held = slow_handovers(lab), held_sockets(lab)
        assert len(held) == 1
        check_restart(lab, what, address, unix=unix)
        # The same socket of the kernel: there was no moment without it, however short.
        assert held_sockets(lab) == held or slow_handovers(lab) > slow, what

    wait_until(lambda: lab.metric("fpm_listener_held_sockets") == 1, "fpm_listener_held_sockets")
    assert stderr_of(lab).count(NOT_HELD) - slow_handovers(lab) == not_held
    if unix:
        assert stat.S_IMODE(Path(address).stat().st_mode) == 0o660


def test_addresses_of_every_kind(lab: Lab) -> None:
    """A bare port, IPv6, a host name and a unix socket in four pools are all held."""
    ports = [free_port() for _ in range(3)]
    listens = (str(ports[0]), f"[::1]:{ports[1]}", f"localhost:{ports[2]}", f"{lab.folder}/w.sock")
    add_guarded_fpm(lab, *listens)
    lab.start()
    wait_until_running(lab, held=4)
    asked = (
        f"127.0.0.1:{ports[0]}",
        f"[::1]:{ports[1]}",
        f"127.0.0.1:{ports[2]}",
        f"{lab.folder}/w.sock",
    )
    for what in ("QUIT", "KILL", "restart"):
        check_restart(lab, what, *asked, unix=True)
    assert "pong" in ask(f"[::1]:{ports[0]}")


def test_a_guard_without_hold(lab: Lab) -> None:
    """The guard ends the orphans of a killed master, and a new master serves."""
    address = f"127.0.0.1:{free_port()}"
    add_guarded_fpm(lab, address, hold=False, startsecs="3")
    lab.start()
    before = wait_until_running(lab, held=0)
    orphans = children(before)
    kill(before)
    wait_for_new_master(lab, before)

    wait_until(lambda: not set(orphans) & set(lab.workers()), "the orphans to end")
    wait_until(lambda: "pong" in ping(address), "an answer")
    wait_until(lambda: " signal=SIGQUIT] " in stderr_of(lab), "the guard's message")


def test_the_listener_does_not_run(lab: Lab) -> None:
    """php-fpm starts without held sockets; its next start with a listener is held again."""
    address = f"127.0.0.1:{free_port()}"
    add_guarded_fpm(lab, address)
    lab.start()
    wait_until_running(lab, held=1)
    lab.ctl("stop", "fpm-listener")
    for what in ("QUIT", "KILL"):
        before = end_master(lab, what)
        wait_for_new_master(lab, before)
        wait_until(lambda: "pong" in ping(address), "an answer")
        wait_until_running(lab)
    cannot = f"{NOT_HELD}: cannot reach the listener"
    wait_until(lambda: cannot in stderr_of(lab), "the guard's message")

    lab.ctl("start", "fpm-listener")
    wait_until(lab.is_ready, "the listener")
    assert "started" in lab.ctl("restart", "php-fpm")
    wait_until_running(lab, held=1)


def test_the_listener_is_killed(lab: Lab) -> None:
    """The next listener holds no socket, php-fpm continues, and its next start is held."""
    address = f"{lab.folder}/w.sock"
    add_guarded_fpm(lab, address)
    lab.start()
    master = wait_until_running(lab, held=1)
    kill(lab.listener_pid())
    wait_until(
        lambda: lab.is_ready() and lab.metric("fpm_listener_held_sockets") == 0, "the next listener"
    )

    assert "pong" in ask(address)
    assert lab.master() == master
    assert "started" in lab.ctl("restart", "php-fpm")
    wait_until_running(lab, held=1)
    check_restart(lab, "QUIT", address, unix=True)


def refuses(address: str) -> bool:
    """Return whether connections to the address are refused."""
    with socket.socket(socket.AF_UNIX if "/" in address else socket.AF_INET) as client:
        client.settimeout(1)
        host, _, port = address.rpartition(":")
        try:
            client.connect(address if "/" in address else (host, int(port)))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
    return False


def test_php_fpm_is_stopped(lab: Lab) -> None:
    """Clients wait during hold_linger, because it may be a restart; then they are refused."""
    tcp, unix = f"127.0.0.1:{free_port()}", f"{lab.folder}/w.sock"
    add_guarded_fpm(lab, tcp, unix)
    lab.settings["hold_linger"] = "1h"
    lab.start()
    wait_until_running(lab, held=2)
    second = lab.folder / ".w.sock.held-by-fpm-listener"
    assert second.is_socket()
    assert "stopped" in lab.ctl("stop", "php-fpm")
    assert not refuses(tcp)
    # php-fpm removes the name at its exit, and the listener restores it.
    wait_until(lambda: not refuses(unix), "the name of the unix socket")
    assert "started" in lab.ctl("start", "php-fpm")
    wait_until_running(lab, held=2)

    lab.change_settings(hold_linger="1s")
    assert "stopped" in lab.ctl("stop", "php-fpm")
    wait_until(lambda: refuses(tcp) and refuses(unix), "both to be closed")
    wait_until(lambda: not Path(unix).exists() and not second.exists(), "no name to be left")
    wait_until(lambda: lab.metric("fpm_listener_held_sockets") == 0, "fpm_listener_held_sockets")
    assert "started" in lab.ctl("start", "php-fpm")
    wait_until_running(lab, held=2)
    assert "pong" in ask(tcp)
    assert "pong" in ask(unix)


def test_supervisord_gives_up(lab: Lab) -> None:
    """The held socket is closed, and clients are refused."""
    address = f"127.0.0.1:{free_port()}"
    conf = add_guarded_fpm(lab, address, startretries="1")
    lab.settings["hold_linger"] = "1h"
    lab.start()
    wait_until_running(lab, held=1)
    conf.write_text("[global]\nnonsense = 1\n" + conf.read_text())
    lab.ctl("restart", "php-fpm")
    wait_until(lambda: lab.state("php-fpm") == "FATAL", "FATAL")

    wait_until(lambda: refuses(address), "it to be closed")
    said = "unknown entry 'nonsense'"  # php-fpm's own words
    wait_until(lambda: said in stderr_of(lab), "php-fpm's message")


def test_the_configuration_changes(lab: Lab) -> None:
    """The next start uses the new configuration; a socket that it no longer names is closed."""
    old, unix = f"127.0.0.1:{free_port()}", f"{lab.folder}/w.sock"
    new = f"127.0.0.1:{free_port()}"
    conf = add_guarded_fpm(lab, old, unix)
    lab.start()
    wait_until_running(lab, held=2)
    text = conf.read_text().replace(f"listen = {old}", f"listen = {new}")
    extra = f"listen = {unix}\nlisten.mode = 0600\nlisten.backlog = 7"
    conf.write_text(text.replace(f"listen = {unix}", extra))
    assert "started" in lab.ctl("restart", "php-fpm")
    wait_until_running(lab, held=2)

    wait_until(lambda: refuses(old), "the old socket to be closed")
    assert "pong" in ask(new)
    assert "pong" in ask(unix)
    assert stat.S_IMODE(Path(unix).stat().st_mode) == 0o600


def test_a_slow_request_during_quit(lab: Lab) -> None:
    """It is finished, while new requests wait for the next master."""
    address = f"127.0.0.1:{free_port()}"
    add_guarded_fpm(lab, address)
    go = lab.folder / "go"
    script = lab.folder / "slow.php"
    script.write_text(
        f"<?php while (!file_exists('{go}')) {{ clearstatcache(); }} echo 'finished';"
    )
    lab.start()
    before = wait_until_running(lab, held=1)
    answer: list[str] = []

    def slow() -> None:
        answer.append(ask(address, str(script), str(script), timeout_s=120))

    client = threading.Thread(target=slow)
    client.start()
    wait_until(lambda: any(is_busy(worker) for worker in children(before)), "the script to run")
    kill(before, signal.SIGQUIT)
    wait_until(lambda: "Finishing" in lab.fpm_log().read_text(), "a second request to wait")
    go.touch()
    client.join(120)
    wait_for_new_master(lab, before)

    assert "finished" in answer[0]
    assert "pong" in ask(address)


def is_busy(pid: int) -> bool:
    """Return whether a process uses the processor."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(state[11]) + int(state[12]) > 3


@pytest.mark.parametrize("kind", ["daemonized", "foreign"])
def test_another_process_holds_the_address(lab: Lab, kind: str) -> None:
    """The incident names the holder, which is not touched; php-fpm starts when it exits."""
    address = f"127.0.0.1:{free_port()}"
    conf = add_guarded_fpm(lab, address)
    if kind == "daemonized":
        pid_file = lab.folder / "other.pid"
        lab.stray(php_fpm(), "-D", "-y", str(conf), "-g", str(pid_file)).wait()
        wait_until(lambda: "pong" in ping(address), "the other php-fpm to serve")
        other = int(pid_file.read_text())
    else:
        port = address.rpartition(":")[2]
        other = lab.hold_port(int(port)).pid
    lab.start()
    incident = lab.wait_for_holder()

    assert incident["cause"] == "bind_conflict"
    assert f"pid {other}" in incident["holder"]
    assert str(other) in incident["remedy"]
    conflict = f"[bind_conflict address={address} pid={other}]"
    wait_until(lambda: conflict in stderr_of(lab), conflict)
    assert ("it runs this very configuration" in stderr_of(lab)) == (kind == "daemonized")
    assert "[orphan_signalled " not in stderr_of(lab)
    assert procfs.read_stat(other) is not None
    kill(other, signal.SIGQUIT if kind == "daemonized" else signal.SIGTERM)
    wait_until_running(lab, held=1)
    assert "pong" in ask(address)


def test_many_restarts(lab: Lab) -> None:
    """There are as many descriptors, threads and workers as after the third restart."""
    tcp, unix = f"127.0.0.1:{free_port()}", f"{lab.folder}/w.sock"
    add_guarded_fpm(lab, tcp, unix, startsecs="0")
    lab.start()
    wait_until_running(lab, held=2)
    listener = Path(f"/proc/{lab.listener_pid()}")

    def restart(times: int) -> tuple[int, int]:
        for _ in range(times):
            lab.restart_program("php-fpm")
            wait_until(lambda: "pong" in ask(tcp), "an answer")
        assert "pong" in ask(unix)
        wait_until(lambda: lab.metric("fpm_listener_held_sockets") == 2, "both to be held")
        return len(list((listener / "fd").iterdir())), len(list((listener / "task").iterdir()))

    def links() -> list[str]:
        return [str(entry.readlink()) for entry in (listener / "fd").iterdir()]

    _, threads = restart(3)
    # It opens the log and a pidfd of the master some time after the start.
    wait_until(lambda: str(lab.fpm_log()) in links(), "the log to be followed")
    wait_until(lambda: "anon_inode:[pidfd]" in links(), "the pidfd of the master")
    descriptors = len(list((listener / "fd").iterdir()))
    _, later_threads = restart(30)

    # A scrape, a child that reads configurations, or a rotation may be in progress.
    wait_until(
        lambda: len(list((listener / "fd").iterdir())) <= descriptors + 2,
        "as few descriptors as before",
    )
    assert later_threads <= threads + 2
    # two workers a pool
    wait_until(lambda: len(children(lab.wait_for_php_fpm())) == 4, "four workers")
    zombies = [one for one in all_children(lab.supervisord_pid) if one.has_ended]
    assert len(zombies) <= 1
    expected = [".w.sock.held-by-fpm-listener", "s.sock", "w.sock"]
    wait_until(
        lambda: sorted(path.name for path in lab.folder.glob("*.sock*")) == expected, "three names"
    )


def all_children(pid: int) -> list[procfs.ProcessStat]:
    """Return the children of a process, zombies included."""
    found = [procfs.read_stat(one) for one in procfs.pids()]
    return [one for one in found if one is not None and one.ppid == pid]


def _counts(lab: Lab, metric: str, count: float) -> bool:
    """Return whether a counter of the job has this value."""
    return lab.metric(metric, "job") == count


@pytest.mark.parametrize("on", [True, False])
def test_fast_restart(lab: Lab, on: bool) -> None:  # noqa: FBT001 - a column
    """With fast_restart, supervisord is woken when any process exits; otherwise never."""
    lab.settings["fast_restart"] = str(on).lower()
    # It exits some time after TERM, as php-fpm does. A program that exits at once can be gone
    # before supervisord's STOPPING event arrives.
    may_end = lab.folder / "may-end"
    trap = f"until test -e {may_end}; do sleep 0.1; done; exit 0"
    script = f"trap '{trap}' TERM; while :; do sleep 0.1; done"
    keys = {"autorestart": "true", "startsecs": "1", "stopwaitsecs": "150"}
    lab.program("job", f'/bin/sh -c "{script}"', **keys)
    lab.start()
    state, died = "fpm_listener_process_state", "fpm_listener_process_unexpected_exits_total"
    for deaths in (1, 2, 3):
        wait_until(lambda: lab.metric(state, "job", state="RUNNING") == 1, "RUNNING")
        # Not supervisorctl: each request wakes supervisord, which then notices the exit itself.
        kill(lab.pid("job"))
        wait_until(partial(_counts, lab, died, deaths), "the exit")
    wait_until(
        lambda: lab.metric("fpm_listener_process_restarts_total", "job") == 3, "the next start"
    )
    wait_until(
        lambda: lab.metrics()["fpm_listener_fast_restart_enabled"] == on,
        "fpm_listener_fast_restart_enabled",
    )
    while on and "waking supervisord program=job:job" not in lab.log():
        # supervisord can notice an exit itself, at the end of its second.
        wait_until(lambda: lab.metric(state, "job", state="RUNNING") == 1, "RUNNING")
        exits = lab.metric(died, "job")
        kill(lab.pid("job"))
        wait_until(partial(_counts, lab, died, exits + 1), "the exit")
    wait_until(lambda: lab.metric(state, "job", state="RUNNING") == 1, "RUNNING again")
    woken = lab.log().count("waking supervisord")
    assert (woken > 0) == on
    wait_until(lambda: handles(lab.pid("job"), signal.SIGTERM), "the job to expect TERM")
    with lab.supervisor() as supervisor:  # the operator's stop does not wake supervisord
        supervisor.stopProcess("job", False)
    wait_until(lambda: lab.metric(state, "job", state="STOPPING") == 1, "STOPPING")
    may_end.touch()
    wait_until(lambda: lab.metric(state, "job", state="STOPPED") == 1, "STOPPED")
    assert lab.log().count("waking supervisord") == woken
