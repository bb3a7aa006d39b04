"""All texts of alerts, in both languages, as a golden file.

A test fails when a text changes. If the change is intended: set FPM_LISTENER_WRITE_GOLDEN=1,
run this file, and read the difference.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport, HolderSupervisor
from fpm_listener.host.oom_kills import OomKill
from fpm_listener.host.operator_commands import TOOLS, OperatorCommands
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.incidents.live_view import LiveView, RestartsView, WorkersView
from fpm_listener.incidents.post_mortem import Needs, PostMortem
from fpm_listener.incidents.program_output import ProgramOutput
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.incidents.text_zh import CHINESE
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.phpfpm.pool_capacity import Capacity, PoolSize, Unknown
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause, Fault

GOLDEN = Path(__file__).parents[2] / "data" / "alert-texts.txt"
CONF = "/etc/php/8.2/fpm/php-fpm.conf"
BARE = IncidentFacts(
    name=ProcessName("web", "php-fpm"),
    cause=Cause.RESTART_LOOP,
    gave_up=False,
    address=None,
    holder=None,
    last_exit=None,
    failures=3,
)
SITE = FpmSite(
    user="www-data",
    error_logs=("/var/log/php-fpm.log", "/var/log/other.log"),
    config=CONF,
    check_command=f"/usr/sbin/php-fpm8.2 -t -y {CONF}",
)
NEEDS = Needs(
    program="/usr/sbin/php-fpm8.2", files=("/run/w.sock", "/var/log/e.log"), users=("www-data",)
)
ORPHAN = Holder(
    kind=HolderKind.ORPHAN,
    pid=813,
    command="php-fpm: pool www",
    user="www-data",
    master_pid=812,
    others=(814, 815),
)
MASTER = Holder(
    kind=HolderKind.MASTER, pid=9, command="php-fpm: master process (/etc/x.conf)", user="root"
)
OTHER = Holder(kind=HolderKind.OTHER, pid=77, command="nginx", user=None)
OOM = OomKill(kills=1, where="cgroup /system.slice/supervisor.service", limit=128 << 20, peak=None)
IN_ORDER = PostMortem(
    looked_for=(Cause.OUT_OF_MEMORY, Cause.MISSING_PATH, Cause.DISK_FULL, Cause.UNKNOWN_USER)
)

#: Alpine in a container, whose supervisord has no server.
CONTAINER = OperatorCommands(
    supervisorctl=None, supervisord=1, tools=frozenset({"adduser", "df"}), capabilities=frozenset()
)
READ_ONLY = "Read-only file system (30)"
OTHER_SUPERVISORD = HolderSupervisor(
    kind="supervisord",
    pid=12,
    config="/srv/other.conf",
    control="supervisorctl -c /srv/other.conf",
    name="php-fpm",
)
SUPERVISORS = (
    OTHER_SUPERVISORD,
    OTHER_SUPERVISORD._replace(name=None),
    OTHER_SUPERVISORD._replace(control=None),
    OTHER_SUPERVISORD._replace(user="deploy"),
    OTHER_SUPERVISORD._replace(ours=True, control="supervisorctl"),
    HolderSupervisor(kind="runsv", pid=7, config="/sv/f", control="sv", name="/sv/f"),
    HolderSupervisor(kind="docker", config="container c0", control="docker", name="c0"),
    HolderSupervisor(kind="container", config="container c0"),
)

OUTPUTS = (
    ProgramOutput(own_logs=("/var/log/fpm.log",), stderr_file="/var/log/e.log", known=True),
    ProgramOutput(stdout_file="/var/log/o.log", redirect_stderr=True, known=True),
    ProgramOutput(known=True),
    *(ProgramOutput(stderr_target=one, known=True) for one in ("/dev/stderr", "NONE", "syslog")),
)


def sized(
    cause: Cause, *pools: tuple[str, int, int | None], why: Unknown = Unknown.FEW_WORKERS
) -> IncidentFacts:
    """Return an incident of pools: their names, pm.max_children, and how many fit."""
    sizes = tuple(
        PoolSize(
            pool,
            most,
            Capacity(
                fits,
                why if fits is None else None,
                pool,
                "cgroup /",
                workers=12,
                since_s=1_800_000_000.0,
                until_s=1_800_080_000.0,
                busy_peak=11,
                busy_samples=5760,
                busy_since_s=1_800_000_000.0,
                waited=True,
            ),
        )
        for pool, most, fits in pools
    )
    failures = 3 if cause is Cause.OUT_OF_MEMORY else 0
    facts = replace(BARE, cause=cause, failures=failures, site=SITE, sizes=sizes)
    return replace(facts, now_s=1_800_080_100.0)


def workers(failures: int, signal: int | None = None, status: int | None = None) -> LiveView:
    return LiveView(WorkersView(failures, signal, status, "www", at_once=status is not None))


def taken(*holders: Holder, blind: str | None = None, site: FpmSite = SITE) -> IncidentFacts:
    """Return a bind conflict with these holders."""
    report = HolderReport(address="127.0.0.1:9000", holders=holders, blind=blind)
    conflict = replace(BARE, cause=Cause.BIND_CONFLICT, address="127.0.0.1:9000", site=site)
    return replace(conflict, holder=report)


def _plights() -> dict[str, IncidentFacts]:
    plights = {f"{cause.value}, nothing else known": replace(BARE, cause=cause) for cause in Cause}
    for cause in Cause:
        known = replace(BARE, cause=cause, gave_up=True, site=SITE, failures=1)
        plights[f"{cause.value}, given up"] = replace(
            known, last_exit=ExitReason(status=78), address="127.0.0.1:9000", every_s=15.0
        )
    for fault in Fault:
        plights[f"{fault.cause.value}, {fault.value}"] = replace(
            BARE, cause=fault.cause, fault=fault, named="/srv/app/", site=SITE
        )
    memory = replace(BARE, cause=Cause.OUT_OF_MEMORY)
    missing = replace(BARE, cause=Cause.MISSING_PATH, site=SITE)
    forbidden = replace(BARE, cause=Cause.PERMISSION, site=SITE)
    crash = replace(BARE, cause=Cause.CRASH_SIGNAL)
    failing = replace(BARE, cause=Cause.WORKER_FAILURE, failures=0, site=SITE)
    killed = replace(crash, last_exit=ExitReason(signal=9))
    invalid = replace(BARE, cause=Cause.CONFIG_ERROR, site=SITE)
    return plights | {
        "recovering from a lack of memory": replace(memory, recovering=True),
        "recovering from a bind conflict": replace(
            BARE, cause=Cause.BIND_CONFLICT, address="127.0.0.1:9000", recovering=True
        ),
        "taken by orphans": taken(ORPHAN),
        "taken by two": taken(ORPHAN._replace(others=()), OTHER),
        "taken by another master": taken(MASTER),
        "taken by a service": taken(MASTER._replace(unit="php8.2-fpm.service")),
        "taken by itself": taken(MASTER._replace(command=f"php-fpm: master process ({CONF})")),
        "taken by a master, our file unknown": taken(MASTER, site=FpmSite()),
        "taken in a container": taken(OTHER._replace(container="0123456789ab")),
        "taken by our listener": taken(OTHER._replace(command="python fpm-listener listen")),
        "taken by something else": taken(OTHER),
        "taken, no look possible": taken(blind="not allowed"),
        "taken, free by now": taken(),
        "taken, a unix socket": replace(BARE, cause=Cause.BIND_CONFLICT, address="/run/w.sock"),
        "absent, IPv6": replace(BARE, cause=Cause.ADDRESS_ABSENT, address="[fd00::1]:9000"),
        "user": replace(BARE, cause=Cause.UNKNOWN_USER, named="user deploy"),
        "group": replace(BARE, cause=Cause.UNKNOWN_USER, named="group deploy"),
        "disk of a path": replace(BARE, cause=Cause.DISK_FULL, named="/var/log/e.log"),
        "disk of the root": replace(BARE, cause=Cause.DISK_FULL, named="/e.log"),
        "missing folder of a socket": replace(missing, address="/run/php/w.sock"),
        "missing folder of a socket, no user": replace(
            missing, address="/run/php/w.sock", site=FpmSite()
        ),
        "missing folder of a log": replace(missing, named="/var/log/e.log", address="/run/w.sock"),
        "missing name without a folder": replace(missing, named="e.log", address="/run/w.sock"),
        "missing program": replace(
            missing, named="/usr/sbin/php-fpm8.1", needs=Needs(program="/usr/sbin/php-fpm8.1")
        ),
        "missing program, others there": replace(
            missing,
            named="/usr/sbin/php-fpm8.1",
            needs=Needs(program="/usr/sbin/php-fpm8.1"),
            post_mortem=PostMortem(
                program_instead=("/usr/sbin/php-fpm8.2", "/usr/sbin/php-fpm8.3")
            ),
        ),
        "forbidden port": replace(forbidden, address="[::]:80"),
        "forbidden port 1023": replace(forbidden, address="1023"),
        "forbidden port 1024": replace(forbidden, address="1024"),
        "forbidden socket": replace(forbidden, address="/run/php/80"),
        "forbidden log": replace(forbidden, named="/var/log/e.log", address="9000"),
        "memory of a service": replace(memory, post_mortem=PostMortem(oom=OOM)),
        "memory without a limit": replace(
            memory,
            post_mortem=PostMortem(oom=OomKill(kills=2, where="this host", limit=None, peak=1)),
        ),
        "memory, too many workers": sized(Cause.OUT_OF_MEMORY, ("www", 50, 14)),
        "memory, too many workers, hours ago": replace(
            sized(Cause.OUT_OF_MEMORY, ("www", 50, 14)), now_s=1_800_090_000.0
        ),
        "memory, too many workers in many pools": sized(
            Cause.OUT_OF_MEMORY, *((f"p{number}", 50 - number, 14) for number in range(5))
        ),
        "memory, no worker fits": sized(Cause.OUT_OF_MEMORY, ("www", 50, 0)),
        "memory, all workers fit": sized(Cause.OUT_OF_MEMORY, ("www", 10, 14)),
        "memory, not measured": sized(Cause.OUT_OF_MEMORY, ("www", 50, None)),
        "memory of workers": replace(
            sized(Cause.OUT_OF_MEMORY, ("www", 50, 14)), failures=0, live=workers(7, 9)
        ),
        "clients wait, more workers fit": sized(Cause.SATURATED, ("www", 10, 14)),
        "clients wait, no more workers fit": sized(Cause.SATURATED, ("www", 14, 14), ("api", 5, 2)),
        "clients wait, no worker fits": sized(Cause.SATURATED, ("www", 10, 0)),
        **{
            f"clients wait, {why.value}": sized(Cause.SATURATED, ("www", 50, None), why=why)
            for why in Unknown
        },
        "silence, more workers fit": sized(Cause.NOT_ANSWERING, ("www", 10, 14)),
        "killed": killed,
        "killed, not for memory": replace(killed, post_mortem=IN_ORDER),
        "killed, memory not looked at": replace(
            killed, post_mortem=PostMortem(looked_for=(Cause.DISK_FULL,))
        ),
        "killed worker": replace(killed, live=workers(3, 9)),
        "crash": replace(crash, last_exit=ExitReason(signal=11)),
        "crash by a signal without a name": replace(crash, last_exit=ExitReason(signal=63)),
        "crash of another program": replace(crash, last_exit=ExitReason(signal=11), is_fpm=False),
        "a signal that a person sent": replace(crash, last_exit=ExitReason(signal=15)),
        "killed in a container": replace(killed, commands=CONTAINER),
        "a configuration that -t tests": replace(invalid, line=f"ERROR: [{CONF}:3] unknown entry"),
        "a configuration that -t does not test": replace(invalid, line="ERROR: getaddrinfo: x"),
        "read-only": replace(forbidden, address="/run/w.sock", line=f"ERROR: x: {READ_ONLY}"),
        "standard error": replace(forbidden, named="/proc/self/fd/2"),
        "forbidden path on Alpine": replace(forbidden, named="/a b/c", commands=CONTAINER),
        "out of reach of supervisorctl": replace(crash, gave_up=True, commands=CONTAINER),
        "taken, invisible in a container": replace(taken(blind="not allowed"), commands=CONTAINER),
        "taken, invisible, orphans": replace(
            BARE,
            cause=Cause.BIND_CONFLICT,
            address="9000",
            holder=HolderReport("9000", (), "not allowed", (812, 900)),
            commands=CONTAINER,
        ),
        "no answer in a container": replace(BARE, cause=Cause.NOT_ANSWERING, commands=CONTAINER),
        **{
            f"taken, started by {supervisor}": taken(MASTER._replace(supervisor=supervisor))
            for supervisor in SUPERVISORS
        },
        **{f"output: {output}": replace(BARE, output=output) for output in OUTPUTS},
        "workers crash": replace(crash, live=workers(4, 11), failures=0),
        "workers crash, and the master has": replace(crash, live=workers(4, 11)),
        "workers cannot start": replace(failing, live=workers(812, status=70)),
        "workers need a folder": replace(
            failing,
            live=LiveView(WorkersView(failures=812, status=70, pool="www", folder="/srv/release")),
        ),
        "workers exit later": replace(failing, live=LiveView(WorkersView(failures=5, status=124))),
        "workers are killed": replace(failing, live=workers(5, signal=9), post_mortem=IN_ORDER),
        "workers are killed, memory not looked at": replace(failing, live=workers(5, signal=9)),
        "workers, after a restart of the listener": failing,
        "workers are killed for memory": replace(
            memory, failures=0, live=workers(5, signal=9), post_mortem=PostMortem(oom=OOM)
        ),
        "exit loop": replace(
            failing,
            cause=Cause.EXIT_LOOP,
            live=LiveView(exit_loop=RestartsView(restarts=32, span_s=40.2)),
            last_exit=ExitReason(status=0),
        ),
        "exit loop, after a restart of the listener": replace(failing, cause=Cause.EXIT_LOOP),
        "stop timeout": replace(
            failing, cause=Cause.STOP_TIMEOUT, live=LiveView(stopwaitsecs=10.0)
        ),
        "stop timeout of another program": replace(
            failing, cause=Cause.STOP_TIMEOUT, site=FpmSite()
        ),
        "an exit that supervisord's log hides": replace(
            BARE,
            output=ProgramOutput(exits_hidden_by="loglevel=error", stderr_file="/e", known=True),
        ),
        "no log of supervisord": replace(
            BARE,
            output=ProgramOutput(exits_hidden_by="logfile=/dev/null", stderr_file="/e", known=True),
        ),
        "often": replace(BARE, every_s=14.9),
        "rarely": replace(BARE, every_s=91.0, last_exit=ExitReason(status=78)),
        "nothing ruled out": replace(BARE, post_mortem=PostMortem()),
        "all ruled out": replace(BARE, post_mortem=IN_ORDER, needs=NEEDS),
        "ruled out, but explained": replace(BARE, cause=Cause.CONFIG_ERROR, post_mortem=IN_ORDER),
        "started too often": replace(BARE, exhausted=True),
        "fault of another cause": replace(BARE, fault=Fault.NO_LOADER, named="/srv/app/run"),
    }


def _texts() -> str:
    parts = []
    for title, plight in _plights().items():
        parts.append(f"== {title}")
        for over in (False, True):
            for language in (ENGLISH, CHINESE):
                words = language.sentences(plight, over=over)
                shown = words if not over else {"summary": words["summary"]}
                parts += [f"{key}: {text}" for key, text in shown.items()]
    parts.append("== resolved, and receivers")
    for language in (ENGLISH, CHINESE):
        parts.append(language.sentences(BARE, over=True)["remedy"])
    for over in (False, True):
        for language in (ENGLISH, CHINESE):
            words = language.receiver_failure("ops", "HTTP 500", "3m", 7, over=over)
            parts += [f"{key}: {text}" for key, text in words.items()]
    for address in (None, "127.0.0.1:9000", "9000", "/run/w.sock"):
        parts.append(f"look: {holder_remedies.look(address, TOOLS)}")
    return "\n".join(parts) + "\n"


def test_all_texts() -> None:
    """Each is as it was read and approved."""
    if os.environ.get("FPM_LISTENER_WRITE_GOLDEN"):
        GOLDEN.write_text(_texts(), encoding="utf-8")

    assert _texts() == GOLDEN.read_text(encoding="utf-8")


def test_orphans_of_an_unknown_master() -> None:
    """Each is named; there is no group to signal."""
    assert holder_remedies.whom(ORPHAN._replace(master_pid=None)) == "813 814 815"
