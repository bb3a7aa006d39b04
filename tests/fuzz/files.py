"""Fuzz targets: files of the host, of the operator, and of an earlier listener."""

from __future__ import annotations

import json
import shutil
import tempfile
import traceback
from contextlib import closing, suppress
from pathlib import Path

from fpm_listener.daemon import supervisor_children
from fpm_listener.daemon.persistence import StateStore
from fpm_listener.delivery.database import Database
from fpm_listener.delivery.database_files import FILE
from fpm_listener.delivery.outbox import Outbox
from fpm_listener.guard import orphans
from fpm_listener.guard.orphans import MasterRecord
from fpm_listener.host import procfs
from fpm_listener.host.fallback_directory import StateDirectory
from fpm_listener.host.holder_search import find_holders
from fpm_listener.host.oom_counters import OomKills
from fpm_listener.monitor.engine import Engine
from fpm_listener.monitor.messages import Identity, Tick
from fpm_listener.monitor.supervision import EngineSettings
from fpm_listener.monitor.timeline import Timeline
from fpm_listener.settings import ini_section, settings
from fpm_listener.status import document as status_document
from fpm_listener.status import page
from fpm_listener.status.snapshot import Snapshot
from fpm_listener.status.terminal import to_table
from fpm_listener.supervisor import config
from fpm_listener.supervisor.deduplication import EventDeduplicator
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.supervisor.protocol import Decoder, Event
from fpm_listener.values import FpmListenerError, Instant
from tests.fuzz import saved
from tests.fuzz.saved import POLICY, RECEIVERS
from tests.fuzz.target import SPLIT, Target, check, parts, shapes, text
from tests.samples import LIMITS

NOW = Instant(1000.0, 1_795_000_000.0)
#: In memory, where there is such a place: a file is written for each input.
_PLACE = "/dev/shm" if Path("/dev/shm").is_dir() else None
_FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-", dir=_PLACE))


def _write(name: str, data: bytes) -> Path:
    path = _FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


# -- what the operator writes ----------------------------------------------------------------------

_READERS = (
    *(
        ini_section.boolean,
        ini_section.count,
        ini_section.duration,
        ini_section.loop,
        ini_section.timeout,
    ),
    *(ini_section.rates, ini_section.span, ini_section.address, ini_section.words, ini_section.url),
    *(
        ini_section.urls,
        ini_section.command,
        ini_section.some_of(("a", "b")),
        ini_section.one_of("a", "b"),
    ),
)


def setting_values(data: bytes) -> None:
    """A value is read, or refused with what is allowed; it is never echoed where it is secret."""
    word = text(data)
    for read in _READERS:
        try:
            read(word)
        except ValueError as error:
            check(len(str(error)) < 500, "a long complaint")


def settings_file(data: bytes) -> None:
    """A settings file is read, or refused as a mistake of the operator."""
    path = _write("settings.conf", parts(data, 2)[0])
    pairs = [line.partition("=") for line in text(parts(data, 2)[1]).split("\n")]
    try:
        settings.load(str(path), {name: value for name, _, value in pairs})
    except FpmListenerError as error:
        check("\n" not in str(error), "an error of several lines")


def supervisord_file(data: bytes) -> None:
    """supervisord's configuration is described, or refused; what supervisor raises is its own."""
    # No includes: a pattern of the input could walk through the whole host.
    path = _write("supervisord.conf", data.replace(b"include", b"exclude"))
    try:
        answer = config.describe(str(path))
    except Exception as error:
        # `read` calls it in a child: a traceback there is "supervisor's parser failed" here.
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        if "/fpm_listener/" in last:
            raise
        return
    json.dumps(answer)


# -- what the kernel writes ------------------------------------------------------------------------

_STAT = b"42 (php-fpm: (x) ) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1\n"
_TCP = (
    b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    b"   0: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 777 1\n"
)
_UNIX = (
    b"Num       RefCount Protocol Flags    Type St Inode Path\n"
    b"0000000000000000: 00000002 00000000 00010000 0001 01 777 /run/php/w.sock\n"
)
_MOUNTS = b"30 29 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw\n"


def process_stat(data: bytes) -> None:
    """A process whose numbers cannot be read counts as gone."""
    _write("proc/42/stat", data)
    found = procfs.read_stat(42, str(_FOLDER / "proc"))
    check(found is None or isinstance(found.started, int), "a start that is no number")
    procfs.pid_and_start(42, str(_FOLDER / "proc"))


def child_environment(data: bytes) -> None:
    """A program writes its own environment: a name is two texts, or none."""
    _write("proc/42/environ", data)
    _write("proc/42/cmdline", data)
    name = supervisor_children.name_of(42, str(_FOLDER / "proc"))
    check(name is None or (name.group and name.process), "an empty name")
    procfs.title(42, str(_FOLDER / "proc"))


def listening_sockets(data: bytes) -> None:
    """Tables of sockets that cannot be read leave the holder unknown."""
    tcp, tcp6, unix = parts(data, 3)
    for name, table in (("tcp", tcp), ("tcp6", tcp6), ("unix", unix)):
        _write(f"proc/net/{name}", table)
    for address in ("127.0.0.1:9000", "[::1]:9000", "9000", "/run/php/w.sock"):
        find_holders(address, proc=str(_FOLDER / "proc"))


def holder_address(data: bytes) -> None:
    """An address out of a log line is looked up, or is not understood; no name is resolved."""
    address = text(data)
    host = address.rpartition(":")[0].strip("[]")
    if "/" in address or not any(one.isalpha() for one in host):
        find_holders(address, proc=str(_FOLDER / "proc"))


def memory_cgroup(data: bytes) -> None:
    """A control group that cannot be read is one that counts no kills."""
    group, mounts, kills, limit = parts(data, 4)
    root = _FOLDER / "cgroup"
    for name, content in (
        ("proc/42/cgroup", group),
        ("proc/self/mountinfo", mounts),
        ("sys/fs/cgroup/memory.events", kills),
        ("sys/fs/cgroup/memory.max", limit),
    ):
        _write(f"cgroup/{name}", content)
    found = OomKills(42, str(root))
    found.look(0.0)
    found.since(1.0, 2.0)


# -- what an earlier listener has left -------------------------------------------------------------


def ledger_page(data: bytes) -> None:
    """A page of any content is one of another supervisord, or of this one."""
    page_data, stamp = data[:64], data[64:]
    path = _write("ledger", page_data)
    ledger = EventDeduplicator(path, (1, 2), list(stamp))
    for serial in (0, 5, 5, 3):
        event = Event("s", "pool", serial, serial, "TICK_5", "")
        check(ledger.judge(event).missed >= 0, "fewer than no events are lost")
        ledger.mark(event)


def masters_record(data: bytes) -> None:
    """A record that cannot be read names nobody."""
    _write("state/masters/a:b", procfs.boot_id().encode() + b"\n" + data)
    with suppress(ValueError):
        found = orphans.parse(text(data).split("\n"))
        check(orphans.parse(orphans.lines(found)) is not None, "it cannot be read again")
    for master in MasterRecord(str(_FOLDER / "state"), "a:b").read():
        check(isinstance(master.pid, int), "a pid that is no number")


def remembered(data: bytes) -> None:
    """What the engine saved is taken up, or forgotten; the engine goes on either way."""
    engine = Engine(EngineSettings(policy=POLICY, identity=Identity(instance="host")), "token")
    found = saved.parse(data)
    name = ProcessName("php-fpm", "php-fpm")
    engine.restore(NOW, {name: found} if isinstance(found, dict) else {})
    timeline = Timeline()
    timeline.restore(found)
    timeline.began(NOW)
    json.dumps(timeline.memory())
    for at_s in (0.0, 1.0, 200.0, 20_000.0):
        engine.step(Instant(NOW.monotonic_s + at_s, NOW.wall_s + at_s), Tick())
        engine.views()


def saved_outbox(data: bytes) -> None:
    """Rows that cannot be read are left out; the rest is sent and written again."""
    folder = _FOLDER / "outbox"
    shutil.rmtree(folder, ignore_errors=True)
    database = Database(StateDirectory(folder))
    outbox = Outbox(database, RECEIVERS, LIMITS, instance="host", random=lambda: 0.5)
    outbox.restore(saved.found_rows(data), NOW)
    for at_s in (0.0, 100.0, 90_000.0):
        now = Instant(NOW.monotonic_s + at_s, NOW.wall_s + at_s)
        outbox.start_attempts(now)
        outbox.next_due_s(now)
        json.dumps(outbox.list_alerts(now))
    list(outbox.rows())


def saved_database(data: bytes) -> None:
    """A file with any content is used, or is set aside; nothing raises."""
    folder = _FOLDER / "database"
    shutil.rmtree(folder, ignore_errors=True)
    _write(f"database/{FILE}", data)
    with closing(Database(StateDirectory(folder))) as database:
        Outbox(database, RECEIVERS, LIMITS, instance="host")
        StateStore(database)
        database.open(NOW)


# -- what the listener tells -----------------------------------------------------------------------


def event_stream(data: bytes) -> None:
    """Whatever supervisord sends, the engine goes on, and what is shown can be shown."""
    engine = Engine(EngineSettings(policy=POLICY, identity=Identity(instance="host")), "token")
    at_s = 0.0
    for one in Decoder().feed(data):
        if isinstance(one, Event):
            at_s += 0.5
            now = Instant(NOW.monotonic_s + at_s, NOW.wall_s + at_s)
            for effect in engine.step(now, one):
                check(effect is not None, "an effect that is nothing")
    engine.step(Instant(NOW.monotonic_s + 500.0, NOW.wall_s + 500.0), Tick())
    views = engine.views()
    document = status_document.to_json(Snapshot(processes=views), NOW.wall_s)
    to_table(document, 80)
    page.to_html(document)


def _event(name: bytes, payload: bytes, serial: int) -> bytes:
    return (
        b"ver:3.0 server:supervisor serial:%d pool:listener poolserial:%d "
        b"eventname:PROCESS_STATE_%b len:%d\n%b" % (serial, serial, name, len(payload), payload)
    )


_LOOP = b"".join(
    _event(b"STARTING", b"processname:a groupname:b from_state:BACKOFF tries:1", 2 * at)
    + _event(b"BACKOFF", b"processname:a groupname:b from_state:STARTING tries:1", 2 * at + 1)
    for at in range(4)
)
_SETTINGS = (
    b"[fpm-listener]\nloop = 3 in 60s\nlisten = 127.0.0.1:1\nrestart_fatal = 10s..5m\n"
    b"[fpm-listener:receiver:ops]\ntype = slack\nurl = http://127.0.0.1/x\nrates = 18 in 1m\n"
)

TARGETS = {
    "setting-values": Target(
        setting_values,
        (b"3 in 60s", b"10s..5m", b"[::1]:19253", b"http://u:p@h:1/x", b"18 in 1m, 2 in 10s", b"1"),
    ),
    "settings-file": Target(
        settings_file,
        (
            _SETTINGS,
            b"[fpm-listener]\nlisten\n  x\n",
            _SETTINGS
            + SPLIT
            + b"FPM_LISTENER_LOOP=3 in 1s\nFPM_LISTENER_RECEIVER_OPS_URL=http://x/",
        ),
        stretch=1 << 15,
    ),
    "supervisord-conf": Target(supervisord_file, shapes("supervisord.conf"), stretch=0),
    "process-stat": Target(process_stat, (_STAT, b"42 (a", b"x (y) S")),
    "child-environment": Target(
        child_environment,
        (b"SUPERVISOR_GROUP_NAME=a\0SUPERVISOR_PROCESS_NAME=b\0X=\xff\0", b"php-fpm: master"),
    ),
    "listening-sockets": Target(
        listening_sockets,
        (_TCP + SPLIT + _TCP + SPLIT + _UNIX, _TCP.replace(b"0100007F", b"0" * 32)),
    ),
    "holder-address": Target(holder_address, (b"127.0.0.1:9000", b"[::1]:9", b"/run/x.sock", b":")),
    "memory-cgroup": Target(
        memory_cgroup,
        (b"0::/a\n" + SPLIT + _MOUNTS + SPLIT + b"oom 1\noom_kill 1\n" + SPLIT + b"1048576\n",),
    ),
    "ledger-page": Target(ledger_page, (b"fpl1" + bytes(32), bytes(36)), stretch=0),
    "masters-record": Target(masters_record, (b"640 12345\n641 99\n", b"1 1 1")),
    "remembered": Target(remembered, (saved.memory(), saved.timeline(), b"[1e400]")),
    "saved-outbox": Target(saved_outbox, (saved.rows(),)),
    "saved-database": Target(
        saved_database, (saved.database_file(), b"SQLite format 3\0"), stretch=0
    ),
    "event-stream": Target(event_stream, (_LOOP,), stretch=1 << 14),
}
