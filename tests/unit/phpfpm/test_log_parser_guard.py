"""The guard's refusals are facts like php-fpm's own errors; what else it says is none."""

from __future__ import annotations

import pytest

from fpm_listener.phpfpm.log_facts import START_FAILURES, FactKind
from fpm_listener.phpfpm.log_parser import KEPT, classify, scan

GUARD = "fpm-listener guard: "
STAMP = "[23-Nov-2026 10:02:07] "
ORPHAN = "pid 4712 and 1 more (php-fpm: pool www, user www-data, orphan of the dead master 4700)"
MASTER = "pid 9 (php-fpm: master process (/etc/php-fpm.conf), user root, another running php-fpm)"
OTHER = "pid 77 (/usr/bin/nc -l 9000, user root, unit nc.service, container abababababab)"

TAKEN, KEPT_OUT = "; waited 2s; not starting php-fpm (exit 75)", "; not starting php-fpm (exit 78)"
QUIT = ". End the orphaned workers, which finish their requests first: kill -QUIT 4712 4713"

#: How a refusal goes on behind its address, with the exit status 75.
HELD = {
    "orphans": f" is held by {ORPHAN}{TAKEN}{QUIT}",
    "orphans of ours": f" is held by {ORPHAN}; waited 900ms; it is this program's own, left behind"
    " by an earlier supervisord; not starting php-fpm (exit 75)."
    " End it, then all is well: kill -QUIT 4712",
    "a master": f" is held by {MASTER}{TAKEN}."
    " Stop the other php-fpm (kill -QUIT 9), and find out what starts it:"
    " a distribution's service, or daemonize = yes",
    "this configuration": f" is held by {MASTER}; waited 2s; it runs this very configuration:"
    " started by hand, or daemonized (daemonize = yes, and no -F in its command);"
    " not starting php-fpm (exit 75). Stop the other php-fpm (kill -QUIT 9), and find out what"
    " starts it: a distribution's service, or daemonize = yes",
    "something else": f" is held by {OTHER}{TAKEN}. Stop the other service for good:"
    " systemctl disable --now nc.service",
    "several": f" is held by {MASTER}; {ORPHAN}; {OTHER}{TAKEN}{QUIT}",
    "no wait": f" is held by {OTHER}; waited 0s; not starting php-fpm (exit 75)."
    " Stop pid 77, or give php-fpm another address",
    "nobody seen": f" is taken; by whom is not known: nobody is seen to have it{TAKEN}."
    " Find who has it: ss -ltnp 'sport = :9000', as root",
    "not allowed to see": " is taken; by whom is not known: we may not look into other users'"
    f" processes (root may, to name the holder){TAKEN}."
    " Find who has it: ss -lxp src /run/php fpm/w.sock, as root",
}
ADDRESSES = (
    "127.0.0.1:9000",
    "[::1]:9000",
    "9000",
    "localhost:9000",
    "/run/www.sock",
    "/run/php fpm/w (1): a.sock",
    "/run/what is/w.sock",
)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("rest", HELD.values(), ids=HELD)
def test_an_address_that_somebody_has(address: str, rest: str) -> None:
    """It is a bind conflict on the address as the configuration has it, whoever is named."""
    line = f"{GUARD}{address}{rest}"
    found = classify(line)

    assert found is not None
    assert (found.kind, found.address) == (FactKind.BIND_CONFLICT, address)
    assert found.line == line
    assert (found.pool, found.pid, found.signal) == (None, None, None)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("203.0.113.9:9000", "Cannot assign requested address"),
        ("[2001:db8::9]:9000", "Cannot assign requested address"),
        ("[fe80::1%eth7]:9000", "No such device"),
        (
            "fpm.invalid:9000",
            "the name 'fpm.invalid' cannot be resolved: Name or service not known",
        ),
    ],
)
def test_an_address_that_is_not_there(address: str, why: str) -> None:
    """Nobody holds it: it is absent."""
    found = classify(f"{GUARD}{address} is not to be had: {why}{TAKEN}")

    assert found is not None
    assert (found.kind, found.address) == (FactKind.ADDRESS_ABSENT, address)


@pytest.mark.parametrize("folder", ["/run/php", "/run/php fpm", "/run/x;y,(1):z", "/srv/ä"])
def test_a_folder_that_is_missing(folder: str) -> None:
    """A unix socket's folder that does not exist is a missing path."""
    address = f"{folder}/w.sock"
    why = f"its folder {folder} does not exist"
    found = classify(f"{GUARD}cannot listen on {address}: {why}{KEPT_OUT}")

    assert found is not None
    assert (found.kind, found.address) == (FactKind.MISSING_PATH, address)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:80", "Permission denied"),
        ("80", "Permission denied"),
        ("/run/w.sock", "its folder /run may not be written to"),
        (
            "/a b/w.sock",
            "its folder /a b may not be written to, and /a b/w.sock itself may not be connected to",
        ),
        ("[::1]:9000", "Address family not supported by protocol"),
    ],
)
def test_an_address_that_is_forbidden(address: str, why: str) -> None:
    """What waiting does not cure, and is no missing folder, is a permission."""
    found = classify(f"{GUARD}cannot listen on {address}: {why}{KEPT_OUT}")

    assert found is not None
    assert (found.kind, found.address) == (FactKind.PERMISSION, address)


REFUSALS = [
    *(f"{GUARD}{address}{rest}" for address in ADDRESSES for rest in HELD.values()),
    f"{GUARD}203.0.113.9:9000 is not to be had: Cannot assign requested address{TAKEN}",
    f"{GUARD}cannot listen on /run/x/w.sock: its folder /run/x does not exist{KEPT_OUT}",
    f"{GUARD}cannot listen on 80: Permission denied{KEPT_OUT}",
]
PROBLEM = "php-fpm's configuration is not wholly understood: "
UNRECORDED = (
    "this start cannot be recorded, so its workers will be named, not ended, if they outlive it: "
)
#: What the guard says besides, and what only looks like a refusal.
SILENT = [
    f"{GUARD}telling pid 4712, an orphan of our own, to end: SIGQUIT",
    f"{GUARD}{PROBLEM}/etc/php-fpm.conf: cannot be read: No such file or directory",
    f"{GUARD}{PROBLEM}/etc/php-fpm.conf:3: nothing matches the include '/etc/php-fpm.d/*.conf'",
    f"{GUARD}{PROBLEM}/etc/php-fpm.conf: no pool is defined",
    f"{GUARD}{UNRECORDED}/var/lib/fpm-listener/masters: Permission denied",
    f"{GUARD}'sh' is no php-fpm; it is started as it stands",
    f"{GUARD}the listener's settings are not used: settings: x",
    f"{GUARD}/usr/sbin/php-fpm9.9: Exec format error (exit 126)",
    GUARD,
    GUARD.rstrip(),
    f"{GUARD}127.0.0.1:9000 is held by {OTHER}",
    f"{GUARD}127.0.0.1:9000 is held by {OTHER}; waited 2s; not starting php-fpm (exit 76)",
    f"{GUARD} is held by",
    f" {GUARD}127.0.0.1:9000 is held by {OTHER}{TAKEN}",
    f"x {GUARD}127.0.0.1:9000 is held by {OTHER}{TAKEN}",
    f"{STAMP}{GUARD}127.0.0.1:9000 is held by {OTHER}{TAKEN}",
    f'{STAMP}WARNING: [pool www] child 5 said into stderr: "{GUARD}9 is held by {OTHER}{TAKEN}"',
    f"127.0.0.1:9000 is held by {OTHER}{TAKEN}",
]


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        ("not found (exit 127)", FactKind.MISSING_PATH),
        ("Permission denied (exit 126)", FactKind.PERMISSION),
    ],
)
def test_a_program_that_cannot_be_run(what: str, kind: FactKind) -> None:
    """It is named, and no address is."""
    found = classify(f"{GUARD}/usr/sbin/php-fpm9.9: {what}")

    assert found is not None
    assert (found.kind, found.named, found.address) == (kind, "/usr/sbin/php-fpm9.9", None)


@pytest.mark.parametrize("line", SILENT)
def test_what_else_is_said(line: str) -> None:
    """What the guard does, or what others say with its words, states nothing."""
    assert classify(line) is None
    assert scan(line.encode()) == []


@pytest.mark.parametrize("line", REFUSALS)
def test_each_refusal_is_a_failed_start(line: str) -> None:
    """It counts as php-fpm's own errors do."""
    found = classify(line)

    assert found is not None
    assert found.kind in START_FAILURES


@pytest.mark.parametrize("line", REFUSALS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_scan_finds_a_refusal(line: str, end: str) -> None:
    """A refusal alone in a chunk, which has none of php-fpm's levels, is found."""
    assert scan((line + end).encode()) == [classify(line)]


def test_scan_finds_refusals_among_others() -> None:
    """In order, and nothing else of the guard's."""
    running = f"{STAMP}NOTICE: fpm is running, pid 77"
    lines = [line for pair in zip(REFUSALS, SILENT * 5, strict=False) for line in pair]
    lines += [running, *SILENT, *REFUSALS]
    expected = [found for line in lines if (found := classify(line))]

    assert len(expected) == 2 * len(REFUSALS) + 1
    assert scan("\n".join(lines).encode()) == expected


def test_a_very_long_refusal() -> None:
    """Many holders make a long line, of which the beginning is kept."""
    line = f"{GUARD}9000 is held by {'; '.join([ORPHAN] * 100)}{TAKEN}"
    found = classify(line)

    assert found is not None
    assert (found.kind, found.address, len(found.line)) == (FactKind.BIND_CONFLICT, "9000", KEPT)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 50_000 + f" is held by {OTHER}{TAKEN}",
        " is held by" * 20_000,
        " is not to be had: " * 20_000,
        "cannot listen on " + ": its folder x does not exist; " * 10_000,
        "9000 is held by " + "(exit 7" * 50_000,
    ],
)
def test_a_hostile_line(text: str) -> None:
    """Anybody can print the guard's words: an endless line states nothing, and costs little."""
    assert classify(GUARD + text) is None
