"""php-fpm's full status page becomes the longest requests, without URIs and query strings."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fpm_listener.phpfpm.status_entries import split
from fpm_listener.phpfpm.worker_requests import MOST, WorkerRequest, longest

if TYPE_CHECKING:
    from collections.abc import Iterable


def worker(script: str, duration_s: float, **fields: object) -> dict[str, Any]:
    """Return an entry as php-fpm 8.2 writes it."""
    return {
        "pid": 11,
        "state": "Running",
        "start time": 1795933312,
        "start since": 3,
        "requests": 1,
        "request duration": int(duration_s * 1_000_000),
        "request method": "GET",
        "request uri": f"{script}?token=s3cret",
        "content length": 0,
        "user": "-",
        "script": script,
        "last request cpu": 0.00,
        "last request memory": 0,
        **fields,
    }


HEAD = '{"pool":"www","accepted conn":3,"slow requests":0, "processes":'


def requests(text: str, own: Iterable[str | None] = ()) -> tuple[WorkerRequest, ...]:
    """Return the longest requests of a page."""
    page = split(text)
    return () if page is None else longest(page, own)


def page(*workers: object) -> str:
    """Return a page in the form of php-fpm: without spaces, except before the list."""
    return f"{HEAD}{json.dumps(workers, separators=(',', ':'))}}}"


def test_the_longest_requests() -> None:
    """At most five, the longest first, without idle workers and query strings."""
    text = page(
        worker("/srv/idle.php", 99, state="Idle"),
        worker("/srv/new.php", 99, state="Creating"),
        *(worker(f"/srv/{number}.php?a=s3cret", number) for number in range(1, 9)),
    )
    found = requests(text)

    assert [one.script for one in found] == [f"/srv/{number}.php" for number in range(8, 3, -1)]
    assert found[0] == WorkerRequest("GET", "/srv/8.php", 8.0, 11)
    assert len(found) == MOST
    assert "s3cret" not in repr(found)


def test_our_own_requests() -> None:
    """A worker that answers the listener serves no client."""
    text = page(
        worker("-", 1, **{"request uri": "/status?json&full"}),
        worker("-", 1, **{"request uri": "/ping"}),
        worker("-", 2, **{"request uri": "/status2", "state": "Reading headers"}),
    )
    found = requests(text, ("/status", "/ping", None))

    assert found == (WorkerRequest("GET", "-", 2.0, 11),)


@pytest.mark.parametrize("query", ["?t=s3cret", "%3Ft=s3cret", "%3ft=s3cret"])
def test_a_query_string_in_the_script(query: str) -> None:
    """A web server can be configured to send it as a part of the path."""
    assert requests(page(worker(f"/srv/x.php{query}", 1)))[0].script == "/srv/x.php"


def test_long_texts() -> None:
    """A method and a script are bounded; the end of a path names the script."""
    one = worker("/a" * 4000 + "/x.php", 1, **{"request method": "M" * 900})
    (found,) = requests(page(one))

    assert len(found.method) == 16
    assert len(found.script) == 200
    assert found.script.startswith("…")
    assert found.script.endswith("/x.php")


def test_a_list_that_is_no_json() -> None:
    """php-fpm 7.4 writes quotes of a URI as they are: all entries stay readable."""
    evil = worker("/srv/evil.php", 3, **{"request uri": "EVIL"})
    text = page(worker("/srv/a.php", 2), evil, worker("/srv/b.php", 1))
    text = text.replace("EVIL", '/x?","script":"/forged?s3cret","y":"\x01\\')
    found = requests(text)

    assert [one.script for one in found] == ["/srv/evil.php", "/srv/a.php", "/srv/b.php"]
    assert [one.duration_s for one in found] == [3.0, 2.0, 1.0]
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize("value", [None, True, -1, 10**400, 1.5, "x", [], {}, "\udcff"])
@pytest.mark.parametrize(
    "key", ["pid", "state", "request duration", "request method", "request uri", "script"]
)
def test_values_of_other_types(key: str, value: object) -> None:
    """Any process can answer on a pool's port: nothing raises, and all is bounded."""
    for found in requests(page({**worker("/x.php", 1), key: value}, value)):
        assert isinstance(found.pid, int)
        assert isinstance(found.script, str)
        assert isinstance(found.method, str)
        assert found.duration_s >= 0


@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    """Nothing raises."""
    requests(text)
    requests(page(worker(text, 1), text) + text)
    requests(HEAD + '[{"pid":' + text)


def test_a_long_page() -> None:
    """It is read entry by entry, with the same result; a broken entry hides no other."""
    text = page(*(worker(f"/srv/{number}.php", number) for number in range(300)))
    read, broken = split(text), split(text.replace('"/srv/7.php?', '"/srv/"7.php?'))

    assert read is not None
    assert broken is not None
    assert (len(read.workers), read.is_whole) == (300, True)
    assert (len(broken.workers), broken.is_whole) == (300, False)
    assert longest(read) == longest(broken)
    assert [one.script for one in longest(read)][:2] == ["/srv/299.php", "/srv/298.php"]
    assert not split_is_whole(text[:-2]), "a list that is cut"


def split_is_whole(text: str) -> bool:
    """Return whether all workers of a page could be read."""
    found = split(text)
    return found is not None and found.is_whole


#: Answers of 2 MiB.
BOMBS = (
    *('{"pid":' * 300_000, '{"pid":1,"script":"' * 110_000, "[" * 2_000_000),
    *("{}," * 700_000, '{"pid":{}},' * 190_000, '{"pid":1,"a":[' + "[]," * 700_000),
    ('{"pid":[' + "[" * 1500) * 1380,
    ('{"pid":1,"state":"' + "x" * 15000 + '"},') * 139,
)


def test_hostile_sizes() -> None:
    """The longest answer that is accepted costs a moment."""
    began_s = time.process_time()
    for text in BOMBS:
        requests(HEAD + "[" + text)
        requests(text)
    assert time.process_time() - began_s < 10


def test_hostile_lists() -> None:
    """A list that is valid JSON and needs much memory is not kept."""
    tracemalloc.start()
    try:
        for text in BOMBS[3:6]:
            split(HEAD + "[" + text)
            split(text)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
