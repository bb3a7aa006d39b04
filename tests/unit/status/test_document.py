"""The status as words, as lines for a terminal, and as a page."""

from __future__ import annotations

import dataclasses
import re

import pytest

from fpm_listener import __version__, durations
from fpm_listener.delivery.receiver_counters import ReceiverView
from fpm_listener.histogram import HistogramView
from fpm_listener.phpfpm.opcache import OpcacheView
from fpm_listener.phpfpm.pool_capacity import Capacity, Unknown
from fpm_listener.phpfpm.status_page import PoolView
from fpm_listener.status import document as status_document
from fpm_listener.status import page, terminal, text
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.vocabulary import State
from tests import snapshots
from tests.snapshots import EVIL, HOSTILE, MANY, NOTHING, NOW_S, TROUBLE, WELL

#: All that a terminal obeys, or that turns or hides text.
COMMANDS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
ALL = {"nothing": NOTHING, "well": WELL, "trouble": TROUBLE, "many": MANY, "evil": EVIL}


def document(snapshot: Snapshot, later_s: float = 0.0) -> status_document.Document:
    return status_document.to_json(snapshot, NOW_S + later_s)


# -- the words -------------------------------------------------------------------------------------


def test_the_words() -> None:
    """Each key says what the snapshot has."""
    words = document(TROUBLE)
    program = next(one for one in words["programs"] if one["name"] == "php-fpm:php-fpm")

    assert program["uptime_s"] is None
    assert program["last_exit"] == "exit status 78"
    assert program["incident"]["cause"] == "bind_conflict"
    assert words["instance"] == "web-7"
    assert words["listener"]["answered_within_s"] == 0.001
    assert words["findings"]["counts"] == {"error": 1, "warning": 1, "hint": 0}
    assert words["findings"]["worst"][0]["id"] == "FPM002"
    assert words["timeline"][-1]["what"] == "failed"
    assert words["timeline"][-1]["count"] == 6


def test_how_full_the_windows_are() -> None:
    """Failed lives are counted as of now, each window by itself."""
    name = "php-fpm:php-fpm"
    counts = []
    for later_s in (0.0, 55.0, 1000.0):
        (one,) = [p for p in document(TROUBLE, later_s)["programs"] if p["name"] == name]
        counts.append([window["failed"] for window in one["windows"]])

    assert counts == [[7, 7], [2, 7], [0, 0]]


def test_what_is_older_than_a_day_is_gone() -> None:
    """The timeline is read long after it was written."""
    assert document(TROUBLE, 6400.0)["timeline"][0]["what"] == "failed"
    assert document(TROUBLE, 86400.0)["timeline"] == []


def test_answers_that_come_late() -> None:
    """A lag beyond all bounds is no lag that is not known."""
    late = HistogramView(bounds=(0.1, 1.0), counts=(90, 0, 10), total=99.0)
    for acks, shown in ((late, "too late to measure"), (WELL.ack_seconds, "within 1 ms")):
        words = document(dataclasses.replace(WELL, ack_seconds=acks))
        assert f"99 % acknowledged: {shown}" in terminal.to_table(words)
        assert shown in page.to_html(words)
    assert "99 % acknowledged: no events yet" in terminal.to_table(document(NOTHING))


def test_a_wall_clock_that_is_set_back() -> None:
    """No time is below 0."""
    words = document(TROUBLE, -5 * 86400.0)

    assert words["programs"][0]["uptime_s"] == 0
    assert words["listener"]["uptime_s"] == 0
    assert words["listener"]["last_event_age_s"] == 0
    for show in (terminal.to_table, page.to_html):
        show(words)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (3725, "1h2m"), (86400 * 3 + 3600 * 4, "3d4h")],
)
def test_how_long_it_has_been_up(seconds: float, shown: str) -> None:
    """A time is shown in its two largest units."""
    assert durations.age(seconds) == shown


@pytest.mark.parametrize(
    ("snapshot", "words", "tone"),
    [
        (NOTHING, "The programs are not known yet", "idle"),
        (dataclasses.replace(NOTHING, ready=True), "No programs are monitored", "idle"),
        (WELL, "All 3 programs are running", "ok"),
        (TROUBLE, "1 of 6 programs has a problem", "bad"),
        (MANY, "2 of 200 programs have problems", "bad"),
        (
            dataclasses.replace(WELL, events_missed=1),
            "All 3 programs are running, but see below",
            "warn",
        ),
        (dataclasses.replace(WELL, processes=WELL.processes[:1]), "The program is running", "ok"),
        (
            dataclasses.replace(WELL, processes=(snapshots.program("x", State.FATAL),)),
            "1 of 1 program has a problem",
            "bad",
        ),
        (
            dataclasses.replace(WELL, processes=(snapshots.program("x", State.STOPPED),)),
            "The program has no problem",
            "ok",
        ),
        (
            dataclasses.replace(WELL, receivers=(ReceiverView(name="x", kind="y", failing=True),)),
            "All 3 programs are running, but see below",
            "warn",
        ),
    ],
)
def test_how_things_are(snapshot: Snapshot, words: str, tone: str) -> None:
    """A few words say it, and never that all is well when something is not."""
    assert text.headline(document(snapshot)) == (words, tone)


# -- for a terminal --------------------------------------------------------------------------------


def test_the_table() -> None:
    """The terminal shows state, trouble, evidence, remedy and what receivers are owed."""
    table = terminal.to_table(document(TROUBLE))

    assert table.splitlines()[0] == "supervisor on web-7: 1 of 6 programs has a problem"
    row = next(line for line in table.splitlines() if line.startswith("php-fpm "))
    assert row.split("  ")[-1] == "exit 78"
    assert "BACKOFF" in row
    assert "7 (loop, 1m)" in row
    for words in (
        "CRITICAL: php-fpm: 127.0.0.1:9000 is in use by pid 24150",
        "  holder:   pid 24150 and 1 more",
        "] ERROR: unable to bind listening socket for address",
        "  remedy:   End the orphaned workers, which finish their requests first: kill -QUIT",
        "  php-fpm-admin: /run/php/admin.sock, held",
        "php-fpm failed: exit status 78 (6 times)",
        "started again after 71 ms",
        "receiver pager: 2 pending, 5 attempts, 4 failed, 0 dropped",
        "last failure: the name events.pagerduty.com is not known",
        "FPM002 /etc/supervisor/conf.d/app.conf:3",
        "1204 events, 0 missed",
        "99 % acknowledged: within 1 ms",
    ):
        assert words in table


def test_a_problem_without_failures() -> None:
    """A php-fpm that does not answer or is saturated has not failed."""
    words = document(TROUBLE)
    incident = next(one["incident"] for one in words["programs"] if one["incident"])
    assert re.search("\\d failures?", terminal.to_table(words))
    incident["failures"] = 0
    assert "0 failures" not in terminal.to_table(words)
    assert "0 failures" not in page.to_html(words)


@pytest.mark.parametrize("width", [40, 80, 132])
@pytest.mark.parametrize("name", ALL)
def test_nothing_is_wider_than_the_terminal(name: str, width: int) -> None:
    """Names are cut and lines are folded; a remedy alone is one line, as it will be copied."""
    table = terminal.to_table(document(ALL[name]), width)
    long = [line for line in table.splitlines() if len(line) > max(width, 68)]

    assert [line for line in long if not line.startswith("  remedy: ")] == []


def test_wide_characters_take_two_columns() -> None:
    """A name in Chinese neither breaks the columns nor the width."""
    wide = snapshots.program("\u961f\u5217" * 30)
    table = terminal.to_table(
        document(dataclasses.replace(WELL, processes=(*WELL.processes, wide))), 80
    )
    row = next(line for line in table.splitlines() if "\u961f" in line)

    assert len(row) + row.count("\u961f") + row.count("\u5217") <= 80
    assert row.index("RUNNING") < 80


@pytest.mark.parametrize("name", ALL)
def test_text_of_others_does_nothing_to_a_terminal(name: str) -> None:
    """No escape, no title, nothing that turns or hides text; colours are our own, if wanted."""
    words = document(ALL[name])

    assert not COMMANDS.search(terminal.to_table(words))
    coloured = terminal.to_table(words, 80, colour=True)
    assert "\x1b[1m" in coloured or name == "nothing"
    assert not COMMANDS.search(re.sub(r"\x1b\[\d+m", "", coloured))


def test_what_is_wrong_with_the_listener_itself() -> None:
    """The status says what the listener cannot do."""
    snapshot = Snapshot(events_missed=3, outbox_persistent=False, config_reload_ok=False)
    for show in (terminal.to_table, page.to_html):
        shown = show(document(snapshot)).replace("&#x27;", "'")
        for words in ("XML-RPC", "3 events were lost", "memory only", "has an error"):
            assert words in shown


def test_the_directory_of_undelivered_alerts() -> None:
    """A fallback that a new container deletes is a problem; another directory is only shown."""
    folder = "/run/fpm-listener"
    lost = Snapshot(state_dir=folder, state_dir_temporary=True)
    for show in (terminal.to_table, page.to_html):
        assert f"{folder} until a new container or a reboot" in " ".join(
            show(document(lost)).split()
        )
    fine = document(Snapshot(state_dir="/data"))
    assert "/data" in page.to_html(fine)
    assert "state_dir" not in terminal.to_table(fine)


def test_an_upgrade_without_a_restart() -> None:
    """A listener of the old version says what to do."""
    words = document(Snapshot(installed_version="9.0"))
    for show in (terminal.to_table, page.to_html):
        shown = " ".join(show(words).split())
        assert f"fpm-listener 9.0 was installed, and version {__version__} still runs" in shown
        assert "supervisorctl restart fpm-listener" in shown


def test_what_healing_is_about_to_do() -> None:
    """It is said when, and how often it was done."""
    name = "queue:worker"
    healed = snapshots.program(name, State.STOPPED, healed=3, paused=True, next_start_s=NOW_S + 240)
    given_up = snapshots.program("php", State.FATAL, next_start_s=NOW_S + 9, exhausted=True)
    words = document(dataclasses.replace(WELL, processes=(healed, given_up)))
    for show in (terminal.to_table, page.to_html):
        shown = show(words)
        assert "stopped because of a restart loop; self-healing starts it in 4m" in shown
        assert "not running; self-healing starts it in 9s (all starts of one day are used)" in shown
    assert "(3 healed)" in terminal.to_table(words)
    assert "3 by self-healing" in page.to_html(words)


def test_how_full_its_pools_are() -> None:
    """php-fpm's own numbers are shown where it is asked for them."""
    for show in (terminal.to_table, page.to_html):
        shown = show(document(TROUBLE))
        for words in (
            "pool admin: 4 of 8 busy, 3 idle, max_children reached 2 times",
            "pool api: 5 busy, 0 idle, 12 waiting, max_children reached 2 times, saturated",
            "pool old: no answer (refused)",
            "pool new: not asked",
            "at most 5 workers fit into this container; 8 are configured (6 workers measured since",
            ", the last one 2h ago)",
            "peak of the last 24 h: 8 busy workers (5760 samples since 20",
            "), and clients waited",
        ):
            assert words in " ".join(shown.split())


def test_numbers_of_an_earlier_answer() -> None:
    """While clients wait, only the queue and the running workers are known: all are busy."""
    old = {"active_processes": 1.0, "idle_processes": 4.0, "max_children_reached": 0.0}
    pool = PoolView(
        pool="www", up=True, numbers=old, is_old=True, running=5, max_children=5, waiting=9
    )
    for view, line in (
        (pool, "5 of 5 busy, 9 waiting, saturated"),
        (dataclasses.replace(pool, running=None), "9 waiting"),
        (
            dataclasses.replace(pool, running=None, too_many_wait=True),
            "9 waiting, saturated",
        ),
    ):
        process = snapshots.program("php-fpm", pools=(view,))
        shown = document(dataclasses.replace(WELL, processes=(process,)))["programs"][0]["pools"][0]
        assert text.pool_load(shown) == line


#: A status line for each reason.
REASONS = {
    Unknown.UNMEASURED: "they were not measured yet",
    Unknown.NO_LIMIT: "the limit of the memory cannot be read",
    Unknown.NO_USAGE: "the memory in use of THIS cannot be read",
    Unknown.FEW_WORKERS: "too few workers of pool THIS have served a request that needs 1 MiB",
    Unknown.NO_MAX_CHILDREN: "pm.max_children of pool THIS is unknown",
    Unknown.NOT_FOLLOWED: "the listener does not follow another php-fpm that shares the memory "
    "(THIS)",
}


def test_why_the_size_of_a_pool_is_unknown() -> None:
    """The line states the reason; another version of the listener can have one of its own."""
    found = {}
    for why in Unknown:
        pool = PoolView(pool="www", up=True, capacity=Capacity(why=why, subject="THIS"))
        process = snapshots.program("php-fpm", pools=(pool,))
        shown = document(dataclasses.replace(WELL, processes=(process,)))["programs"][0]["pools"][0]
        (found[why],) = text.pool_capacity(shown, NOW_S)
        shown["capacity"] |= {"why": "new", "new": 1}
        assert text.pool_capacity(shown, NOW_S) == []
    prefix = "it is unknown how many workers fit: "
    assert found == {why: prefix + words for why, words in REASONS.items()}


OBSTACLE = OpcacheView(problem="php-fpm may not open /x; add its directory to open_basedir")
FULL = OpcacheView(numbers={"hits": 1.0, "misses": 0.0}, is_full=True)


@pytest.mark.parametrize(
    ("opcache", "line"),
    [
        (
            snapshots.OPCACHE,
            (
                "OPcache: 100.5 of 128.0 MiB used, 0.5 wasted; 1234 of 16229 keys; "
                "hit rate 99.9 %; restarts: 2 (memory), 1 (opcache_reset)"
            ),
        ),
        (FULL, "OPcache is full: hit rate 100.0 %; restarts: none"),
        (OBSTACLE, f"no numbers of OPcache ({OBSTACLE.problem})"),
    ],
)
def test_its_opcache(opcache: OpcacheView, line: str) -> None:
    """One line has the numbers, or what forbids them."""
    words = document(
        dataclasses.replace(WELL, processes=(snapshots.program("php-fpm", opcache=opcache),))
    )

    assert f"php-fpm: {line}\n" in terminal.to_table(words)
    assert line in page.to_html(words)
    assert words["programs"][0]["opcache"]["problem"] == opcache.problem
    assert document(WELL)["programs"][0]["opcache"] is None


# -- as a page -------------------------------------------------------------------------------------


def test_the_page_has_it_all() -> None:
    """Whoever has no JavaScript sees the same."""
    shown = page.to_html(document(TROUBLE))
    for words in (
        "<title>1 of 6 programs has a problem \u00b7 web-7</title>",
        "<code>kill -QUIT -24135</code>",
        "unable to bind listening socket",
        "sockets held",
        "in use by another process",
        "7 failures in 1m (limit 3)",
        "in a fast restart loop",
        "started again after 71 ms",
        "13 failures in the last 24 hours",
        "the name events.pagerduty.com is not known",
        "process_control_timeout = 10s",
        "1204; none missed",
    ):
        assert words in shown


def test_the_page_is_small() -> None:
    """It is sent again and again."""
    assert len(page.to_html(document(TROUBLE)).encode()) < 60 << 10
    assert len(page.to_html(document(NOTHING)).encode()) < 20 << 10


def test_text_of_others_is_no_markup() -> None:
    """Everything is escaped, and what turns or hides text is shown as a question mark."""
    shown = page.to_html(document(EVIL))
    live = shown[shown.index('<div id="live">') : shown.rindex("<script>")]

    assert "<script" not in live
    assert "<img" not in live
    assert shown.count("<script>") == 1
    assert not COMMANDS.search(live.replace("\t", ""))
    assert "@LIVE@ @TITLE@ ]]&gt;" in live
    assert len(live) < 60 << 10
    assert HOSTILE[3][:10] in live  # Hebrew may be Hebrew


@pytest.mark.parametrize("name", ALL)
def test_the_page_is_whole(name: str) -> None:
    """What is opened is closed, and no placeholder is left."""
    shown = page.to_html(document(ALL[name]))
    opened = re.findall(r"<(\w+)[ >]", shown[shown.index("<body") : shown.index("<script>")])
    for element in {*opened} - {"path", "circle"}:
        assert len(re.findall(rf"<{element}[ >]", shown)) == shown.count(f"</{element}>"), element
    assert "@PAGE@" not in shown
    assert shown.startswith("<!doctype html>")


def test_an_incident_of_which_the_beginning_is_forgotten() -> None:
    """The picture of the day shows an incident also where only its end is in the timeline."""
    ends = dataclasses.replace(WELL, timeline=TROUBLE.timeline[5:6])

    assert 'class="span bad"' in page.to_html(document(ends))
