"""The next start of a program is no holder of its address: the remedy would stop the site."""

from __future__ import annotations

import os

import pytest

from fpm_listener.daemon import address_check
from fpm_listener.host import procfs
from fpm_listener.host.address_holders import Holder, HolderKind, HolderReport, HolderSupervisor
from fpm_listener.host.socket_tables import FoundSockets
from fpm_listener.incidents.effects import ExamineExit, FindHolder
from fpm_listener.incidents.post_mortem import Needs
from fpm_listener.supervisor.process import ProcessName

FPM = ProcessName("web", "php-fpm")
CONFIG = "/etc/php-fpm.conf"
ADDRESS = "127.0.0.1:9000"
MASTER = Holder(
    kind=HolderKind.MASTER,
    pid=88,
    command=f"php-fpm: master process ({CONFIG})",
    user="root",
    started=1,
)
OTHER = Holder(kind=HolderKind.OTHER, pid=77, command="nginx", user=None)


def started_by(holder: Holder, name: str | None, *, ours: bool = True) -> Holder:
    """Return a holder that a supervisord has started."""
    found = HolderSupervisor(kind="supervisord", pid=1, name=name, ours=ours)
    return holder._replace(supervisor=found, started=1)


@pytest.mark.parametrize(
    ("holder", "is_itself"),
    [
        (started_by(MASTER, None), True),
        (started_by(MASTER, "web:php-fpm"), True),
        (started_by(OTHER, "web:php-fpm"), True),
        (started_by(MASTER._replace(command="php-fpm: master process (/b.conf)"), None), False),
        (started_by(OTHER, "nginx"), False),
        (started_by(MASTER, "php-fpm", ours=False), False),
        (MASTER, False),  # daemonize = yes, or started by hand
    ],
)
def test_a_start_of_the_program(
    monkeypatch: pytest.MonkeyPatch, holder: Holder, *, is_itself: bool
) -> None:
    """Neither the machine check nor the search names it."""
    report = HolderReport(ADDRESS, (holder,))
    monkeypatch.setattr(address_check, "find_holders", lambda *_, **__: report)
    sockets = FoundSockets(frozenset({"1"}), listening=True)
    monkeypatch.setattr(address_check, "find_sockets", lambda _: sockets)
    asked = ExamineExit(
        *(FPM, 1e9, Needs(addresses=(ADDRESS,))), began_at_s=1e9, config=CONFIG
    )  # our events are late, so the holder seems older

    found = address_check.find_holder(FindHolder(FPM, ADDRESS, frozenset(), CONFIG)).report

    assert bool(address_check.find_conflicts(asked)) is not is_itself
    assert found.holders == (() if is_itself else (holder,))
    assert bool(found.blind) is is_itself


@pytest.mark.parametrize(
    ("title", "session", "is_conflict"),
    [
        (f"php-fpm: master process ({CONFIG})", 0, False),
        (f"php-fpm: master process ({CONFIG})", 1, True),  # of another supervisord
        ("php-fpm: master process (/b.conf)", 0, True),
    ],
)
def test_a_hidden_holder(
    monkeypatch: pytest.MonkeyPatch, title: str, session: int, *, is_conflict: bool
) -> None:
    """It is in the way only if the program itself does not run now."""
    report = HolderReport(ADDRESS, (), blind="not permitted")
    monkeypatch.setattr(address_check, "find_holders", lambda *_, **__: report)
    sockets = FoundSockets(frozenset({"1"}), listening=True)
    monkeypatch.setattr(address_check, "find_sockets", lambda _: sockets)
    own = procfs.read_stat("self")
    assert own is not None
    words = f"88 (php-fpm) S 1 88 {own.session + session} {'0 ' * 40}"
    read = procfs.read_stat
    monkeypatch.setattr(os, "listdir", lambda _: ["88", "net"])
    monkeypatch.setattr(procfs, "title", lambda _: title)
    monkeypatch.setattr(
        procfs, "read_stat", lambda pid: procfs.ProcessStat(words) if pid == "88" else read(pid)
    )
    asked = ExamineExit(FPM, 1e9, Needs(addresses=(ADDRESS,)), config=CONFIG)

    assert bool(address_check.find_conflicts(asked)) is is_conflict
