"""Receivers that cannot work are reported before the first alert."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from fpm_listener.cli import init
from fpm_listener.delivery.receiver_counters import ReceiverView
from fpm_listener.settings.receiver_check import _FILES, NO_RECEIVER, ReceiverCheck, problems
from fpm_listener.settings.receiver_types import KEYS, ReceiverProblem
from fpm_listener.settings.receivers import ReceiverSettings
from fpm_listener.status.document import to_json
from fpm_listener.status.metrics import make_registry
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.status.text import notes

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://ops.example.com/s3cret"


def build(setting: str, path: Path) -> ReceiverSettings:
    fields: dict[str, Any] = {"name": "ops", setting: path}
    return ReceiverSettings(**fields)


def whys(receiver: ReceiverSettings) -> list[str]:
    return [problem.why for problem in problems([receiver])]


def test_without_a_receiver() -> None:
    """Alerts are sent nowhere."""
    assert problems([]) == (NO_RECEIVER,)
    assert problems([ReceiverSettings(name="ops", url=URL)]) == ()


def test_each_setting_that_names_a_file_is_looked_at() -> None:
    """None is forgotten that is added later."""
    assert set(_FILES) == {key for key in KEYS if key.endswith("_file")}


@pytest.mark.parametrize("setting", _FILES)
def test_a_file_that_is_missing(tmp_path: Path, setting: str) -> None:
    """The message names setting and path; the other files are looked at as well."""
    path = tmp_path / "file"
    receiver = build(setting, path)
    assert whys(receiver) == [f"{setting} {path}: No such file or directory"]
    path.mkdir()
    assert whys(receiver) == [f"{setting} {path}: is a directory"]
    path.rmdir()
    path.write_text(" \n")
    assert whys(receiver) == [f"{setting} {path}: is empty"]
    path.write_text(URL)
    assert whys(receiver) == []


def test_a_url_file_without_a_url(tmp_path: Path) -> None:
    """What is in it is not shown."""
    path = tmp_path / "url"
    path.write_text("ftp://s3cret")
    (why,) = whys(ReceiverSettings(name="ops", url_file=path))

    assert why == f"url_file {path}: has no URL that begins with http:// or https://"


def test_a_pipe(tmp_path: Path) -> None:
    """It blocks nobody, and no sender reads it."""
    path = tmp_path / "url"
    os.mkfifo(path)
    why = f"url_file {path}: is not a regular file"
    assert whys(ReceiverSettings(name="ops", url_file=path)) == [why]


def test_a_command_that_is_missing(tmp_path: Path) -> None:
    """So is one that nobody may execute."""
    path = tmp_path / "notify"
    receiver = ReceiverSettings(name="ops", kind="exec", command=(str(path), "x"))
    assert whys(receiver) == [f"command {path}: not found, or it cannot be executed"]
    path.write_text("#!/bin/sh\n")
    assert len(whys(receiver)) == 1
    path.chmod(0o755)
    assert whys(receiver) == []


def test_a_file_that_only_the_listener_may_read(tmp_path: Path) -> None:
    """`check` by an ordinary user does not know, and says nothing."""
    receiver = ReceiverSettings(name="ops", url_file=tmp_path / "no" / "such")
    assert len(problems([receiver], may_read=False)) == 1


def test_each_problem_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Again after SIGHUP; and its end."""
    caplog.set_level(logging.INFO)
    path = tmp_path / "url"
    receiver, looks = ReceiverSettings(name="ops", url_file=path), ReceiverCheck()
    for again in (True, False, False, True):
        assert looks.look([receiver], again=again).problems
    assert [r.levelname for r in caplog.records] == ["WARNING"] * 2
    assert f"url_file {path}" in caplog.text
    path.write_text(URL)
    for _ in range(2):
        assert looks.look([receiver], again=False).problems == ()
    assert [r.levelname for r in caplog.records] == ["WARNING"] * 2 + ["INFO"]


def test_what_is_shown() -> None:
    """Status, page and metrics have it."""
    found = (ReceiverProblem("ops", "url_file /x: No such file or directory"),)
    views = (ReceiverView(name="ops", kind="webhook"), ReceiverView(name="chat", kind="slack"))
    for problem, receivers, usable, note in (
        (found, views, 1, "receiver ops cannot work: url_file /x: No such file or directory"),
        ((NO_RECEIVER,), (), 0, NO_RECEIVER.why),
    ):
        snapshot = Snapshot(receiver_problems=problem, receivers=receivers)
        document = to_json(snapshot, 0.0)
        assert note in notes(document)
        assert document["receiver_problems"][0]["why"] == problem[0].why
        registry = make_registry(partial(replace, snapshot))
        assert registry.get_sample_value("fpm_listener_receivers_usable") == usable


def test_init_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A default installation has no receiver."""
    assert init.write(str(tmp_path), print) == 0
    said = capsys.readouterr().out

    assert f"warning: {NO_RECEIVER.why}\n" in said
    assert f"[fpm-listener:receiver:NAME] to {tmp_path}/fpm_listener.conf" in said
