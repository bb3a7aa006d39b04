"""Proof that the scenes see what is wrong: listeners with bad habits, and what each is told."""

from __future__ import annotations

import inspect
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from . import test_conformance as scenes
from .listeners import HarnessFactory, Listener, specimen
from .supervisor_harness import ProtocolViolationError, Violation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MUTE = Listener(name="mute", argv=("sleep", "60"))
UNABLE = Listener(name="unable", argv=(sys.executable, "-c", "raise SystemExit(1)"))
POSTER = specimen("poster", takes_url=True)
CHILDUTILS = specimen("childutils_loop")
MISDEEDS = [
    (MUTE, scenes.test_ready, Violation.SILENT),
    (UNABLE, scenes.test_ready, Violation.DIED),
    (specimen("printer"), scenes.test_ready, Violation.STRAY),
    (specimen("failer"), scenes.test_ready, Violation.FAIL),
    (specimen("bytes_counter"), scenes.test_payload_beyond_ascii, Violation.DIED),
    (specimen("newline_guesser"), scenes.test_control_characters, Violation.DEAF),
    (specimen("header_hunter"), scenes.test_payload_that_looks_like_an_event, Violation.UNTIMELY),
    (specimen("one_read"), scenes.test_large_payload, Violation.UNTIMELY),
    (specimen("one_read"), scenes.test_fragments, Violation.UNTIMELY),
    (specimen("one_read"), scenes.test_events_glued_together, Violation.DEAF),
    (specimen("loud"), scenes.test_closed_stderr, Violation.DIED),
    (specimen("loud"), scenes.test_full_stderr, Violation.DIED),
    (CHILDUTILS, scenes.test_stray_prints, Violation.STRAY),
    (CHILDUTILS, scenes.test_locale_that_is_not_utf8, Violation.DIED),
    (specimen("deduper"), scenes.test_duplicates, Violation.DEAF),
    (specimen("deduper"), scenes.test_serials_that_jump, Violation.DEAF),
    (specimen("believer"), scenes.test_events_that_nobody_knows, Violation.DIED),
    (CHILDUTILS, scenes.test_header_of_another_version, Violation.DIED),
    (CHILDUTILS, scenes.test_identifier, Violation.DIED),
    (CHILDUTILS, scenes.test_senseless_line_before_an_event, Violation.DIED),
    (CHILDUTILS, scenes.test_event_that_nobody_can_read, Violation.DIED),
    (specimen("believer"), scenes.test_poison, Violation.DIED),
    (specimen("stubborn"), scenes.test_stop_while_idle, Violation.STUBBORN),
    (specimen("stubborn"), scenes.test_stop_while_busy, Violation.STUBBORN),
    (CHILDUTILS, scenes.test_hangup_signal, Violation.DIED),
    (specimen("stubborn"), scenes.test_end_of_stdin, Violation.STUBBORN),
    (specimen("stubborn"), scenes.test_supervisord_vanishes_in_mid_event, Violation.STUBBORN),
    (POSTER, scenes.test_receiver_that_hangs, Violation.DEAF),
]


@pytest.mark.parametrize(
    ("bad", "scene", "violation"),
    [pytest.param(*row, id=f"{row[0].name}-{row[1].__name__[5:]}") for row in MISDEEDS],
)
def test_the_suite_can_fail(
    bad: Listener,
    scene: Callable[..., None],
    violation: Violation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each bad habit is seen by the scene that is about it, and called by its name."""
    late = {
        Violation.SILENT,
        Violation.DEAF,
        Violation.STUBBORN,
    }  # these take the whole patience
    factory = HarnessFactory(
        listener=bad,
        folder=tmp_path,
        patience_s=1.0 if violation in late else 20.0,
        ready_within_s=1.0 if violation is Violation.SILENT else 20.0,
    )
    scenery = {
        "tmp_path": tmp_path,
        "monkeypatch": monkeypatch,
        "letter": "é",
        "size": 1,
        "encoding": "ascii",
        "identifier": "my own host",
        "before": "len:",
        "after": "host:web-1:9001 len:",
    }
    asked_for = inspect.signature(scene).parameters
    with closing(factory), pytest.raises(ProtocolViolationError) as caught:
        scene(factory, **{name: value for name, value in scenery.items() if name in asked_for})

    assert caught.value.violation is violation, caught.value
