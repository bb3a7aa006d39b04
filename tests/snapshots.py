"""Snapshots of listeners without programs, with and without problems, with many programs."""

from __future__ import annotations

import time
from dataclasses import replace

from fpm_listener.delivery.receiver_counters import ReceiverView
from fpm_listener.histogram import Histogram
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.incidents.incident import IncidentView
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.monitor.process_view import ProcessView
from fpm_listener.monitor.timeline import Entry, TimelineEvent
from fpm_listener.phpfpm.opcache import OpcacheView
from fpm_listener.phpfpm.pool_capacity import Capacity
from fpm_listener.phpfpm.status_page import PoolView
from fpm_listener.settings.policy import LoopPolicy
from fpm_listener.status.snapshot import FindingView, Snapshot
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause, State, Tier

NOW_S = time.time()

#: Markup, a terminal's escapes, text that turns or hides itself, Hebrew, and an end without end.
HOSTILE = (
    "<script>window.pwned=1</script><img src=x onerror='window.pwned=1'>",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07 \x9b1m",
    "user \u202egpj.exe\u202c and zero\u200bwidth \u2066isolated\u2069 \ufeff",
    "\u05e9\u05d2\u05d9\u05d0\u05d4: \u05d4\u05db\u05ea\u05d5\u05d1\u05ea 127.0.0.1:9000",
    "not UTF-8: \udcff\udcfe",
    "@LIVE@ @TITLE@ ]]> --> </pre></style></script>",
    "x" * 65536,
)


BIND = (
    "ERROR: unable to bind listening socket for address '127.0.0.1:9000': Address already in use "
    "(98)"
)


def stamp(form: str, ago_s: float) -> str:
    """Return a time as php-fpm's log writes it."""
    return time.strftime(form, time.localtime(NOW_S - ago_s))


def program(name: str, state: State = State.RUNNING, **more: object) -> ProcessView:
    """Return a program without problems."""
    group, _, process = name.partition(":")
    words: dict[str, object] = {
        "name": ProcessName(group, process or group),
        "is_fpm": name.startswith("php"),
        "state": state,
        "pid": 4711,
        "starts": 1,
        "start_time_s": NOW_S - 3 * 86400 - 4 * 3600,
    }
    return ProcessView(**{**words, **more})  # type: ignore[arg-type] # the test's own words


KILLED, SEGFAULT = ExitReason(signal=9), ExitReason(signal=11)
ORPHANS = HolderReport(
    address="127.0.0.1:9000",
    holders=(
        Holder(
            kind=HolderKind.ORPHAN,
            pid=24150,
            command="php-fpm: pool www",
            user="www-data",
            master_pid=24135,
            others=(24151,),
        ),
    ),
)


def incident(incident_id: str = "1", **more: object) -> IncidentView:
    """Return a bind conflict; `more`: of its facts."""
    words: dict[str, object] = {
        "name": ProcessName("php-fpm", "php-fpm"),
        "cause": Cause.BIND_CONFLICT,
        "failures": 7,
        "address": "127.0.0.1:9000",
        "holder": ORPHANS,
        "evidence": (
            f"{stamp('%T', 196)},332 WARN exited: php-fpm (terminated by SIGKILL; not expected)",
            f"{stamp('%T', 193)},372 WARN exited: php-fpm (exit status 78; not expected)",
            f"[{stamp('%d-%b-%Y %T', 193)}] {BIND}",
        ),
    }
    facts = IncidentFacts(**{**words, **more})  # type: ignore[arg-type] # the test's own words
    return IncidentView(
        incident_id=incident_id, severity="critical", started_at_s=NOW_S - 192, facts=facts
    )


def entry(what: TimelineEvent, ago_s: float, process: str = "", **more: object) -> Entry:
    """Return an entry of the timeline."""
    words = {"what": what, "process": process, "first_s": NOW_S - ago_s, "last_s": NOW_S - ago_s}
    return Entry(**{**words, **more})  # type: ignore[arg-type] # the test's own words


def _acks() -> Histogram:
    acks = Histogram((0.001, 0.0025, 0.01))
    for _ in range(1200):
        acks.observe(0.0006)
    return acks


FOUND = (
    FindingView(
        "FPM002",
        "error",
        "/etc/supervisor/conf.d/app.conf:3 [program:app]",
        "startsecs is 1, and the command sleeps for 1 s before php-fpm is started",
        "supervisord says RUNNING of a php-fpm that has not tried to open its port yet, sets its "
        "retries back to 0, and never gives up",
        "command=fpm-listener guard --hold -- /usr/sbin/php-fpm8.2 -F",
    ),
    FindingView(
        "FPM031",
        "warning",
        "/etc/php/8.2/fpm/php-fpm.conf:12 [global]",
        "process_control_timeout is 0",
        "every stop and restart cuts the requests that are being answered",
        "process_control_timeout = 10s",
    ),
)

#: No program, and none known yet.
NOTHING = Snapshot(instance="web-7", started_s=NOW_S - 3)

#: All is well.
WELL = Snapshot(
    processes=(
        program("php-fpm", addresses=("/run/php/www.sock",), held=("/run/php/www.sock",)),
        program("nginx"),
        program("queue:worker_00", restarts=1, last_exit=ExitReason(status=0)),
    ),
    receivers=(ReceiverView(name="ops", kind="slack", sent=4),),
    events={"PROCESS_STATE_RUNNING": 1204},
    windows={
        Tier.FAST: LoopPolicy(threshold=3, window_s=60.0),
        Tier.SLOW: LoopPolicy(threshold=5, window_s=900.0),
    },
    last_event_s=NOW_S - 41,
    ack_seconds=_acks().view(),
    ready=True,
    supervisor_up=True,
    fast_restart=True,
    supervisor="supervisor",
    instance="web-7",
    started_s=NOW_S - 3 * 86400 - 4 * 3600,
)

BUSY = {"active_processes": 5.0, "idle_processes": 0.0, "max_children_reached": 2.0}

OPCACHE = OpcacheView(
    numbers={
        "memory_used": 100.5 * 2**20,
        "memory_free": 27.0 * 2**20,
        "memory_wasted": 0.5 * 2**20,
        "keys": 1234.0,
        "max_keys": 16229.0,
        "hits": 99999.0,
        "misses": 60.0,
        "restarts_oom": 2.0,
        "restarts_manual": 1.0,
    }
)

#: A bad night.
TROUBLE = replace(
    WELL,
    processes=(
        program(
            "php-fpm",
            State.BACKOFF,
            pid=None,
            restarts=7,
            failed_starts=6,
            unexpected_exits=1,
            last_exit=ExitReason(status=78),
            last_exit_s=NOW_S - 1,
            loops=frozenset({Tier.FAST}),
            addresses=("127.0.0.1:9000",),
            incident=incident(),
        ),
        program(
            "php-fpm-admin",
            addresses=("/run/php/admin.sock",),
            held=("/run/php/admin.sock",),
            pools=(
                PoolView(
                    pool="admin",
                    up=True,
                    numbers={**BUSY, "idle_processes": 3.0},
                    max_children=8,
                    own_requests=1,
                    capacity=Capacity(
                        fits=5,
                        where="cgroup /",
                        workers=6,
                        since_s=NOW_S - 90000.0,
                        until_s=NOW_S - 7230.0,
                        busy_peak=8,
                        busy_samples=5760,
                        busy_since_s=NOW_S - 86400.0,
                        waited=True,
                    ),
                ),
                PoolView(
                    pool="api", up=True, numbers={**BUSY, "listen_queue": 12.0}, too_many_wait=True
                ),
                PoolView(pool="old", up=False, detail="refused"),
                PoolView(pool="new", up=None),
            ),
            opcache=OPCACHE,
            restarts=2,
            unexpected_exits=2,
            last_exit=ExitReason(signal=9),
            last_exit_s=NOW_S - 9200,
            start_time_s=NOW_S - 9200,
        ),
        program("nginx", pid=812),
        program("queue:worker_00", pid=4711, restarts=1, last_exit=ExitReason(status=0)),
        program("queue:worker_01", pid=4712),
        program("reports", State.STOPPED, pid=None, last_exit=ExitReason(status=0)),
    ),
    failures={"php-fpm:php-fpm": tuple(NOW_S - 1 - 2 * n for n in range(7))},
    receivers=(
        ReceiverView(name="ops", kind="slack", sent=12),
        ReceiverView(
            name="pager",
            kind="pagerduty",
            pending=2,
            sent=5,
            failed={"dns": 4},
            failing=True,
            last_failure="the name events.pagerduty.com is not known",
        ),
    ),
    findings={"error": 1, "warning": 1, "hint": 0},
    found=FOUND,
    timeline=(
        entry(TimelineEvent.LISTENER, 80000, "fpm-listener"),
        entry(
            TimelineEvent.FAILED,
            52000,
            "php-fpm-admin:php-fpm-admin",
            exit_reason=SEGFAULT,
        ),
        entry(TimelineEvent.STARTED, 51999.9, "php-fpm-admin:php-fpm-admin", away_s=0.064),
        entry(
            TimelineEvent.FAILED,
            30200,
            "queue:worker_00",
            exit_reason=ExitReason(status=1),
            count=4,
            first_s=NOW_S - 30700,
        ),
        entry(
            TimelineEvent.INCIDENT,
            30690,
            "queue:worker_00",
            cause=Cause.RESTART_LOOP,
            exit_reason=ExitReason(status=1),
        ),
        entry(
            TimelineEvent.RESOLVED,
            29000,
            "queue:worker_00",
            cause=Cause.RESTART_LOOP,
            exit_reason=ExitReason(status=1),
        ),
        entry(TimelineEvent.STOPPED, 21000, "reports:reports"),
        entry(
            TimelineEvent.FAILED,
            9200,
            "php-fpm-admin:php-fpm-admin",
            exit_reason=KILLED,
        ),
        entry(TimelineEvent.STARTED, 9199.9, "php-fpm-admin:php-fpm-admin", away_s=0.071),
        entry(TimelineEvent.FAILED, 196, "php-fpm:php-fpm", exit_reason=KILLED),
        entry(
            TimelineEvent.INCIDENT,
            192,
            "php-fpm:php-fpm",
            cause=Cause.RESTART_LOOP,
            exit_reason=ExitReason(status=78),
        ),
        entry(
            TimelineEvent.CHANGED,
            191.6,
            "php-fpm:php-fpm",
            cause=Cause.BIND_CONFLICT,
            subject="127.0.0.1:9000",
        ),
        entry(TimelineEvent.STARTED, 2, "php-fpm:php-fpm", away_s=1.02, count=7),
        entry(
            TimelineEvent.FAILED,
            1,
            "php-fpm:php-fpm",
            exit_reason=ExitReason(status=78),
            count=6,
            first_s=NOW_S - 194,
        ),
    ),
)

#: Hundreds, some with names that nobody should give.
MANY = replace(
    WELL,
    processes=(
        *(
            program(f"queue-of-the-{n % 7}th-kind:worker_{n:03}", pid=2000 + n, restarts=n % 5)
            for n in range(198)
        ),
        program("a-" + "very-long-" * 20 + "name", State.FATAL, pid=None),
        program("php-fpm", State.FATAL, pid=None, incident=incident(gave_up=True)),
    ),
)

#: Each text that others may write is hostile.
EVIL = replace(
    TROUBLE,
    processes=(
        program(
            f"{HOSTILE[0]}:{HOSTILE[1]}",
            State.FATAL,
            addresses=HOSTILE[:3],
            incident=incident(
                HOSTILE[0],
                name=ProcessName(HOSTILE[0], HOSTILE[2]),
                evidence=HOSTILE,
                address=HOSTILE[1],
                holder=None,
            ),
        ),
    ),
    timeline=tuple(entry(TimelineEvent.FAILED, 10, HOSTILE[0], subject=one) for one in HOSTILE),
    receivers=(ReceiverView(name=HOSTILE[0], kind="webhook", last_failure=HOSTILE[2]),),
    found=(FindingView(*(HOSTILE[n % 6] for n in range(6))),),
    instance=HOSTILE[0],
    supervisor=HOSTILE[2],
)  # fmt: skip
