"""Unchanged files of supervisord's configuration are parsed once; each change is seen."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.supervisor import config, config_state
from fpm_listener.supervisor.config import ConfUnreadable
from fpm_listener.supervisor.config_reader import ConfigReader

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = "[supervisord]\n[program:web]\ncommand=/bin/cat\n[include]\nfiles = conf.d/*.conf\n"


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.conf").write_text("[program:a]\ncommand=/bin/cat\n")
    (tmp_path / "conf.d" / "gone.conf").symlink_to("nowhere")
    (tmp_path / "supervisord.conf").write_text(TEXT)
    return tmp_path / "supervisord.conf"


class Parser:
    """Answers as a child that parses a file, and counts."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.answer = answer
        self.refusal: ConfUnreadable | None = None
        self.count = 0

    def read(self, path: str) -> dict[str, Any] | ConfUnreadable:
        self.count += 1
        recorder = config_state.Recorder()
        recorder.add(path)
        recorder.glob(f"{Path(path).parent}/conf.d/*.conf")
        return self.refusal or {**self.answer, "seen": recorder.seen()}


@pytest.fixture
def parser() -> Parser:
    empty = {"childlogdir": "/tmp", "identifier": "x", "loglevel": "info", "logfile": ""}
    return Parser({**empty, "processes": []})


def test_the_child_records_what_it_reads(conf: Path) -> None:
    """The file, the pattern of its includes, their files, and the file of the users."""
    answer = config.read(str(conf))

    assert isinstance(answer, dict)
    seen = answer["seen"]
    included = sorted(str(conf.parent / "conf.d" / name) for name in ("a.conf", "gone.conf"))
    assert seen["includes"] == {str(conf.parent / "conf.d" / "*.conf"): included}
    assert set(seen["files"]) == {"/etc/passwd", str(conf), *included}
    assert [path for path, state in seen["files"].items() if state is None] == included[1:]
    assert config_state.is_unchanged(seen)
    (conf.parent / "conf.d" / "a.conf").touch()
    assert not config_state.is_unchanged(seen)


def test_unchanged_files_are_parsed_once(conf: Path, parser: Parser) -> None:
    """Another path is another configuration."""
    reader = ConfigReader(parser.read)
    answers = {id(reader.programs(str(conf))) for _ in range(3)}

    assert (len(answers), parser.count) == (1, 1)
    other = conf.with_name("other.conf")
    other.write_text(TEXT)
    reader.programs(str(other))
    assert parser.count == 2


def _same_size(conf: Path) -> None:
    conf.write_text(TEXT.replace("web", "api"))


def _replace(conf: Path) -> None:
    new = conf.with_name("new")
    new.write_text(TEXT.replace("web", "api"))
    times = conf.stat()
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(conf)


def _old_time(conf: Path) -> None:
    times = conf.stat()
    conf.write_text(TEXT.replace("web", "api"))
    os.utime(conf, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        _same_size,
        _replace,
        _old_time,
        Path.unlink,
        lambda conf: conf.chmod(0o600),
        lambda conf: (conf.parent / "conf.d" / "b.conf").touch(),
        lambda conf: (conf.parent / "conf.d" / "a.conf").unlink(),
        lambda conf: (conf.parent / "conf.d" / "a.conf").write_text(""),
        lambda conf: (conf.parent / "conf.d" / "nowhere").touch(),
        lambda conf: (conf.parent / "conf.d").rename(conf.parent / "away"),
    ],
)
def test_each_change_is_seen(conf: Path, parser: Parser, change: Callable[[Path], object]) -> None:
    """The same size, an old time, a new file in its place, or another list of includes."""
    reader = ConfigReader(parser.read)
    reader.programs(str(conf))
    change(conf)
    reader.programs(str(conf))

    assert parser.count == 2


def test_another_name_of_the_host(
    conf: Path, parser: Parser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`%(host_node_name)s` can be in a command."""
    reader = ConfigReader(parser.read)
    reader.programs(str(conf))
    other = os.uname_result(("Linux", "other", "6", "1", "x86_64"))
    monkeypatch.setattr(os, "uname", lambda: other)
    reader.programs(str(conf))

    assert parser.count == 2


def test_a_refusal_is_not_kept(conf: Path, parser: Parser) -> None:
    """A directory of a log can appear; the programs before it are not the answer then."""
    reader = ConfigReader(parser.read)
    reader.programs(str(conf))
    parser.refusal = ConfUnreadable(why="refused")
    conf.touch()

    assert [reader.programs(str(conf)) for _ in range(2)] == [parser.refusal] * 2
    assert parser.count == 3
