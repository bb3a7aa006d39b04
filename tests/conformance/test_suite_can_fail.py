"""Proof that the scenes see what is wrong: listeners with bad habits, and what each is told."""

from __future__ import annotations

import inspect
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from . import test_conformance as scenes
from .stage import MisconductError, Verdict
from .theatre import Listener, Theatre, specimen

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MUTE = Listener(name="mute", argv=("sleep", "60"))
UNABLE = Listener(name="unable", argv=(sys.executable, "-c", "raise SystemExit(1)"))
POSTER = specimen("poster", takes_url=True)
CHILDUTILS = specimen("childutils_loop")
MISDEEDS = [
    (MUTE, scenes.test_ready, Verdict.SILENT),
    (UNABLE, scenes.test_ready, Verdict.DIED),
    (specimen("printer"), scenes.test_ready, Verdict.STRAY),
    (specimen("failer"), scenes.test_ready, Verdict.FAIL),
    (specimen("bytes_counter"), scenes.test_payload_beyond_ascii, Verdict.DIED),
    (specimen("newline_guesser"), scenes.test_control_characters, Verdict.DEAF),
    (specimen("header_hunter"), scenes.test_payload_that_looks_like_an_event, Verdict.UNTIMELY),
    (specimen("one_read"), scenes.test_large_payload, Verdict.UNTIMELY),
    (specimen("one_read"), scenes.test_fragments, Verdict.UNTIMELY),
    (specimen("one_read"), scenes.test_events_glued_together, Verdict.DEAF),
    (specimen("loud"), scenes.test_closed_stderr, Verdict.DIED),
    (specimen("loud"), scenes.test_full_stderr, Verdict.DIED),
    (CHILDUTILS, scenes.test_stray_prints, Verdict.STRAY),
    (CHILDUTILS, scenes.test_locale_that_is_not_utf8, Verdict.DIED),
    (specimen("deduper"), scenes.test_duplicates, Verdict.DEAF),
    (specimen("deduper"), scenes.test_serials_that_jump, Verdict.DEAF),
    (specimen("believer"), scenes.test_events_that_nobody_knows, Verdict.DIED),
    (CHILDUTILS, scenes.test_header_of_another_version, Verdict.DIED),
    (CHILDUTILS, scenes.test_identifier, Verdict.DIED),
    (CHILDUTILS, scenes.test_senseless_line_before_an_event, Verdict.DIED),
    (CHILDUTILS, scenes.test_event_that_nobody_can_read, Verdict.DIED),
    (specimen("believer"), scenes.test_poison, Verdict.DIED),
    (specimen("stubborn"), scenes.test_stop_while_idle, Verdict.STUBBORN),
    (specimen("stubborn"), scenes.test_stop_while_busy, Verdict.STUBBORN),
    (CHILDUTILS, scenes.test_hangup_signal, Verdict.DIED),
    (specimen("stubborn"), scenes.test_end_of_stdin, Verdict.STUBBORN),
    (specimen("stubborn"), scenes.test_supervisord_vanishes_in_mid_event, Verdict.STUBBORN),
    (POSTER, scenes.test_receiver_that_hangs, Verdict.DEAF),
]


@pytest.mark.parametrize(
    ("bad", "scene", "verdict"),
    [pytest.param(*row, id=f"{row[0].name}-{row[1].__name__[5:]}") for row in MISDEEDS],
)
def test_the_suite_can_fail(
    bad: Listener,
    scene: Callable[..., None],
    verdict: Verdict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each bad habit is seen by the scene that is about it, and called by its name."""
    late = {Verdict.SILENT, Verdict.DEAF, Verdict.STUBBORN}  # the verdicts that have to be awaited
    theatre = Theatre(
        listener=bad,
        folder=tmp_path,
        patience_s=1.0 if verdict in late else 20.0,
        ready_within_s=1.0 if verdict is Verdict.SILENT else 20.0,
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
    with closing(theatre), pytest.raises(MisconductError) as caught:
        scene(theatre, **{name: value for name, value in scenery.items() if name in asked_for})

    assert caught.value.verdict is verdict, caught.value
