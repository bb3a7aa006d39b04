"""Every response of a service has an outcome: no response can stop the listener."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.delivery.attempt import Delivered, Rejected, RetryLater
from fpm_listener.delivery.receivers.http import HttpResponse, by_status
from fpm_listener.settings.receiver_types import KINDS

CLASSIFIERS = {
    name: getattr(
        import_module(f"fpm_listener.delivery.receivers.{kind.module}"),
        "classify_response",
        by_status,
    )
    for name, kind in KINDS.items()
    if kind.module not in {"email", "exec"}
}
WORDS = (
    "ok",
    "errcode",
    "code",
    "StatusCode",
    "errmsg",
    "msg",
    "parameters",
    "retry_after",
    "success",
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=8,
)
BODIES = st.binary(max_size=50) | ANYTHING.map(lambda value: json.dumps(value).encode())
STATUSES = st.sampled_from(
    [200, 202, 204, 301, 400, 401, 404, 408, 410, 425, 429, 500, 503, 999, 100]
)


@pytest.mark.parametrize("kind", CLASSIFIERS)
@given(body=BODIES, status=STATUSES, retry_after=st.none() | st.text(max_size=30))
def test_every_response_has_an_outcome(
    kind: str,
    body: bytes,
    status: int,
    retry_after: str | None,
) -> None:
    """A delivery needs a status of 2xx; a delay is never negative or endless."""
    answer = HttpResponse(status=status, retry_after=retry_after, body=body)
    outcome: Any = CLASSIFIERS[kind](answer, 1.8e9)

    assert isinstance(outcome, Delivered | RetryLater | Rejected)
    if isinstance(outcome, Delivered):
        assert 200 <= status <= 299
    if isinstance(outcome, RetryLater) and outcome.after_s is not None:
        assert 0 <= outcome.after_s <= 3600


@pytest.mark.parametrize("kind", ["dingtalk", "wecom", "feishu"])
@pytest.mark.parametrize("code", [[], {}, None, "0", 0.0, False, [0]])
def test_a_code_that_is_not_a_number(kind: str, code: object) -> None:
    """It is not a delivery."""
    body = json.dumps({"errcode": code, "code": code}).encode()

    assert isinstance(CLASSIFIERS[kind](HttpResponse(status=200, body=body), 1.8e9), RetryLater)
