"""Proof that the conformance tests find faults: each faulty listener fails its test."""

from __future__ import annotations

import inspect
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from . import test_conformance as conformance
from .listeners import HarnessFactory, Listener, specimen
from .supervisor_harness import ProtocolViolationError, Violation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MUTE = Listener(name="mute", argv=("sleep", "60"))
UNABLE = Listener(name="unable", argv=(sys.executable, "-c", "raise SystemExit(1)"))
POSTER = specimen("poster", takes_url=True)
CHILDUTILS = specimen("childutils_loop")
FAULTS = [
    (MUTE, conformance.test_start, Violation.NO_READY),
    (UNABLE, conformance.test_start, Violation.EXITED),
    (specimen("printer"), conformance.test_start, Violation.OTHER_OUTPUT),
    (specimen("failer"), conformance.test_start, Violation.ANSWERED_FAIL),
    (specimen("bytes_counter"), conformance.test_payload_beyond_ascii, Violation.EXITED),
    (specimen("newline_guesser"), conformance.test_control_characters, Violation.NO_ANSWER),
    (
        specimen("header_hunter"),
        conformance.test_payload_that_looks_like_an_event,
        Violation.OUT_OF_TURN,
    ),
    (specimen("one_read"), conformance.test_large_payload, Violation.OUT_OF_TURN),
    (specimen("one_read"), conformance.test_event_in_pieces, Violation.OUT_OF_TURN),
    (specimen("one_read"), conformance.test_several_events_at_once, Violation.NO_ANSWER),
    (specimen("loud"), conformance.test_closed_stderr, Violation.EXITED),
    (specimen("loud"), conformance.test_full_stderr, Violation.EXITED),
    (CHILDUTILS, conformance.test_prints_of_the_listener_and_its_children, Violation.OTHER_OUTPUT),
    (CHILDUTILS, conformance.test_locale_that_is_not_utf8, Violation.EXITED),
    (specimen("deduper"), conformance.test_repeated_event, Violation.NO_ANSWER),
    (specimen("deduper"), conformance.test_serial_numbers_that_jump, Violation.NO_ANSWER),
    (specimen("believer"), conformance.test_event_of_an_unknown_type, Violation.EXITED),
    (CHILDUTILS, conformance.test_header_of_another_version, Violation.EXITED),
    (CHILDUTILS, conformance.test_identifier, Violation.EXITED),
    (CHILDUTILS, conformance.test_line_without_meaning_before_an_event, Violation.EXITED),
    (CHILDUTILS, conformance.test_event_with_an_invalid_header, Violation.EXITED),
    (specimen("believer"), conformance.test_hostile_payloads, Violation.EXITED),
    (specimen("stubborn"), conformance.test_stop_while_idle, Violation.NO_EXIT),
    (specimen("stubborn"), conformance.test_stop_while_busy, Violation.NO_EXIT),
    (CHILDUTILS, conformance.test_hangup_signal, Violation.EXITED),
    (specimen("stubborn"), conformance.test_end_of_stdin, Violation.NO_EXIT),
    (specimen("stubborn"), conformance.test_supervisord_killed_while_it_sends, Violation.NO_EXIT),
    (POSTER, conformance.test_receiver_that_never_answers, Violation.NO_ANSWER),
]


@pytest.mark.parametrize(
    ("faulty", "test", "violation"),
    [pytest.param(*row, id=f"{row[0].name}-{row[1].__name__[5:]}") for row in FAULTS],
)
def test_a_faulty_listener(
    faulty: Listener,
    test: Callable[..., None],
    violation: Violation,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The test of its rule fails with the right violation."""
    factory = HarnessFactory(listener=faulty, folder=tmp_path, expected=violation)
    arguments = {
        "tmp_path": tmp_path,
        "monkeypatch": monkeypatch,
        "letter": "é",
        "size": 1,
        "encoding": "ascii",
        "identifier": "my own host",
        "before": "len:",
        "after": "host:web-1:9001 len:",
    }
    parameters = inspect.signature(test).parameters
    with closing(factory), pytest.raises(ProtocolViolationError) as caught:
        test(factory, **{name: value for name, value in arguments.items() if name in parameters})

    assert caught.value.violation is violation, caught.value
