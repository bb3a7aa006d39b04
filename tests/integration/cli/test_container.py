"""`fpm-listener init --container`: the file of an image, changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.cli import container_draft
from fpm_listener.cli.init import shipped_listener
from fpm_listener.doctor.container_plan import Choices
from fpm_listener.doctor.rule import FindingSeverity
from tests.fakes import FakeHost

if TYPE_CHECKING:
    from fpm_listener.cli.container_draft import Draft

SAMPLES = Path(__file__).parents[2] / "data" / "container-samples"
NAMES = sorted(path.stem for path in SAMPLES.iterdir())
CHOICES = Choices(command="fpm-listener", file="supervisord.conf", shipped=shipped_listener())
#: supervisord's environment.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "SUPERVISOR_PASSWORD": "s3cret",
    "RUN_AS": "root",
    "PHP_VERSION": "8.2",
    "APP_DIR": "/var/www",
    "WEB_COMMAND": "caddy run",
}


def improve(path: Path, environ: dict[str, str] | None = None, user: str = "root") -> Draft:
    """Return the changed file, on a host where every file exists."""
    text = path.read_bytes().decode()
    known = ENVIRONMENT if environ is None else environ
    return container_draft.improve(str(path), text, FakeHost(), known, CHOICES, user)


@pytest.fixture(params=NAMES)
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return each sample, as a file of its own directory."""
    path = tmp_path / "supervisord.conf"
    path.write_bytes((SAMPLES / f"{request.param}.conf").read_bytes())
    return path


#: php-fpm's files, and scripts, are in the image only.
ELSEWHERE = {"FPM027", "FPM068"}


def test_every_shape_becomes_clean(sample: Path) -> None:
    """The doctor finds nothing but hints; the result is also that of a second run."""
    draft = improve(sample)
    worse = [one for one in draft.findings if one.severity is not FindingSeverity.HINT]
    assert [one for one in worse if one.id not in ELSEWHERE] == []
    processes = {one.name: one for one in draft.config.processes}
    assert any(one.is_our_listener for one in processes.values())
