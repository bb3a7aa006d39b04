"""The last lines of a program are in its alert, whatever program it is and wherever they go."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.case_lab import CaseLab, running_case_lab
from tests.e2e.lab import WebhookReceiver
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("evidence")  # one process: they share a lab

#: A program that writes on both channels, and fails.
FAILING = "sh -c 'echo hello from stdout; echo NAME: cannot connect to the broker >&2; exit 3'"
#: The same, with secrets.
LEAKING = (
    "sh -c 'echo error: login failed with password=hunter2 >&2;"
    " echo error: https://u:hunter2@example.org/ >&2;"
    " echo error: Authorization: Bearer hunter2.abc >&2; exit 3'"
)
#: Lines of an earlier run of supervisord.
OLD = "fatal: this line is from yesterday\n"
#: Lines that a program writes before it exits.
NOISE = "sh -c 'for n in 1 2 3 4 5 6 7 8 9 10; do echo line $n of its output; done >&2; exit 4'"


@pytest.fixture(scope="module")
def quiet() -> Iterator[WebhookReceiver]:
    """A receiver that must not get the output of programs."""
    webhook = WebhookReceiver()
    webhook.start()
    yield webhook
    webhook.stop()


@pytest.fixture(scope="module")
def lab(quiet: WebhookReceiver) -> Iterator[CaseLab]:
    """Run all failures at once."""
    with running_case_lab() as lab:
        lab.receivers["quiet"] = {"url": quiet.url, "evidence": "false"}
        # They start when the listener knows them: of a run before that, only one line is known.
        once = {"startretries": "2", "autostart": "false"}
        for name, keys in {
            "file": {"stderr_logfile": f"{lab.folder}/file.err"},
            "chosen": {"stderr_logfile": "AUTO"},
            "stdout": {"stdout_logfile": f"{lab.folder}/stdout.out", "stderr_logfile": "NONE"},
            "joined": {
                "redirect_stderr": "true",
                "stdout_logfile": f"{lab.folder}/joined.out",
                "stderr_logfile": "AUTO",
            },
            "events": {"stderr_logfile": "/dev/null", "stderr_events_enabled": "true"},
            "device": {"stderr_logfile": "/dev/stderr", "stderr_logfile_maxbytes": "0"},
            "rotated": {
                "stderr_logfile": f"{lab.folder}/rotated.err",
                "stderr_logfile_maxbytes": "100",
                "stderr_logfile_backups": "1",
            },
        }.items():
            lab.program(name, FAILING.replace("NAME", name), **once, **keys)
        for name in ("file", "joined"):
            ending = "err" if name == "file" else "out"
            (lab.folder / f"{name}.{ending}").write_text(OLD * 3)
        lab.program("secrets", LEAKING, **once)
        lab.program("many", NOISE, **once)
        lab.add_case("L05", **once)
        lab.add_case("L07", **once)
        lab.add_case("L09", **once)
        lab.add_case("L11", **once)
        host, _, port = lab.addresses["L11"].partition(":")
        with socket.create_server((host, int(port))):
            lab.start()
            lab.start_programs()
            yield lab


def texts_of(lab: CaseLab, name: str) -> dict[str, str]:
    """Return what the first alert about a program says."""
    found: dict[str, str] = lab.alert(name)["annotations"]
    return found


@pytest.mark.parametrize("name", ["file", "chosen", "joined", "events", "rotated"])
def test_the_line_of_stderr(lab: CaseLab, name: str) -> None:
    """It is in the first alert, with its file, with a file of supervisord's choice, or events."""
    evidence = texts_of(lab, name)["evidence"]
    assert f"{name}: cannot connect to the broker" in evidence
    assert "yesterday" not in evidence


def test_only_stdout_is_kept(lab: CaseLab) -> None:
    """The alert shows it, and says how to get stderr."""
    texts = texts_of(lab, "stdout")
    assert "hello from stdout" in texts["evidence"]
    assert "cannot connect" not in texts["evidence"]
    assert "supervisord keeps no log of its output" in texts["description"]
    assert "add stderr_events_enabled=true to [program:stdout]" in texts["description"]


def test_output_that_goes_to_a_device(lab: CaseLab) -> None:
    """The alert says so, and names the line to add and its section."""
    texts = texts_of(lab, "device")
    assert "cannot connect" not in texts["evidence"]
    assert "passes its output to /dev/stderr" in texts["description"]
    assert "add stderr_events_enabled=true to [program:device]" in texts["description"]


def test_secrets(lab: CaseLab) -> None:
    """They are masked in the alert, on the page and in the files of the listener."""
    evidence = lab.shows("secrets", "evidence", "login failed with password=***")
    assert "https://***@example.org/" in evidence
    assert "hunter2" not in evidence
    assert "hunter2" not in lab.get("/")
    state = Path(lab.settings["state_dir"])
    kept = b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())
    assert b"login failed with password=***" in kept
    assert b"hunter2" not in kept
    assert "hunter2" not in lab.log()


def test_the_newest_lines(lab: CaseLab) -> None:
    """At most eight, in their order, and the exit last. It can become known after the alert."""
    texts_of(lab, "many")

    def shown() -> list[str]:
        lines: list[str] = lab.status("many")["incident"]["evidence"]
        return lines if any("exited: many" in line for line in lines) else []

    lines = wait_until(shown, "the exit")
    assert len(lines) == 8
    own = [line for line in lines if line.startswith("line ")]
    assert own == [f"line {number} of its output" for number in range(11 - len(own), 11)]
    assert "exited: many" in lines[-1]


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("name", ["file", "secrets"])
def test_a_receiver_without_evidence(quiet: WebhookReceiver, name: str) -> None:
    """It gets the alert, and nothing that the program has written."""
    alert = wait_until(lambda: quiet.alerts("firing", name), f"the alert of {name}")[0]
    assert "evidence" not in alert["annotations"]
    assert "broker" not in str(alert)
    assert "login failed" not in str(alert)


def test_opcache_without_memory(lab: CaseLab) -> None:
    """L05: php-fpm writes the reason to stderr before its log is open."""
    texts = texts_of(lab, "L05")
    assert "Unable to allocate shared memory segment of" in texts["evidence"]


def test_a_php_ini_of_php_7(lab: CaseLab) -> None:
    """L07: PHP writes the reason to stdout, as HTML."""
    evidence = texts_of(lab, "L07")["evidence"]
    assert "Directive 'track_errors' is no longer available in PHP" in evidence
    assert "<b>" not in evidence
    assert "<br" not in evidence


def test_nginx_with_redirected_stderr(lab: CaseLab) -> None:
    """L09: its line is in the file of stdout."""
    evidence = texts_of(lab, "L09")["evidence"]
    assert "nginx: [emerg] bind() to 0.0.0.0:8080 failed (98: Address already in use)" in evidence


def test_the_most_common_layout_of_docker(lab: CaseLab) -> None:
    """L11: all output goes to a device; the alert names the line to add."""
    texts = texts_of(lab, "L11")
    assert "add stderr_events_enabled=true to [program:L11]" in texts["description"]
