"""Users, file systems and rights of containers: one supervisord for each set of conditions."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.container import PATH, ROOT, Conditions, Container
from tests.e2e.lab import WebhookReceiver, php_fpm
from tests.other_user import needs_root
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_root

#: As OpenShift chooses it: no account has it.
RANDOM_UID = 1000650000
US = f"{sys.executable} -m fpm_listener"
#: What minimal images lack.
ABSENT = ("/etc/resolv.conf", "/usr/share/zoneinfo", "/etc/localtime", "/etc/timezone")
FPM = """[global]
daemonize = no
error_log = /dev/stderr
[{name}]
listen = 127.0.0.1:{port}
pm = static
pm.max_children = 1
"""
SUPERVISORD = f"""[supervisord]
nodaemon = true
logfile = /dev/null
logfile_maxbytes = 0
pidfile = /dev/null
{{supervisord}}
[program:held]
command = {US} guard --hold -- {php_fpm()} -F -d opcache.lockfile_path=/dev/shm -y /etc/held.conf
autorestart = true
stderr_logfile = {{log}}
stderr_logfile_maxbytes = 0
stderr_events_enabled = true
[program:plain]
command = {US} guard -- {php_fpm()} -F -d opcache.lockfile_path=/dev/shm -y /etc/plain.conf
autorestart = true
stderr_logfile = {{log}}
stderr_logfile_maxbytes = 0
stderr_events_enabled = true
[program:caf\u00e9]
command = sh -c "echo d\u00e9faut >&2; exit 3"
startretries = 2
stderr_logfile = {{log}}
stderr_logfile_maxbytes = 0
{{listener}}
url = {{url}}
"""


def shipped(**keys: str) -> str:
    """Return the shipped file with a receiver, and with these lines changed."""
    text = (ROOT / "supervisord.d/fpm_listener.conf").read_text()
    keys["command"] = f"{US} listen --config /etc/supervisord.conf"
    for key, value in keys.items():
        text, count = re.subn(rf"(?m)^{key}=.*$", f"{key}={value}", text)
        assert count == 1, key
    return f"{text}\n[fpm-listener:receiver:ops]\ntype = webhook\n"


class Site:
    """A container with two php-fpm, a program that fails, and a receiver."""

    def __init__(self, folder: Path, conditions: Conditions, **lines: str) -> None:
        self.webhook = WebhookReceiver()
        self.container = Container(folder, conditions)
        self.container.add("/etc/held.conf", FPM.format(name="held", port=9000))
        self.container.add("/etc/plain.conf", FPM.format(name="plain", port=9001))
        words = {"supervisord": "", "log": "AUTO", "listener": shipped(), "url": self.webhook.url}
        self.container.add("/etc/supervisord.conf", SUPERVISORD.format(**words | lines))

    def start(self) -> None:
        """Start supervisord as PID 1."""
        command = f"{sys.executable} -m supervisor.supervisord -c /etc/supervisord.conf"
        self.container.start(*command.split())
        with self.container.network():
            self.webhook.start()

    def status(self, uid: int | None = None) -> dict[str, Any]:
        """Return the status that the command prints for a user."""
        done = self.container.run(*US.split(), "status", "--json", uid=uid)
        assert done.returncode == 0, done.stderr + self.container.text()
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def master(self, name: str) -> int:
        """Return this machine's pid of a php-fpm that serves, as soon as it does."""

        def found() -> int | None:
            titles = self.container.processes()
            masters = [p for p, t in titles.items() if f"/etc/{name}.conf)" in t]
            return masters[0] if masters and f"php-fpm: pool {name}" in titles.values() else None

        try:
            return wait_until(found, f"php-fpm {name}")
        except AssertionError:
            pytest.fail(f"{name} does not serve: {self.container.text()}")

    def restarted(self, name: str, old: int) -> int:
        """Kill a master with its workers left; return the next one."""
        os.kill(old, signal.SIGKILL)
        wait_until(lambda: self.master(name) != old, f"another master of {name}")
        return self.master(name)

    def restart_held(self, master: int) -> None:
        """Restart until sockets are held: at its start, a slow listener can be late."""
        for _ in range(3):
            master = self.restarted("held", master)
            # php-fpm logs this after it has used the sockets; supervisord writes it later.
            status = Path(f"/proc/{master}/status").read_text()
            runs = f"fpm is running, pid {re.findall(r'(?m)^NSpid:.*?([0-9]+)$', status)[0]}\n"
            wait_until(lambda runs=runs: runs in self.held_log(), runs)  # type: ignore[misc]
            if "using inherited socket" in self.held_log():
                return
        pytest.fail(self.container.text() + self.read("tmp/*.log"))

    def held_log(self) -> str:
        """Return what the php-fpm with held sockets has logged."""
        return self.container.text() + self.read("tmp/held-*.log")

    def is_healthy(self) -> bool:
        """Return whether the HEALTHCHECK of the php-fpm with held sockets succeeds."""
        command = (*US.split(), "healthy", "--start-period", "60", "held")
        return self.container.run(*command).returncode == 0

    def has_cause(self, program: str, words: str) -> bool:
        """Return whether an alert about a program has these words."""
        alerts = self.webhook.alerts("firing", program)
        return any(words in json.dumps(one, ensure_ascii=False) for one in alerts)

    def read(self, path: str) -> str:
        """Return the text of the files of the container that match."""
        found = self.container.path("/").glob(path)
        return "".join(one.read_text(errors="replace") for one in found)

    def close(self) -> None:
        """End everything."""
        self.container.close()
        self.webhook.stop()


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[partial[Site]]:
    """Yield a function that makes a site."""
    made: list[Site] = []

    def make(conditions: Conditions, **lines: str) -> Site:
        made.append(Site(tmp_path, conditions, **lines))
        return made[-1]

    yield partial(make)
    for one in made:
        one.close()


def test_a_user_without_account_and_a_read_only_root(sites: partial[Site]) -> None:
    """The shipped file, held sockets, orphans, alerts and commands work; one warning."""
    site = sites(Conditions(uid=RANDOM_UID, read_only=True, absent=ABSENT, no_new_privileges=True))
    site.start()
    held, plain = site.master("held"), site.master("plain")
    wait_until(lambda: site.has_cause("café", "défaut"), "the alert about café")
    site.restart_held(held)
    wait_until(site.is_healthy, "php-fpm to be healthy")
    site.restarted("plain", plain)

    for uid in (RANDOM_UID, 0):
        listener = site.status(uid)["listener"]
        assert listener["state_dir"] == "/run/fpm-listener"
        assert listener["outbox_persistent"]
        assert listener["state_dir_temporary"]
    log = site.read("tmp/fpm-listener-stderr---*.log")
    assert log.count("state_dir cannot be used, so another directory is used") == 1, log
    assert "Traceback" not in log
    said = "orphan of this program"
    wait_until(lambda: said in site.read("tmp/plain-stderr---*.log"), "the guard's message")


def test_hidden_processes_and_nothing_writable(sites: partial[Site]) -> None:
    """The listener works in memory and says so; commands and sockets need no directory."""
    conditions = Conditions(
        uid=RANDOM_UID,
        read_only=True,
        hidden_processes=True,
        absent=ABSENT,
        # supervisord itself does not start without a directory for temporary files.
        environment={"PATH": PATH, "LANG": "C", "TMPDIR": "/dev/shm"},
    )
    log = shipped(
        stderr_logfile="/dev/stderr", stderr_logfile_maxbytes="0", stderr_logfile_backups="0"
    )
    site = sites(conditions, log="/dev/stderr", listener=log)
    site.container.build("for one in /run /tmp; do mount -o remount,ro $one; done")
    site.start()
    held = site.master("held")
    wait_until(lambda: site.has_cause("café", "restart loop"), "the alert about café")
    site.restart_held(held)
    wait_until(site.is_healthy, "php-fpm to be healthy")
    site.restarted("plain", site.master("plain"))

    assert not site.status()["listener"]["outbox_persistent"]
    # Root without SYS_PTRACE does not see supervisord, so it asks over HTTP.
    assert site.status(0)["listener"]["version"]
    text = site.container.text()
    assert text.count("alerts are kept in memory only and are lost if the listener stops") == 1
    with site.container.network(), urllib.request.urlopen("http://127.0.0.1:19253/metrics") as web:
        assert b"fpm_listener_outbox_persistent 0.0" in web.read()
