"""prometheus_client is loaded when it is needed; a missing one is reported at the start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fpm_listener.status.registry import on_demand
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.values import FpmListenerError

#: Modules that only a request, an alert or an e-mail needs.
LATE = (
    *("prometheus_client", "requests", "urllib3", "certifi", "smtplib", "xmlrpc", "asyncio"),
    *("http", "socketserver", "wsgiref", "email", "ssl", "gzip", "hashlib", "random", "decimal"),
    *("shutil", "bz2", "lzma", "argparse", "ctypes", "encodings.idna"),
    *("fpm_listener.daemon.address_check", "fpm_listener.host.holder_search"),
    *("fpm_listener.web.application", "fpm_listener.web.connections", "fpm_listener.status.page"),
)


def test_an_idle_listener_loads_no_library_for_scrapes_or_alerts() -> None:
    """A new import at the top of a module would cost every listener memory."""
    program = (
        "import sys\n"
        "import fpm_listener.__main__, fpm_listener.daemon.daemon, fpm_listener.web.server\n"
        f"print(*(name for name in {LATE} if name in sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []


def test_a_missing_library_is_an_error_at_the_start() -> None:
    """Not at the first scrape: then nobody looks at the log."""
    with pytest.raises(FpmListenerError, match="fpm_listener_absent is not installed"):
        on_demand(Snapshot, "fpm_listener_absent")


def test_the_metrics_are_made_on_demand() -> None:
    """The function returns them."""
    names = {family.name for family in on_demand(Snapshot)().collect()}

    assert "fpm_listener_build_info" in names
