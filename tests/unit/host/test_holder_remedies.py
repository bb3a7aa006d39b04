"""Who has an address, in words, and how to get it back."""

from __future__ import annotations

import pytest

from fpm_listener.host import holder_remedies
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport, HolderSupervisor
from fpm_listener.host.oom_kills import OomKill, mebibytes
from fpm_listener.host.operator_commands import TOOLS

ORPHAN = Holder(
    kind=HolderKind.ORPHAN, pid=5, command="php-fpm: pool www", user="www-data", master_pid=4
)
MASTER = Holder(
    kind=HolderKind.MASTER, pid=9, command="php-fpm: master process (/etc/x.conf)", user="root"
)
OTHER = Holder(kind=HolderKind.OTHER, pid=7, command="nginx", user=None)
OTHER_SUPERVISORD = HolderSupervisor(
    kind="supervisord", pid=2, config="/s.conf", control="supervisorctl -c /s.conf", name="web"
)
PEAK = ", its peak was 2 MiB"
LISTENER = OTHER._replace(
    command="/usr/bin/python /opt/fpm-listener listen --config x",
    supervisor=HolderSupervisor(
        kind="supervisord", pid=2, control="supervisorctl", name="alerts:listener"
    ),
)


@pytest.mark.parametrize(
    ("holder", "words"),
    [
        (ORPHAN, "pid 5 (php-fpm: pool www, user www-data, orphan of the dead master 4)"),
        (ORPHAN._replace(others=(6, 8)), "pid 5 and 2 more (php-fpm: pool www, user www-data, "),
        (MASTER._replace(unit="php.service"), "another running php-fpm, unit php.service)"),
        (OTHER._replace(container="abc"), "pid 7 (nginx, container abc)"),
        (OTHER._replace(unit="u", container="c"), "pid 7 (nginx, unit u, container c)"),
        (OTHER, "pid 7 (nginx)"),
    ],
)
def test_a_holder_in_words(holder: Holder, words: str) -> None:
    """What is not known is left out."""
    assert words in str(holder)


def test_a_report_in_words() -> None:
    """All holders, or why none is known."""
    report = HolderReport(address="9000", holders=(OTHER, OTHER))
    assert str(report) == "pid 7 (nginx); pid 7 (nginx)"
    assert str(report._replace(holders=(), blind="no rights")) == "no rights"
    assert str(report._replace(holders=())) == "nobody has it now"


@pytest.mark.parametrize(
    ("holder", "config", "words"),
    [
        (ORPHAN, "", "kill -QUIT -4"),
        (ORPHAN._replace(master_pid=None, others=(6, 8)), "", "kill -QUIT 5 6 8"),
        (MASTER._replace(unit="php.service"), "", "systemctl disable --now php.service"),
        (MASTER, "/etc/x.conf", "this very configuration"),
        (MASTER, "/etc/y.conf", "kill -QUIT 9), and find out what starts it"),
        (MASTER, "", "kill -QUIT 9), and find out what starts it"),
        (OTHER, "", "Stop it (kill 7)"),
        (OTHER._replace(command="(/etc/x.conf)"), "/etc/x.conf", "Stop it (kill 7)"),
        (
            MASTER._replace(supervisor=OTHER_SUPERVISORD),
            "/etc/x.conf",
            (
                "Another supervisord (pid 2, /s.conf) starts it again after a kill. Stop it there: "
                "supervisorctl -c /s.conf stop web"
            ),
        ),
        (
            OTHER._replace(supervisor=OTHER_SUPERVISORD._replace(name=None)),
            "",
            "this command shows its name: supervisorctl -c /s.conf status",
        ),
        (
            OTHER._replace(supervisor=OTHER_SUPERVISORD._replace(control=None)),
            "",
            "Stop that supervisord: kill 2",
        ),
        (
            OTHER._replace(supervisor=OTHER_SUPERVISORD._replace(control=None), unit="x.service"),
            "",
            "Stop that supervisord: systemctl disable --now x.service",
        ),
        (LISTENER, "", "supervisorctl restart alerts:listener"),
        (OTHER._replace(command="python -m fpm_listener listen"), "", "Wait for the next start"),
        (OTHER._replace(command="python /a/fpm-listener.pyz listen"), "", "Wait for the next"),
        (OTHER._replace(command="fpm-listener listener"), "", "Stop it (kill 7)"),
    ],
)
def test_how_to_get_it_back(holder: Holder, config: str, words: str) -> None:
    """One sentence for each kind of holder."""
    assert words in holder_remedies.end(holder, config)
    assert words in holder_remedies.free([holder], config)


def test_our_listener_comes_first() -> None:
    """Only it matters where it is among the holders; else the first one does."""
    assert "Wait for the next start" in holder_remedies.free([ORPHAN, LISTENER])
    assert "-QUIT -4" in holder_remedies.free([ORPHAN, OTHER])


@pytest.mark.parametrize(
    ("address", "command"),
    [
        (None, "ss -lxtnp"),
        ("", "ss -lxtnp"),
        ("/run/php.sock", "ss -lxp src /run/php.sock"),
        ("127.0.0.1:9000", "ss -ltnp 'sport = :9000'"),
        ("9000", "ss -ltnp 'sport = :9000'"),
        ("*:53/udp", "ss -lunp 'sport = :53'"),
    ],
)
def test_how_to_look(address: str | None, command: str) -> None:
    """By path or by port."""
    assert holder_remedies.look_command(address, TOOLS) == command
    assert holder_remedies.look(address, TOOLS) == f"{command}, as root"


@pytest.mark.parametrize(
    ("kill", "words"),
    [
        (
            OomKill(kills=1, where="this host", limit=None, peak=None),
            "this host: the kernel killed once because memory was short; it has no limit",
        ),
        (
            OomKill(kills=3, where="/x", limit=128 << 20, peak=2 << 20),
            f"/x: the kernel killed 3 times because memory was short; its limit is 128 MiB{PEAK}",
        ),
    ],
)
def test_a_kill_in_words(kill: OomKill, words: str) -> None:
    """How often, where, and with which limit."""
    assert str(kill) == words
    assert mebibytes(3 << 19) == "2 MiB"
