"""The labels around an alert."""

from __future__ import annotations

from fpm_listener.delivery.receivers.phrases import CHINESE
from fpm_listener.vocabulary import NOTIFICATION_FAILING, Cause


def test_each_cause_has_a_chinese_name() -> None:
    """Also the cause of an alert about a receiver."""
    assert CHINESE.causes.keys() == {*(cause.value for cause in Cause), NOTIFICATION_FAILING}
