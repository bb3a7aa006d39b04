"""`check` on the configurations of failures that were reported in public, and on variants of them.

The inputs are in tests/data/cases. Paths below /tmp/t stand for the folder of the test.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fpm_listener.doctor import check, report
from fpm_listener.doctor.rule import Finding, FindingSeverity
from tests.integration.doctor.test_check import nobody
from tests.integration.supervisor.test_pipe import run
from tests.waiting import accepts, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CASES = Path(__file__).parents[2] / "data" / "cases"
PHP_FPM = os.environ.get("PHP_FPM") or shutil.which("php-fpm8.2") or "/usr/sbin/php-fpm8.2"
ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

#: By case: the errors and warnings, each with a part of what it says.
EXPECTED: dict[str, dict[str, str]] = {
    "D01": {},
    "D03": {"FPM010": "stopsignal is TERM"},
    "D05": {},
    "D06": {"FPM111": "%(ENV_FPM_CONF)s is used, and this shell has no variable FPM_CONF"},
    "D07": {"FPM111": "%(ENV_FPM_CONF)s is used, and this shell has no variable FPM_CONF"},
    "D20": {"FPM049": "listen.acl_users = nginxx: there is no such user"},
    "D21": {"FPM023": "php-fpm83 is in no directory of PATH"},
    "D23": {"FPM029": "&& is an operator of the shell"},
    "D25": {"FPM032": "_logfile is /dev/std"},
    "D26": {"FPM112": " is not a key of [supervisord]"},
    "D27": {"FPM017": "-c /etc/php/8.2/fpm/pool.d/www.conf"},
    "D28": {"FPM073": "listen.allowed_clients contains no IP address in 'web'"},
}
#: By case: one finding among others.
AMONG = {
    "L08": ("FPM028", "php-fpm refuses '--nodaemon'"),
    "L16": ("FPM113", "/logs does not exist"),
    "L19": ("FPM030", "/nowhere does not exist"),
    "L32": ("FPM031", "may not read"),
    "L34": ("FPM002", "/entrypoint_fpm.sh runs php-fpm without exec"),
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return a folder that every user may enter."""
    path = Path(tempfile.mkdtemp(dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def write(case: str, folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the inputs of a case with changes, and return supervisord's file."""
    for source in (CASES / case).iterdir():
        text = source.read_text().replace("/tmp/t/", f"{folder}/")
        text = text.replace("/usr/sbin/php-fpm8.2", PHP_FPM)
        for old, new in changes:
            text = text.replace(old, new)
        target = folder / source.name
        target.write_text(text)
        target.chmod(0o755 if source.suffix == ".sh" else 0o644)
    return folder / "supervisord.conf"


def examine(case: str, folder: Path, *changes: tuple[str, str]) -> list[Finding]:
    """Return the findings of a case that are worse than a hint."""
    path = write(case, folder, *changes)
    if case == "L32":
        (folder / "php-fpm.conf").chmod(0o600)
    found = check.check(str(path), environ=ENVIRON, search=nobody)
    return [one for one in found if one.severity is not FindingSeverity.HINT]


@pytest.mark.parametrize("case", EXPECTED)
def test_a_case(case: str, folder: Path) -> None:
    """Exactly these rules find something, and say what."""
    found = examine(case, folder)

    assert {one.id for one in found} == set(EXPECTED[case])
    for one in found:
        assert EXPECTED[case][one.id] in one.what
    assert report.exit_status(found) == bool(EXPECTED[case])


@pytest.mark.parametrize("case", AMONG)
def test_a_case_with_other_findings(case: str, folder: Path) -> None:
    """The cause of the failure is an error."""
    identity, what = AMONG[case]
    (one, *_) = [found for found in examine(case, folder) if found.id == identity]

    assert what in one.what
    assert one.severity is FindingSeverity.ERROR


@pytest.mark.parametrize(
    ("case", "key"),
    [
        ("D10", "pm.start_servers"),
        ("D12", "chdir"),
        ("D14", "slowlog"),
        ("D16", "slowlog"),
    ],
)
def test_what_php_fpm_rejects(case: str, key: str, folder: Path) -> None:
    """One error names the key, and says that php-fpm does not start."""
    (one,) = examine(case, folder)

    assert one.severity is FindingSeverity.ERROR
    assert key in one.what
    assert "does not start" in one.why
    assert one.where.startswith(f"{folder}/php-fpm.conf:")


def test_the_environment_of_the_supervisord_that_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that only supervisord has is known (D07)."""
    path = write("D07", folder, ("autorestart=true", "autorestart=true\nautostart=false"))
    monkeypatch.setenv("FPM_CONF", str(folder / "php-fpm.conf"))
    child = run(path)
    monkeypatch.delenv("FPM_CONF")
    try:
        wait_until(lambda: accepts(folder / "s.sock"), "supervisord to listen")
        assert check.check(str(path), search=nobody)[0].id == "FPM111"
        live = check.check(str(path), search=nobody, live=True)
    finally:
        child.terminate()
        child.wait(30)

    assert {one.id for one in live} <= {"FPM104"}


def variants(table: str) -> list[tuple[str, str, str, str]]:
    """Return the rows of a table: case, old, new, rule (empty: no error and no warning)."""
    rows = (re.split(r"\s+\|\s+", line.strip(), maxsplit=3) for line in table.strip().split("\n"))
    lines = [[part.replace("\\n", "\n") for part in row] for row in rows]
    return [(case, old, new, rule) for case, old, new, rule in lines]


# ruff: noqa: E501 - one variant is one row
VARIANTS = """\
D01 | /bin/sh /tmp/t/start-php-fpm.sh | /tmp/t/start-php-fpm.sh -x | .
D01 | /bin/sh /tmp/t/start-php-fpm.sh | bash -e /tmp/t/start-php-fpm.sh | .
D01 | /bin/sh /tmp/t/start-php-fpm.sh | /usr/bin/env A=b /tmp/t/start-php-fpm.sh | .
D01 | /bin/sh /tmp/t/start-php-fpm.sh | bash -c "exec /tmp/t/start-php-fpm.sh" | .
D01 | /bin/sh /tmp/t/start-php-fpm.sh | /tmp/t/none.sh | FPM023
D01 | /bin/sh /tmp/t/start-php-fpm.sh | /bin/sh /tmp/t/none.sh | FPM027
D01 | exec /usr/sbin | /usr/sbin | FPM002
D01 | exec /usr/sbin/php-fpm8.2 -F | exec "$@" | FPM027
D01 | exec /usr/sbin/php-fpm8.2 -F | exec "$PHP_FPM" -F | FPM027
D01 | exec /usr/sbin/php-fpm8.2 -F | exec /usr/sbin/php-fpm8.2 | FPM003
D01 | /tmp/t/php-fpm.conf | /tmp/t/none.conf | FPM068
D03 | stopsignal=TERM | stopsignal=INT | FPM010
D03 | stopsignal=TERM | stopsignal=QUIT | FPM012 FPM013
D05 | user=www-data\\n[rpc | [rpc | FPM025
D20 | listen.acl_users = nginxx | listen.acl_groups = nginxx | FPM049
D20 | listen.acl_users = nginxx | listen.acl_users = www-data,nginxx | FPM049
D20 | listen.acl_users = nginxx | listen.acl_users = www-data | .
D23 | mkdir -p /run/php && | cd /tmp && | FPM023 FPM029
D23 | mkdir -p /run/php && /usr/sbin/php-fpm8.2 -F -y /tmp/t/php-fpm.conf | /usr/sbin/php-fpm8.2 -F -y /tmp/t/php-fpm.conf > /dev/null 2>&1 | FPM029
D23 | mkdir -p /run/php && /usr/sbin/php-fpm8.2 -F -y /tmp/t/php-fpm.conf | /bin/sh -c "mkdir -p /tmp && exec /usr/sbin/php-fpm8.2 -F -y /tmp/t/php-fpm.conf" | .
D25 | logfile=/dev/stdout\\nstderr_logfile=/dev/stderr | logfile=/dev/stdout\\nstdout_logfile_maxbytes=0\\nredirect_stderr=true | .
D25 | [program:php-fpm] | [eventlistener:x]\\nevents=TICK_60\\nbuffer_size=1024\\nstartretries=1000\\npriority=-9 | FPM032
D26 | [rpcinterface | [group:x]\\nprogrammes=a\\nprograms=\\n[rpcinterface | FPM112
D27 | -F -c /etc/php/8.2/fpm/pool.d/www.conf | -Fc/etc/php/8.2/fpm/php-fpm.conf | FPM017
D27 | -F -c /etc/php/8.2/fpm/pool.d/www.conf | -F --php-ini=/usr/local/etc/php-fpm.d/zz-docker.conf | FPM017
D28 | = web | = | FPM073
D28 | = web | = 127.0.0.1, ::1 | FPM073
D28 | = web | = 127.0.0.1,::1 | .
D05 | /proc/self/fd/2 | /var/log/dpkg.log | FPM034
D05 | listen = 127.0.0.1:9071 | listen = /run/w.sock\\nlisten.mode = 0660 | FPM034
D07 | command=/usr/sbin/php-fpm8.2 -F -y %(ENV_FPM_CONF)s | command=/usr/sbin/php-fpm8.2 -F -y /tmp/t/php-fpm.conf\\nuser=nobody-here | FPM033
D07 | nodaemon=true | nodaemon=%(ENV_FOREGROUND)s | FPM111
L19 | [program:app] | [app] | FPM123
L19 | directory=/tmp/t/nowhere | directory=/tmp/t | .
L19 | /bin/sleep 100 | sleeep 100 | FPM023 FPM030
L19 | /bin/sleep 100 | /tmp/t/supervisord.conf | FPM023 FPM030
"""


@pytest.mark.parametrize(("case", "old", "new", "rules"), variants(VARIANTS))
def test_a_variant(case: str, old: str, new: str, rules: str, folder: Path) -> None:
    """The same kind of fault in another form is found; where there is none, nothing is found."""
    paths = (("/tmp/t", str(folder)), ("/usr/sbin/php-fpm8.2", PHP_FPM))
    for place, real in paths:
        old, new = old.replace(place, real), new.replace(place, real)
    found = examine(case, folder, (old, new))

    assert old != new
    assert {one.id for one in found} == set(rules.replace(".", "").split())


@pytest.mark.parametrize("user", ["nobody", "www-data"])
def test_files_of_other_users(user: str, folder: Path) -> None:
    """A user needs the right to read the file, and to enter its folder."""
    change = ("user=www-data", f"user={user}")
    assert "FPM031" in {one.id for one in examine("L32", folder, change)}
    (folder / "php-fpm.conf").chmod(0o644)
    folder.chmod(0o700)
    again = check.check(str(folder / "supervisord.conf"), environ=ENVIRON, search=nobody)
    assert "FPM031" in {one.id for one in again}
    folder.chmod(0o711)
    again = check.check(str(folder / "supervisord.conf"), environ=ENVIRON, search=nobody)
    assert "FPM031" not in {one.id for one in again}
