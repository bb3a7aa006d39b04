"""Rules on programs that leave supervisord: daemons, init scripts, and the background of a shell.

Measured with supervisor 4.3.0 and the programs of Debian 12, where `measured` says so; the other
rows are in the manuals of the programs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor.checked_config import whole
from fpm_listener.doctor.neighbours import base_name, neighbours
from fpm_listener.doctor.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig
    from fpm_listener.doctor.neighbours import Neighbour
    from fpm_listener.doctor.rule import Match


class _Daemon(NamedTuple):
    """A program that can go into the background."""

    names: str
    stays: str = ""  #: pattern of the words that keep it in the foreground, or that only print
    leaves: str = ""  #: pattern of the words that send it into the background
    add: str = ""  #: the words that fix it; none if `leaves` is to be removed


def _letters(letters: str) -> str:
    """Return the pattern of a word of options with one of these letters; in linear time."""
    return rf"-(?=\w*[{letters}])\w+"


_DAEMONS = (
    _Daemon(
        "apache2 httpd apachectl apache2ctl",
        # Without -D it is Apache's; -h and -p are options of busybox's httpd.
        r"-[XtvVlLSMhp]\b.*|-D ?(?:FOREGROUND|NO_DETACH|ONE_PROCESS|DEBUG|DUMP_\w+)"
        r"|-k (?!start\b).*|(?:stop|restart|graceful|configtest|status)\b.*",
        add="-DFOREGROUND",
    ),
    # -n: cron of openSUSE stays in the foreground; Debian's does not, but the system is unknown.
    _Daemon("cron", _letters("fnx"), add="-f"),
    _Daemon("crond", rf"{_letters('fndxh')}|--foreground", add="-f"),
    _Daemon("sshd", _letters("DditTGV"), add="-D"),
    _Daemon("rsyslogd", _letters("nNvd"), add="-n"),
    _Daemon(
        "syslog-ng",
        rf"{_letters('FdVs')}|--foreground|--no-.*|--help|--version|--syntax.*",
        add="-F",
    ),
    _Daemon(
        "dnsmasq",
        rf"{_letters('kdvw')}|--keep-in-foreground|--no-daemon|--test|--version",
        add="-k",
    ),
    _Daemon("lighttpd", _letters("DtvVih"), add="-D"),
    _Daemon("dovecot", rf"{_letters('Fna')}|stop|reload|--\w+", add="-F"),
    _Daemon("haproxy", leaves=r"-D"),
    _Daemon("memcached", leaves=r"-d|--daemon"),
    _Daemon("redis-server valkey-server", leaves=r"--daemonize[= ]yes"),
    _Daemon("mysqld mariadbd", leaves=r"--daemonize|-D"),
    _Daemon("mongod", leaves=r"--fork"),
    _Daemon("gunicorn", leaves=r"-D|--daemon"),
    _Daemon("postfix", leaves=r"start", add="start-fg"),
    _Daemon("caddy", leaves=r"start", add="run"),
    _Daemon("pm2", "--no-daemon", leaves=r"start", add="start --no-daemon"),
)
_BY_NAME = {name: daemon for daemon in _DAEMONS for name in daemon.names.split()}


def _has(pattern: str, words: str) -> re.Match[str] | None:
    return re.search(rf"(?:^|\s)(?:{pattern})(?=\s|$)", words) if pattern else None


@rule("FPM144", neighbours)
def daemonizes(program: Neighbour) -> Iterator[Match]:
    """The process that supervisord started exits, and its child runs on."""
    daemon = _BY_NAME.get(program.name)
    words = " ".join(program.words[1:])
    if daemon is None or _has(daemon.stays, words):
        return
    left = _has(daemon.leaves, words)
    if daemon.leaves and not left:
        return
    word = left[0].strip() if left else ""
    values = {"word": word, "add": daemon.add}
    variant = ("replace" if daemon.add else "remove") if word else ""
    yield program.match("command", _in_foreground(program, daemon, word), variant, **values)


def _in_foreground(program: Neighbour, daemon: _Daemon, word: str) -> dict[str, str | None]:
    """Return the command that stays in the foreground; nothing if it is not one plain word."""
    written = program.written()
    if not word:
        # `apachectl start` has a word of its own.
        plain = re.sub(r"\s(?:-k\s+)?start$", "", written)
        return {"command": f"{plain} {daemon.add}"} if written else {}
    found = re.findall(rf"\s{re.escape(word)}(?=\s|$)", written)
    new = f" {daemon.add}".rstrip()
    return {"command": written.replace(found[0], new, 1)} if len(found) == 1 else {}


@rule("FPM144", whole)
def nginx_daemonizes(config: CheckedConfig) -> Iterator[Match]:
    """Each new start needs longer than startsecs to fail, so supervisord reports RUNNING."""
    found = {section: (file, is_on) for section, file, is_on in config.nginx_daemons}
    for program in neighbours(config):
        file, is_on = found.get(program.section.name, ("", False))
        if file:
            written = program.written()
            # Of two -g, nginx uses the last one only.
            is_safe = written and not is_on and " -g" not in written
            change: dict[str, str | None] = {"command": f'{written} -g "daemon off;"'}
            variant = "nginx_on" if is_on else "nginx"
            yield program.match("command", change if is_safe else {}, variant, file=file)


@rule("FPM145", neighbours)
def init_script(program: Neighbour) -> Iterator[Match]:
    """FPM004 reports those of php-fpm."""
    for words in program.started.commands:
        service = _service(words)
        if service:
            variant = "" if words == program.words else "before"
            yield program.match("command", None, variant, service=service)
            return


def _service(words: tuple[str, ...]) -> str:
    """Return the service that a command starts through the init system; empty if it does not."""
    name, rest = base_name(words[0]), list(words[1:])
    if name in {"service", "rc-service", "invoke-rc.d"} and rest[1:2] in (["start"], ["restart"]):
        return rest[0]
    plain = [word for word in rest if not word.startswith("-")]
    if name == "systemctl" and plain[1:] and plain[0] in {"start", "restart"}:
        return plain[1]
    is_script = re.fullmatch(r"/etc/(?:rc\d?\.d/)?(?:init\.d/)?[\w.-]+", words[0], re.ASCII)
    if is_script and "d/" in words[0] and rest[:1] in (["start"], ["restart"]):
        return name
    return ""


@rule("FPM148", neighbours)
def background(program: Neighbour) -> Iterator[Match]:
    """The shell ends at once, because it waits for nothing."""
    text = program.started.text
    if re.search(r"(?<![&>])&\s*\Z", text) and not program.started.repeats:
        yield program.match("command")


RULES = (daemonizes, nginx_daemonizes, init_script, background)
