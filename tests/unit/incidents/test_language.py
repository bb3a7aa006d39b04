"""Each cause has its texts, with the command to type, in both languages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.host.oom_kills import OomKill
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.incidents.live_view import LiveView, RestartsView, WorkersView
from fpm_listener.incidents.post_mortem import Needs, PostMortem
from fpm_listener.incidents.program_output import ProgramOutput
from fpm_listener.incidents.text_en import ENGLISH
from fpm_listener.incidents.text_zh import CHINESE
from fpm_listener.incidents.variants import Variant
from fpm_listener.phpfpm.config import FpmSite
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause, Fault

if TYPE_CHECKING:
    from fpm_listener.incidents.language import Language

CONF = "/etc/php/8.2/fpm/php-fpm.conf"
SITE = FpmSite(
    user="www-data",
    error_logs=("/var/log/php-fpm.log",),
    config=CONF,
    check_command=f"/usr/sbin/php-fpm8.2 -t -y {CONF}",
)
OOM = OomKill(kills=1, where="cgroup /system.slice/supervisor.service", limit=128 << 20, peak=None)
ALL_IN_ORDER = PostMortem(
    looked_for=(Cause.OUT_OF_MEMORY, Cause.MISSING_PATH, Cause.DISK_FULL, Cause.UNKNOWN_USER)
)
NOT_MEMORY = PostMortem(looked_for=ALL_IN_ORDER.looked_for[1:])
PLIGHT = IncidentFacts(
    name=ProcessName("php-fpm", "php-fpm"),
    cause=Cause.RESTART_LOOP,
    gave_up=False,
    address=None,
    holder=None,
    last_exit=ExitReason(status=78),
    failures=3,
    site=SITE,
    needs=Needs(program="/usr/sbin/php-fpm8.1"),
)


def master(pid: int, conf: str, unit: str | None = None) -> HolderReport:
    holder = Holder(
        kind=HolderKind.MASTER,
        pid=pid,
        command=f"php-fpm: master process ({conf})",
        user="root",
        unit=unit,
    )
    return HolderReport(address="9000", holders=(holder,))


ORPHANS = HolderReport(
    address="9000",
    holders=(
        Holder(
            kind=HolderKind.ORPHAN,
            pid=813,
            command="php-fpm: pool www",
            user="www-data",
            master_pid=812,
            others=(814,),
        ),
    ),
)

#: What is known; a part of the summary, of the remedy, and of the remedy in Chinese.
TOLD = {
    "orphans": (
        replace(PLIGHT, cause=Cause.BIND_CONFLICT, address="9000", holder=ORPHANS),
        "9000 is in use by pid 813 and 1 more",
        "kill -QUIT -812",
        "kill -QUIT -812",
    ),
    "a distribution's service": (
        replace(
            PLIGHT,
            cause=Cause.BIND_CONFLICT,
            address="9000",
            holder=master(9, "/etc/x.conf", "php8.2-fpm.service"),
        ),
        "another running php-fpm, unit php8.2-fpm.service",
        "systemctl disable --now php8.2-fpm.service",
        "systemctl disable --now php8.2-fpm.service",
    ),
    "itself, in the background": (
        replace(PLIGHT, cause=Cause.BIND_CONFLICT, address="9000", holder=master(9, CONF)),
        "9000 is in use by pid 9",
        "Stop it (kill -QUIT 9): it runs this very configuration",
        "kill -QUIT 9",
    ),
    "an absent address": (
        replace(PLIGHT, cause=Cause.ADDRESS_ABSENT, address="10.1.2.3:9000"),
        "10.1.2.3:9000 is not an address of this host",
        "Add 10.1.2.3 to a network interface",
        "10.1.2.3:9000",
    ),
    "a user": (
        replace(PLIGHT, cause=Cause.UNKNOWN_USER, named="user deploy"),
        "user deploy does not exist on this host",
        "useradd --system deploy",
        "useradd --system deploy",
    ),
    "a group": (
        replace(PLIGHT, cause=Cause.UNKNOWN_USER, named="group deploy"),
        "group deploy does not exist on this host",
        "groupadd --system deploy",
        "groupadd --system deploy",
    ),
    "a socket's folder": (
        replace(PLIGHT, cause=Cause.MISSING_PATH, address="/run/php/w.sock"),
        "the folder /run/php is missing",
        "install -d -o www-data /run/php",
        "install -d -o www-data /run/php",
    ),
    "a log's folder": (
        replace(PLIGHT, cause=Cause.MISSING_PATH, named="/var/log/php/e.log", address="9000"),
        "the folder /var/log/php is missing",
        "install -d /var/log/php",
        "install -d /var/log/php",
    ),
    "the program": (
        replace(
            PLIGHT,
            cause=Cause.MISSING_PATH,
            named="/usr/sbin/php-fpm8.1",
            post_mortem=PostMortem(program_instead=("/usr/sbin/php-fpm8.2",)),
        ),
        "its program /usr/sbin/php-fpm8.1 is missing",
        "(this host has /usr/sbin/php-fpm8.2), then type: supervisorctl update php-fpm",
        "本机有 /usr/sbin/php-fpm8.2",
    ),
    "a full disk": (
        replace(PLIGHT, cause=Cause.DISK_FULL, named="/var/log/e.log"),
        "the disk of /var/log is full",
        "df -h /var/log; df -i /var/log",
        "df -h /var/log",
    ),
    "descriptors": (
        replace(PLIGHT, cause=Cause.FD_LIMIT),
        "its limit of open files is too low",
        "Raise minfds in [supervisord]",
        "minfds",
    ),
    "processes": (
        replace(PLIGHT, cause=Cause.PROCESS_LIMIT),
        "its limit of processes is reached",
        "TasksMax",
        "TasksMax",
    ),
    "two pools": (
        replace(
            PLIGHT,
            cause=Cause.CONFIG_ERROR,
            fault=Fault.SHARED_ADDRESS,
            named="b, www",
            site=SITE._replace(listen_places=(("www", "/p/www.conf:3"), ("b", "/p/b.conf:4"))),
        ),
        "two pools have the same listen address: b (/p/b.conf:4), www (/p/www.conf:3)",
        "another value of `listen`",
        "b (/p/b.conf:4)、www (/p/www.conf:3)",
    ),
    "two pools that clash": (
        replace(
            PLIGHT,
            cause=Cause.BIND_CONFLICT,
            address="127.0.0.1:9000",
            holder=HolderReport(address="127.0.0.1:9000", holders=()),
            site=SITE._replace(
                rivals=(("127.0.0.1:9000", "a", "www"),), listen_places=(("a", "/p/a.conf:2"),)
            ),
        ),
        "127.0.0.1:9000 is in use by another pool of this php-fpm: a (/p/a.conf:2), www",
        "another port in `listen`",
        "a (/p/a.conf:2)、www",
    ),
    "options": (
        replace(PLIGHT, cause=Cause.CONFIG_ERROR, fault=Fault.USAGE, named="--nodaemon"),
        "php-fpm does not understand its options: --nodaemon",
        "command= of [program:php-fpm]",
        "--nodaemon",
    ),
    "a port below 1024": (
        replace(PLIGHT, cause=Cause.PERMISSION, address="[::]:80"),
        "not allowed to open [::]:80",
        "Only root may listen on port 80",
        "80",
    ),
    "a forbidden folder": (
        replace(PLIGHT, cause=Cause.PERMISSION, address="/run/php/w.sock"),
        "not allowed to open /run/php/w.sock",
        "namei -l /run/php/w.sock",
        "namei -l /run/php/w.sock",
    ),
    "a configuration": (
        replace(PLIGHT, cause=Cause.CONFIG_ERROR, line=f"ERROR: [{CONF}:3] unknown entry 'x'"),
        "its php-fpm configuration is invalid",
        f"this command must report no error: /usr/sbin/php-fpm8.2 -t -y {CONF}",
        f"/usr/sbin/php-fpm8.2 -t -y {CONF}",
    ),
    "memory": (
        replace(PLIGHT, cause=Cause.OUT_OF_MEMORY, post_mortem=PostMortem(oom=OOM)),
        "the kernel kills it because memory is short (limit 128 MiB)",
        "systemctl set-property supervisor.service MemoryMax=",
        "pm.max_children",
    ),
    "memory of a container": (
        replace(
            PLIGHT,
            cause=Cause.OUT_OF_MEMORY,
            post_mortem=PostMortem(oom=OomKill(kills=2, where="cgroup /", limit=None, peak=None)),
        ),
        "the kernel kills it because memory is short",
        "raise the memory limit of the container",
        "memory_limit",
    ),
    "a kill, memory not looked at": (
        replace(PLIGHT, cause=Cause.CRASH_SIGNAL, last_exit=ExitReason(signal=9)),
        "it crashes (killed by SIGKILL)",
        "dmesg | grep -i oom",
        "dmesg | grep -i oom",
    ),
    "a kill, not for memory": (
        replace(
            PLIGHT,
            cause=Cause.CRASH_SIGNAL,
            last_exit=ExitReason(signal=9),
            post_mortem=ALL_IN_ORDER,
        ),
        "it crashes (killed by SIGKILL)",
        "Find the sender of SIGKILL",
        "SIGKILL",
    ),
    "a crash": (
        replace(PLIGHT, cause=Cause.CRASH_SIGNAL, last_exit=ExitReason(signal=11)),
        "it crashes (killed by SIGSEGV)",
        "Look for a faulty PHP extension",
        "扩展",
    ),
    "silence": (
        replace(PLIGHT, cause=Cause.NOT_ANSWERING),
        "it runs and accepts connections, but does not answer requests",
        "supervisorctl restart php-fpm",
        "supervisorctl restart php-fpm",
    ),
    "clients wait": (
        replace(PLIGHT, cause=Cause.SATURATED),
        "all workers of a pool are busy, and too many clients wait",
        "before you raise pm.max_children: fpm-listener status",
        "再调大 pm.max_children",
    ),
    "workers": (
        replace(
            PLIGHT,
            cause=Cause.CRASH_SIGNAL,
            live=LiveView(WorkersView(failures=4, signal=11)),
            failures=0,
        ),
        "its workers crash (SIGSEGV)",
        "Look for a faulty PHP extension",
        "扩展",
    ),
    "workers that do not start": (
        replace(
            PLIGHT,
            cause=Cause.WORKER_FAILURE,
            live=LiveView(WorkersView(failures=812, status=70, pool="www", at_once=True)),
            failures=0,
        ),
        "its workers of pool www fail at their start (exit status 70)",
        "chdir, chroot, user, group",
        "进程池 www 的工作进程无法启动",
    ),
    "expected exits": (
        replace(
            PLIGHT,
            cause=Cause.EXIT_LOOP,
            last_exit=ExitReason(status=0),
            live=LiveView(exit_loop=RestartsView(restarts=32, span_s=40.0)),
            failures=0,
        ),
        "exits with status 0 again and again: 32 restarts in 40 s; supervisord treats this as exp",
        "startsecs=0",
        "startsecs=0",
    ),
    "a stop": (
        replace(PLIGHT, cause=Cause.STOP_TIMEOUT, failures=0, live=LiveView(stopwaitsecs=10.0)),
        "because it did not stop in time (stopwaitsecs=10); running requests were cut",
        "process_control_timeout",
        "process_control_timeout",
    ),
    "a full OPcache": (
        replace(PLIGHT, cause=Cause.OPCACHE_FULL, failures=0),
        "its OPcache is full, so PHP compiles scripts again and again",
        "opcache.memory_consumption",
        "opcache.memory_consumption",
    ),
    "slow flapping": (
        replace(
            PLIGHT,
            every_s=91.0,
            output=ProgramOutput(own_logs=("/var/log/php-fpm.log",), known=True),
        ),
        "in a restart loop (exit status 78), about every 91 s",
        "tail /var/log/php-fpm.log",
        "tail /var/log/php-fpm.log",
    ),
    "given up, its log unknown": (
        replace(PLIGHT, cause=Cause.GAVE_UP, gave_up=True, output=ProgramOutput(known=True)),
        "supervisord gave up on it",
        "supervisorctl tail php-fpm stderr, then type: supervisorctl start php-fpm",
        "supervisorctl start php-fpm",
    ),
}


@pytest.mark.parametrize(("plight", "summary", "remedy", "in_chinese"), TOLD.values(), ids=TOLD)
def test_the_texts_of_a_cause(
    plight: IncidentFacts, summary: str, remedy: str, in_chinese: str
) -> None:
    """The summary says what is wrong, the remedy what to type, in both languages."""
    english = ENGLISH.sentences(plight, over=False)
    other = CHINESE.sentences(plight, over=False)

    assert summary in english["summary"]
    assert remedy in english["remedy"]
    assert in_chinese in other["remedy"] + other["summary"]
    assert "None" not in "".join((*english.values(), *other.values()))
    assert english["remedy"] not in ENGLISH.sentences(plight, over=True)["remedy"]


def test_each_cause_is_above() -> None:
    """None is left out."""
    assert {plight.cause for plight, *_ in TOLD.values()} == set(Cause)


def test_what_is_ruled_out() -> None:
    """Where no cause is found, the alert lists what was examined; with a cause it does not."""
    needs = Needs(
        program="/usr/sbin/php-fpm8.2",
        command="/opt/start",
        directory="/srv",
        files=("/run/php/w.sock", "/run/php/w.pid"),
        logs=("/var/log/x.log",),
        users=("www-data",),
        groups=("www-data",),
    )
    unexplained = replace(PLIGHT, post_mortem=ALL_IN_ORDER, needs=needs)
    sentence = (
        "Checked on this host and ruled out: a kill because of short memory; a missing program or "
        "folder (/opt/start, /usr/sbin/php-fpm8.2, /srv, /var/log, /run/php); a full disk "
        "(/run/php); an unknown user or group (www-data)."
    )

    assert sentence in ENGLISH.sentences(unexplained, over=False)["description"]
    assert "已检查本机并排除" in CHINESE.sentences(unexplained, over=False)["description"]
    nothing = replace(unexplained, needs=Needs(), post_mortem=NOT_MEMORY)
    assert "ruled out" not in ENGLISH.sentences(nothing, over=False)["description"]
    explained = replace(unexplained, cause=Cause.CONFIG_ERROR)
    assert "ruled out" not in ENGLISH.sentences(explained, over=False)["description"]


LANGUAGES = {"English": ENGLISH, "Chinese": CHINESE}


@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_each_language_has_every_text(language: Language) -> None:
    """Both tables cover each cause, variant and fault, and have the same frames."""
    assert set(language.causes) == {*Cause, *Variant, *Fault}
    assert set(language.ruled_out) == set(ALL_IN_ORDER.looked_for)
    assert language.defaults.keys() == ENGLISH.defaults.keys()
    assert language.frames.keys() == ENGLISH.frames.keys()


@pytest.mark.parametrize("problem", [*Cause, *Fault])
@pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)
def test_each_text_is_complete_if_little_is_known(
    language: Language, problem: Cause | Fault
) -> None:
    """No value is missing in a text, and no brace is left."""
    cause, fault = (problem.cause, problem) if isinstance(problem, Fault) else (problem, None)
    facts = IncidentFacts(name=ProcessName("php-fpm", "php-fpm"), cause=cause, fault=fault)
    for over in (False, True):
        text = "".join(language.sentences(facts, over=over).values())

        assert not set(text) & set("{}")
        assert "None" not in text
