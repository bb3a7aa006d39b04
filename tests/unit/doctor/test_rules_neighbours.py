"""The doctor's rules on the programs beside php-fpm: where they fire, and where they are silent."""

from __future__ import annotations

import re

import pytest

from fpm_listener.doctor import rules_foreground, rules_neighbours, rules_shells, rules_workers
from fpm_listener.doctor.neighbours import read
from fpm_listener.doctor.nginx_conf import daemons
from fpm_listener.doctor.rules import examine
from tests.fakes import FakeHost
from tests.unit.doctor.checked_configs import (
    SUPERVISORD,
    TEXTS,
    Changes,
    changed,
    checkup,
    found,
)

OURS = {
    rule.id
    for rules in (rules_foreground, rules_neighbours, rules_shells, rules_workers)
    for rule in rules.RULES
}
FOREVER = "autorestart=true"
GROUP = "stopasgroup=true"
ONCE = "autorestart=false startsecs=0"
NGINX = 'nginx -g "daemon off;"'


def beside(command: str, lines: str = "") -> Changes:
    """Return one more program; lines: separated by blanks."""
    own = "\n".join(["[program:other]", f"command={command}", *lines.split()])
    return (("[program:php-fpm]", f"{own}\n[program:php-fpm]"),)


# fmt: off
PROGRAMS = [
    # queue workers
    ("php artisan queue:work --timeout=300", FOREVER, "FPM140"),
    ("php artisan queue:work --timeout 11", FOREVER, "FPM140"),
    ("php artisan queue:work --timeout=10", FOREVER, ""),
    ("php artisan queue:work --timeout=0", FOREVER, ""),
    ("php artisan queue:work --timeout=$TIMEOUT", FOREVER, ""),
    ("php artisan queue:work", f"{FOREVER} stopwaitsecs=60", ""),
    ("php artisan queue:work", f"{FOREVER} stopwaitsecs=59", "FPM140"),
    ("php artisan queue:listen --timeout=300", FOREVER, ""),
    ("php /app/artisan horizon", f"{FOREVER} stopwaitsecs=3600", ""),
    ("gosu www-data php /app/artisan horizon", FOREVER, "FPM140"),
    ("/opt/horizon", FOREVER, ""),
    ("php artisan queue:work --max-jobs=5", "stopwaitsecs=61", "FPM141"),
    ("php artisan queue:work", "stopwaitsecs=61 autorestart=false", "FPM141"),
    ("php artisan queue:work --max-time=5", "stopwaitsecs=61 exitcodes=1", ""),
    ("php artisan queue:work --max-time=5", "stopwaitsecs=61 autostart=false", ""),
    ("bin/console messenger:consume a -l 10", "", "FPM141"),
    ("bin/console messenger:consume a --time-limit=10", FOREVER, ""),
    ("php occ taskprocessing:worker --timeout 300", "", "FPM141"),
    ("php occ taskprocessing:worker", "", ""),
    ("/opt/loop.sh php artisan queue:work --once", "stopwaitsecs=61", ""),
    # schedulers, and commands that run once
    ("php artisan schedule:run", FOREVER, "FPM142"),
    ("php artisan schedule:run", "autostart=false", ""),
    ("php artisan schedule:work", FOREVER, ""),
    ("watch -n 60 php artisan schedule:run", FOREVER, ""),
    ("/opt/every.sh 60 php artisan schedule:run", FOREVER, ""),
    ("/opt/every.sh 60 php artisan cache:clear", FOREVER, ""),
    ("/app/artisan schedule:run", FOREVER, "FPM142"),
    ("php8.3 artisan migrate", "", "FPM143"),
    ('bash -c "sleep 60 && exec php artisan schedule:run"', FOREVER, ""),
    ("wp cron event run --due-now", FOREVER, "FPM142"),
    ("php /var/www/cron.php", FOREVER, "FPM142"),
    ("php artisan migrate --force", "autorestart=false", "FPM143"),
    ("php artisan migrate --force", ONCE, ""),
    ("php artisan config:cache", FOREVER, "FPM143"),
    ("chown -R www-data /data", "startsecs=0", ""),
    ('sh -c "exec composer install"', "", "FPM143"),
    ("php artisan app:watch", "", ""),
    # daemons
    ("apache2", FOREVER, "FPM144 FPM152"),
    ("apachectl -D FOREGROUND", "stopsignal=WINCH", ""),
    ("httpd -DFOREGROUND", "stopsignal=WINCH", ""),
    ("httpd -f -p 80 -h /www", "stopsignal=WINCH", ""),
    ("apachectl start", "stopsignal=WINCH", "FPM144"),
    ("apache2-foreground", "stopsignal=WINCH", ""),
    ("apachectl -D FOREGROUND", "", ""),
    ("apache2ctl -D FOREGROUND", "stopsignal=QUIT", "FPM147"),
    ("cron", "", "FPM144"),
    ("cron -n", "", ""),
    ("cron -f -L 15", "", ""),
    ("crond -L /dev/stdout", "", "FPM144"),
    ("crond -fL /dev/stdout", "", ""),
    ("crond -n", "", ""),
    ("crond -d 8", "", ""),
    ("/usr/sbin/sshd", "", "FPM144"),
    ("/usr/sbin/sshd -De", "", ""),
    ("rsyslogd -n", "", ""),
    ("redis-server /etc/redis.conf", "", ""),
    ("redis-server --daemonize no", "", ""),
    ("memcached -d -u nobody", "", "FPM144"),
    ("memcached -u nobody", "", ""),
    ("haproxy -W -db -f /x", "", ""),
    ("caddy run", "", ""),
    ("caddy start --config /x", "", "FPM144"),
    ("pm2 start x.js --no-daemon", "", ""),
    ("pidproxy /run/x.pid /usr/sbin/cron", "", ""),
    (NGINX, "stopsignal=QUIT", ""),
    ("nginx", "stopsignal=QUIT", ""),
    # init scripts, and the background
    ("/etc/init.d/nginx start", "", "FPM145"),
    ("systemctl start --now redis", "", "FPM145"),
    ('sh -c "service ssh start && exec tail -f /dev/null"', "", "FPM145"),
    ("service php8.2-fpm start", "", ""),
    ("/usr/sbin/service.sh start", "", ""),
    ('sh -c "node x.js &"', "", "FPM148"),
    ('sh -c "node x.js & wait"', "", ""),
    ('sh -c "exec node x.js 2>&1"', "", ""),
    # shells
    ('bash -c "while true; do php x.php; sleep 60; done"', "", "FPM146"),
    ('bash -c "while true; do php x.php; sleep 60; done"', GROUP, ""),
    ('bash -c "trap : TERM; while true; do sleep 60; done"', "", ""),
    ('sh -c "until nc -z db 1; do sleep 1; done; exec python x.py"', "", ""),
    ('bash -c "until nc -z db 1; do sleep 1; done; python x.py"', "", ""),
    ('sh -c "until nc -z db 1; do sleep 1; done; python x.py"', "", "FPM147"),
    ('sh -c "while true; do php x.php; sleep 60; done >>/log 2>&1"', "", "FPM146"),
    ('sh -c "cd /app && nginx"', f"{GROUP} stopsignal=TERM", ""),
    ('sh -c "cd /app && python x.py"', "", "FPM147"),
    ('sh -c "cd /app && python x.py"', GROUP, ""),
    ('sh -c "cd /app && python x.py"', "autorestart=false", ""),
    ('sh -c "cd /app && exec python x.py"', "", ""),
    ('sh -c "python x.py; sleep 5"', "", ""),
    ('bash -c "cd /app && python x.py"', "", ""),
    ('bash -c "cd /app && python x.py | tee /log"', "", "FPM147"),
    ('bash -c ". /etc/apache2/envvars && exec apache2ctl -DFOREGROUND"', "", "FPM147"),
    ("/usr/sbin/apache2ctl -D FOREGROUND", GROUP, ""),
    ("apachectl -D FOREGROUND", "", ""),
    ("apache2ctl configtest", "", ""),
    ("/usr/bin/mysqld_safe --user=mysql", "", "FPM147"),
    ("mariadbd-safe", FOREVER, "FPM147"),
    ("mysqld_safe", GROUP, ""),
    ("pidproxy /run/mysqld/mysqld.pid /usr/bin/mysqld_safe", "", ""),
    ("mysqld --user=mysql", "", ""),
    ("npm run dev", FOREVER, "FPM147"),
    ("npm run dev", f"{FOREVER} {GROUP}", ""),
    ("npm ci", FOREVER, ""),
    # starts, ends and stops
    ("supercronic /x", f"{FOREVER} startsecs=0", "FPM149"),
    ("supercronic /x", "startsecs=0", "FPM149"),
    ("supercronic /x", f"{FOREVER} startsecs=0 autostart=false", ""),
    ("/opt/job", "startsecs=0", ""),
    ('bash -c "sleep 60; /opt/job"', f"{FOREVER} startsecs=0", ""),
    (NGINX, "stopsignal=QUIT priority=5", "FPM150"),
    (NGINX, "stopsignal=QUIT priority=999", ""),
    (f"fpm-listener after php-fpm -- {NGINX}", "stopsignal=QUIT priority=1000", ""),
    (f"fpm-listener after php-fpm -- {NGINX}", "priority=1000", "FPM152"),
    (NGINX, "stopsignal=QUIT autorestart=false", "FPM151"),
    ("/opt/app", "autorestart=false", ""),
    (NGINX, "stopsignal=HUP", "FPM152"),
    (NGINX, "stopsignal=KILL", "FPM152"),
    ("/opt/app", "stopsignal=KILL", ""),
    ("php artisan queue:work", f"{FOREVER} stopwaitsecs=61 stopsignal=USR2", "FPM152"),
    ("php artisan queue:work", f"{FOREVER} stopwaitsecs=61 stopsignal=QUIT", ""),
    ("php artisan schedule:work", f"{FOREVER} numprocs=2", "FPM153"),
    ("cron -f", "numprocs=2", ""),
    ("php artisan queue:work", f"{FOREVER} stopwaitsecs=61 numprocs=8", ""),
]
# fmt: on


@pytest.mark.parametrize(("command", "lines", "wanted"), PROGRAMS)
def test_what_is_found(command: str, lines: str, wanted: str) -> None:
    """Each program has exactly these findings."""
    of = checkup(beside(command, lines))

    assert {one.id for one in examine(of, TEXTS) if one.id in OURS} == set(wanted.split())


# fmt: off
EDITS = [
    ("FPM140", "php artisan queue:work --timeout=300", FOREVER, {"stopwaitsecs": "305"}),
    ("FPM141", "php artisan queue:work --once", "", {"autorestart": "true"}),
    ("FPM142", "php artisan schedule:run -v", FOREVER, {"command": "php artisan schedule:work -v"}),
    ("FPM142", 'sh -c "php artisan schedule:run"', FOREVER, {}),
    ("FPM143", "php artisan migrate", FOREVER, {"startsecs": "0", "autorestart": "false"}),
    ("FPM144", "/usr/sbin/cron -l", "", {"command": "/usr/sbin/cron -l -f"}),
    ("FPM144", "apachectl -k start", "", {"command": "apachectl -DFOREGROUND"}),
    ("FPM144", 'sh -c "exec cron"', "", {}),
    ("FPM144", "memcached -d -u x", "", {"command": "memcached -u x"}),
    ("FPM144", "memcached -u x -d", "", {"command": "memcached -u x"}),
    ("FPM144", "redis-server --daemonize yes --port 1", "", {"command": "redis-server --port 1"}),
    ("FPM144", "caddy start --config x", "", {"command": "caddy run --config x"}),
    ("FPM146", 'sh -c "until x; do y; done"', "", {"stopasgroup": "true", "killasgroup": "true"}),
    ("FPM149", "cron -f", "startsecs=0", {"startsecs": "1"}),
    ("FPM151", "cron -f", "autorestart=false", {"autorestart": "true"}),
    ("FPM152", "httpd -DFOREGROUND", "stopsignal=QUIT", {"stopsignal": "WINCH"}),
]
# fmt: on


@pytest.mark.parametrize(("rule", "command", "lines", "wanted"), EDITS)
def test_what_fixes_it(rule: str, command: str, lines: str, wanted: dict[str, str]) -> None:
    """The edits change the program only, and the finding is gone."""
    (one,) = found(rule, checkup(beside(command, lines)))

    assert one.edits == {("program:other", key): value for key, value in wanted.items()}
    if "command" in wanted:
        assert found(rule, checkup(beside(wanted["command"], lines))) == []


AND, REDIRECTED = 'sh -c "cd /app && python x.py"', 'sh -c "cd / && python x.py 2>&1"'
PIPED, OR = 'sh -c "python x.py | tee /log"', 'sh -c "test -f /x || python x.py"'


@pytest.mark.parametrize(
    ("sh", "commands"),
    [
        ("dash", {AND: "warning", REDIRECTED: "warning", PIPED: "warning", OR: "warning"}),
        ("bash", {AND: "", REDIRECTED: "warning", PIPED: "warning", OR: ""}),
        ("busybox", {AND: "", REDIRECTED: "", PIPED: "warning", OR: ""}),
        ("", {AND: "hint", REDIRECTED: "hint", PIPED: "warning", OR: "hint"}),
    ],
)
def test_a_shell_stays_if_it_is_known_to(sh: str, commands: dict[str, str]) -> None:
    """Busybox of Alpine becomes the last command; dash of Debian does not."""
    for command, severity in commands.items():
        of = checkup(beside(command))._replace(machine=FakeHost(sh=sh))
        found_ones = [one for one in examine(of, TEXTS) if one.id == "FPM147"]

        assert [one.severity.value for one in found_ones] == [severity] * bool(severity), command


def test_a_file_without_php_fpm() -> None:
    """Nothing waits for php-fpm, and nothing is compared with it."""
    text = changed(SUPERVISORD, beside("nginx", "priority=5"))
    only = re.sub(r"\[program:php-fpm\][^[]*", "", text)

    assert [
        one.id for one in examine(checkup(((SUPERVISORD, only),)), TEXTS) if one.id in OURS
    ] == []


@pytest.mark.parametrize(
    ("command", "last"),
    [
        ("/usr/bin/env -u A B=c gosu www-data php x", ["php", "x"]),
        ("sudo -E -u www-data -- php x", ["php", "x"]),
        ("tini -- docker-php-entrypoint apache2-foreground", ["apache2-foreground"]),
        ("timeout -k 5 60 nice -n 5 php x", ["php", "x"]),
        ("sh -c 'A=b exec su-exec nobody php x'", ["php", "x"]),
        ("fpm-listener after php-fpm --timeout 5s -- nginx", ["nginx"]),
        ("env -- fpm-listener after php-fpm", ["fpm-listener", "after", "php-fpm"]),
        ("gosu", []),
        ("sh -c ''", []),
        ("it's", []),
    ],
)
def test_the_program_behind_wrappers(command: str, last: list[str]) -> None:
    """A wrapper without a program is nothing."""
    assert list(read(command).last) == last


@pytest.mark.parametrize(
    ("text", "leaves"),
    [
        ("events {}\nhttp { server { listen 80; } }", True),
        ("user www-data; daemon off; events {}", False),
        ("events {}\n  daemon  off ;\n", False),
        ("events {}\n# daemon off;\n", True),
        ("daemon on; events {}", True),
        ("http { daemon off; }", True),  # nginx refuses it there
        ("include /etc/nginx/modules-enabled/*.conf;\nevents {}", True),
        ("include /etc/nginx/main.d/*.conf;\nevents {}", False),
        ("http { include x; } }", True),
        ("", False),
    ],
)
def test_daemon_off_in_nginx_conf(text: str, leaves: bool) -> None:  # noqa: FBT001 - a table
    """An unknown include counts as correct, and an empty file is no configuration."""
    of = checkup(beside("nginx", "stopsignal=QUIT"))

    assert list(daemons(of.processes, lambda _: text)) == (
        [("program:other", "/etc/nginx/nginx.conf", "daemon on" in text)] if leaves else []
    )


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("nginx", "/etc/nginx/nginx.conf"),
        ("gosu x /usr/sbin/nginx -c /x.conf", "/x.conf"),
        ('nginx -g "pid /x; daemon off;"', ""),
        ("nginx -g 'daemon off;'", ""),
        ("nginx -g'daemon off;'", ""),
        ('nginx -g "pid /x;" -c/x', "/x"),
        ('nginx -g "pid /x;"', "/etc/nginx/nginx.conf"),
        ("nginx -c x.conf", ""),
        ("nginx -t", ""),
        ("/opt/nginx.sh", ""),
    ],
)
def test_which_nginx_conf_counts(command: str, path: str) -> None:
    """That of the command; none if the command has `daemon off`."""
    asked = []

    def missing(name: str) -> str:
        asked.append(name)
        raise FileNotFoundError

    assert list(daemons(checkup(beside(command)).processes, missing)) == []
    assert asked == [path] * bool(path)


def test_the_fix_of_nginx() -> None:
    """The command gets `daemon off`."""
    of = checkup(beside("nginx -c /x", "stopsignal=QUIT"))
    of = of._replace(nginx_daemons=(("program:other", "/x", False),))
    (one,) = found("FPM144", of)

    assert one.edits == {("program:other", "command"): 'nginx -c /x -g "daemon off;"'}
    assert "not in /x" in one.what


@pytest.mark.parametrize(
    ("command", "is_on", "fix"),
    [
        ('nginx -g "pid /x;"', False, "If it has -g, write daemon off; into that text"),
        ("nginx", True, "Write daemon off; instead in /x"),
    ],
)
def test_an_nginx_without_edits(command: str, is_on: bool, fix: str) -> None:  # noqa: FBT001 - a table
    """nginx uses the last -g only, and refuses a second `daemon`."""
    of = checkup(beside(command, "stopsignal=QUIT"))
    of = of._replace(nginx_daemons=(("program:other", "/x", is_on),))
    (one,) = found("FPM144", of)

    assert one.edits == {}
    assert fix in one.fix


def test_a_signal_before_php_fpm_stops_gracefully() -> None:
    """The edits of FPM010 and FPM152 belong together."""
    of = checkup((*beside(NGINX), ("stopsignal=QUIT", "stopsignal=TERM")))

    assert {"FPM010", "FPM152"} <= {one.id for one in examine(of, TEXTS)}


def test_an_init_script_before_another_command() -> None:
    """Only a command that starts nothing else exits."""
    (whole,) = found("FPM145", checkup(beside("service cron start")))
    (part,) = found("FPM145", checkup(beside('sh -c "service cron start && exec tail -f /x"')))

    assert "The command exits" in whole.why
    assert "exits," in part.why
    assert "The command exits" not in part.why
