"""What the listener loads before it says READY: events that come earlier can be lost."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

#: Modules and packages that READY must not wait for.
LATE = (
    *("fpm_listener.incidents.text_en", "fpm_listener.incidents.text_zh"),
    *("fpm_listener.doctor", "fpm_listener.delivery", "fpm_listener.daemon", "fpm_listener.web"),
    *("argparse", "prometheus_client", "requests", "sqlite3", "subprocess", "difflib", "zoneinfo"),
)


def test_only_settings_and_protocol_are_loaded_before_ready(tmp_path: Path) -> None:
    """No alert text, no rule of `check`, no receiver, and nothing that is slow to load."""
    conf = tmp_path / "fpm_listener.conf"
    conf.write_text(
        f"[fpm-listener]\nlisten = 127.0.0.1:{free_port()}\nstate_dir = {tmp_path}/state\n"
        "[fpm-listener:receiver:ops]\ntype = slack\nurl = http://127.0.0.1:1/\nlanguage = zh\n"
    )
    # One pipe for both, so that the order of READY and the imports is that of the process.
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "fpm_listener", "listen", "--config", str(conf)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as child:
        printed, _ = child.communicate(timeout=200)

    before, ready, after = printed.decode().partition("READY\n")
    assert ready, printed
    loaded = set(re.findall(r"^import time:.*\| +(\S+)$", before, re.MULTILINE))
    assert "fpm_listener.supervisor.pipe" in loaded
    assert "fpm_listener.daemon.daemon" in after
    assert {name for name in loaded for late in LATE if f"{name}.".startswith(f"{late}.")} == set()
