"""Configurations as they are found in the world, in our hands and in those of who reads them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from supervisor.datatypes import Automatic
from supervisor.options import ServerOptions, UnhosedConfigParser

from fpm_listener.doctor import check
from fpm_listener.phpfpm import command_line, config_files
from fpm_listener.supervisor import config, ini_lines
from tests.config_samples import ENVIRONMENT, NAMES, SAMPLES, write_sample
from tests.fakes import FakeHost
from tests.integration.doctor.test_check import nobody
from tests.integration.phpfpm.test_config_real import agree, dump

if TYPE_CHECKING:
    from fpm_listener.doctor.rule import Finding

#: What we take of each process: the rest is worked out from it.
SAME = (
    *("command", "directory", "startsecs", "startretries", "stopwaitsecs", "stopasgroup"),
    *("killasgroup", "redirect_stderr", "stderr_events_enabled", "stdout_logfile"),
    *("stderr_logfile", "exitcodes", "stopsignal"),
)
REFUSED = {"bom-refused"}


@pytest.fixture(params=NAMES)
def shape(request: pytest.FixtureRequest) -> str:
    """Return the name of each shape."""
    name: str = request.param
    return name


def examine(name: str, folder: Path) -> list[Finding]:
    """Return what the doctor finds in a shape, on a host where all is there that is named."""
    return check.check(str(write_sample(name, folder)), FakeHost(), ENVIRONMENT, search=nobody)


def parser_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> ServerOptions:
    """Return supervisor's own parser, after it has read the file."""
    for name in [name for name in os.environ if name not in ENVIRONMENT]:
        monkeypatch.delenv(name)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    parser = ServerOptions()
    parser.configfile = str(path)
    parser.process_config_file(do_usage=False)
    return parser


def test_as_supervisor_reads_it(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs, groups, commands and every key that is used agree with supervisor's own parser."""
    path = write_sample(shape, tmp_path)
    if shape in REFUSED:
        answer = config.read(str(path), environ=ENVIRONMENT)
        assert isinstance(answer, config.ConfUnreadable)
        with pytest.raises(ValueError, match="no section headers"):
            parser_of(path, monkeypatch)
        return
    ours = config.read(str(path), environ=ENVIRONMENT)
    assert isinstance(ours, dict), ours
    theirs = parser_of(path, monkeypatch).configroot.supervisord
    real: list[tuple[str, Any]] = [
        (group.name, process)
        for group in theirs.process_group_configs
        for process in group.process_configs
    ]

    assert (ours["nodaemon"], ours["minfds"]) == (bool(theirs.nodaemon), theirs.minfds)
    assert len(ours["servers"]) == len(theirs.server_configs)
    assert [(p["group"], p["name"]) for p in ours["processes"]] == [(g, p.name) for g, p in real]
    for mine, (_, process) in zip(ours["processes"], real, strict=True):
        said = {key: getattr(process, key) for key in SAME}
        said = {key: "AUTO" if value is Automatic else value for key, value in said.items()}
        assert {key: mine[key] for key in SAME} == said
        assert mine["environment"] == dict(process.environment or {})
        assert mine["user"] == process.uid


@pytest.mark.usefixtures("parser_in_process")
def test_lines_as_supervisor_reads_them(shape: str, tmp_path: Path) -> None:
    """Each key that supervisor's parser sees is seen where it stands, with the same value."""
    path = write_sample(shape, tmp_path)
    if shape in REFUSED:
        return
    answer = config.read(str(path), environ=ENVIRONMENT)
    assert isinstance(answer, dict), answer
    parser = UnhosedConfigParser()
    parser.read(answer["files"])
    texts = [(name, Path(name).read_text()) for name in answer["files"]]
    found = ini_lines.scan(texts)

    assert set(found) == set(parser.sections())
    for name, section in found.items():
        real = dict(parser.items(name))
        assert {key: line.value.split() for key, line in section.lines.items()} == {
            key: (value or "").split() for key, value in real.items()
        }
        for key, line in section.lines.items():
            raw = Path(line.file).read_text().splitlines()[line.number - 1]
            assert raw.strip().lower().startswith(key)


@pytest.mark.usefixtures("parser_in_process")
def test_as_php_fpm_reads_it(shape: str, tmp_path: Path) -> None:
    """Pools, addresses, users, log, times and variables agree with `php-fpm -tt`."""
    path = write_sample(shape, tmp_path, plain=True)
    answer = config.read(str(path), environ=ENVIRONMENT)
    processes = answer["processes"] if isinstance(answer, dict) else []
    for process in processes:
        invocation = command_line.find(process["command"])
        if invocation is None:
            continue
        environment = {**ENVIRONMENT, **process["environment"]}
        conf = config_files.read(invocation, directory=str(tmp_path), environment=environment)
        agree(conf, dump(list(invocation.arguments), tmp_path, environment))
        for pool in conf.pools:
            assert pool.options["pm"] in {"static", "dynamic", "ondemand"}


@pytest.mark.usefixtures("parser_in_process")
def test_what_the_doctor_finds(shape: str, tmp_path: Path) -> None:
    """In each shape exactly what tests/data/config-samples/findings.txt says, at these places.

    With FPM_LISTENER_WRITE_GOLDEN=1 this writes the shape's part of the file.
    """
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        text = (SAMPLES / "findings.txt").read_text()
        part = rf"(?<=^{shape}\n)((?:  .*\n)*)"
        new = as_text(shape, tmp_path)
        (SAMPLES / "findings.txt").write_text(re.sub(part, lambda _: new, text, flags=re.MULTILINE))
    golden = (SAMPLES / "findings.txt").read_text()
    said = dict(re.findall(r"^(\S+)\n((?:  .*\n)*)", golden, re.MULTILINE))

    assert as_text(shape, tmp_path) == said.get(shape)


def as_text(name: str, folder: Path) -> str:
    """Return a shape's findings as the golden file has them."""
    lines = []
    for one in examine(name, folder):
        where = one.where.replace(f"{folder}/", "")
        lines.append(f"  {one.id} {one.severity.value:<7}  {where}  {one.what}\n")
    return "".join(lines).replace(str(folder), "{dir}")


def test_no_shape_is_forgotten() -> None:
    """The golden file has each shape, and no other."""
    golden = (SAMPLES / "findings.txt").read_text()

    assert re.findall(r"^(?!#)(\S+)$", golden, re.MULTILINE) == NAMES
    assert len(NAMES) >= 15
