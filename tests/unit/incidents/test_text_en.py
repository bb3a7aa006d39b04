"""Each cause is told with what it is about, and with the very command to type."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport
from fpm_listener.host.oom_kills import OomKill
from fpm_listener.incidents import text_en, text_zh
from fpm_listener.incidents.incident_facts import IncidentFacts
from fpm_listener.incidents.post_mortem import Needs, PostMortem
from fpm_listener.phpfpm.site import FpmSite
from fpm_listener.supervisor.exit_log import ExitReason
from fpm_listener.supervisor.process import ProcessName
from fpm_listener.vocabulary import Cause

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
        "9000 is taken by pid 813 and 1 more",
        "kill -QUIT -- -812",
        "kill -QUIT -- -812",
    ),
    "a distribution's service": (
        replace(
            PLIGHT,
            cause=Cause.BIND_CONFLICT,
            address="9000",
            holder=master(9, "/etc/x.conf", "php8.2-fpm.service"),
        ),
        "another php-fpm that lives, unit php8.2-fpm.service",
        "systemctl disable --now php8.2-fpm.service",
        "systemctl disable --now php8.2-fpm.service",
    ),
    "itself, in the background": (
        replace(PLIGHT, cause=Cause.BIND_CONFLICT, address="9000", holder=master(9, CONF)),
        "9000 is taken by pid 9",
        "Stop it (kill -QUIT 9): it runs this very configuration",
        "kill -QUIT 9",
    ),
    "an absent address": (
        replace(PLIGHT, cause=Cause.ADDRESS_ABSENT, address="10.1.2.3:9000"),
        "10.1.2.3:9000 is on no interface",
        "Bring 10.1.2.3 up",
        "10.1.2.3:9000",
    ),
    "a user": (
        replace(PLIGHT, cause=Cause.UNKNOWN_USER, named="user deploy"),
        "there is no user deploy",
        "useradd --system deploy",
        "useradd --system deploy",
    ),
    "a group": (
        replace(PLIGHT, cause=Cause.UNKNOWN_USER, named="group deploy"),
        "there is no group deploy",
        "groupadd --system deploy",
        "groupadd --system deploy",
    ),
    "a socket's folder": (
        replace(PLIGHT, cause=Cause.MISSING_PATH, address="/run/php/w.sock"),
        "/run/php is missing",
        "install -d -o www-data /run/php",
        "install -d -o www-data /run/php",
    ),
    "a log's folder": (
        replace(PLIGHT, cause=Cause.MISSING_PATH, named="/var/log/php/e.log", address="9000"),
        "/var/log/php is missing",
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
        "its program /usr/sbin/php-fpm8.1 is not there",
        "(there is /usr/sbin/php-fpm8.2) and type: supervisorctl update php-fpm",
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
        "it may not open as many files as it needs",
        "Raise minfds in [supervisord]",
        "minfds",
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
        replace(PLIGHT, cause=Cause.CONFIG_ERROR),
        "php-fpm refuses its configuration",
        f"until this is content: /usr/sbin/php-fpm8.2 -t -y {CONF}",
        f"/usr/sbin/php-fpm8.2 -t -y {CONF}",
    ),
    "memory": (
        replace(PLIGHT, cause=Cause.OUT_OF_MEMORY, post_mortem=PostMortem(oom=OOM)),
        "the kernel kills it for want of memory (limit 128 MiB)",
        "systemctl set-property supervisor.service MemoryMax=",
        "pm.max_children",
    ),
    "memory of a container": (
        replace(
            PLIGHT,
            cause=Cause.OUT_OF_MEMORY,
            post_mortem=PostMortem(oom=OomKill(kills=2, where="cgroup /", limit=None, peak=None)),
        ),
        "the kernel kills it for want of memory",
        "the container's memory limit",
        "memory_limit",
    ),
    "a kill, memory not looked at": (
        replace(PLIGHT, cause=Cause.CRASH_SIGNAL, last_exit=ExitReason(signal=9)),
        "it dies (killed by SIGKILL)",
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
        "it dies (killed by SIGKILL)",
        "Find who sends it SIGKILL",
        "SIGKILL",
    ),
    "a crash": (
        replace(PLIGHT, cause=Cause.CRASH_SIGNAL, last_exit=ExitReason(signal=11)),
        "it dies (killed by SIGSEGV)",
        "Suspect an extension of PHP",
        "扩展",
    ),
    "silence": (
        replace(PLIGHT, cause=Cause.NOT_ANSWERING),
        "it runs, takes connections, and answers nobody",
        "supervisorctl restart php-fpm",
        "supervisorctl restart php-fpm",
    ),
    "workers": (
        replace(PLIGHT, cause=Cause.CRASH_SIGNAL, worker_crashes=4, worker_signal=11, failures=0),
        "its workers crash (SIGSEGV)",
        "Suspect an extension of PHP",
        "扩展",
    ),
    "slow flapping": (
        replace(PLIGHT, every_s=91.0),
        "again and again (exit status 78), about every 91 s",
        "tail /var/log/php-fpm.log",
        "tail /var/log/php-fpm.log",
    ),
    "given up, its log unknown": (
        replace(PLIGHT, cause=Cause.GAVE_UP, gave_up=True, site=FpmSite()),
        "supervisord gave up on it",
        "supervisorctl tail php-fpm stderr, then type: supervisorctl start php-fpm",
        "supervisorctl start php-fpm",
    ),
}


@pytest.mark.parametrize(("plight", "summary", "remedy", "in_chinese"), TOLD.values(), ids=TOLD)
def test_what_is_told(plight: IncidentFacts, summary: str, remedy: str, in_chinese: str) -> None:
    """The summary says what is wrong, the remedy what to type, in both languages."""
    english = text_en.sentences(plight, over=False)
    other = text_zh.sentences(plight, over=False)

    assert summary in english["summary"]
    assert remedy in english["remedy"]
    assert in_chinese in other["remedy"] + other["summary"]
    assert "None" not in "".join((*english.values(), *other.values()))
    assert english["remedy"] not in text_en.sentences(plight, over=True)["remedy"]


def test_each_cause_is_told() -> None:
    """None is left out above."""
    assert {plight.cause for plight, *_ in TOLD.values()} == set(Cause)


def test_what_is_ruled_out() -> None:
    """Where no cause is found, what was looked at is told; where one is, it would only distract."""
    unexplained = replace(PLIGHT, post_mortem=ALL_IN_ORDER)
    sentence = "Ruled out by a look at this machine: a kill for want of memory, a missing program"

    assert sentence in text_en.sentences(unexplained, over=False)["description"]
    assert "已检查本机并排除" in text_zh.sentences(unexplained, over=False)["description"]
    explained = replace(unexplained, cause=Cause.CONFIG_ERROR)
    assert "Ruled out" not in text_en.sentences(explained, over=False)["description"]
