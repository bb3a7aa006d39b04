"""Libraries that are loaded at the first alert, when no descriptor is left."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: One descriptor is left. Another thread takes it when hashlib loads its library.
SCRIPT = """
import os, resource, socket, sys
from fpm_listener.delivery.attempt import Attempt
from fpm_listener.delivery.sender import Sender
from fpm_listener.incidents.alert import Alert, Reason, Status
from fpm_listener.settings.receivers import ReceiverSettings

_, most = before = resource.getrlimit(resource.RLIMIT_NOFILE)
taken = []

class Take:
    def find_spec(self, name, path=None, target=None):
        if name == "_hashlib":
            sys.meta_path.remove(self)
            taken.append(os.dup(0))

settings = ReceiverSettings(name="a", kind=sys.argv[1], url=sys.argv[2], to=("a@localhost",))
sender = Sender(settings, print, print)
alert = Alert(
    incident_id="a",
    sequence=1,
    reason=Reason.FIRST,
    status=Status.FIRING,
    labels={"alertname": "PhpFpmFailing", "group": "www", "process": "php-fpm"},
    annotations={"summary": "www:php-fpm fails to start", "cause": "bind_conflict"},
    starts_at_s=1.0,
    ends_at_s=None,
    known_at_s=1.0,
)
resource.setrlimit(resource.RLIMIT_NOFILE, (200, most))
try:
    while True:
        taken.append(os.dup(0))
except OSError:
    os.close(taken.pop())
sys.meta_path.insert(0, Take())
sender._attempt(Attempt(queue="a", number=1, alert_numbers=(1,), alerts=(alert,)))
for one in taken:
    os.close(one)
resource.setrlimit(resource.RLIMIT_NOFILE, before)
from hashlib import sha256
"""


@pytest.mark.parametrize(
    ("kind", "url"),
    [("webhook", "https://127.0.0.1:1/"), ("email", "smtp://127.0.0.1:1")],
)
def test_hashlib_is_not_damaged(kind: str, url: str) -> None:
    """The page and the signatures of later alerts need it."""
    command = [sys.executable, "-c", SCRIPT, kind, url]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
