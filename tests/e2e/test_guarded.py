"""Restarts that clients do not notice: guard, held sockets and fast restart, all of it real."""

from __future__ import annotations

import signal
import socket
import stat
import sys
import threading
import xmlrpc.client
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from supervisor.xmlrpc import SupervisorTransport

from fpm_listener.host import procfs
from tests.e2e.lab import Lab, kill, php_fpm, ping
from tests.fastcgi_clients import Load, ask
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(180)

CLIENTS = 4
#: What may befall requests that are being answered when their worker is killed.
CUT = {"ConnectionResetError", "ConnectionError", "BrokenPipeError"}
#: Ends after which php-fpm has unlinked its unix socket. Until its name is restored, requests find
#: no file; how many these are depends on the machine. `make bench-gap` counts them.
UNLINKING = {"QUIT", "TERM", "restart"}
#: Requests that must all succeed after that.
AFTERWARDS = 50


def guarded(lab: Lab, *listens: str, hold: bool = True, **keys: str) -> Path:
    """Add a php-fpm behind the guard, one pool an address; return its configuration."""
    lab.folder.chmod(0o755)  # workers are somebody else
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


def settled(lab: Lab, *, held: int | None = None) -> int:
    """Wait until php-fpm serves and supervisord says RUNNING; return its master."""
    wait_until(lambda: "RUNNING" in lab.ctl("status", "php-fpm"), "RUNNING")
    if held is not None:
        if not lab.is_held(held):  # the listener was slower than the guard's second for it
            lab.ctl("restart", "php-fpm")
            wait_until(lambda: "RUNNING" in lab.ctl("status", "php-fpm"), "RUNNING again")
        wait_until(lambda: lab.metric("fpm_listener_held_sockets") == held, f"{held} held")
    return lab.running()


def renewed(lab: Lab, before: int) -> int:
    """Wait for another master than that one, with workers of its own."""
    return wait_until(
        lambda: new if (new := lab.master()) not in {None, before} and children(new) else None,
        "a new master",
    )


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    found = [procfs.read_stat(one) for one in procfs.pids()]
    return [one.pid for one in found if one is not None and one.ppid == pid and not one.has_ended]


def said(lab: Lab) -> str:
    """Return what guard and php-fpm have said on standard error."""
    return (lab.folder / "php-fpm.stderr").read_text()


def act(lab: Lab, what: str) -> int:
    """Do to php-fpm what the word says; return the master that it was done to."""
    master = lab.running()
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


def scene(lab: Lab, what: str, *addresses: str) -> dict[str, int]:
    """Let clients ask while it happens; return how many failed, by error."""
    before = settled(lab)
    ready = lab.fpm_log().read_text().count("ready to handle connections")
    with Load(addresses, clients=CLIENTS) as load:
        wait_until(lambda: lab.running() == before, "the clients' first requests")
        act(lab, what)
        if what != "USR2":
            renewed(lab, before)
        wait_until(
            lambda: lab.fpm_log().read_text().count("ready to handle connections") > ready,
            "php-fpm to be ready",
        )
        wait_until(lambda: all("pong" in ask(address) for address in addresses), "an answer")
        for _ in range(AFTERWARDS):
            assert all("pong" in ask(address) for address in addresses)
    assert load.report.requests >= CLIENTS
    return dict(load.report.failures)


def check(what: str, failures: dict[str, int], *, unix: bool) -> None:
    """Fail where more went wrong than can be helped."""
    allowed = dict(failures)
    if unix and what in UNLINKING:
        print(what, "requests without a file:", allowed.pop("FileNotFoundError", 0))  # noqa: T201
    if what in {"TERM", "OOM"}:  # requests that were being answered are cut, at most one a client
        cut = sum(allowed.pop(name, 0) for name in CUT)
        assert cut <= CLIENTS, failures
    assert allowed == {}, (what, failures)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_however_the_master_ends(lab: Lab, kind: str) -> None:
    """No request is refused: clients wait in the kernel's queue until the next master serves."""
    unix = kind == "unix"
    address = f"{lab.folder}/w.sock" if unix else f"127.0.0.1:{free_port()}"
    guarded(lab, address)
    lab.start()
    settled(lab, held=1)
    not_held = said(lab).count("are not held")  # a start while the listener starts may say so
    for what in ("QUIT", "KILL", "restart", "USR2", "SEGV", "TERM", "OOM"):
        check(what, scene(lab, what, address), unix=unix)

    assert lab.metric("fpm_listener_held_sockets") == 1
    assert said(lab).count("are not held") == not_held
    if unix:
        assert stat.S_IMODE(Path(address).stat().st_mode) == 0o660


def test_every_kind_of_address_at_once(lab: Lab) -> None:
    """A bare port, IPv6, a host's name and a unix socket, in four pools."""
    ports = [free_port() for _ in range(3)]
    listens = (str(ports[0]), f"[::1]:{ports[1]}", f"localhost:{ports[2]}", f"{lab.folder}/w.sock")
    guarded(lab, *listens)
    lab.start()
    settled(lab, held=4)
    asked = (
        f"127.0.0.1:{ports[0]}",
        f"[::1]:{ports[1]}",
        f"127.0.0.1:{ports[2]}",
        f"{lab.folder}/w.sock",
    )
    for what in ("QUIT", "KILL", "restart"):
        check(what, scene(lab, what, *asked), unix=True)
    assert "pong" in ask(f"[::1]:{ports[0]}")


def test_without_a_hold(lab: Lab) -> None:
    """The guard alone ends the orphans of a killed master, and a new one serves."""
    address = f"127.0.0.1:{free_port()}"
    guarded(lab, address, hold=False, startsecs="3")
    lab.start()
    before = settled(lab, held=0)
    orphans = children(before)
    kill(before)
    renewed(lab, before)

    wait_until(lambda: not set(orphans) & set(lab.workers()), "the orphans to end")
    wait_until(lambda: "pong" in ping(address), "an answer")
    assert " signal=SIGQUIT] " in said(lab)


def test_without_the_listener(lab: Lab) -> None:
    """php-fpm starts as if there were no hold, and is held again from its next start on."""
    address = f"127.0.0.1:{free_port()}"
    guarded(lab, address)
    lab.start()
    settled(lab, held=1)
    lab.ctl("stop", "fpm-listener")
    for what in ("QUIT", "KILL"):
        before = act(lab, what)
        renewed(lab, before)
        wait_until(lambda: "pong" in ping(address), "an answer")
        settled(lab)
    assert "listening sockets are not held: cannot reach the listener" in said(lab)

    lab.ctl("start", "fpm-listener")
    wait_until(lab.is_ready, "the listener")
    assert "started" in lab.ctl("restart", "php-fpm")
    settled(lab, held=1)


def test_the_listener_is_killed(lab: Lab) -> None:
    """Its next life takes nothing over and leaves nothing behind; php-fpm goes on."""
    address = f"{lab.folder}/w.sock"
    guarded(lab, address)
    lab.start()
    master = settled(lab, held=1)
    kill(lab.listener_pid())
    wait_until(
        lambda: lab.is_ready() and lab.metric("fpm_listener_held_sockets") == 0, "the next listener"
    )

    assert "pong" in ask(address)
    assert lab.master() == master
    assert "started" in lab.ctl("restart", "php-fpm")
    settled(lab, held=1)
    check("QUIT", scene(lab, "QUIT", address), unix=True)


def refused(address: str) -> bool:
    """Return whether clients are turned away, as they should be where nobody is."""
    with socket.socket(socket.AF_UNIX if "/" in address else socket.AF_INET) as client:
        client.settimeout(1)
        host, _, port = address.rpartition(":")
        try:
            client.connect(address if "/" in address else (host, int(port)))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
    return False


def test_a_stop_lets_go(lab: Lab) -> None:
    """For a while clients wait, since it could be a restart; then they are refused."""
    tcp, unix = f"127.0.0.1:{free_port()}", f"{lab.folder}/w.sock"
    guarded(lab, tcp, unix)
    lab.settings["hold_linger"] = "3s"
    lab.start()
    settled(lab, held=2)
    second = lab.folder / ".w.sock.held-by-fpm-listener"
    assert second.is_socket()
    assert "stopped" in lab.ctl("stop", "php-fpm")
    assert not refused(tcp)
    assert not refused(unix)

    wait_until(lambda: refused(tcp) and refused(unix), "both to be let go")
    assert not Path(unix).exists()
    assert not second.exists()
    assert lab.metric("fpm_listener_held_sockets") == 0
    assert "started" in lab.ctl("start", "php-fpm")
    settled(lab, held=2)
    assert "pong" in ask(tcp)
    assert "pong" in ask(unix)


def test_fatal_lets_go(lab: Lab) -> None:
    """Where supervisord gave up, nobody will ever accept: clients are refused."""
    address = f"127.0.0.1:{free_port()}"
    conf = guarded(lab, address, startretries="1")
    lab.settings["hold_linger"] = "60s"
    lab.start()
    settled(lab, held=1)
    conf.write_text("[global]\nnonsense = 1\n" + conf.read_text())
    lab.ctl("restart", "php-fpm")
    wait_until(lambda: "FATAL" in lab.ctl("status", "php-fpm"), "FATAL")

    wait_until(lambda: refused(address), "it to be let go")
    assert "unknown entry 'nonsense'" in said(lab)  # php-fpm's own words


def test_the_configuration_changes(lab: Lab) -> None:
    """The next start has what is written now; what left the configuration is let go."""
    old, unix = f"127.0.0.1:{free_port()}", f"{lab.folder}/w.sock"
    new = f"127.0.0.1:{free_port()}"
    conf = guarded(lab, old, unix)
    lab.start()
    settled(lab, held=2)
    text = conf.read_text().replace(f"listen = {old}", f"listen = {new}")
    extra = f"listen = {unix}\nlisten.mode = 0600\nlisten.backlog = 7"
    conf.write_text(text.replace(f"listen = {unix}", extra))
    assert "started" in lab.ctl("restart", "php-fpm")
    settled(lab, held=2)

    assert refused(old)
    assert "pong" in ask(new)
    assert "pong" in ask(unix)
    assert stat.S_IMODE(Path(unix).stat().st_mode) == 0o600


def test_a_slow_request_is_finished(lab: Lab) -> None:
    """One that is being answered outlives QUIT, while new ones wait for the next master."""
    address = f"127.0.0.1:{free_port()}"
    guarded(lab, address)
    go = lab.folder / "go"
    script = lab.folder / "slow.php"
    script.write_text(
        f"<?php $end = microtime(true) + 20; while (!file_exists('{go}')"
        " && microtime(true) < $end) { clearstatcache(); } echo 'finished';",
    )
    lab.start()
    before = settled(lab, held=1)
    answer: list[str] = []

    def slow() -> None:
        answer.append(ask(address, str(script), str(script), timeout_s=30))

    client = threading.Thread(target=slow)
    client.start()
    wait_until(lambda: any(busy(worker) for worker in children(before)), "the script to run")
    kill(before, signal.SIGQUIT)
    wait_until(lambda: "Finishing" in lab.fpm_log().read_text(), "a second request to wait")
    go.touch()
    client.join(30)
    renewed(lab, before)

    assert "finished" in answer[0]
    assert "pong" in ask(address)


def busy(pid: int) -> bool:
    """Return whether a process computes."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return int(state[11]) + int(state[12]) > 3


@pytest.mark.parametrize("kind", ["daemonized", "foreign"])
def test_a_rival_is_named_and_left_alone(lab: Lab, kind: str) -> None:
    """The incident says who has the port; php-fpm comes up when the rival has gone."""
    address = f"127.0.0.1:{free_port()}"
    conf = guarded(lab, address)
    if kind == "daemonized":
        pid_file = lab.folder / "rival.pid"
        lab.stray(php_fpm(), "-D", "-y", str(conf), "-g", str(pid_file)).wait()
        wait_until(lambda: "pong" in ping(address), "the rival to serve")
        rival = int(pid_file.read_text())
    else:
        port = address.rpartition(":")[2]
        rival = lab.stray(sys.executable, "-m", "http.server", "-b", "127.0.0.1", port).pid
        wait_until(lambda: not refused(address), "the rival to listen")
    lab.start()
    heard = wait_until(
        lambda: next(
            (
                a
                for a in lab.webhook.alerts("firing")
                if a["annotations"]["cause"] == "bind_conflict"
            ),
            None,
        ),
        "the alert",
    )

    assert f"pid {rival}" in heard["annotations"]["holder"]
    assert str(rival) in heard["annotations"]["remedy"]
    assert f"[bind_conflict address={address} pid={rival}]" in said(lab)
    assert ("it runs this configuration" in said(lab)) == (kind == "daemonized")
    assert "[orphan_signalled " not in said(lab)
    assert procfs.read_stat(rival) is not None
    kill(rival, signal.SIGQUIT if kind == "daemonized" else signal.SIGTERM)
    settled(lab, held=1)
    assert "pong" in ask(address)


@pytest.fixture
def rpc(lab: Lab) -> Iterator[xmlrpc.client.ServerProxy]:
    """Return supervisord's XML-RPC, over one connection."""
    transport = SupervisorTransport(None, None, f"unix://{lab.folder}/s.sock")
    yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport)
    transport.close()


def test_many_restarts_leave_nothing(lab: Lab, rpc: xmlrpc.client.ServerProxy) -> None:
    """After 200 restarts there are as many descriptors, threads and workers as after the third."""
    tcp, unix = f"127.0.0.1:{free_port()}", f"{lab.folder}/w.sock"
    guarded(lab, tcp, unix, startsecs="0")
    lab.start()
    settled(lab, held=2)
    listener = Path(f"/proc/{lab.listener_pid()}")

    def restart(times: int) -> tuple[int, int]:
        for _ in range(times):
            rpc.supervisor.stopProcess("php-fpm")
            rpc.supervisor.startProcess("php-fpm")
            wait_until(lambda: "pong" in ask(tcp, timeout_s=30), "an answer")
        assert "pong" in ask(unix)
        wait_until(lambda: lab.metric("fpm_listener_held_sockets") == 2, "both to be held")
        return len(list((listener / "fd").iterdir())), len(list((listener / "task").iterdir()))

    def links() -> list[str]:
        return [str(entry.readlink()) for entry in (listener / "fd").iterdir()]

    _, threads = restart(3)
    # It follows the log, and waits for the master's end, from a moment later on.
    wait_until(lambda: str(lab.fpm_log()) in links(), "the log to be followed")
    wait_until(lambda: "anon_inode:[pidfd]" in links(), "the master to be watched")
    descriptors = len(list((listener / "fd").iterdir()))
    _, later_threads = restart(200)

    # A scrape, a child that reads configurations, or a log's rotation may be under way.
    wait_until(
        lambda: len(list((listener / "fd").iterdir())) <= descriptors + 2,
        "as few descriptors as before",
    )
    assert later_threads <= threads + 2
    assert len(children(lab.running())) == 4  # two workers a pool
    zombies = [one for one in children_of_all(lab.supervisord_pid) if one.has_ended]
    assert len(zombies) <= 1
    names = sorted(path.name for path in lab.folder.glob("*.sock*"))
    assert names == [".w.sock.held-by-fpm-listener", "s.sock", "w.sock"]


def children_of_all(pid: int) -> list[procfs.ProcessStat]:
    """Return the children of a process, those included that nobody has waited for."""
    found = [procfs.read_stat(one) for one in procfs.pids()]
    return [one for one in found if one is not None and one.ppid == pid]


def _counts(lab: Lab, metric: str, count: int) -> bool:
    return lab.metric(metric, "job") == count


@pytest.mark.parametrize("on", [True, False])
def test_fast_restart(lab: Lab, on: bool) -> None:  # noqa: FBT001 - a column
    """supervisord is woken when a process dies, php-fpm or not; or it is left at its own pace."""
    lab.settings["fast_restart"] = str(on).lower()
    # It ends a while after TERM, as php-fpm does: what dies in the moment of its stop can be dead
    # before supervisord's word of the stop has come.
    script = "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.1; done"
    lab.program("job", f'/bin/sh -c "{script}"', autorestart="true", startsecs="1")
    lab.start()
    state, died = "fpm_listener_process_state", "fpm_listener_process_unexpected_exits_total"
    for deaths in (1, 2, 3):
        wait_until(lambda: lab.metric(state, "job", state="RUNNING") == 1, "RUNNING")
        # Not supervisorctl: who asks supervisord wakes it, and it sees the death by itself then.
        kill(lab.pid("job"))
        wait_until(partial(_counts, lab, died, deaths), "the death")
    wait_until(
        lambda: lab.metric("fpm_listener_process_restarts_total", "job") == 3, "the next start"
    )
    assert lab.metrics()["fpm_listener_fast_restart_enabled"] == on
    if on:
        # Of three deaths supervisord may have seen one by itself, at the end of its second.
        wait_until(lambda: "waking supervisord program=job:job" in lab.log(), "the line")
    wait_until(lambda: "RUNNING" in lab.ctl("status", "job"), "RUNNING again")
    woken = lab.log().count("waking supervisord")
    assert (woken > 0) == on
    for word in ("restart", "stop"):  # what the operator does wakes nobody
        lab.ctl(word, "job")
    wait_until(
        lambda: lab.metric("fpm_listener_process_state", "job", state="STOPPED") == 1, "STOPPED"
    )
    assert lab.log().count("waking supervisord") == woken
