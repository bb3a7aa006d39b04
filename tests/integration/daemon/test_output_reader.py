"""A run's lines are those between the end of the run before it and its own end."""

import os
from pathlib import Path
from typing import Any

import pytest

from fpm_listener.daemon import output_reader
from fpm_listener.daemon.output_reader import Mark, OutputReader, Run, read_run
from fpm_listener.incidents.effects import MarkOutput, ReadOutput
from fpm_listener.incidents.program_output import ProgramOutput
from fpm_listener.supervisor.process import ProcessName

NAME = ProcessName("node", "node")


class Program:
    """A program with one log file."""

    def __init__(self, path: Path, *, known: bool = True) -> None:
        self.path = path
        self.output = ProgramOutput(stderr_file=str(path), known=True)
        self.reader = OutputReader()
        self._at_s = 0.0
        if known:
            self.reader.know({NAME: self.output})

    def write(self, text: str) -> None:
        with self.path.open("a") as file:
            file.write(text)

    def exit(self) -> None:
        self._at_s += 1.0
        self.reader.end_run(MarkOutput(NAME, self._at_s, self.output))

    def lines(self, *, present: bool = False) -> list[str] | None:
        found = self.reader.read(ReadOutput(NAME, None if present else self._at_s)).lines
        return None if found is None else [line for line in found if line]


def test_lines_of_one_run(tmp_path: Path) -> None:
    """Neither lines from before the listener started, nor those of other runs."""
    path = tmp_path / "err.log"
    path.write_text("yesterday\n")
    program = Program(path)
    program.write("first run\n")
    program.exit()
    assert program.lines() == ["first run"]
    program.write("second run\nwith two lines\n")
    program.exit()
    program.write("third run\n")
    assert program.lines() == ["second run", "with two lines"]
    assert program.lines(present=True) == ["third run"]
    program.exit()
    program.exit()
    assert program.lines() == []


def test_a_file_that_appears_later(tmp_path: Path) -> None:
    """All of it is of this run."""
    program = Program(tmp_path / "err.log")
    program.write("first\nhalf line")
    program.exit()
    assert program.lines() == ["first", "half line"]


def test_rotation_within_a_run(tmp_path: Path) -> None:
    """The end of the renamed file and all of the new one."""
    program = Program(tmp_path / "err.log")
    program.write("old run\n")
    program.exit()
    program.write("before\n")
    program.path.rename(f"{program.path}.1")
    program.write("after\n")
    program.exit()
    assert program.lines() == ["before", "after"]


def test_truncation(tmp_path: Path) -> None:
    """A shorter file is read from its beginning."""
    program = Program(tmp_path / "err.log")
    program.write("a long line of an old run\n")
    program.exit()
    program.path.write_text("")
    program.write("new\n")
    program.exit()
    assert program.lines() == ["new"]


def test_much_output(tmp_path: Path) -> None:
    """Only the tail is read, and no line without its beginning."""
    program = Program(tmp_path / "err.log")
    program.write("".join(f"line {number:06d} {'x' * 100}\n" for number in range(5000)))
    program.exit()
    lines = program.lines()
    assert lines is not None
    assert 100 < len(lines) <= output_reader.MOST_LINES
    assert lines[-1].startswith("line 004999 ")
    assert all(line.startswith("line ") for line in lines)


def test_a_run_that_is_over_when_the_listener_starts(tmp_path: Path) -> None:
    """Only its newest line is known to be its own, and only if it is new."""
    path = tmp_path / "err.log"
    path.write_text("yesterday\nthe reason\n")
    program = Program(path)
    assert program.lines() == ["the reason"]
    program.exit()
    assert program.lines() == ["the reason"]
    program.exit()
    assert program.lines() == []
    os.utime(path, (0, 0))
    old = Program(path)
    assert old.lines() == []
    old.exit()
    assert old.lines() == []


def test_an_exit_that_is_not_known(tmp_path: Path) -> None:
    """The answer says so: another run's lines are not shown."""
    program = Program(tmp_path / "err.log")
    program.exit()
    assert program.reader.read(ReadOutput(NAME, 0.5)).lines is None


def test_invalid_bytes(tmp_path: Path) -> None:
    """They are replaced."""
    program = Program(tmp_path / "err.log")
    program.path.write_bytes(b"caf\xe9\n\0\0zero\n")
    program.exit()
    assert program.lines() == ["caf\N{REPLACEMENT CHARACTER}", "zero"]


@pytest.mark.parametrize("kind", ["fifo", "device", "directory"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    """It is never opened: a FIFO would block."""
    path = tmp_path / "err.log"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    program = Program(path)
    program.exit()
    assert program.lines() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_a_link_of_another_user(tmp_path: Path) -> None:
    """It could lead to a file that only root may read."""
    (tmp_path / "shadow").write_text("")
    link = tmp_path / "err.log"
    link.symlink_to("shadow")
    program = Program(link)
    (tmp_path / "shadow").write_text("root:secret\n")
    program.exit()
    assert program.lines() == ["root:secret"]
    os.chown(link, 33, 33, follow_symlinks=False)
    assert program.lines() == []


def test_a_folder_that_is_replaced_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link in its place has no effect: the file was in the folder that was checked."""
    for name in ("logs", "secret"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "err.log").write_text(f"{name}\n")
    real = os.open

    def swap(path: str, *arguments: Any, **more: Any) -> int:  # noqa: ANN401 - of os.open
        if path.endswith("err.log") and not (tmp_path / "old").exists():
            (tmp_path / "logs").rename(tmp_path / "old")
            (tmp_path / "logs").symlink_to("secret")
        return real(path, *arguments, **more)

    path = str(tmp_path / "logs" / "err.log")
    found = os.stat(path)  # noqa: PTH116 - as the reader does
    run = Run(path, Mark(), Mark(found.st_dev, found.st_ino, found.st_size))
    secret = (tmp_path / "secret" / "err.log").stat()
    stolen = Run(path, Mark(), Mark(secret.st_dev, secret.st_ino, secret.st_size))
    monkeypatch.setattr(os, "open", swap)

    assert read_run(stolen) == []
    (tmp_path / "logs").unlink()
    (tmp_path / "old").rename(tmp_path / "logs")
    assert read_run(run) == ["logs", ""]


def test_a_removed_program_is_forgotten(tmp_path: Path) -> None:
    """Its marks need no memory."""
    program = Program(tmp_path / "err.log")
    program.exit()
    program.write("x\n")
    program.reader.know({})
    assert program.lines() == []
