"""Generated configurations of php-fpm: valid ones with one to three random mistakes."""

# ruff: noqa: S311 - a seeded generator, so a run can be repeated

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: The environment of php-fpm and of the check.
ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin",
    "PORT": "9077",
    "SOME": "7",
    "SPACED": "a b",
    "EMPTY": "",
    "YES": "yes",
    "TIME": "7m",
    "QUOTED": '"x"',
    "SIGNS": "a;b&c",
    "HOME": "/root",
}

_MAIN = """\
[global]
pid = {dir}/php-fpm.pid
error_log = {dir}/php-fpm.log
log_level = notice
process_control_timeout = 10s
emergency_restart_threshold = 10
emergency_restart_interval = 1m
"""
_POOLS = (
    """\
[www]
user = www-data
group = www-data
listen = 127.0.0.1:{port}
pm = dynamic
pm.max_children = 8
pm.start_servers = 2
pm.min_spare_servers = 1
pm.max_spare_servers = 3
pm.max_requests = 500
ping.path = /ping
pm.status_path = /status
catch_workers_output = yes
request_terminate_timeout = 60s
""",
    """\
[app]
user = www-data
listen = {dir}/app.sock
listen.owner = www-data
listen.mode = 0660
pm = static
pm.max_children = 4
slowlog = {dir}/slow.log
request_slowlog_timeout = 5s
chdir = /
access.log = {dir}/access.log
access.format = "%R - %u %t \\"%m %r\\" %s %{{milli}}d %{{kilo}}M %C%%"
""",
    """\
[api]
user = www-data
listen = {port}
pm = ondemand
pm.max_children = 6
pm.process_idle_timeout = 10s
env[PATH] = /usr/bin
php_admin_value[memory_limit] = 128M
php_flag[display_errors] = off
security.limit_extensions = .php .phar
clear_env = no
rlimit_files = 1024
""",
)

_NUMBERS = (
    *("0", "-1", "-", "1.5", "1e3", "abc", "12x", "", "99999999999", "4294967297", "0x10", "007"),
    *("64", " 5", "5 6", "'5'", '"5"', '" 5"', "${SOME}", "${NO_SUCH}", "+3", "yes", "off", "null"),
    *("5 ; five", "5;five", "5 # five", "-20", "20", "21", "511", "512", "1", "2147483648", "none"),
)
_TIMES = (
    *("5", "5s", "2m", "1h", "1d", "5 s", "5S", "ms", "1w", "", "s", "d", "10ms", "1.5h", "-5s"),
    *("'5 m'", "${TIME}", "abc", "0", "0s", "5;s", "infinite", "${NO_SUCH}", "yes"),
)
_BOOLEANS = (
    *("yes", "no", "on", "off", "true", "false", "1", "0", "2", "Yes", "YES", "TRUE", "maybe", "y"),
    *("enabled", "none", "null", "", "'yes'", '"no"', "${YES}", "yes yes", "yes ; no", "!yes"),
    *("yes # x", "'on'", '"true"', '"2"', "~1", "-1"),
)
_TEXTS = (
    *('"a', "'a", 'a"', "a'b", '"a" "b"', "'a' 'b'", "a=b", '"a=b"', "a;b", '"a;b"', "a#b", "a|b"),
    *("a&b", "~a", "!a", "(a)", "(a", "a)", "a^b", "${HOME}", "${HOME", "$HOME", "$", "$$", "a$b"),
    *("${}", "${ }", "${A B}", "${A:-b}", "{a}", "[a]", "a[b]", "a\\", '"a\\"', '"a\\\\"', "'a\\'"),
    *(
        "yes no",
        "on",
        "null",
        "none",
        "E_ALL",
        "E_ALL & ~E_NOTICE",
        "a\tb",
        "''",
        '""',
        "' '",
        "@x",
    ),
    *("$pool", "a$pool", "${SIGNS}", '"${SIGNS}"', '"${QUOTED}"', "x${NO_SUCH}y", "a ${SOME}", "?"),
    *("a:b:c", "*", "%", "%n", "<x>", "a,b", "null x", "x null", "true1", "a\rb"),
    *("a ${", "${HOME}/x", '"${HOME}/x"', '"${HOME/x"', "'${HOME}'", 'x"y"z', "1 | 2", "!0", "a!b"),
    *("\\$x", '"\\$x"', "é", "日本", '"\\${HOME}"', "${HOME}}", "a~b", "0;", ";", "=", "==", "\\"),
)
_PATHS = (
    *("/no/such/folder/file", "{dir}", "{dir}/ok.log", "relative.log", "", "/dev/null", "/"),
    *(
        "/dev/stderr",
        "$pool.log",
        "{dir}/$pool.log",
        "/no such/x",
        "{dir}/file/x",
        "/proc/self/fd/2",
    ),
    *("syslog", "'/no/such/file'", "{dir}/", "/etc/passwd/x", "//", "."),
)
_FOLDERS = (
    *("/no/such/folder", "{dir}", "/", "", "{dir}/file", "relative", "/etc/passwd", "$pool", "."),
    *("{dir}/sub", "$prefix", "$prefix/sub", "x$prefix", "/tmp/", "//"),
)
_NAMES = ("no-such-user", "www-data", "0", "33", "99999", "", "root", "no such", "'www-data'", "-1")
_LISTEN = (
    *("", "9000", "127.0.0.1:9000", "*:9000", "[::]:9000", ":::9000", "99999", "{dir}/x.sock"),
    *("relative.sock", "/no/such/x.sock", "localhost:http", "unix:{dir}/x.sock", "'9000'", "0"),
    *("/tmp/x y.sock", "9000 9001", "9000;", "no-such-host:9000", "${PORT}", "127.0.0.1:${PORT}"),
    *("127.0.0.1:", ":", "1.2.3.4:9000", "/" + "x" * 120, "{dir}/$pool.sock", "127.0.0.1:65536"),
)
_FORMATS = (
    *("%", "%%", "%x", "%{", "%{}", "%{}d", "%{milli}d", "%{milli}", "%{milli", "%{x}d", "%{x}C"),
    *("%{user}C", "%{mega}M", "%{giga}M", "%{x}R", "%e", "%{A}e", "%o", "%{A}o", "%{%H}t", "%T"),
    *(
        "%n %p %P %q %Q %f %l",
        "%d %",
        "a",
        "%a",
        "%{x}",
        "%{x} ",
        "% d",
        "%{seconds}dx",
        "100%",
        "%D",
    ),
    *("%{micro}d%{kilo}M", "%{%Y}T %", "%s%", "%{a}{b}d", '%R - %u %t \\"%m %r\\" %s', "%{b}%"),
)
_PAGES = (
    *("status", "/", "/status?x", "/st atus", "/a~b.c-d_e", "", "/é", "//", "/x#y", "'/status'"),
    *("/status;x", "/$pool", "http://x/", "/status/", "*"),
)
_ENUMS: Mapping[str, tuple[str, ...]] = {
    "log_level": (
        "debug",
        "info",
        "Notice",
        "warn",
        "warning",
        "error",
        "alert",
        "none",
        "",
        "crit",
    ),
    "pm": ("static", "dynamic", "ondemand", "Static", "on-demand", "", "auto", "none", "'static'"),
    "syslog.facility": ("daemon", "LOCAL0", "local8", "", "USER", "none", "authpriv", "LOG_DAEMON"),
    "events.mechanism": ("epoll", "EPOLL", "poll", "select", "kqueue", "port", "", "auto", "none"),
    "rlimit_core": ("0", "unlimited", "Unlimited", "-1", "infinity", "", "1024", "none", "abc"),
}
_GLOBAL: Mapping[str, tuple[str, ...]] = {
    "pid": _PATHS,
    "error_log": _PATHS,
    "syslog.ident": _TEXTS,
    "syslog.facility": _ENUMS["syslog.facility"],
    "log_buffering": _BOOLEANS,
    "log_level": _ENUMS["log_level"],
    "log_limit": _NUMBERS,
    "emergency_restart_threshold": _NUMBERS,
    "emergency_restart_interval": _TIMES,
    "process_control_timeout": _TIMES,
    "process.max": _NUMBERS,
    "process.priority": _NUMBERS,
    "daemonize": _BOOLEANS,
    "rlimit_files": _NUMBERS,
    "rlimit_core": _ENUMS["rlimit_core"],
    "events.mechanism": _ENUMS["events.mechanism"],
    "systemd_interval": _TIMES,
    "include": (
        "/no/such/*.conf",
        "{dir}/none-*.conf",
        "{dir}/extra.conf",
        "{main}",
        "{dir}/loop.conf",
        "/no/such/x.conf",
        "{dir}/file/*.conf",
        "{dir}/no*/*.conf",
        "{dir}/s*/*",
        "{dir}/sub",
        "extra.conf",
        "",
    ),
}
_POOL: Mapping[str, tuple[str, ...]] = {
    "prefix": _FOLDERS,
    "user": _NAMES,
    "group": _NAMES,
    "listen": _LISTEN,
    "listen.backlog": _NUMBERS,
    "listen.owner": _NAMES,
    "listen.group": _NAMES,
    "listen.mode": ("0660", "660", "abc", "", "0999", "rw"),
    "listen.allowed_clients": ("127.0.0.1", "any", "web", "", "10.0.0.0/8"),
    "process.priority": _NUMBERS,
    "process.dumpable": _BOOLEANS,
    "pm": _ENUMS["pm"],
    "pm.max_children": _NUMBERS,
    "pm.start_servers": _NUMBERS,
    "pm.min_spare_servers": _NUMBERS,
    "pm.max_spare_servers": _NUMBERS,
    "pm.max_spawn_rate": _NUMBERS,
    "pm.process_idle_timeout": _TIMES,
    "pm.max_requests": _NUMBERS,
    "pm.status_path": _PAGES,
    "pm.status_listen": _LISTEN,
    "ping.path": _PAGES,
    "ping.response": ("pong", "", "''", "a b", '"x"'),
    "access.log": _PATHS,
    "access.format": tuple(f'"{text}"' for text in _FORMATS) + _FORMATS[:8],
    "access.suppress_path[]": ("/ping", "ping", "", "'/x'"),
    "access.suppress_path[a]": ("/ping",),
    "slowlog": _PATHS,
    "request_slowlog_timeout": _TIMES,
    "request_slowlog_trace_depth": _NUMBERS,
    "request_terminate_timeout": _TIMES,
    "request_terminate_timeout_track_finished": _BOOLEANS,
    "rlimit_files": _NUMBERS,
    "rlimit_core": _ENUMS["rlimit_core"],
    "chroot": _FOLDERS,
    "chdir": _FOLDERS,
    "catch_workers_output": _BOOLEANS,
    "decorate_workers_output": _BOOLEANS,
    "clear_env": _BOOLEANS,
    "security.limit_extensions": (".php", "", ".php .html", "FALSE", "php"),
    "apparmor_hat": ("x", ""),
    "env[A]": (*_TEXTS, "", "''", "${NO_SUCH}", "${EMPTY}"),
    "env[]": ("a", ""),
    "env": ("a", ""),
    "php_value[memory_limit]": ("128M", "", "yes", "${SOME}M"),
    "php_admin_value[error_reporting]": _TEXTS,
    "php_flag[display_errors]": _BOOLEANS,
    "php_admin_flag[log_errors]": _BOOLEANS,
    "php_value": ("memory_limit=1M", "x"),
    "php_admin_value[]": ("x",),
    "php_values[x]": ("1",),
    "PHP_VALUE[x]": ("1",),
}
#: Lines that are wrong, or look wrong, in any section.
_LINES = (
    *("# a comment", "; a comment", "  ; a comment", ";", "#", "just words", "key", "= value", "="),
    *(
        "[",
        "]",
        "[]",
        "[x",
        "x]",
        "[www",
        " [spaced]",
        "[a]b",
        "[a] ; c",
        "[a] x = 1",
        "[a b]",
        "['q']",
    ),
    *(
        '["q"]',
        "[${SOME}]",
        "[$pool]",
        "[a;b]",
        "[global]",
        "[GLOBAL]",
        "[global",
        "[a#b]",
        "[a[b]]",
    ),
    *(
        "pm.max_childrens = 5",
        "max_children = 5",
        "unknown = 1",
        "listen.port = 9000",
        "Include = x",
    ),
    *("memory_limit = 128M", "upload_max_filesize = 10M", "process_idle_timeout = 10s", "on = 1"),
    *("yes", "null", "none = 1", "(x) = 1", "a!b = 1", '"user" = www-data', "'user' = www-data"),
    *("user: www-data", "user www-data", "user == www-data", "USER = www-data", "User=www-data"),
    *("pm . max_requests = 5", "pm.max_requests= 5", "pm.max_requests =5", "\tpm.max_requests = 5"),
    *(
        "env[A = 1",
        "env A] = 1",
        "env [A] = b",
        "env[A] b",
        "env[A]",
        "env[A][B] = c",
        "env['A'] = b",
    ),
    *(
        "env[A B] = c",
        "env[$A] = b",
        "env[${SOME}] = b",
        'env["A"] = b',
        "env[A;] = b",
        "env[yes] = b",
    ),
    *(
        "env[A]= b",
        "env[ A ] =b",
        "Env[A] = b",
        "security.limit_extension = .php",
        "user = a user = b",
    ),
    *(
        "php_admin_value[a.b] = c",
        "php_admin_value[a] = c ; d",
        "php_admin_value[sendmail_path] = a -f b@c",
    ),
    *(
        "{",
        "}",
        "{}",
        "${SOME}",
        "${SOME} = 1",
        "$x = 1",
        "!x",
        "~x = 1",
        "a & b",
        "a | b = c",
        "@ = 1",
    ),
    *(
        "\x0c",
        "\xa0",
        "include",
        "include =",
        "include = ''",
        "\x00x",
        "-- x",
        "// x",
        "/* x */",
        "<x>",
    ),
    *("export A=b", "set -e", "daemonize = no daemonize = yes", "pm = static pm.max_children = 5"),
)
_WRONG_NAMES = ("s", "_x", ".x", "-", " x")


class Broken(NamedTuple):
    """A configuration with mistakes."""

    main: str
    others: Mapping[str, str]  #: by file name

    def write(self, folder: Path) -> Path:
        """Write it into an existing folder, and return the main file."""
        for name in ("sub", "app"):
            (folder / name).mkdir()
        (folder / "file").touch()
        for name, text in {"php-fpm.conf": self.main, **self.others}.items():
            data = text.replace("{main}", str(folder / "php-fpm.conf"))
            (folder / name).write_text(data.replace("{dir}", str(folder)), "utf-8")
        return folder / "php-fpm.conf"


def generate(seed: int, count: int) -> Iterator[Broken]:
    """Return configurations; the same ones for the same seed."""
    chance = random.Random(seed)
    for number in range(count):
        yield _broken(chance, number)


def _broken(chance: random.Random, number: int) -> Broken:
    # Not format(): generated values have braces.
    pools = [
        text.replace("{{", "{")
        .replace("}}", "}")
        .replace("{port}", str(20000 + number * 4 + index))
        for index, text in enumerate(chance.sample(_POOLS, chance.randint(1, 3)))
    ]
    sections = [_MAIN, *pools]
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        index = chance.randrange(len(sections))
        sections[index] = _mutated(chance, sections[index], is_main=index == 0)
    if chance.random() < 0.04:
        sections.append(chance.choice(("[empty]\n", sections[-1], "[www]\nlisten =\n")))
    if chance.random() < 0.02:
        sections = [_MAIN]
    others = {"extra.conf": "", "loop.conf": "include = {dir}/loop.conf\n"}
    if chance.random() < 0.3 and sections[1:]:
        others["extra.conf"] = sections.pop()
        sections[0] += "include = {dir}/ext*.conf\n"
    return Broken("".join(sections), others)


def _mutated(chance: random.Random, section: str, *, is_main: bool) -> str:
    lines = section.splitlines()
    values = _GLOBAL if is_main else _POOL
    at = chance.randint(1, len(lines))
    kind = chance.random()
    if kind < 0.5:
        key = chance.choice(list(values))
        line = f"{key} = {chance.choice(values[key])}"
        old = [n for n, text in enumerate(lines) if text.startswith(f"{key} =")]
        if old and chance.random() < 0.8:
            lines[old[0]] = line
        else:
            lines.insert(at, line)
    elif kind < 0.6:
        del lines[chance.randrange(len(lines))]
    elif kind < 0.65:
        other = _POOL if is_main else _GLOBAL
        key = chance.choice(list(other))
        lines.insert(at, f"{key} = {chance.choice(other[key])}")
    elif kind < 0.7:
        at = chance.randrange(len(lines))
        name, equals, value = lines[at].partition(" =")
        lines[at] = f"{name}{chance.choice(_WRONG_NAMES)}{equals}{value}"
    elif kind < 0.78:
        at = chance.randrange(1, len(lines))
        name, equals, _ = lines[at].partition(" = ")
        lines[at] = f"{name}{equals}{chance.choice(_TEXTS)}"
    elif kind < 0.83:
        at = chance.randrange(len(lines))
        place = chance.randrange(len(lines[at]) + 1)
        sign = chance.choice("\"'[]{}()$!=;#&|^~%\\ \t:,.x0")
        lines[at] = lines[at][:place] + sign + lines[at][place + chance.randint(0, 1) :]
    else:
        lines.insert(at, chance.choice(_LINES))
    return "\n".join(lines) + "\n"
