"""What one thread waits for does not stop the work of the others."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from fpm_listener.daemon.inbox import Inbox
from fpm_listener.daemon.post_mortem_examiner import PostMortemExaminer
from fpm_listener.daemon.services import Services
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.incidents.effects import (
    CheckGone,
    ExamineExit,
    ExitExamined,
    Gone,
    OutputRead,
    ReadOutput,
)
from fpm_listener.incidents.post_mortem import Needs, PostMortem
from fpm_listener.monitor.known_programs import ProgramsKnown
from fpm_listener.monitor.messages import ChildrenSeen
from fpm_listener.settings.settings import Settings
from fpm_listener.supervisor.process import ProcessName
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

FPM = ProcessName("php-fpm", "php-fpm")


def make(inbox: Inbox, folder: Path) -> Services:
    """Return services without XML-RPC; no thread runs."""
    directory = StateDirectory(folder)
    stored = SimpleNamespace(log_positions=dict, php_fpm=lambda: None, directory=directory)
    settings = Settings(source="")
    return Services(settings, inbox, cast("Any", None), cast("Any", stored), cast("Any", None))


def test_states_are_asked_for_after_the_names(tmp_path: Path) -> None:
    """Without XML-RPC an answer from /proc that came before the names tells nothing."""
    inbox = Inbox()
    services = make(inbox, tmp_path)
    services._supervisor.start()
    services.follow(ProgramsKnown(programs=(), sites={}))

    wait_until(
        lambda: any(isinstance(one, ChildrenSeen) for one in inbox.take()), "the states of programs"
    )


def test_output_that_shows_a_php_fpm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An alert waits for the output. First the program is known as php-fpm, for its labels."""
    inbox, taken = Inbox(), list[Any]()
    services = make(inbox, tmp_path)
    answer, known = OutputRead(FPM, ("a line",)), ProgramsKnown(programs=(), sites={})
    monkeypatch.setattr(services._output_reader, "read", lambda _: answer)
    monkeypatch.setattr(services._programs, "take_output", lambda one: one is answer)
    monkeypatch.setattr(services._programs, "read", lambda **_: known)
    services._exits.start()
    services._discovery.start()
    services.effects[ReadOutput](ReadOutput(FPM, 1.0))

    def has_come() -> bool:
        taken.extend(inbox.take())
        return answer in taken

    wait_until(has_come, "the output")
    assert taken == [known, answer]


def test_a_file_system_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It delays what is examined there, and nothing else."""
    answer = threading.Event()

    def examine(*_: object) -> PostMortem:
        answer.wait(60)
        return PostMortem()

    monkeypatch.setattr(PostMortemExaminer, "examine", examine)
    inbox, taken = Inbox(), list[Any]()
    services = make(inbox, tmp_path)
    services._machine.start()
    services._exits.start()

    def has_come(kind: type) -> bool:
        taken.extend(inbox.take())
        return any(isinstance(one, kind) for one in taken)

    services.effects[ExamineExit](ExamineExit(FPM, 1.0, Needs()))
    services.effects[CheckGone](CheckGone(FPM, frozenset()))
    wait_until(lambda: has_come(Gone), "an answer of the other thread")
    assert not has_come(ExitExamined)
    answer.set()
    wait_until(lambda: has_come(ExitExamined), "the examined exit")
