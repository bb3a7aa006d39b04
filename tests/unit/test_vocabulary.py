"""The words of closed sets: they stand in metrics, documents, alerts and databases of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fpm_listener.delivery.attempt import DropReason, FailureReason
from fpm_listener.delivery.receiver_counters import ReceiverCounters, ReceiverView, add_up
from fpm_listener.doctor.rule import FindingSeverity
from fpm_listener.incidents.alert import Reason, Status
from fpm_listener.monitor.timeline import TimelineEvent
from fpm_listener.phpfpm.config import LogKind
from fpm_listener.phpfpm.log_facts import FactKind
from fpm_listener.vocabulary import NOTIFICATION_FAILING, Cause, Fault, Severity, State, Tier, Where
from tests.samples import DOWN, NO, YES

if TYPE_CHECKING:
    from enum import Enum


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (State, "STOPPED STARTING RUNNING BACKOFF STOPPING EXITED FATAL UNKNOWN"),
        (Tier, "fast slow"),
        (
            Cause,
            (
                "bind_conflict address_absent unknown_user disk_full fd_limit process_limit "
                "missing_path permission config_error out_of_memory crash_signal worker_failure "
                "not_answering restart_loop gave_up exit_loop stop_timeout opcache_full saturated"
            ),
        ),
        (
            Fault,
            (
                "no_family no_config_file no_library no_command no_pool_folder socket_owner "
                "priority core_limit change_user apparmor no_acl bad_listen shared_address "
                "root_pool php_settings usage no_shared_memory no_memory no_program "
                "no_interpreter no_loader windows_line no_directory is_directory not_executable "
                "noexec_mount not_root no_uid no_format bad_command"
            ),
        ),
        (
            Where,
            (
                "event input effect database memory settings log pool receiver web control guard "
                "supervisor programs holder exit check textfile thread"
            ),
        ),
        (
            FailureReason,
            (
                "refused timeout tls dns connection client_error server_error rate_limited answer "
                "redirect command other"
            ),
        ),
        (DropReason, "max_age max_alerts rejected not_notified operator stale"),
        (Status, "firing resolved"),
        (
            TimelineEvent,
            (
                "failed exited stopped started healed paused shutdown incident changed worse "
                "resolved listener supervisord supervisord_ends"
            ),
        ),
        (
            FactKind,
            (
                "bind_conflict address_absent missing_path permission unknown_user config_error "
                "disk_full fd_limit process_limit out_of_memory start_error init_failed ready "
                "reload ending child_signal child_exit emergency_reload max_children slow "
                "terminated"
            ),
        ),
        (LogKind, "file stderr syslog device"),
        (FindingSeverity, "error warning hint"),
    ],
)
def test_the_words(words: type[Enum], values: str) -> None:
    """A word that changes breaks dashboards and rules, and loses what was saved."""
    assert [one.value for one in words] == values.split()
    assert [one.name.lower() for one in words] == values.lower().split()


def test_words_with_blanks() -> None:
    """As alerts and the list of queued alerts show them."""
    assert [one.value for one in Reason] == [
        *("first", "cause changed", "got worse", "repeat", "resolved", "test")
    ]
    assert NOTIFICATION_FAILING == "notification_failing"


def test_severities() -> None:
    """In the order of urgency; an unknown word is the most urgent one."""
    assert Severity.INFO < Severity.WARNING < Severity.CRITICAL
    words = ("info", "Warning", "CRITICAL", "", "disaster")
    assert [Severity.of(word) for word in words] == [
        Severity.INFO,
        Severity.WARNING,
        *[Severity.CRITICAL] * 3,
    ]


def test_what_is_counted_of_a_receiver() -> None:
    """All attempts, the failures by reason, and the words for the last one."""
    counters = ReceiverCounters()
    assert (counters.sent, counters.last_failure) == (0, "")
    assert (set(counters.failed.values()), set(counters.dropped.values())) == ({0}, {0})
    for outcome, last in ((DOWN, "Connection refused"), (YES, ""), (NO, "status 400")):
        counters.count(outcome)
        assert counters.last_failure == last
    assert counters.sent == 3
    assert {name: count for name, count in counters.failed.items() if count} == {
        "refused": 1,
        "client_error": 1,
    }
    assert add_up([{"a": 1, "b": 2}, {"a": 10, "b": 0}]) == {"a": 11, "b": 2}


def test_the_seconds_of_a_receiver_have_buckets() -> None:
    """From a receiver on this host to one that was away for an hour; part of a metric's name."""
    bounds = ReceiverCounters().seconds.view().bounds

    assert bounds == (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 3600.0)


def test_a_receiver_of_which_nothing_is_known() -> None:
    """It has done nothing, and is not in trouble."""
    view = ReceiverView(name="ops", kind="slack")

    assert (view.pending, view.sent, view.failed, view.dropped) == (0, 0, {}, {})
    assert (view.seconds, view.failing, view.last_failure) == (None, False, "")
