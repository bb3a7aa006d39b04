"""The seven images of docs/containers.md, built from their Dockerfiles and run.

Each container tells one story: the address is in use at the start, the master is killed, the
configuration breaks, the container ends. Nothing in it is adapted to the tests except settings
from environment variables, the file with the URL of the receiver, and one php-fpm file that the
test can change from outside (a ConfigMap).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.container import Conditions, Container
from tests.dockerfile_examples import UNPACKED, build, examples, read, unpack
from tests.e2e.lab import WebhookReceiver, kill, php_fpm, ping
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.dockerfile_examples import Example

PROGRAM = "php-fpm:php-fpm"
PORT = 9099  # in the network of the container
#: What small images lack.
POOR = ("/etc/resolv.conf", "/etc/localtime", "/usr/share/zoneinfo")
SETTINGS = {"LOOP": "2 in 60s", "STABLE_FOR": "2s"}
#: Another php-fpm that the entry point starts first: a common mistake.
START = """\
#!/bin/sh
until test -e /run/go; do sleep 0.05; done
"$(command -v php-fpm || command -v php-fpm8.4)" -D -y /old/php-fpm.conf
exec "$@"
"""
OLD = """\
[global]
error_log = /tmp/old.log
[old]
listen = {address}
pm = ondemand
pm.max_children = 1
"""
EXAMPLES = {example.title[0]: example for example in examples()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a test must know about one image."""

    listen: str = "9000"  #: of php-fpm
    pools: str = "/usr/local/etc/php-fpm.d"
    is_guarded: bool = True
    read_only: bool = False
    findings: tuple[str, ...] = ()  #: errors and warnings of `fpm-listener check`
    status: int = 1  #: of the container after FATAL

    @property
    def address(self) -> str:
        """Return where clients connect to."""
        return self.listen if "/" in self.listen else f"127.0.0.1:{self.listen}"


SHAPES = {
    "1": Shape(listen="/run/php/php8.4-fpm.sock", pools="/etc/php/8.4/fpm/pool.d"),
    "2": Shape(is_guarded=False, findings=("FPM101",)),  # no http server
    "3": Shape(),
    "4": Shape(read_only=True),
    "5": Shape(),
    "6": Shape(listen="/run/php/www.sock"),
    "7": Shape(status=0),
}


class Story:
    """A running image, its receiver, and what can happen to it."""

    def __init__(self, example: Example, shape: Shape, folder: Path, unpacked: Path) -> None:
        self.shape = shape
        self.webhook = WebhookReceiver(port=PORT)
        self.changed = folder / "changed.conf"
        self.changed.write_text("; nothing\n")
        self.termination_log = folder / "termination-log"
        self.termination_log.touch()
        self.termination_log.chmod(0o666)  # as Kubernetes does
        self.image = image = read(example)
        settings = {f"FPM_LISTENER_{name}": value for name, value in SETTINGS.items()}
        conditions = Conditions(
            root=Path(os.environ.get("SHAPES_ROOT", "/")),  # by scripts/matrix-debian.sh
            uid=image.uid,
            read_only=shape.read_only,
            no_new_privileges=bool(image.uid),
            hidden_processes=shape.read_only,
            workdir=image.workdir,
            environment={**image.environment, **settings},
            absent=("/var/lib/fpm-listener", *(POOR if shape.read_only else ())),
            binds={
                f"{shape.pools}/zzzz-changed.conf": self.changed,
                "/dev/termination-log": self.termination_log,
                UNPACKED: unpacked,
            },
        )
        self.container = Container(folder, conditions)
        build(example, self.container, php_fpm())
        owner = "" if image.uid else "user = www-data\ngroup = www-data\n"
        self.container.add("/run/secrets/ops_url", self.webhook.url)
        self.container.add("/old/php-fpm.conf", OLD.format(address=shape.listen) + owner)
        self.container.add("/old/start", START, 0o755)

    def start(self) -> None:
        """Start the image beside the other php-fpm."""
        self.container.start("/old/start", *self.image.entrypoint, *self.image.cmd)
        with self.container.network():
            self.webhook.start()
        self.container.path("/run/go").touch()

    def close(self) -> None:
        """End everything."""
        self.webhook.stop()
        self.container.close()

    def pids(self, pattern: str) -> list[int]:
        """Return the processes of the container whose command line matches."""
        found = self.container.processes().items()
        return [pid for pid, command in found if re.search(pattern, command)]

    def master(self) -> int | None:
        """Return the pid of the php-fpm master of supervisord."""
        found = self.pids(r"php-fpm: master process \((?!/old)")
        return found[0] if found else None

    def answers(self) -> bool:
        """Return whether php-fpm answers."""
        with self.container.network():
            address = self.shape.address
            path = str(self.container.path(address)) if "/" in address else address
            return "HTTP" in (text := ping(path, "/x", "/x")) or "Status" in text

    def alert(self, status: str, cause: str = "", evidence: str = "") -> None:
        """Wait for an alert about php-fpm with this cause, and these words in its evidence.

        On a busy machine, an exit status can become known after the first alert.
        """

        def find() -> bool:
            said = [alert["annotations"] for alert in self.webhook.alerts(status, "php-fpm")]
            return any(
                cause in {"", one["cause"]} and evidence in one.get("evidence", "") for one in said
            )

        wait_until(find, f"the alert: {status} {cause} {evidence}")

    def get(self, path: str) -> str:
        """Return what the listener serves."""
        with (
            self.container.network(),
            urllib.request.urlopen(f"http://127.0.0.1:19253{path}", timeout=10) as answer,
        ):
            text: str = answer.read().decode()
        return text

    def incident(self) -> dict[str, Any]:
        """Return the open incident of php-fpm; empty = there is none."""
        programs = json.loads(self.get("/status.json"))["programs"]
        found: dict[str, Any] | None
        found = next(one for one in programs if one["name"] == PROGRAM)["incident"]
        return found or {}

    def told(self, key: str, pattern: str) -> str:
        """Wait until the incident has these words; return them."""
        found = wait_until(
            lambda: re.search(pattern, str(self.incident().get(key))), f"{key}: {pattern}"
        )
        return found[0]

    def health(self) -> int:
        """Run the HEALTHCHECK of the image; return its exit status."""
        return self.container.run(*self.image.health).returncode

    def metric(self, name: str) -> float:
        """Return a metric of php-fpm."""
        text = self.get("/metrics")
        found = re.search(rf"(?m)^fpm_listener_{name}{{.*process=\"php-fpm\".*}} (\S+)$", text)
        return float(found[1]) if found else float("nan")


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of `fpm-listener.pyz unpack`, made once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    made = base / "fpm-listener"
    with (base / "fpm-listener.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            unpack(made)
    return made


@pytest.fixture
def story(request: pytest.FixtureRequest, unpacked: Path) -> Iterator[Story]:
    """Return a built image."""
    folder = Path(tempfile.mkdtemp(prefix="shape-"))
    made = Story(EXAMPLES[request.param], SHAPES[request.param], folder, unpacked)
    try:
        yield made
        print(made.container.text())  # noqa: T201 - pytest shows it if the test failed
    finally:
        made.close()
        shutil.rmtree(folder)


def test_every_example_has_a_test() -> None:
    """The page has the seven sections."""
    assert EXAMPLES.keys() == SHAPES.keys()


@pytest.mark.parametrize("story", SHAPES, indirect=True)
def test_a_shape(story: Story) -> None:
    """Each failure has its cause, its exit status and its alert, and the container ends."""
    story.start()
    story.alert("firing", cause="bind_conflict")
    story.told("holder", r"php-fpm: master process \(/old/php-fpm.conf\)")
    wait_until(lambda: story.health() == 1, "the container to be unhealthy")
    old, *_ = story.pids(r"master process \(/old")  # a new worker has this title for a moment
    kill(old, signal.SIGTERM)
    story.alert("resolved")
    wait_until(story.answers, "an answer")
    wait_until(lambda: story.health() == 0, "the container to be healthy")
    checked = json.loads(story.container.run("fpm-listener", "check", "--json").stdout)
    found = [one["id"] for one in checked if one["severity"] != "hint"]
    assert found == list(story.shape.findings), checked

    master = wait_until(story.master, "the master")
    kill(master)
    if not story.shape.is_guarded:
        # Without SYS_PTRACE, root sees who is left, but not who uses the address.
        remedy = story.told("remedy", r"kill -QUIT -\d+")
        assert story.container.run("sh", "-c", remedy).returncode == 0
    wait_until(lambda: story.master() not in {None, master}, "the next master")
    wait_until(story.answers, "an answer")
    exit_status = "process_last_exit_status"
    if story.shape.is_guarded:
        wait_until(lambda: story.metric(exit_status) == -signal.SIGKILL, "the signal")

    story.changed.write_text("[www]\nno_such_directive = 1\n")
    kill(wait_until(story.master, "the master"))
    for words in ("no_such_directive", "exit status 78"):
        story.alert("firing", cause="config_error", evidence=words)
    assert story.container.wait() == story.shape.status
    told = story.termination_log.read_text()
    assert "configuration is invalid" in told
    assert "supervisorctl" not in told
