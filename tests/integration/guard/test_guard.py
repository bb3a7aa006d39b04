"""The whole guard before a real php-fpm: what it waits for, whom it ends, what it becomes.

Each guard leads a session of its own, as a program of supervisord's does.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from fpm_listener.phpfpm import guard_messages
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.phpfpm.log_parser import classify
from tests import fastcgi_clients
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = TypeVar("Value")

DEADLINE_S = 150.0
USER = "user = www-data\ngroup = www-data\n" if os.geteuid() == 0 else ""
GUARD = (sys.executable, "-m", "fpm_listener", "guard")
SAID = "fpm-listener guard: "
ROOT = Path(__file__).parents[3]
#: Becomes an ordinary user, who may read all files, since Python can be installed in root's home.
AS_NOBODY: tuple[str, ...] = (
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)
if os.geteuid() != 0:
    AS_NOBODY = ()


def php_fpm() -> str:
    found = [
        *([os.environ["PHP_FPM"]] if os.environ.get("PHP_FPM") else []),
        *sorted((str(path) for path in Path("/usr/sbin").glob("php-fpm[0-9]*")), reverse=True),
        *filter(None, [shutil.which("php-fpm")]),
    ]
    assert found, "no php-fpm on this machine: run scripts/setup.sh"
    return found[0]


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


# -- processes -------------------------------------------------------------------------------------


def stat(pid: int) -> list[str]:
    """Return state, parent, group and what else /proc/PID/stat has; [] of who is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except OSError:
        return []


def lives(pid: int) -> bool:
    return stat(pid)[:1] not in ([], ["Z"], ["X"])


def gone(pid: int) -> bool:
    return not lives(pid)


def all_end(pids: list[int]) -> None:
    """Wait until they are gone: a worker that was told to finish first gives up the address."""
    assert pids
    wait_until(lambda: not any(map(lives, pids)), "the orphans to end")


def status(pid: int, *keys: str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines()
    words = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {key: words[key] for key in keys}


def title(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def below(pid: int, at: int) -> list[int]:
    """Return who lives with `pid` as parent (at=1), group (2) or session (3), without itself."""
    found = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return sorted(
        one for one in found if one != pid and lives(one) and stat(one)[at : at + 1] == [str(pid)]
    )


def catches(pid: int, number: int) -> bool:
    return bool(int(status(pid, "SigCgt")["SigCgt"], 16) >> (number - 1) & 1)


def descriptors(pid: int) -> dict[int, tuple[str, str]]:
    """Return what each descriptor is, inodes left out, and its flags."""
    found = {}
    for link in Path(f"/proc/{pid}/fd").iterdir():
        target = re.sub(r"\[\d+\]", "", str(link.readlink()))
        info = Path(f"/proc/{pid}/fdinfo/{link.name}").read_text("ascii")
        found[int(link.name)] = (target, re.findall(r"flags:\s+(\d+)", info)[0])
    return found


# -- the scene -------------------------------------------------------------------------------------


class Run:
    """One process that a test has started, and what it says."""

    def __init__(
        self,
        folder: Path,
        command: tuple[str, ...],
        environment: dict[str, str],
        umask: int,
    ) -> None:
        number = len(list(folder.iterdir()))
        self._out, self._err = folder / f"stdout.{number}", folder / f"stderr.{number}"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                umask=umask,
                cwd="/",
                start_new_session=True,
            )
        self.pid = self._process.pid

    def out(self) -> bytes:
        return self._out.read_bytes()

    def err(self) -> str:
        return self._err.read_text("utf-8", "replace")

    def said(self) -> list[str]:
        """Return what the guard has said."""
        lines = [line for line in self.err().splitlines() if line.startswith(SAID)]
        assert all(map(guard_messages.parse, lines)), lines  # each has a code
        return lines

    def ended(self) -> bool:
        return self._process.poll() is not None

    def exit(self) -> int:
        """Return its exit status when it has ended."""
        try:
            return self._process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running: {title(self.pid)!r}; it said {self.err()!r}")

    def kill(self) -> int:
        """Kill it, and nobody else; return its pid."""
        self._process.kill()
        self._process.wait()
        return self.pid

    def end(self) -> None:
        """End it, and whom it has left in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        wait_until(lambda: not below(self.pid, 2), "its group to end")


class Site:
    """A php-fpm with its configuration, and all that is started around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.conf = folder / "fpm.conf"
        self.log = folder / "log" / "fpm.log"
        self.log.parent.mkdir()
        self.log.parent.chmod(0o777)
        self._said = folder / "said"
        self._said.mkdir()
        self.umask = 0o022
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SUPERVISOR_", "FPM_"))},
            "FPM_LISTENER_STATE_DIR": str(self.state),
        }
        self.runs: list[Run] = []
        self.daemons: list[int] = []

    def configure(self, *listens: str, pool: str = USER) -> None:
        """Write the configuration: a pool with two workers for each address."""
        text = f"[global]\nerror_log = {self.log}\npid = {self.log}.pid\n"
        for number, listen in enumerate(listens):
            text += (
                f"[p{number}]\n{pool}listen = {listen}\nlisten.mode = 0666\npm = static\n"
                "pm.max_children = 2\nping.path = /ping\n"
            )
        self.conf.write_text(text)

    @property
    def command(self) -> tuple[str, ...]:
        return (php_fpm(), "-F", "-y", str(self.conf))

    def run(self, *command: str, **environment: str) -> Run:
        """Run any command."""
        every = {**self.environment, **environment}
        self.runs.append(Run(self._said, command, every, self.umask))
        return self.runs[-1]

    def guard(self, *options: str, **environment: str) -> Run:
        """Run the guard before php-fpm."""
        return self.run(*GUARD, *options, "--", *self.command, **environment)

    def serves(self, run: Run) -> bool:
        """Return whether the process has become php-fpm, and its log says that it is ready."""
        assert not run.ended(), run.err()
        if title(run.pid) != f"php-fpm: master process ({self.conf})":
            return False
        text = self.log.read_text().rpartition(f"fpm is running, pid {run.pid}\n")
        return "ready to handle connections" in text[2] and bool(text[1])

    def started(self, run: Run, workers: int = 2) -> Run:
        """Wait until the process is a php-fpm that serves."""
        wait_until(lambda: self.serves(run), "php-fpm to serve")
        wait_until(
            lambda: sum("pool" in title(p) for p in below(run.pid, 1)) == workers, "its workers"
        )
        return run

    def orphans(self, address: str, *, recorded: bool = True) -> list[int]:
        """Let a php-fpm be killed; return the workers that it leaves."""
        self.configure(address)
        first = self.started(self.guard() if recorded else self.run(*self.command))
        left = below(first.kill(), 2)
        assert len(left) == 2
        return left

    def daemonize(self) -> int:
        """Start a php-fpm that goes to the background; return its pid."""
        pid_file = Path(f"{self.log}.pid")
        assert self.run(php_fpm(), "-D", "-y", str(self.conf)).exit() == 0
        text = wait_until(lambda: pid_file.read_text() if pid_file.exists() else "", "the pid file")
        self.daemons.append(int(text))
        return self.daemons[-1]

    def listen(self, address: str) -> Run:
        """Run somebody else who listens there."""
        run = self.run(sys.executable, "-c", LISTEN, address)
        wait_until(run.out, "the other one")
        return run

    def end(self) -> None:
        """End everything."""
        for run in self.runs:
            run.end()
        for pid in self.daemons:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            wait_until(partial(gone, pid), "the daemon to end")


LISTEN = (
    "import socket, sys, time\nhost, port = sys.argv[1].split(':')\n"
    "server = socket.create_server((host, int(port)))\nprint('up', flush=True)\ntime.sleep(1000)"
)


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a site in a short folder: a unix socket's path has 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="gu-"))
    folder.chmod(0o755)
    made = Site(folder)
    try:
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def request(address: str, script: str = "/ping", filename: str = "/ping") -> str:
    """Return php-fpm's answer over FastCGI; an empty text where there is none."""
    try:
        return fastcgi_clients.ask(address, script, filename, DEADLINE_S)
    except OSError:
        return ""


def refusal(run: Run) -> str:
    """Return the one line that says why php-fpm was not started."""
    (line,) = [line for line in run.said() if "php-fpm was not started" in line]
    return line


def signals(line: str) -> str | None:
    """Return the signal that a message says was sent."""
    message = guard_messages.parse(line)
    assert message is not None
    return message.fields.get("signal")


def fact(line: str) -> tuple[FactKind, str | None] | None:
    found = classify(line)
    return (found.kind, found.address) if found else None


# -- nothing in the way ----------------------------------------------------------------------------


@pytest.mark.parametrize("unix", [False, True])
def test_a_free_address(site: Site, unix: bool) -> None:  # noqa: FBT001 - a column
    """The guard becomes php-fpm under its own pid, and is as if it had never been there."""
    address = f"{site.folder}/w.sock" if unix else free_address()
    site.configure(address)
    plain = site.started(site.run(*site.command))
    keys = ("SigIgn", "SigBlk", "SigCgt", "Umask", "NoNewPrivs", "CapEff")
    expected = (descriptors(plain.pid), status(plain.pid, *keys))
    limits = Path(f"/proc/{plain.pid}/limits").read_text("ascii")
    plain.end()
    site.started(site.guard()).end()
    guarded = site.started(site.guard())  # knows what the first one has found out

    assert "pong" in request(address)
    assert title(guarded.pid) == f"php-fpm: master process ({site.conf})"
    assert os.path.realpath(f"/proc/{guarded.pid}/exe") == os.path.realpath(php_fpm())
    assert [title(pid) for pid in below(guarded.pid, 1)] == ["php-fpm: pool p0"] * 2
    assert below(guarded.pid, 3) == below(guarded.pid, 2) == below(guarded.pid, 1)
    assert normal(descriptors(guarded.pid)) == normal(expected[0])
    assert status(guarded.pid, *keys) == expected[1]
    assert Path(f"/proc/{guarded.pid}/limits").read_text("ascii") == limits
    assert guarded.said() == []


def normal(found: dict[int, tuple[str, str]]) -> dict[int, tuple[str, str]]:
    """Return descriptors without the numbers that tell runs apart."""
    return {
        fd: (re.sub(r"(/std(out|err)|ZendSem)\.\w+", r"\1", what), flags)
        for fd, (what, flags) in found.items()
    }


def test_several_pools(site: Site) -> None:
    """All their addresses are looked at, and all are served."""
    addresses = [free_address(), f"{site.folder}/w.sock", free_address()]
    site.configure(*addresses)
    guarded = site.started(site.guard(), workers=6)

    assert all("pong" in request(address) for address in addresses)
    assert guarded.said() == []


#: A php-fpm that tells how it was started.
FAKE = """#!/bin/sh
printf '%s\\n' "$0" "$@"
umask
grep -E '^Sig(Ign|Blk):|^Groups|^Cap' /proc/self/status
cat /proc/$$/limits
readlink /proc/$$/cwd
for fd in /proc/$$/fd/[0-9]*; do
    [ "${fd##*/}" -gt 9 ] || [ ! -e "$fd" ] || echo "${fd##*/}"
done
cat /proc/$$/environ
"""


def fake(site: Site) -> str:
    path = site.folder / "php-fpm"
    path.write_text(FAKE)
    path.chmod(0o755)
    return str(path)


LOCALES: dict[str, dict[str, str]] = {
    "as it is": {},
    "C": {"LC_ALL": "C"},
    "POSIX": {"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"},
    "C.UTF-8": {"LANG": "C.UTF-8"},
    "unknown": {"LANG": "xx_XX.UTF-8"},
}


@pytest.mark.parametrize("locale", LOCALES.values(), ids=LOCALES)
@pytest.mark.parametrize("umask", [0o022, 0o027])
def test_how_php_fpm_is_started(site: Site, locale: dict[str, str], umask: int) -> None:
    """Arguments, umask, signals, limits, folder, descriptors, environment: to the byte as given.

    Python adds LC_CTYPE to its own environment in the C locale.
    """
    site.configure(free_address())
    site.umask = umask
    site.environment = {
        **{k: v for k, v in site.environment.items() if k != "LANG" and not k.startswith("LC_")},
        **locale,
        "EMPTY": "",
        "STRANGE": "a=b\n\udcff\xe4 ;",
        "FPM_SOCKETSX": "kept",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = (fake(site), "-F", "-y", str(site.conf), "-d", "x=a b", "")
    plain = site.run(*command)
    assert (plain.exit(), plain.err()) == (0, "")
    for _ in range(2):  # the second one knows what the first one has found out
        guarded = site.run(*GUARD, "--", *command)
        assert (guarded.exit(), guarded.err()) == (0, "")
        assert guarded.out() == plain.out()
    assert b"\0STRANGE=a=b\n\xff\xc3\xa4 ;\0" in plain.out()


def test_sockets_of_somebody_else(site: Site) -> None:
    """php-fpm would believe FPM_SOCKETS without a look: it is taken out of the environment."""
    site.configure(free_address())
    kept = {"FPM_SOCKETSX": "1", "FPM_SOCKET": "2", "MY_FPM_SOCKETS": "3"}
    gone = {"FPM_SOCKETS": "127.0.0.1:9000=7", "FPM_SOCKETS_1": "/x=8", "FPM_SOCKETS_2": ""}
    command = (fake(site), "-F", "-y", str(site.conf))
    plain = site.run(*command, **kept)
    assert plain.exit() == 0
    for _ in range(2):  # the second one knows what the first one has found out
        guarded = site.run(*GUARD, "--", *command, **kept, **gone)
        assert (guarded.exit(), guarded.err()) == (0, "")
        assert sorted(guarded.out().split(b"\0")) == sorted(plain.out().split(b"\0"))


def test_sockets_that_are_not_there(site: Site) -> None:
    """A real php-fpm is not led astray by them."""
    address = free_address()
    site.configure(address)
    site.started(site.guard(FPM_SOCKETS=f"{address}=0", FPM_SOCKETS_1=f"{address}=77"))

    assert "pong" in request(address)
    assert "inherited socket" not in site.log.read_text()


#: Modules that would make every start slower.
HEAVY = {
    *("requests", "urllib3", "prometheus_client", "sqlite3", "supervisor", "xmlrpc", "ssl"),
    *("logging", "argparse", "http", "threading", "configparser", "subprocess", "traceback"),
    *("dataclasses", "inspect", "json", "socket", "pathlib", "ipaddress", "signal", "shlex"),
}
#: Packages that the guard may use; the tool's own `__main__` is none of them.
LIGHT = {"guard", "host", "phpfpm", "supervisor"}


def imported(site: Site, *words: str) -> tuple[set[str], Run]:
    """Return the modules that a guard loads."""
    command = (*GUARD[1:], *words, "--", fake(site), "-F", "-y", str(site.conf))
    run = site.run(sys.executable, "-X", "importtime", *command)
    run.exit()
    return set(re.findall(r"^import time:.*\| +(\S+)$", run.err(), re.MULTILINE)), run


def own(loaded: set[str]) -> set[str]:
    """Return our modules, without the name of the package and without the base modules."""
    names = {name.removeprefix("fpm_listener.") for name in loaded if "fpm_listener." in name}
    return {name for name in names if "." in name}


def test_little_is_imported(site: Site) -> None:
    """A start on a free address loads the modules that it needs, and no heavy one."""
    site.configure(free_address())
    loaded, run = imported(site)

    assert run.exit() == 0, run.err()
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert {name.partition(".")[0] for name in own(loaded)} == LIGHT
    assert "select" not in loaded
    assert own(loaded) == {
        *(f"guard.{name}" for name in ("address_wait", "bind", "fast_start", "guard", "options")),
        *("guard.handover_channel", "guard.handover_client", "guard.handover_messages"),
        *("guard.held_start", "guard.orphan_ender", "guard.orphans", "guard.refusal"),
        *("guard.socket_rights", "guard.start_deadline"),
        *("host.addresses", "host.exec", "host.procfs", "host.state_directory"),
        "host.unix_connection",
        *("phpfpm.command_line", "phpfpm.config", "phpfpm.config_files", "phpfpm.config_reader"),
        *("phpfpm.guard_command", "phpfpm.guard_messages", "phpfpm.ini_values"),
        *("phpfpm.inherited_sockets", "phpfpm.listen_sockets", "phpfpm.wrappers"),
        "supervisor.process",
    }


def test_little_is_imported_for_a_refusal(site: Site) -> None:
    """Under load each import delays the refusal, and supervisord must see it before startsecs."""
    address = free_address()
    site.configure(address)
    site.listen(address)
    loaded, run = imported(site, "--wait", "0")

    assert run.exit() == 75, run.err()
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert {name.partition(".")[0] for name in own(loaded)} == LIGHT
    assert "fpm_listener.host.holder_search" in loaded


# -- orphans ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("unix", [False, True])
def test_orphans_of_the_previous_run(site: Site, unix: bool) -> None:  # noqa: FBT001 - a column
    """They are told to finish, each once and by name, and php-fpm starts when they have."""
    address = f"{site.folder}/w.sock" if unix else free_address()
    left = site.orphans(address)
    second = site.started(site.guard("--wait", "30s"))

    all_end(left)
    assert "pong" in request(address)
    assert second.said() == [
        f"{SAID}[orphan_signalled pid={pid} signal=SIGQUIT]"
        f" sent SIGQUIT to pid {pid}, an orphan of this program"
        for pid in left
    ]


def test_orphans_of_several_pools(site: Site) -> None:
    """Each pool has its own orphans; all are gone before php-fpm starts."""
    addresses = [free_address(), f"{site.folder}/w.sock"]
    site.configure(*addresses)
    master = site.started(site.guard(), workers=4).kill()
    left = below(master, 2)
    second = site.started(site.guard("--wait", "30s"), workers=4)

    assert len(left) == 4
    all_end(left)
    assert all("pong" in request(address) for address in addresses)
    assert len(second.said()) == 4


def test_orphans_of_an_earlier_run(site: Site) -> None:
    """A start that failed in between does not make them strangers."""
    left = site.orphans(free_address())
    assert site.guard("--orphans", "report", "--wait", "0").exit() == 75
    site.started(site.guard("--wait", "30s"))

    all_end(left)


def test_a_program_of_supervisords(site: Site) -> None:
    """Its name is what ties its lives together; another program's orphans are another's."""
    one = {"SUPERVISOR_GROUP_NAME": "web", "SUPERVISOR_PROCESS_NAME": "php-fpm_00"}
    address = free_address()
    site.configure(address)
    master = site.started(site.guard(**one)).kill()
    left = below(master, 2)
    other = site.guard("--wait", "300ms", **{**one, "SUPERVISOR_PROCESS_NAME": "php-fpm_01"})

    assert other.exit() == 75
    assert fact(refusal(other)) == (FactKind.BIND_CONFLICT, address)
    assert all(map(lives, left))
    third = site.guard("--wait", "30s", **one)  # startsecs is unknown: half a second at most
    all_end(left)
    wait_until(
        lambda: third.ended() or "master" in title(third.pid), "it to end or to become php-fpm"
    )
    site.started(site.guard(**one) if third.ended() else third)


def test_orphans_are_reported(site: Site) -> None:
    """On demand nobody is signalled: they are named, with what ends them, and php-fpm stays out."""
    address = free_address()
    left = site.orphans(address)
    second = site.guard("--orphans", "report", "--wait", "300ms")

    assert second.exit() == 75
    line = refusal(second)
    assert second.said() == [line]
    assert fact(line) == (FactKind.BIND_CONFLICT, address)
    assert f"[bind_conflict address={address} pid={left[0]}] {address} is in use by" in line
    assert f" by pid {left[0]} and 1 more (php-fpm: pool p0, user " in line
    assert f", orphan of the dead master {site.runs[0].pid})" in line
    assert "php-fpm was not started (exit 75)." in line
    assert line.endswith(f"kill -QUIT -{site.runs[0].pid}")
    assert all(map(lives, left))
    assert "pong" in request(address)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user has no such capability anyway")
def test_orphans_in_a_container(site: Site) -> None:
    """Without CAP_SYS_PTRACE, which docker gives to nobody, record and process group must do."""
    address = free_address()
    left = site.orphans(address)
    confined = ("setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace")
    second = site.started(site.run(*confined, *GUARD, "--wait", "30s", "--", *site.command))

    all_end(left)
    assert "pong" in request(address)
    assert len(second.said()) == 2


def test_orphans_of_others(site: Site) -> None:
    """Where no guard has recorded their master, nothing proves that they are ours."""
    address = free_address()
    left = site.orphans(address, recorded=False)
    run = site.guard("--wait", "300ms")

    assert run.exit() == 75
    assert run.said() == [refusal(run)]
    assert fact(refusal(run)) == (FactKind.BIND_CONFLICT, address)
    assert refusal(run).endswith(f"kill -QUIT -{site.runs[0].pid}")
    assert all(map(lives, left))
    assert "pong" in request(address)


def test_an_orphan_finishes_its_request(site: Site) -> None:
    """Who is told to finish gives up the address, for php-fpm to start, and answers its client.

    The script computes, since sleep() would be cut short by the signal.
    """
    address = free_address()
    begun, told = site.folder / "log" / "begun", site.folder / "log" / "told"
    script = site.folder / "long.php"
    script.write_text(
        f"<?php touch('{begun}');\ndo {{\n"
        "$end = microtime(true) + 0.5; while (microtime(true) < $end); clearstatcache();\n"
        f"}} while (!file_exists('{told}'));\necho 'finished';\n",
    )
    site.configure(address)
    first = site.started(site.guard())
    answers: list[str] = []
    client = threading.Thread(
        target=lambda: answers.append(request(address, "/long.php", str(script))),
    )
    client.start()
    try:
        wait_until(begun.exists, "the request to begin")
        left = below(first.kill(), 2)
        second = site.started(site.guard("--wait", "30s"))
        wait_until(lambda: sum(map(lives, left)) == 1, "the idle one to end")
        assert "pong" in request(address)
        assert answers == []
    finally:
        told.touch()
        client.join()

    assert ["finished" in answer for answer in answers] == [True]
    all_end(left)
    assert [signals(line) for line in second.said()] == ["SIGQUIT"] * 2


def test_an_orphan_that_does_not_finish(site: Site) -> None:
    """It is told more and more strongly, and in the end it is killed."""
    left = site.orphans(free_address())
    for pid in left:
        os.kill(pid, signal.SIGSTOP)  # only SIGKILL reaches it
    second = site.guard("--wait", "3s")
    wait_until(
        lambda: [signals(one) for one in second.said()].count("SIGKILL") == 2, "SIGKILL for both"
    )
    all_end(left)

    for pid in left:
        words = [signals(line) for line in second.said() if f" pid={pid} " in line]
        assert words == ["SIGQUIT", "SIGTERM", "SIGKILL"]


# -- rivals ----------------------------------------------------------------------------------------


def test_somebody_else(site: Site) -> None:
    """Who is not php-fpm is named, never signalled."""
    address = free_address()
    site.configure(address)
    other = site.listen(address)
    run = site.guard("--wait", "300ms")

    assert run.exit() == 75
    line = refusal(run)
    assert run.said() == [line]
    assert fact(line) == (FactKind.BIND_CONFLICT, address)
    assert f"{address} is in use by pid {other.pid} ({sys.executable} -c import socket" in line
    assert re.search(r"; waited [0-9.]+ m?s; php-fpm was not started \(exit 75\)\. ", line)
    assert line.endswith(f"Stop it (kill {other.pid}), or use another address")
    assert not other.ended()
    assert not catches(other.pid, signal.SIGTERM)  # a signal would have ended it


def test_a_daemonized_php_fpm_of_the_same_configuration(site: Site) -> None:
    """It is said to be that, and goes on serving."""
    address = free_address()
    site.configure(address)
    rival = site.daemonize()
    run = site.guard("--wait", "300ms")

    assert run.exit() == 75
    line = refusal(run)
    assert run.said() == [line]
    assert fact(line) == (FactKind.BIND_CONFLICT, address)
    assert f"in use by pid {rival} and 2 more (php-fpm: master process ({site.conf})" in line
    assert "another running php-fpm" in line
    assert "it runs this very configuration, in the background (no -F" in line
    assert f"kill -QUIT {rival}" in line
    assert lives(rival)
    assert len(below(rival, 1)) == 2
    assert "pong" in request(address)
    assert "fpm is running" in site.log.read_text()
    assert site.log.read_text().count("fpm is running") == 1
    assert not re.search("Finishing|Terminating|exited", site.log.read_text())


def test_a_php_fpm_of_another_configuration(site: Site) -> None:
    """It is another one that lives, and that is all."""
    address = free_address()
    site.configure(address)
    rival = site.daemonize()
    site.conf = site.folder / "other.conf"
    site.configure(address)
    run = site.guard("--wait", "300ms")

    assert run.exit() == 75
    assert "another running php-fpm" in refusal(run)
    assert "this very configuration" not in refusal(run)
    assert lives(rival)
    assert "pong" in request(address)


def test_a_running_php_fpm_of_the_same_program(site: Site) -> None:
    """A supervisord that was killed leaves it: its successor says so, and does not touch it."""
    address = free_address()
    site.configure(address)
    first = site.started(site.guard())
    second = site.guard("--wait", "300ms")

    assert second.exit() == 75
    line = refusal(second)
    assert fact(line) == (FactKind.BIND_CONFLICT, address)
    assert "it is this program's own php-fpm, which an earlier supervisord left running" in line
    assert line.endswith(f"kill -QUIT {first.pid}")
    assert site.serves(first)
    assert len(below(first.pid, 1)) == 2
    assert "pong" in request(address)


def test_the_second_address_is_taken(site: Site) -> None:
    """It is the one that is named, and the first one is left alone."""
    free, taken = free_address(), free_address()
    site.configure(free, taken)
    site.listen(taken)
    run = site.guard("--wait", "300ms")

    assert run.exit() == 75
    assert fact(refusal(run)) == (FactKind.BIND_CONFLICT, taken)
    assert request(free) == ""


# -- the wait --------------------------------------------------------------------------------------


def waits(run: Run) -> bool:
    """Return whether the guard waits: it then listens to supervisord's signals."""
    assert not run.ended(), run.err()
    return catches(run.pid, signal.SIGTERM) and title(run.pid).startswith(sys.executable)


@pytest.mark.parametrize("unix", [False, True])
def test_a_holder_that_ends(site: Site, unix: bool) -> None:  # noqa: FBT001 - a column
    """php-fpm starts as soon as it has ended, long before the wait is over; nothing is said."""
    address = f"{site.folder}/w.sock" if unix else free_address()
    site.configure(address)
    other = site.daemonize() if unix else site.listen(address).pid
    run = site.guard("--wait", "10m")
    wait_until(lambda: waits(run), "the guard to wait")
    os.kill(other, signal.SIGTERM)
    site.started(run)

    assert "pong" in request(address)
    assert run.said() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT])
def test_a_stop_ends_the_wait(site: Site, number: signal.Signals) -> None:
    """It ends at once and in order: no core dump, no traceback, no php-fpm."""
    address = free_address()
    site.configure(address)
    site.listen(address)
    run = site.guard("--wait", "10m")
    wait_until(lambda: waits(run), "the guard to wait")
    os.kill(run.pid, number)

    assert run.exit() == 0
    assert run.err() == ""
    assert not site.log.exists()
    assert not site.state.exists()


def test_no_wait(site: Site) -> None:
    """With --wait 0 the answer comes after one look."""
    address = free_address()
    site.configure(address)
    site.listen(address)
    run = site.guard("--wait", "0")

    assert run.exit() == 75
    assert fact(refusal(run)) == (FactKind.BIND_CONFLICT, address)


# -- what waiting does not cure --------------------------------------------------------------------


def test_a_folder_that_is_missing(site: Site) -> None:
    """The guard does not wait for it, and ends as php-fpm itself does, with the reason."""
    address = f"{site.folder}/none/w.sock"
    site.configure(address)
    run = site.guard("--wait", "10m")

    assert run.exit() == 78
    assert run.said() == [refusal(run)]
    assert refusal(run) == (
        f"{SAID}[missing_path address={address}] cannot listen on {address}:"
        f" its directory {site.folder}/none does not exist; php-fpm was not started (exit 78)"
    )
    assert fact(refusal(run)) == (FactKind.MISSING_PATH, address)
    assert site.run(*site.command).exit() == 78


def test_an_address_that_is_on_no_interface(site: Site) -> None:
    """It may come: the guard waits for it, and says that it is absent."""
    address = f"203.0.113.9:{free_port()}"
    site.configure(address)
    run = site.guard("--wait", "300ms")

    assert run.exit() == 75
    assert f"{address} is unavailable: Cannot assign requested address; waited " in refusal(run)
    assert fact(refusal(run)) == (FactKind.ADDRESS_ABSENT, address)


def test_a_folder_that_may_not_be_written_to(site: Site) -> None:
    """An ordinary user is told so at once."""
    address = f"{site.folder}/w.sock"
    site.configure(address, pool="")
    site.folder.chmod(0o555)
    try:
        run = site.run(*AS_NOBODY, *GUARD, "--wait", "10m", "--", *site.command)
        assert run.exit() == 78
    finally:
        site.folder.chmod(0o755)

    assert refusal(run) == (
        f"{SAID}[permission address={address}] cannot listen on {address}:"
        f" its directory {site.folder} is not writable; php-fpm was not started (exit 78)"
    )
    assert fact(refusal(run)) == (FactKind.PERMISSION, address)


# -- what is php-fpm's own affair ------------------------------------------------------------------


def plain(text: str) -> list[str]:
    """Return lines without what differs from one run to the next, and without the guard's."""
    text = re.sub(r"\[\d\d-\w{3}-\d{4} \d\d:\d\d:\d\d\]", "[stamp]", text)
    lines = re.sub(r"(REQUEST_TIME\S* => ).*", r"\1", text).splitlines()
    return [line for line in lines if not line.startswith(SAID)]


@pytest.mark.parametrize("word", ["-t", "-tt", "-v", "-i", "-m", "-h"])
def test_what_does_not_serve(site: Site, word: str) -> None:
    """php-fpm only tells something: its own words and status, at once, whoever has the address."""
    address = free_address()
    site.configure(address)
    site.listen(address)
    command = (php_fpm(), word, "-y", str(site.conf))
    own = site.run(*command)
    guarded = site.run(*GUARD, "--wait", "10m", "--", *command)

    assert guarded.exit() == own.exit() == 0
    assert plain(guarded.out().decode()) == plain(own.out().decode())
    assert plain(guarded.err()) == plain(own.err())
    assert guarded.out() or guarded.err()
    assert guarded.said() == []
    assert not site.state.exists()


BROKEN = {
    "no key": "this is nothing\n",
    "unknown key": "[p]\nlisten = 127.0.0.1:{port}\nno_such_key = 1\n",
    "no pool": "[global]\n",
    "no listen": "[p]\npm = static\npm.max_children = 1\n",
    "an address that is none": "[p]\nlisten = unix:/x\npm = static\npm.max_children = 1\n",
    "an include of nothing": "include = /nonexistent/*.conf\n",
    "bytes": "\udcff\udcfe[\n",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_broken_configuration(site: Site, text: str) -> None:
    """php-fpm says it in its own words, and ends with its own status."""
    text = text.format(port=free_port())
    site.conf.write_text(
        text.replace("[p]\n", f"[p]\n{USER}"), encoding="utf-8", errors="surrogateescape"
    )
    own = site.run(*site.command)
    guarded = site.guard("--wait", "10m")

    assert guarded.exit() == own.exit() == 78
    assert plain(guarded.err()) == plain(own.err())
    assert any("ERROR" in line or "ALERT" in line for line in plain(own.err()))
    assert "Traceback" not in guarded.err()
    assert [fact(line) for line in guarded.said()] == [None] * len(guarded.said())


def test_a_configuration_that_is_missing(site: Site) -> None:
    """The guard says what it did not find; php-fpm says it too, and ends with its own status."""
    own, guarded = site.run(*site.command), site.guard("--wait", "10m")

    assert guarded.exit() == own.exit() == 78
    assert plain(guarded.err()) == plain(own.err())
    assert f"{site.conf}: cannot be read: No such file or directory" in guarded.said()[0]


def test_a_command_that_is_no_php_fpm(site: Site) -> None:
    """It is started as it stands, and that is said."""
    run = site.run(*GUARD, "--", "sh", "-c", "echo $0 $1; exit 7", "a", "b")

    assert run.exit() == 7
    assert run.out() == b"a b\n"
    assert run.said() == [
        f"{SAID}[not_php_fpm program=sh] 'sh' is not php-fpm; it is started without a check"
    ]


def test_a_php_fpm_that_is_found_on_the_path(site: Site) -> None:
    """Its name alone is looked up as a shell does."""
    address = free_address()
    site.configure(address)
    programs = site.folder / "bin"
    programs.mkdir()
    (programs / "php-fpm").symlink_to(php_fpm())
    path = f"/nonexistent:{programs}:{site.environment['PATH']}"
    run = site.run(*GUARD, "--", "php-fpm", *site.command[1:], PATH=path)
    site.started(run)
    left = below(run.kill(), 2)
    again = site.run(*GUARD, "--wait", "30s", "--", "php-fpm", *site.command[1:], PATH=path)
    site.started(again)

    assert len(left) == 2
    all_end(left)


def test_the_listeners_settings(site: Site) -> None:
    """Their state folder is where starts are recorded."""
    address = free_address()
    site.configure(address)
    settings = site.folder / "listener.conf"
    settings.write_text(f"[fpm-listener]\nstate_dir = {site.folder}/own\n")
    del site.environment["FPM_LISTENER_STATE_DIR"]
    run = site.started(site.guard("--config", str(settings)))
    (recorded,) = Path(f"{site.folder}/own/masters").iterdir()

    assert str(run.pid) in recorded.read_text()
    assert run.said() == []


def test_settings_that_cannot_be_read(site: Site) -> None:
    """That is said, and php-fpm starts; the environment's folder is used."""
    site.configure(free_address())
    run = site.started(site.guard("--config", f"{site.folder}/none.conf"))

    (said,) = run.said()
    path = f"{site.folder}/none.conf"
    assert said.startswith(
        f"{SAID}[settings_unreadable file={path}] the listener's settings are not used: {path}: "
    )
    state_dir = site.environment["FPM_LISTENER_STATE_DIR"]
    assert list(Path(f"{state_dir}/masters").iterdir())


@pytest.mark.parametrize(
    "place",
    [
        "phpfpm.command_line:find_in",
        "phpfpm.config_files:read",
        "phpfpm.config_files:version",
        "phpfpm.config_files:real_binary",
        "phpfpm.listen_sockets:specs",
        "guard.fast_start:glance_at_state_dir",
        "guard.fast_start:attempt",
        "host.state_directory:locate",
        "guard.handover_client:begin",
        "guard.orphans:MasterRecord.add_self",
        "guard.orphans:MasterRecord.read",
        "guard.bind:ask",
        "host.procfs:program_began_at_s",
        "guard.address_wait:AddressWait.__init__",
        "guard.guard:_Guard.__init__",
    ],
)
def test_an_unexpected_error(site: Site, place: str) -> None:
    """Whatever fails in the guard is printed in one line, and php-fpm starts."""
    address = free_address()
    site.configure(address)
    script = str(Path(__file__).parents[2] / "faulty_guard.py")
    command = (sys.executable, script, f"fpm_listener.{place}", "--hold", "--", *site.command)
    names = {"SUPERVISOR_GROUP_NAME": "web", "SUPERVISOR_PROCESS_NAME": "fpm"}
    run = site.started(site.run(*command, PYTHONPATH=str(ROOT), **names))

    assert request(address)
    assert "Traceback" not in run.err()
    assert "secret" not in run.err()
    if place != "guard.fast_start:attempt":  # the guard itself begins after it
        assert any("unexpected error in " in line for line in run.said()), run.err()
    assert len(run.said()) <= 4


@pytest.mark.parametrize(
    "place",
    [
        "guard.startsecs:longest_wait_s",
        "host.holder_search:find_holders",
        "guard.reclaim:Reclaim.get",
        "guard.orphans:MasterRecord.read",
        "guard.address_wait:AddressWait._end_orphans",
    ],
)
def test_an_unexpected_error_while_the_address_is_held(site: Site, place: str) -> None:
    """The start is refused in time all the same, and each error is printed once."""
    address = free_address()
    site.configure(address)
    site.listen(address)
    script = str(Path(__file__).parents[2] / "faulty_guard.py")
    command = (sys.executable, script, f"fpm_listener.{place}", "--wait", "3s", "--", *site.command)
    names = {"SUPERVISOR_GROUP_NAME": "web", "SUPERVISOR_PROCESS_NAME": "fpm"}
    run = site.run(*command, PYTHONPATH=str(ROOT), **names)

    assert run.exit() == 75
    assert refusal(run)
    assert "Traceback" not in run.err()
    assert "secret" not in run.err()
    errors = [line for line in run.said() if "unexpected error in " in line]
    assert errors
    assert len(errors) == len(set(errors)) <= 3


def test_the_priority_of_php_fpm(site: Site) -> None:
    """It is the one that the guard was started with."""
    address = free_address()
    site.configure(address)
    names = {"SUPERVISOR_GROUP_NAME": "web", "SUPERVISOR_PROCESS_NAME": "fpm"}
    run = site.started(site.guard(**names))
    own = os.getpriority(os.PRIO_PROCESS, 0)

    assert request(address)
    assert os.getpriority(os.PRIO_PROCESS, run.pid) == own


def test_settings_that_are_a_pipe(site: Site) -> None:
    """Nobody waits for its writer."""
    site.configure(free_address())
    os.mkfifo(site.folder / "settings")
    run = site.started(site.guard("--config", f"{site.folder}/settings"))

    (said,) = run.said()
    assert "the listener's settings are not used" in said
    assert "is not a regular file" in said


def test_nobody_reads_stderr(site: Site) -> None:
    """A closed standard error is no reason to keep php-fpm down."""
    site.configure(free_address())
    command = shlex.join([*GUARD, "--config", f"{site.folder}/none.conf", "--", *site.command])
    site.started(site.run("/bin/sh", "-c", f"exec {command} 2>&-"))


def test_a_folder_that_was_removed(site: Site) -> None:
    """The working folder may be gone: php-fpm itself does not mind."""
    site.configure(free_address())
    command = shlex.join([*GUARD, "--", *site.command])
    folder = f"{site.folder}/gone"
    site.started(
        site.run(
            "/bin/sh", "-c", f"mkdir {folder} && cd {folder} && rmdir {folder}; exec {command}"
        )
    )


@pytest.mark.parametrize(
    ("listen", "more"),
    [
        ("127.0.0.1:{port}", "listen.mode = rw-rw----\n"),
        ("{folder}/caf\udce9/w.sock", ""),
        ("127.0.0.1:{port}", "include = /nowhere\0/*.conf\n"),
    ],
    ids=["mode of a port", "bytes in a path", "NUL in an include"],
)
def test_what_php_fpm_does_not_mind(site: Site, listen: str, more: str) -> None:
    """The guard is no stricter than php-fpm."""
    Path(f"{site.folder}/caf\udce9").mkdir()
    port = free_address().rpartition(":")[2]
    site.configure("127.0.0.1:1")
    text = Path(site.conf).read_text()
    listen = listen.format(port=port, folder=site.folder)
    text = text.replace("listen = 127.0.0.1:1\n", f"listen = {listen}\n{more}")
    Path(site.conf).write_bytes(text.encode(errors="surrogateescape"))
    site.started(site.guard())


def test_a_host_with_an_endless_label(site: Site) -> None:
    """php-fpm itself refuses it, in its own words or ours; nothing is a traceback."""
    site.configure(f"{'a' * 70}.example:9000")
    run = site.guard("--wait", "0")

    assert run.exit() in {75, 78}
    assert "Traceback" not in run.err()


# -- what cannot be run, or understood -------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--nonsense", "--", "php-fpm"), "option --nonsense not recognized"),
        (("--wait",), "option --wait requires argument"),
        (("--wait", "soon", "--", "php-fpm"), "--wait 'soon'"),
        (("--wait", "-1", "--", "php-fpm"), "--wait '-1'"),
        (("--orphans", "kill", "--", "php-fpm"), "--orphans 'kill': allowed: quit, report"),
        (("--",), "php-fpm's own command is missing"),
        ((), "php-fpm's own command is missing"),
    ],
)
def test_options_that_are_not_understood(site: Site, words: tuple[str, ...], what: str) -> None:
    """One line says what is allowed; nothing is started."""
    run = site.run(*GUARD, *words)

    assert run.exit() == 2
    (line,) = run.err().splitlines()
    assert line.startswith("fpm-listener: guard: ")
    assert what in line
    assert "allowed: " in line or "usage: fpm-listener guard [--wait 2s] " in line


def test_options_of_php_fpm_are_not_ours(site: Site) -> None:
    """They end at the first word that is none of ours, with or without `--`."""
    address = free_address()
    site.configure(address)
    site.started(site.run(*GUARD, "--wait", "1s", *site.command))

    assert "pong" in request(address)


def test_help(site: Site) -> None:
    """It is told on stdout."""
    run = site.run(*GUARD, "--help")

    assert (run.exit(), run.err()) == (0, "")
    assert b"--orphans" in run.out()


@pytest.mark.parametrize("name", ["/nonexistent/php-fpm", "php-fpm-that-nobody-has"])
def test_a_binary_that_is_missing(site: Site, name: str) -> None:
    """As a shell says it: 127."""
    site.configure(free_address())
    run = site.run(*GUARD, "--", name, *site.command[1:])

    assert run.exit() == 127
    assert run.said()[-1] == (
        f"{SAID}[missing_path program={name}] cannot execute {name}:"
        " No such file or directory (exit 127)"
    )
    assert "Traceback" not in run.err()


def test_a_binary_that_cannot_be_run(site: Site) -> None:
    """As a shell says it: 126."""
    site.configure(free_address())
    path = Path(fake(site))
    path.chmod(0o644)
    run = site.run(*GUARD, "--", str(path), *site.command[1:])

    assert run.exit() == 126
    assert run.said() == [
        f"{SAID}[permission program={path}] cannot execute {path}: Permission denied (exit 126)"
    ]


# -- an ordinary user ------------------------------------------------------------------------------


def test_an_ordinary_user_without_a_record(site: Site) -> None:
    """What cannot be recorded is said, with its reason; php-fpm starts all the same."""
    address = free_address()
    site.configure(address, pool="")
    site.state.mkdir()
    site.state.chmod(0o555)
    run = site.started(site.run(*AS_NOBODY, *GUARD, "--", *site.command))

    assert "pong" in request(address)
    (line,) = run.said()
    assert line == (
        f"{SAID}[start_not_recorded file={site.state}/masters] cannot record this start:"
        f" {site.state}/masters: Permission denied. Later guards will report its orphans and not"
        " end them"
    )
    assert list(site.state.iterdir()) == []
    assert os.geteuid() != 0 or status(run.pid, "Uid")["Uid"].split()[0] == "65534"
