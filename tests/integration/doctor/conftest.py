"""supervisor's parser in the test process: a child for each of some hundred cases is slow."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from fpm_listener.supervisor import config

if TYPE_CHECKING:
    from collections.abc import Sequence


def _describe(
    command: Sequence[str], *, env: dict[str, str], **_: object
) -> subprocess.CompletedProcess[bytes]:
    """Return what the child of config.read would: the arguments are those of subprocess.run."""
    with mock.patch.dict(os.environ, env, clear=True), mock.patch.object(tempfile, "tempdir"):
        answer: dict[str, Any] = config.describe(command[-1])
    return subprocess.CompletedProcess(command, 0, json.dumps(answer).encode())


@pytest.fixture
def parser_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let config.read start no child. Other tests here and of the parser use the real child."""
    replaced = SimpleNamespace(**{**vars(subprocess), "run": _describe})
    monkeypatch.setattr(config, "subprocess", replaced)
