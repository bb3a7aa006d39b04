"""Ids of incidents: unique over hosts, bounded, safe in headers."""

from __future__ import annotations

import json
from dataclasses import replace

from fpm_listener.delivery import receiver_failure
from fpm_listener.delivery.receiver_failure import ReceiverFailure
from fpm_listener.incidents.incident_ids import LONGEST_ID, incident_id
from fpm_listener.values import Clocks
from tests.unit.monitor.engine_scenario import Scenario, moment

CLOCKS = Clocks(moment(0.0), "boot")


def test_two_hosts_that_fail_in_the_same_millisecond_have_different_ids() -> None:
    """Instance, and what is random for each listener, each make the id another."""
    scenes = [
        Scenario(instance=i, id_token=t) for i, t in (("web", "a"), ("db", "a"), ("web", "b"))
    ]

    ids = {scenario.fail(0.0, 2.0, 4.0).alerts[0].incident_id for scenario in scenes}

    assert len(ids) == 3
    again = Scenario(instance="web", id_token="a")
    assert again.fail(0.0, 2.0, 4.0).alerts[0].incident_id in ids


def test_the_supervisor_is_part_of_the_id() -> None:
    """Two supervisords on one host may have programs of the same name."""
    names = [
        incident_id("web", supervisor, "php-fpm:php-fpm", started_at_s=1.0, token="a")
        for supervisor in ("one", "two")
    ]

    assert names[0].startswith("web/one/php-fpm:php-fpm/1.000/")
    assert len(set(names)) == 2


def test_long_and_strange_names_give_short_and_plain_ids() -> None:
    """With its sequence an id fits into 255 characters, also percent-encoded; none collide."""
    long = [
        incident_id("h" * 253, "supervisor", f"{'é' * 300}:{end}", started_at_s=1.7e9, token="a")
        for end in ("a", "b")
    ]

    assert len(set(long)) == 2
    for one in long:
        assert len(one) == LONGEST_ID
        assert one.isascii()
        assert one.isprintable()
        assert not set(one) & set(" %\"'\\")
    assert LONGEST_ID + len("-") + len(str(2**63)) <= 255


def test_names_with_separators_give_different_ids() -> None:
    """What is shown may be the same; the digest is not."""
    ids = {
        incident_id("a", "b/c", "d", started_at_s=1.0, token=""),
        incident_id("a/b", "c", "d", started_at_s=1.0, token=""),
        incident_id("a", "b c", "d", started_at_s=1.0, token=""),
    }

    assert len(ids) == 3


def test_the_incident_of_a_receiver_is_unique_as_well_and_is_saved() -> None:
    """The same receiver of two hosts fails in the same millisecond."""
    ones = [
        receiver_failure.start("ops", moment(0.0), "x", instance, token)
        for instance, token in (("web", "a"), ("web", "b"), ("db", "a"))
    ]

    assert len({one.incident_id for one in ones}) == 3
    assert ReceiverFailure.from_json(ones[0].to_json(CLOCKS), CLOCKS) == ones[0]


def test_an_id_that_an_older_version_made_stays() -> None:
    """What is resolved after an update has the id under which it was firing."""
    one = receiver_failure.start("ops", moment(0.0), "x", "web", "a")
    saved = json.loads(one.to_json(CLOCKS))
    del saved["id"]

    assert ReceiverFailure.from_json(json.dumps(saved), CLOCKS) == replace(
        one, incident_id="receiver:ops-1700000000.000"
    )


def test_the_parts_of_an_id() -> None:
    """The names, the moment, and the beginning of a digest of them and the token."""
    one = incident_id("wéb/1", "a b", "php-fpm:x@y", started_at_s=1.23456, token="t")

    assert one == "w_b_1/a_b/php-fpm:x@y/1.235/" + one[-16:]
    assert all(letter in "0123456789abcdef" for letter in one[-16:])
