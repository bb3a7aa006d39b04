"""What a listener loads: at its start, at a scrape, and never."""

from __future__ import annotations

import ssl
import subprocess
import sys
from types import ModuleType

import pytest

from fpm_listener.status import metrics_library
from fpm_listener.status.registry import on_demand
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.values import FpmListenerError

#: Modules that only a request, an alert or an e-mail needs.
LATE = (
    *("prometheus_client", "requests", "urllib3", "certifi", "smtplib", "xmlrpc", "asyncio"),
    *("http", "socketserver", "wsgiref", "email", "ssl", "gzip", "hashlib", "random", "decimal"),
    *("shutil", "bz2", "lzma", "argparse", "ctypes", "encodings.idna", "zlib"),
    *("fpm_listener.daemon.address_check", "fpm_listener.host.holder_search"),
    *("fpm_listener.web.application", "fpm_listener.web.connections", "fpm_listener.status.page"),
)


#: Modules that only TLS, https or an e-mail needs: not a scrape, not the page, and not an alert to
#: a plain http:// URL.
ONLY_FOR_TLS = (
    *("ssl", "_ssl", "hashlib", "_hashlib", "http", "socketserver", "wsgiref", "email"),
    *("urllib.request", "html", "tempfile", "shutil", "random", "importlib.abc", "requests"),
)

_PROGRAM = f"""
import sys
import fpm_listener.__main__, fpm_listener.daemon.daemon, fpm_listener.web.server
print("start:", *(name for name in {LATE} if name in sys.modules))

from fpm_listener.status.registry import on_demand
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.web import access, application, connections
served = application.Application(Snapshot, on_demand(Snapshot))
for path in ("/metrics", "/status.json", "/"):
    environ = {{"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": ""}}
    accepts = environ | {{"HTTP_ACCEPT": "application/openmetrics-text; version=1.0.0"}}
    answers = [b"".join(served(one, lambda line, _: print(line))) for one in (environ, accepts)]
    print(path, min(map(len, answers)) > 100)
print("scraped:", *(name for name in {ONLY_FOR_TLS} if name in sys.modules))

from fpm_listener.delivery.sender import make_receiver
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.incidents.alert import Alert, Reason, Status
receiver = make_receiver(ReceiverSettings(name="ops", url="http://127.0.0.1:1/x"))
texts = {{"labels": {{"alertname": "A", "group": "a", "process": "b"}}, "annotations": {{}}}}
known = {{"starts_at_s": 1.0, "ends_at_s": None, "known_at_s": 1.0}}
alert = {{"incident_id": "a", "sequence": 1, "reason": Reason.FIRST, "status": Status.FIRING}}
print(receiver.send([Alert(**alert, **texts, **known)]).detail)
print("alerted:", *(name for name in {ONLY_FOR_TLS} if name in sys.modules))

import ssl
print(ssl.SSLContext.__module__, ssl.__file__ == ssl.__spec__.origin)
"""


def test_what_an_idle_a_scraped_and_an_alerting_listener_load() -> None:
    """A new import at the top of a module would cost every listener memory."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", _PROGRAM], capture_output=True, text=True, check=True
    )

    answers = [
        line
        for path in ("/metrics", "/status.json", "/")
        for line in ("200 OK", "200 OK", f"{path} True")
    ]
    scraped = ["start:", *answers, "scraped:"]
    alerted = ["Connection refused", "alerted:", "ssl True"]
    assert done.stdout.splitlines() == [*scraped, *alerted]


class _NeedsSsl:
    """A loader of a module that calls a function of ssl."""

    def exec_module(self, module: ModuleType) -> None:
        exec("import ssl\nversion = ssl.OPENSSL_VERSION.upper()", vars(module))  # noqa: S102 - as a loader does it


def test_a_library_that_uses_more_is_loaded_as_usual() -> None:
    """A later prometheus_client can need the real ssl: this costs memory, and nothing else."""
    module = ModuleType("prometheus_client.exposition")

    metrics_library._Loader(_NeedsSsl()).exec_module(module)  # type: ignore[arg-type] # has what is used

    assert module.version == ssl.OPENSSL_VERSION.upper()
    assert module.ssl is ssl


def test_a_missing_library_is_an_error_at_the_start() -> None:
    """Not at the first scrape: then nobody looks at the log."""
    with pytest.raises(FpmListenerError, match="fpm_listener_absent is not installed"):
        on_demand(Snapshot, "fpm_listener_absent")


def test_the_metrics_are_made_on_demand() -> None:
    """The function returns them."""
    names = {family.name for family in on_demand(Snapshot)().collect()}

    assert "fpm_listener_build_info" in names
