"""The doctor's rules on php-fpm's own files: addresses, users, logs, limits."""

# ruff: noqa: E501 - one mistake is one row

from __future__ import annotations

import pytest

from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import (
    COMMAND,
    FPM_CONF,
    Case,
    Changes,
    checkup,
    found,
    gone,
    verify,
)

TCP = "listen = 127.0.0.1:9000\n"
G = "[global]\n"
W = "[www]\n"
#: A second php-fpm with the same file.
OTHER = (
    "[program:php-fpm]",
    f"[program:other]\ncommand={COMMAND}\n[program:php-fpm]",
)
CONTAINER = FakeHost(container=True)


def listen(new: str) -> Changes:
    """Return the pool with another address, and what else the text has."""
    return ((TCP, f"{new}\n"),)


def pool(line: str) -> Changes:
    """Return the pool with one more line."""
    return ((W, f"{W}{line}\n"),)


def main(line: str) -> Changes:
    """Return [global] with one more line."""
    return ((G, f"{G}{line}\n"),)


def without(line: str) -> Changes:
    """Return the file without a line."""
    return ((f"{line}\n", ""),)


SOCKET = ("listen = 127.0.0.1:9000", "listen = /run/w.sock")
# fmt: off
CASES = [
    Case("FPM040", (), listen(f"{TCP}[two]\nlisten = 127.0.0.1:9000"), "[two] listen=", "pool two listens on 127.0.0.1:9000, pool www on 127.0.0.1:9000"),
    Case("FPM040", (), listen(f"{TCP}[two]\nlisten = 9000"), what="pool two listens on 9000"),
    Case("FPM040", (), listen(f"{TCP}[two]\nlisten = 0.0.0.0:9000"), what="pool two listens on 0.0.0.0:9000"),
    Case("FPM040", (), listen("listen = [::]:9000\n[two]\nlisten = 127.0.0.1:9000"), what="pool www on [::]:9000"),
    Case("FPM040", (), listen("listen = /run/a.sock\n[two]\nlisten = /run//a.sock"), what="/run//a.sock"),
    Case("FPM040", (), listen(f"{TCP}[two]\nuser = a\n[three]\nlisten = localhost:9000"), what="pool three listens on localhost:9000, pool www on"),
    Case("FPM041", (OTHER,), (), "[program:php-fpm] command=", "php-fpm and other both listen on 127.0.0.1:9000"),
    Case("FPM042", (), (), "[program:php-fpm] command=", "systemd has php8.2-fpm.service enabled", {}, "systemctl disable --now php8.2-fpm.service", FakeHost(units=("php8.2-fpm.service",))),
    Case("FPM042", what="php-fpm.service", machine=FakeHost(units=("php-fpm.service",))),
    Case("FPM042", ((f"-- {COMMAND}", "-- php-fpm -F -y /etc/php-fpm.conf"),), what="php8.1-fpm.service", machine=FakeHost(units=("php8.1-fpm.service",))),
    Case("FPM043", (), listen("listen = *:9000"), "[www] listen=*:9000", "listen = *:9000: '*' is not a host name"),
    Case("FPM044", (), listen("listen = /run/php/w.sock"), "[www] listen=/run/php/w.sock", "/run/php does not exist", fix="install -d -o www-data /run/php", machine=gone("/run/php")),
    Case("FPM044", (), (*listen("listen = /w.sock"), ("user = www-data", "user = web")), what="/ does not exist", fix="install -d -o web /", machine=gone("/")),
    Case("FPM044", (), (*listen("listen = /run/php/w.sock"), *without("user = www-data")), fix="-o www-data /run/php", machine=gone("/run/php")),
    Case("FPM045", (), listen("listen = /run/w.sock\nlisten.mode = 0666"), "[www] listen.mode=0666", "listen.mode = 0666", {}),
    *[Case("FPM045", (), listen(f"listen = /run/w.sock\nlisten.mode = {mode}"), what=f"listen.mode = {mode}") for mode in ("0777", "662", "0663", "0667")],
    Case("FPM046", (), listen("listen = /run/w.sock"), "[www]", "listen.owner, listen.group and listen.mode are not set"),
    Case("FPM047", (), listen("listen = 9000"), "[www] listen=9000", "listen = 9000 uses every interface", fix="listen = 127.0.0.1:9000"),
    Case("FPM047", (), listen("listen = 0.0.0.0:9001"), fix="listen = 127.0.0.1:9001"),
    Case("FPM047", (), listen("listen = [::]:9000"), what="listen = [::]:9000 uses"),
    Case("FPM048", (), listen("listen = 127.0.0.1:32768"), "[www] listen=127.0.0.1:32768", "port 32768 is within net.ipv4.ip_local_port_range (32768 to 60999)", fix="net.ipv4.ip_local_reserved_ports=32768"),
    Case("FPM048", (), listen("listen = 127.0.0.1:60999"), what="port 60999", fix="a port below 32768"),
    Case("FPM049", (), listen("listen = /run/w.sock\nlisten.acl_users = www-data,no-such-name"), "[www] listen.acl_users=www-data,no-such-name", "listen.acl_users = no-such-name: there is no such user", {}, "useradd no-such-name"),
    Case("FPM049", (), listen("listen = /run/w.sock\nlisten.acl_groups = no-such-name"), what="there is no such group"),
    Case("FPM040", (), listen(f"{TCP}pm.status_listen = 127.0.0.1:9000"), "[www] pm.status_listen=127.0.0.1:9000", "pool www listens on 127.0.0.1:9000, pool www on"),
    Case("FPM049", (), (("user = www-data", "user = no-such-name"),), "[www] user=no-such-name", "user = no-such-name: there is no such user", fix="Alpine: adduser no-such-name), or use another user"),
    Case("FPM049", (), pool("group = no-such-name"), "[www] group=no-such-name", "there is no such group", fix="groupadd no-such-name"),
    Case("FPM049", (), (SOCKET, *pool("listen.owner = no-such-name")), "[www] listen.owner=", "there is no such user"),
    Case("FPM049", (), (SOCKET, *pool("listen.group = no-such-name")), "[www] listen.group=", "there is no such group"),
    Case("FPM049", (), (SOCKET, *pool("listen.acl_users = www-data,no-such-name")), "[www] listen.acl_users=", "listen.acl_users = no-such-name: there is no such user"),
    Case("FPM049", (), (SOCKET, *pool("listen.acl_groups = no-such-name")), "[www] listen.acl_groups=", "there is no such group"),
    Case("FPM049", (), (SOCKET, *pool("listen.acl_users = www-data, nginx")), "[www] listen.acl_users=", "contains ' nginx', with a blank", fix="Remove the blanks"),
    Case("FPM073", (), pool("listen.allowed_clients = web"), "[www] listen.allowed_clients=web", "no IP address in 'web'", why="closes every connection"),
    Case("FPM073", (), pool("listen.allowed_clients ="), "[www] listen.allowed_clients=", "no IP address in ''", why="No allowed address is left"),
    Case("FPM073", (), pool("listen.allowed_clients = any"), what="'any'", why="No allowed address is left"),
    Case("FPM073", (), pool("listen.allowed_clients = 10.0.0.0/8,localhost"), what="'10.0.0.0/8', 'localhost'", why="No allowed address is left"),
    Case("FPM073", (), pool("listen.allowed_clients = 127.0.0.1, 10.0.0.5"), what="' 10.0.0.5'", why="connection from these clients"),
    Case("FPM050", (), (("user = www-data", "user = root"),), "[www] user=root", "user = root", fix="user = www-data"),
    Case("FPM050", (), (("user = www-data", "user = 0"),), "[www] user=0", "user = 0"),
    Case("FPM050", (), pool("group = root"), "[www] group=root", "group = root", fix="group = www-data"),
    Case("FPM051", (), without("emergency_restart_threshold = 10"), "[global]", "are not set", {("global", "emergency_restart_threshold"): "10", ("global", "emergency_restart_interval"): "1m"}),
    Case("FPM051", (), without("emergency_restart_interval = 1m"), "[global] emergency_restart_threshold=10", "are not set"),
    Case("FPM052", (), without("request_terminate_timeout = 60s"), "[www]", "request_terminate_timeout is 0", {}, "request_terminate_timeout = 60s"),
    Case("FPM052", (), (("terminate_timeout = 60s", "terminate_timeout = 0s"),), "[www] request_terminate_timeout=0s"),
    Case("FPM052", (), (*without("request_terminate_timeout = 60s"), *pool("php_value[max_execution_time] = 30")), edits={("www", "request_terminate_timeout"): "60s"}),
    Case("FPM052", (), (*without("request_terminate_timeout = 60s"), *pool("php_value[max_execution_time] = 5\nphp_admin_value[max_execution_time] = 300")), edits={("www", "request_terminate_timeout"): "330s"}),
    Case("FPM052", (), (*without("request_terminate_timeout = 60s"), *pool("php_value[max_execution_time] = 0")), edits={}),
    Case("FPM052", (), (*without("request_terminate_timeout = 60s"), *pool("request_slowlog_timeout = 2m\nslowlog = /s\nphp_value[max_execution_time] = 9")), edits={("www", "request_terminate_timeout"): "240s"}),
    Case("FPM080", (), pool("pm.max_childrens = 5"), "[www] pm.max_childrens=5", "pm.max_childrens: php-fpm does not know this setting"),
    Case("FPM080", (), pool("daemonize = no"), what="daemonize: this setting belongs in [global]"),
    Case("FPM080", (), main("user = a"), "[global] user=a", "user: this setting belongs in a pool"),
    Case("FPM080", (), pool("pm.start_servers = 5 6"), what="pm.start_servers: the value must be a whole number"),
    Case("FPM080", (), main("daemonize = maybe"), what="daemonize: the value must be yes or no"),
    Case("FPM080", (), main("syslog.facility = local8"), what="a facility of syslog"),
    Case("FPM080", (), main("rlimit_core = -1"), what="a whole number or unlimited"),
    Case("FPM080", (), pool("pm = auto\npm = static"), what="pm: the value must be static, dynamic or ondemand"),
    Case("FPM080", (), pool("request_terminate_timeout = 1w"), what="a number, or a number with s, m, h or d after it"),
    Case("FPM080", (), pool("php_flag[x] = maybe"), what="php_flag[x]: the value must be yes or no"),
    Case("FPM080", (), pool("env[A] ="), what="env[A]: the value is empty"),
    Case("FPM080", (), pool("env = a"), what="env: it needs a name in brackets, for example env[NAME] = VALUE"),
    Case("FPM080", (), pool("Env[A] = a"), what="Env[A]: php-fpm does not know this setting"),
    Case("FPM080", (), pool("env[] = a"), what="env[]: the brackets need a name"),
    Case("FPM080", (), main("env[A] = a"), what="env[A]: settings with brackets belong in a pool"),
    Case("FPM080", (), pool("access.suppress_path[] = x"), what="the value must begin with /"),
    Case("FPM080", (), pool("access.suppress_path[a] = /x"), what="the brackets must be empty"),
    Case("FPM080", ((f"-- {COMMAND}", "-- /usr/sbin/php-fpm7.4 -F -y /etc/php-fpm.conf"),), pool("pm.status_listen = 1"), what="PHP 8.0 and later know this setting, and this is PHP 7.4"),
    Case("FPM080", (), main("Include = /x"), what="php-fpm knows include in small letters only"),
    Case("FPM081", (), main("log_limit = 511"), "[global] log_limit=511", "log_limit: it must be at least 512"),
    Case("FPM081", (), main("process.max = -1"), what="process.max: it must be 0 or more"),
    Case("FPM081", (), main("process.priority = 21"), what="process.priority: it must be between -19 and 20"),
    Case("FPM081", (), main("events.mechanism = kqueue"), what="Linux has epoll, poll and select only"),
    Case("FPM081", (), without("listen = 127.0.0.1:9000"), "[www]", "listen: it is not set"),
    Case("FPM081", (), without("user = www-data"), "[www]", "user: it is not set"),
    Case("FPM081", (), without("pm = static"), what="pm: it is not set"),
    Case("FPM081", (), without("pm.max_children = 8"), what="pm.max_children: it is not set"),
    Case("FPM081", (), (("max_children = 8", "max_children = 0"),), "[www] pm.max_children=0", "pm.max_children: it must be at least 1"),
    Case("FPM081", (), (("pm = static", "pm = dynamic\npm.min_spare_servers = 1\npm.max_spare_servers = 3\npm.start_servers = 4"),), "[www] pm.start_servers=4", "4 is not between pm.min_spare_servers = 1 and pm.max_spare_servers = 3"),
    Case("FPM081", (), (("pm = static", "pm = dynamic\npm.min_spare_servers = 1\npm.max_spare_servers = 9"),), what="pm.max_spare_servers: 9 is above pm.max_children = 8"),
    Case("FPM081", (), (("pm = static", "pm = dynamic\npm.min_spare_servers = 4\npm.max_spare_servers = 3"),), what="pm.max_spare_servers: 3 is below pm.min_spare_servers = 4"),
    Case("FPM081", (), (("pm = static", "pm = dynamic\npm.max_spare_servers = 3"),), what="pm.min_spare_servers: it is not set; pm = dynamic needs it"),
    Case("FPM081", (), (("pm = static", "pm = dynamic\npm.min_spare_servers = 1\npm.max_spare_servers = 3\npm.max_spawn_rate = 0"),), what="pm.max_spawn_rate: it must be at least 1"),
    Case("FPM081", (), (("pm = static", "pm = ondemand\npm.process_idle_timeout = 0"),), what="pm.process_idle_timeout: it must be at least 1s"),
    Case("FPM081", (), (("pm = static", "pm = ondemand"), *main("events.mechanism = poll")), what="pm: ondemand needs events.mechanism = epoll"),
    Case("FPM081", (), pool("request_slowlog_timeout = 5s"), "[www] request_slowlog_timeout=5s", "request_slowlog_timeout: it needs slowlog"),
    Case("FPM081", (), pool("slowlog = /s\nrequest_slowlog_trace_depth = -1"), what="request_slowlog_trace_depth: it must be at least 1"),
    Case("FPM081", (), pool("pm.status_path = status"), what="pm.status_path: it must begin with /"),
    Case("FPM081", (), pool("pm.status_path = /"), what="pm.status_path: it needs more than /"),
    Case("FPM081", (), pool("pm.status_path = /a?b"), what="only letters, digits and /_-.~ are allowed"),
    Case("FPM081", (), pool("ping.response ="), what="ping.response: it is empty"),
    Case("FPM081", (), pool("pm.status_listen ="), what="pm.status_listen: it is empty"),
    Case("FPM081", (), pool("access.log ="), what="access.log: it is empty"),
    Case("FPM081", (), pool("access.log = /a\naccess.format = '%x'"), what="access.format: %x does not exist"),
    Case("FPM081", (), pool("chroot = a$prefix"), what="chroot: $prefix must be at the beginning"),
    Case("FPM082", (), pool("chdir = /gone"), "[www] chdir=/gone", "chdir: /gone is not an existing directory", {}, "install -d /gone", gone("/gone")),
    Case("FPM082", (), pool("chroot = /r\nchdir = /gone"), what="chdir: /r/gone is not an existing directory", machine=gone("/r/gone")),
    Case("FPM082", (), pool("chroot = $prefix/r"), what="chroot: /usr//r is not an existing directory", machine=gone("/usr//r")),
    Case("FPM082", (), pool("prefix = gone"), what="prefix: /usr/gone is not an existing directory", machine=gone("/usr/gone")),
    Case("FPM083", (), pool("access.log = /gone/a.log"), "[www] access.log=/gone/a.log", "access.log: /gone is not an existing directory", {}, "install -d /gone", gone("/gone")),
    Case("FPM083", (), pool("slowlog = /gone/a.log\nrequest_slowlog_timeout = 1"), what="slowlog: /gone is", machine=gone("/gone")),
    Case("FPM085", (), pool("listen.owner = no-such-name"), "[www] listen.owner=no-such-name", "listen.owner = no-such-name: there is no such user", {}, "Remove listen.owner"),
    Case("FPM084", (), pool("access.log = 1 | 2"), "[www] access.log=1 | 2", "access.log has | outside of quotes", {}, "Put the value in quotes"),
    Case("FPM084", (), pool("access.log = /it's"), what="access.log has a single quote that is not closed"),
    Case("FPM053", (), pool("request_slowlog_timeout = 2m"), "[www] request_slowlog_timeout=2m", "request_slowlog_timeout (120 s) is above request_terminate_timeout (60 s)", {("www", "request_slowlog_timeout"): "30s"}, "request_slowlog_timeout = 30s"),
    Case("FPM053", (), (*pool("request_slowlog_timeout = 5"), ("= 60s", "= 1s")), what="(5 s) is above request_terminate_timeout (1 s)", edits={("www", "request_slowlog_timeout"): "1s"}, fix="request_slowlog_timeout = 1s"),
    Case("FPM053", (), pool("request_slowlog_timeout = 1h"), what="(3600 s)"),
    Case("FPM053", (), pool("request_slowlog_timeout = 1d"), what="(86400 s)"),
    Case("FPM053", (), pool("request_slowlog_timeout = 61"), what="(61 s)"),
    *[Case("FPM054", (), main(f"log_level = {level}"), f"[global] log_level={level}", f"log_level is {level}", {("global", "log_level"): "notice"}, "log_level = notice") for level in ("warning", "error", "alert")],
    Case("FPM055", (), pool("decorate_workers_output = no"), "[www] decorate_workers_output=no", "catch_workers_output = yes with decorate_workers_output = no", {("www", "decorate_workers_output"): "yes"}),
    *[Case("FPM055", (), (*pool("decorate_workers_output = no"), ("catch_workers_output = yes", f"catch_workers_output = {yes}")), "[www] decorate") for yes in ("1", '"yes"', '"ON"', '"true"')],
    Case("FPM056", (), without("catch_workers_output = yes"), "[www]", "catch_workers_output is off", {("www", "catch_workers_output"): "yes"}),
    Case("FPM056", (), (("output = yes", "output = no\ndecorate_workers_output = no"),), "[www] catch_workers_output=no", edits={("www", "catch_workers_output"): "yes", ("www", "decorate_workers_output"): "yes"}),
    Case("FPM057", (), (), "[www] pm.max_children=8", "8 workers with 32 MiB each need 256 MiB; there are 255 MiB", {}, "pm.max_children = 5 or less", FakeHost(memory=255 << 20)),
    Case("FPM057", (), pool("[a]\npm.max_children = 9\n[www]"), "[a] pm.max_children=9", "17 workers with 32 MiB each need 544 MiB; there are 16 MiB", fix="pm.max_children = 1", machine=FakeHost(memory=16 << 20)),
    Case("FPM058", (), (("pm.max_children = 8", "pm.max_children = 481"),), "[global]", "up to 481 workers, but only 1024 open files", {}, "rlimit_files = 1507"),
    Case("FPM058", (), main("rlimit_files = 79"), "[global] rlimit_files=79", "up to 8 workers, but only 79 open files", fix="rlimit_files = 88"),
    Case("FPM057", (), main("process.max = 4"), "[www] pm.max_children=8", "4 workers with 32 MiB each need 128 MiB; there are 127 MiB", machine=FakeHost(memory=127 << 20)),
    Case("FPM074", (), main("process.max = 7"), "[global] process.max=7", "process.max allows 7 workers of all pools together; pm.max_children of pool www is 8", {}, "raise process.max in [global] to 8"),
    Case("FPM074", (), (*main("process.max = 8 "), *pool("[a]\npm.max_children = 1\n[www]")), what="8 workers of all pools together; pm.max_children of pools www, a is 9"),
    Case("FPM059", (), without("pm.max_requests = 1000"), "[www]", "pm.max_requests is 0", {("www", "pm.max_requests"): "1000"}, "pm.max_requests = 1000"),
    Case("FPM059", (), (("requests = 1000", "requests = 0"),), "[www] pm.max_requests=0", "pm.max_requests is 0"),
    Case("FPM059", (), (("requests = 1000", "requests ="),), what="pm.max_requests is 0"),
    Case("FPM059", (("[program:php-fpm]\n", "[program:php-fpm]\nenvironment=REQUESTS=0\n"),), (("requests = 1000", "requests = ${REQUESTS}"),), edits={}, fix="Set REQUESTS so that pm.max_requests = 1000 in [www]"),
    Case("FPM060", (), without("ping.path = /ping"), "[www]", "ping.path and pm.status_path are not", {("www", "ping.path"): "/ping", ("www", "pm.status_path"): "/status"}),
    Case("FPM061", (), (("/var/log/php-fpm.log", "/gone/php-fpm.log"),), "[global] error_log=/gone/php-fpm.log", "/gone does not exist", fix="install -d /gone", machine=gone("/gone")),
    Case("FPM061", (), (("/var/log/php-fpm.log", "/php-fpm.log"),), what="/ does not exist", machine=gone("/")),
    Case("FPM062", (("/var/log/php-fpm.stderr.log", "/var/log/php-fpm.log"),), (), "[global] error_log=", "/var/log/php-fpm.log is the log of php-fpm and of supervisord"),
    Case("FPM062", (("killasgroup=true", "killasgroup=true\nstdout_logfile=/var/log/php-fpm.log"),), what="of supervisord"),
    Case("FPM063", (), (("/run/php-fpm.pid", "/gone/php-fpm.pid"),), "[global] pid=/gone/php-fpm.pid", "/gone does not exist", fix="install -d /gone", machine=gone("/gone")),
    Case("FPM064", (OTHER,), (), "[global] pid=/run/php-fpm.pid", "/run/php-fpm.pid is also the pid file of other"),
    Case("FPM065", (), (("/var/log/php-fpm.log", "log/fpm.log"),), "[global] error_log=log/fpm.log", "error_log = log/fpm.log is a relative path", fix="the full path in [global]"),
    Case("FPM065", (), (("/run/php-fpm.pid", '"run/fpm.pid"'),), what="pid = run/fpm.pid is"),
    Case("FPM065", (), pool("slowlog = log/slow.log"), "[www] slowlog=", fix="the full path in [www]"),
    Case("FPM065", (), listen("listen = fpm.sock"), "[www] listen=fpm.sock", "listen = fpm.sock is"),
    Case("FPM065", (), main("include = pool.d/a.conf"), what="include = pool.d/a.conf"),
    Case("FPM066", (), pool("# pm = static"), "[www] # pm=static", "a line begins with #"),
    Case("FPM067", (), listen("listen = 127.0.0.1:${PORT}"), "[www] listen=127.0.0.1:${PORT}", "${PORT} is not set", fix='add PORT="..." to environment='),
    Case("FPM068", (), pool("nonsense"), f"{FPM_CONF}:8", "this line is neither [section] nor key = value"),
    Case("FPM069", (), (("/var/log/php-fpm.log", "syslog"),), "[global] error_log=syslog", "error_log goes to syslog"),
    Case("FPM069", (), (("/var/log/php-fpm.log", "/dev/tty"),), what="error_log goes to /dev/tty"),
    Case("FPM070", (), pool("request_slowlog_timeout = 5s"), "[www] request_slowlog_timeout=5s", "the slow log is on in a container", machine=CONTAINER),
    Case("FPM071", (), listen(f"listen = 9009\n{TCP.strip()}"), "[www] listen=127.0.0.1:9000", f"listen of pool www is also set at {FPM_CONF}:9", why="the last one, 127.0.0.1:9000."),
    Case("FPM072", (), main("log_level = debug"), "[global] log_level=debug", "log_level is debug", {("global", "log_level"): "notice"}, "log_level = notice"),
]
# fmt: on


@pytest.mark.parametrize("case", CASES, ids=[f"{case.rule}-{case.what[:30]}" for case in CASES])
def test_a_mistake(case: Case) -> None:
    """The rule points at the line, says what is wrong, and changes what makes it go away."""
    verify(case)


# fmt: off
HARMLESS = [
    ("FPM040", listen(f"{TCP}[two]\nlisten = 127.0.0.1:9001"), FakeHost()),
    ("FPM040", listen(f"{TCP}[two]\nlisten = 127.0.0.2:9000"), FakeHost()),
    ("FPM040", listen(f"{TCP}[two]\nlisten = 9001"), FakeHost()),
    ("FPM040", listen(f"{TCP}[two]\nlisten = /run/a.sock"), FakeHost()),
    ("FPM040", listen("listen = *:1\n[two]\nlisten = *:1"), FakeHost()),
    ("FPM042", (), FakeHost(units=("php8.1-fpm.service",))),
    ("FPM044", listen("listen = /run/w.sock"), gone("/run/php")),
    ("FPM045", listen("listen = /run/w.sock\nlisten.mode = 0660"), FakeHost()),
    ("FPM045", listen("listen = /run/w.sock\nlisten.mode = 0664"), FakeHost()),
    ("FPM045", listen("listen = 127.0.0.1:9000\nlisten.mode = 0666"), FakeHost()),
    *[("FPM046", listen(f"listen = /run/w.sock\nlisten.{key} = x"), FakeHost()) for key in ("owner", "group", "mode", "acl_users", "acl_groups")],
    ("FPM046", (), FakeHost()),
    ("FPM047", listen("listen = 9000\nlisten.allowed_clients = 10.0.0.1"), FakeHost()),
    ("FPM047", listen("listen = /run/w.sock"), FakeHost()),
    ("FPM048", listen("listen = 127.0.0.1:32767"), FakeHost()),
    ("FPM048", listen("listen = 127.0.0.1:61000"), FakeHost()),
    ("FPM049", pool("listen.owner = no-such-name"), FakeHost()),
    ("FPM049", pool("listen.acl_users = no-such-name"), FakeHost()),
    ("FPM049", (SOCKET, *pool("listen.acl_users = www-data,nginx")), FakeHost()),
    ("FPM058", (), FakeHost(files=1 << 20)),
    ("FPM073", pool("listen.allowed_clients = 127.0.0.1,::1,2001:db8::1"), FakeHost()),
    ("FPM073", (SOCKET, *pool("listen.allowed_clients = web")), FakeHost()),
    ("FPM049", (("user = www-data", "user = 1000"),), FakeHost(unknown=frozenset({"1000"}))),
    ("FPM053", pool("request_slowlog_timeout = 60s"), FakeHost()),
    ("FPM053", (*pool("request_slowlog_timeout = 5s"), *without("request_terminate_timeout = 60s")), FakeHost()),
    ("FPM053", pool("request_slowlog_timeout = soon"), FakeHost()),
    ("FPM054", main("log_level = debug"), FakeHost()),
    ("FPM055", pool("decorate_workers_output = yes"), FakeHost()),
    ("FPM055", (("catch_workers_output = yes", "decorate_workers_output = no"),), FakeHost()),
    ("FPM057", (), FakeHost(memory=256 << 20)),
    ("FPM057", (), FakeHost(memory=None)),
    ("FPM057", (("pm.max_children = 8", "pm.max_children = many"),), FakeHost(memory=1)),
    ("FPM058", main("rlimit_files = 80"), FakeHost()),
    ("FPM058", (("pm.max_children = 8", "pm.max_children = 480"),), FakeHost()),
    ("FPM058", (("pm.max_children = 8", "pm.max_children = 9000"), ("catch_workers_output = yes", "catch_workers_output = no")), FakeHost(memory=1 << 50)),
    ("FPM057", main("process.max = 4"), FakeHost(memory=128 << 20)),
    ("FPM058", (("pm.max_children = 8", "pm.max_children = 9000"), *main("process.max = 480")), FakeHost()),
    ("FPM074", main("process.max = 8"), FakeHost()),
    ("FPM074", main("process.max = 0"), FakeHost()),
    ("FPM074", main("process.max = -1"), FakeHost()),
    ("FPM060", (("ping.path = /ping", "pm.status_path = /status"),), FakeHost()),
    ("FPM061", (("/var/log/php-fpm.log", "syslog"),), gone("/")),
    ("FPM065", main("include = pool.conf"), FakeHost()),
    ("FPM065", (("/run/php-fpm.pid", "${HOME}/fpm.pid"),), FakeHost()),
    ("FPM065", listen("listen = 9000"), FakeHost()),
    ("FPM066", pool("php_value[a] = #"), FakeHost()),
    ("FPM067", listen("listen = 127.0.0.1:9000 ; ${PATH}"), FakeHost()),
    ("FPM067", listen("listen = 127.0.0.1:9000 ; ${NO_SUCH}"), FakeHost()),
    ("FPM067", pool("env[B] = 'a${NO_SUCH}'"), FakeHost()),
    ("FPM070", pool("request_slowlog_timeout = 5s"), FakeHost()),
    ("FPM070", pool("request_slowlog_timeout = 0"), CONTAINER),
    ("FPM070", pool("request_slowlog_timeout = 0s"), CONTAINER),
    ("FPM070", pool("request_slowlog_timeout ="), CONTAINER),
]
# fmt: on


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("env[B] = x${NO_SUCH}", "An address loses its port"),
        ('env[B] = "a;${NO_SUCH}"', "An address loses its port"),
        ("pm.start_servers = ${NO_SUCH}x", "rejects the line, and does not start"),
    ],
)
def test_a_variable_that_supervisord_does_not_have(line: str, why: str) -> None:
    """It is one finding; an error only if php-fpm rejects what is left."""
    of = checkup((), pool(line), is_environment_known=True)
    (one,) = found("FPM067", of)
    assert why in one.why
    assert found("FPM080", of) == []


@pytest.mark.parametrize(("rule", "fpm", "machine"), HARMLESS)
def test_no_mistake(rule: str, fpm: Changes, machine: FakeHost) -> None:
    """At the boundary, and where something else makes it harmless, the rule is silent."""
    assert found(rule, checkup((), fpm, machine=machine)) == []


def test_a_prefix_on_the_command_line() -> None:
    """With -p a relative path is below that folder, as somebody has asked for."""
    relative = (("/var/log/php-fpm.log", "log/fpm.log"),)
    prefix = ((COMMAND, f"{COMMAND} -p /srv/php"),)

    assert found("FPM065", checkup(prefix, relative)) == []


def test_root_is_allowed() -> None:
    """With -R a pool as root is what somebody has asked for."""
    root = (("user = www-data", "user = root\ngroup = 0"),)

    assert found("FPM050", checkup(((COMMAND, f"{COMMAND} -R"),), root)) == []


def test_minfds_is_not_known() -> None:
    """supervisord's default is 1024."""
    many = (("pm.max_children = 8", "pm.max_children = 481"),)
    (one,) = found("FPM058", checkup((), many, known={"minfds": None}))

    assert one.what == "up to 481 workers, but only 1024 open files"


def test_no_php_fpm_and_little_memory() -> None:
    """There is nothing to say where no php-fpm runs."""
    nothing = checkup((), (), machine=FakeHost(memory=1))._replace(fpms=())

    assert found("FPM057", nothing) == []


@pytest.mark.parametrize("rule", ["FPM041", "FPM064"])
def test_processes_of_one_program(rule: str) -> None:
    """With numprocs both have the same section: another rule speaks of that."""
    one = checkup()
    assert found(rule, one._replace(fpms=one.fpms * 2)) == []


def test_two_programs_with_addresses_and_pid_files_of_their_own() -> None:
    """Nothing is shared."""
    both = checkup((OTHER,))
    first, second = both.fpms
    (pool,) = second.conf.pools
    apart = pool._replace(listen=None)
    second = second._replace(conf=second.conf._replace(pools=(apart,), pid_file=None))

    for fpms in ((first, second), (second, first)):
        assert found("FPM041", both._replace(fpms=fpms)) == []
        assert found("FPM064", both._replace(fpms=fpms)) == []


def test_a_problem_without_a_place() -> None:
    """It is shown with php-fpm's main file."""
    of = checkup()
    conf = of.fpms[0].conf._replace(problems=("something is wrong",))
    (one,) = found("FPM068", of._replace(fpms=(of.fpms[0]._replace(conf=conf),)))

    assert (one.spot, one.what) == (FPM_CONF, "something is wrong")


def test_a_pool_whose_section_is_not_seen() -> None:
    """The finding names the file and the section; there is no line to change."""
    of = checkup((), without("ping.path = /ping"))
    blind = of._replace(fpms=(of.fpms[0]._replace(sections={}),))
    (one,) = found("FPM060", blind)

    assert one.spot == f"{FPM_CONF} [www]"
    assert one.edits == {}
