"""What a file is, by its content."""

from __future__ import annotations

import pytest

from fpm_listener.doctor.config_kinds import Kind, may_be, see
from fpm_listener.doctor.partial import Partial, open_lines
from fpm_listener.supervisor import ini_lines
from fpm_listener.supervisor.ini_lines import Place

POOL = "[www]\nuser = a\nlisten = 9000\npm = static\npm.max_children = 2\n"
CASES = {
    "a.conf": ("[supervisord]\nnodaemon=true\n", Kind.SUPERVISORD),
    "b.conf": ("\ufeff[program:a]\ncommand=b\n", Kind.PROGRAMS),
    "c.ini": ("[eventlistener:a]\ncommand=b\n", Kind.PROGRAMS),
    "d.conf": ("[inet_http_server]\nport=9001\n", Kind.PROGRAMS),
    "e.conf": ("[group:a]\nprograms=b\n", Kind.PROGRAMS),
    "www.conf": (POOL, Kind.PHP_FPM),
    "php-fpm.conf": ("[global]\nerror_log = /a\ninclude = pool.d/*.conf\n", Kind.PHP_FPM),
    "zz-docker.conf": ("[global]\ndaemonize = no\n[www]\nlisten = 9000\n", Kind.PHP_FPM),
    "php-fpm.d/log.conf": ("pm.max_children = 4\n", Kind.PHP_FPM),
    "pool.conf": ("[a]\nlisten = 1\nphp_admin_value[memory_limit] = 1G\n", Kind.PHP_FPM),
    "s.conf": ("[program:{{ name }}]\ncommand=a\n", Kind.TEMPLATE),
    "t.conf": ("[supervisord]\n{% if a %}\nuser=b\n{% endif %}\n", Kind.TEMPLATE),
    "u.conf": ("[program:a]\ncommand=<%= @b %>\n", Kind.TEMPLATE),
    "v.conf.tmpl": ("[program:a]\ncommand=b ${C}\n", Kind.TEMPLATE),
    "w.conf": (f"{POOL}; e.g. %{{%Y-%m-%dT%H:%M:%S%z}}t {{{{ a }}}}\n", Kind.PHP_FPM),
    "nginx.conf": ("user nginx;\nevents { }\nhttp { }\n", None),
    "php.ini": ("[PHP]\nerror_log = /a\n[Date]\ndate.timezone = UTC\n", None),
    "docker-php.ini": ("memory_limit = 1G\nerror_log = /a\n", None),
    "my.cnf": ("[mysqld]\nuser = mysql\npid-file = /a\n", None),
    "my.conf": ("[mysqld]\nuser = mysql\nlog_error = /a\n", None),
    "tox.ini": ("[testenv]\ndeps = a\n[testenv:b]\ncommands = c\n", None),
    "setup.cfg": ("[metadata]\nname = a\n", None),
    "uwsgi.ini": ("[uwsgi]\nlisten = 100\nuser = a\ndaemonize = /a\nprocesses = 4\n", None),
    "smb.conf": ("[global]\nworkgroup = A\ninclude = /a\n[homes]\nuser = a\n", None),
    "pip.conf": ("[global]\nindex-url = https://a\n", None),
    "hosts.ini": ("[group:children]\nweb\n[web]\na user=b\n", None),
    "redis.conf": ("daemonize no\nport 6379\n", None),
}


@pytest.mark.parametrize("name", CASES)
def test_kind_of_a_file(name: str) -> None:
    """The content decides; the names of other programs' files are like these."""
    text, kind = CASES[name]
    found = see(f"/app/{name}", text)

    assert (found.kind if found else None) is kind


def test_names_that_are_looked_at() -> None:
    """Configurations and templates of them, not source text."""
    names = ("supervisord.conf", "a.ini", "b.conf.j2", "supervisord", "php-fpm.conf.dist", "c.cfg")

    assert all(may_be(name) for name in names)
    assert not any(may_be(name) for name in ("supervisor.py", "a.php", "www.conf.default", "b~"))


def test_sections_that_no_other_file_completes() -> None:
    """A pool with its mandatory keys, and a main file with an include."""
    main = see("/php-fpm.conf", f"[global]\ninclude = a/*.conf\n{POOL}")
    added = see("/zz-docker.conf", "[global]\ndaemonize = no\n[www]\nlisten = 9000\n")
    continued = see("/php-fpm.d/a.conf", "pm = static\n[b]\nlisten = 1\n")

    assert main is not None and main.complete == {"global", "www"}  # noqa: PT018 - one fact
    assert added is not None and not added.complete  # noqa: PT018 - one fact
    assert continued is not None and continued.is_continued  # noqa: PT018 - one fact


def test_places_without_a_finding() -> None:
    """Lines with a variable, made-up sections, other files, and the rest of a fragment."""
    text = "[program:a]\ncommand=b\nuser=%(ENV_U)s\ndirectory=/%%x\n"
    lines = frozenset(open_lines(ini_lines.scan([("f", text)])))
    part = Partial(files=frozenset("f"), is_fragment=True, open_lines=lines)

    assert not part.hides("FPM014", Place("f", 1, "program:a"))
    assert not part.hides("FPM030", Place("f", 4, "program:a"))
    assert part.hides("FPM033", Place("f", 3, "program:a"))
    assert part.hides("FPM120", Place("f", 6, "supervisord"))
    assert part.hides("FPM101", Place("f", 0, "unix_http_server"))
    assert part.hides("FPM014", Place("g", 1, "program:a"))
    assert part.hides("FPM067", Place("f", 2, "program:a"))


def test_words_of_php_fpm_that_another_program_replaces() -> None:
    """$X, ${X}, !X! and @X@; $pool and $prefix are php-fpm's own."""
    values = ("$N", "${N}", "!N!", "@N@", "$pool.log", "100%", "a@b")
    text = "[www]\n" + "".join(f"key{at} = {value}\n" for at, value in enumerate(values))

    assert {line for _, line in open_lines(ini_lines.scan([("f", text)]), php=True)} == {2, 3, 4, 5}
