"""One supervisord with many programs that fail, one for each failure from a public report.

The files of a failure are in tests/data/cases/ID/. There, /tmp/t is the folder of the failure,
127.0.0.1:9071 its address, and [www] its pool. A start of supervisord and its listener costs more
than a failing program, so all tests of a module share one lab.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import tempfile
import xmlrpc.client
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.xmlrpc import Faults

from tests.e2e.lab import Lab, php_fpm
from tests.ports import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = Path(__file__).parents[1] / "data" / "cases"


class CaseLab(Lab):
    """A lab with failures from tests/data/cases."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.addresses: dict[str, str] = {}  #: by program

    def add_case(self, case: str, name: str = "", **keys: str) -> Path:
        """Add the programs of a case, and return the folder of its files.

        The program is called like the case, or `name`. `keys` replace keys of its section.
        """
        name = name or case
        folder = self.folder / name
        folder.mkdir()
        folder.chmod(0o755)
        self.addresses[name] = address = f"127.0.0.1:{free_port()}"
        pool = f"lab{self.web_port}{name}"
        self.pools.add(pool)
        for source in sorted((CASES / case).iterdir()):
            text = source.read_text()
            for old, new in (
                ("/tmp/t/", f"{folder}/"),
                ("/usr/sbin/php-fpm8.2", php_fpm()),
                ("127.0.0.1:9071", address),
                ("[www]", f"[{pool}]"),
            ):
                text = text.replace(old, new)
            if os.geteuid():
                text = re.sub(r"(?m)^(user|group) = .*\n", "", text)
            target = folder / source.name
            target.write_text(text)
            target.chmod(0o755)
        parser = configparser.RawConfigParser(strict=False)
        parser.read(folder / "supervisord.conf")
        programs = [one for one in parser.sections() if one.startswith("program:")]
        for section in programs:
            its_name = name if len(programs) == 1 else f"{name}-{section.partition(':')[2]}"
            self.sections[f"program:{its_name}"] = {**dict(parser[section]), **keys}
        return folder

    def fpm_conf_path(self, name: str) -> Path:
        """Return the path of a php-fpm configuration: a case has a folder, others have not."""
        return (
            self.folder / name / "php-fpm.conf"
            if name in self.addresses
            else super().fpm_conf_path(name)
        )

    def start_programs(self) -> None:
        """Start all programs with autostart=false, without waiting until they run.

        supervisord answers with a fault if a program has exited before the answer.
        """
        with self.supervisor() as supervisor:
            for section, keys in self.sections.items():
                if keys.get("autostart") == "false":
                    try:
                        supervisor.startProcess(section.partition(":")[2], False)
                    except xmlrpc.client.Fault as fault:
                        if fault.faultCode != Faults.SPAWN_ERROR:
                            raise

    def alert(self, name: str, status: str = "firing", **labels: str) -> dict[str, Any]:
        """Wait for an alert of a program with these labels, and return it."""

        def find() -> dict[str, Any] | None:
            for alert in self.webhook.alerts(status, name):
                if labels.items() <= {**alert["labels"], **alert["annotations"]}.items():
                    return alert
            return None

        wanted = " ".join(f"{key}={value}" for key, value in labels.items())
        return wait_until(find, f"the alert of {name} {wanted}")

    def shows(self, name: str, key: str, words: str) -> str:
        """Wait until an alert or the open incident of a program has these words; return the text.

        key: of the text; empty = any.

        Look-ups of the listener can come after the first alert, above all on a busy machine.
        """

        def find() -> str | None:
            incident = self.status(name)["incident"]
            said = [alert["annotations"] for alert in self.webhook.alerts("firing", name)]
            said += [incident] if incident else []
            found = (one[key] if key else str(one) for one in said)
            # The evidence of an incident is a list of lines.
            texts = (one if isinstance(one, str) else "\n".join(one) for one in found)
            return next((text for text in texts if words in text), None)

        return wait_until(find, f"{words!r} in the {key} of {name}")


@contextmanager
def running_case_lab() -> Iterator[CaseLab]:
    """Make a lab without programs; add them, then call start(). For a fixture of a module.

    A test that fails finds what the listener logged in the output of the module's end.
    """
    folder = Path(tempfile.mkdtemp(prefix="lab-"))
    folder.chmod(0o755)
    lab = CaseLab(folder)
    try:
        yield lab
        print(lab.log())  # noqa: T201 - pytest shows it if a test failed
    finally:
        lab.close()
        shutil.rmtree(folder, ignore_errors=True)
