"""Rules on how supervisord starts and watches a php-fpm.

Each consequence was measured with supervisor 4.3.0 and php-fpm 8.2; see docs/checks.md.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING

from fpm_listener.doctor.checked_config import SHELL
from fpm_listener.doctor.rule import FindingSeverity, Said, for_each_fpm, rule
from fpm_listener.host.masking import masked_text
from fpm_listener.phpfpm import command_line, guard_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.checked_config import CheckedConfig, Fpm
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.supervisor.ini_lines import Edit

_E, _W, _H = FindingSeverity.ERROR, FindingSeverity.WARNING, FindingSeverity.HINT
_WAITS = re.compile(r"(?:^|[\s;&|'\"])(sleep|wait-for|wait-for-it|wait-for-it\.sh)\s")
_FINAL_EXEC = re.compile(r"(?:^|[;&|'\"\s])exec\s+\S*php-?fpm")
_INIT = re.compile(
    r"(?:^|[\s'\"])(?:service\s+php\S*\s+(?:re)?start|\S*/init\.d/php\S*|\S*php-fpm\.sh)"
)
_GUARD_WAIT_S = guard_command.wait_s(guard_command.WAIT.default or "")


def _without_shell(fpm: Fpm) -> tuple[Edit, ...]:
    """Return the guard in a shell's place, where the shell does nothing but wait for php-fpm."""
    line = fpm.process.section.lines.get("command")
    call = command_line.find_behind_sleep(line.value) if line else None
    better = _foreground(call, shlex.join([call.binary, *call.arguments])) if call else None
    if not better:
        return ()
    edits = fpm.edits(command=f"fpm-listener guard --hold -- {better}")
    if fpm.process.settings["stopasgroup"]:
        edits += fpm.edits(stopasgroup=None)
    if float(fpm.process.settings["startsecs"]) <= _GUARD_WAIT_S:
        edits += fpm.edits(startsecs="3")
    return edits


def _in_foreground(fpm: Fpm) -> tuple[Edit, ...]:
    line = fpm.process.section.lines.get("command")
    call = command_line.find(line.value) if line else None
    better = _foreground(call, line.value) if line and call else None
    return fpm.edits(command=better) if better else ()


def _foreground(call: FpmInvocation, command: str) -> str | None:
    """Return the command with -F and without -D; None where that takes more than a word."""
    if call.foreground:
        return command
    words = re.sub(r"\s(?:-D|--daemonize)(?=\s|$)", "", command)
    better = words.replace(call.binary, f"{call.binary} -F", 1)
    found = command_line.find(better)
    return better if found and found.foreground else None


@rule("FPM001", _E, "the command waits before php-fpm")
@for_each_fpm
def waits(fpm: Fpm) -> Iterator[Said]:
    """A sleep outlives startsecs, or comes near it."""
    found = _WAITS.search(fpm.process.command)
    if found and not fpm.guarded:
        yield Said(
            fpm.at("command"),
            f"{found[1]} before php-fpm",
            "supervisord says RUNNING while it still waits, so a php-fpm that cannot start loops"
            " for ever: FATAL is never reached, and nobody is told",
            "no shell and no sleep: command=fpm-listener guard --hold -- php-fpm -F ...",
            _without_shell(fpm),
        )


@rule("FPM002", _E, "a shell stays in front of php-fpm")
@for_each_fpm
def shell(fpm: Fpm) -> Iterator[Said]:
    """The supervised pid is the shell's."""
    command = fpm.process.command
    found = SHELL.match(command)
    if not found or _FINAL_EXEC.search(command):
        return
    name = found[2]
    stays = {
        "bash": "bash 5.1 and later becomes the last command if it has no redirection, older ones"
        " stay",
        "sh": "/bin/sh is dash on Debian, which stays",
        "dash": "dash stays",
    }.get(name, f"{name} may stay")
    yield Said(
        fpm.at("command"),
        f"{name} -c without exec before php-fpm ({stays})",
        "stop signals reach the shell only: php-fpm's master is orphaned by every stop and keeps"
        " the address",
        "exec before php-fpm, or no shell at all",
        _without_shell(fpm),
    )


@rule("FPM003", _E, "php-fpm goes into the background")
@for_each_fpm
def daemonizes(fpm: Fpm) -> Iterator[Said]:
    """daemonize = yes without -F, or -D."""
    if fpm.conf.daemonize:
        asked = fpm.invocation.foreground is False
        where = fpm.at("command") if asked else fpm.in_fpm("global", "daemonize")
        yield Said(
            where,
            "-D on the command line" if asked else "daemonize = yes (the default), and no -F",
            "supervisord sees it exit with 0 after some milliseconds and starts it again: every"
            " next one fails with 70, and the first runs on, unwatched",
            "add -F to the command",
            _without_shell(fpm) if fpm.in_shell else _in_foreground(fpm),
        )


@rule("FPM004", _E, "an init script as command")
def init_script(checkup: CheckedConfig) -> Iterator[Said]:
    """It starts php-fpm and ends."""
    for process in checkup.processes:
        if process.kind == "program" and _INIT.search(process.command):
            yield Said(
                process.section.where("command"),
                "an init script starts php-fpm",
                "it ends at once and php-fpm runs on in the background, unwatched; the next start"
                " finds the address taken",
                "command=php-fpm -F ..., with the file that the script uses (-y)",
            )


@rule("FPM005", _W, "startsecs is too short")
@for_each_fpm
def startsecs(fpm: Fpm) -> Iterator[Said]:
    """supervisord looks once a second."""
    seconds = float(fpm.process.settings["startsecs"])
    if seconds < 2:
        yield Said(
            fpm.at("startsecs"),
            f"startsecs is {seconds:g}",
            "every failed start counts as a success"
            if seconds == 0
            else "php-fpm fails within 30 ms, but supervisord looks once a second: it called 41 of"
            " 150 failed starts RUNNING",
            "startsecs=3",
            fpm.edits(startsecs="3"),
        )


@rule("FPM006", _W, "the guard's wait is as long as startsecs")
@for_each_fpm
def guard_waits(fpm: Fpm) -> Iterator[Said]:
    """What waits that long looks RUNNING."""
    if not fpm.guarded:
        return
    said = re.search(r"--wait[ =](\S+)", fpm.process.command)
    try:
        wait_s = guard_command.wait_s(said[1]) if said else _GUARD_WAIT_S
    except ValueError:
        return
    seconds = float(fpm.process.settings["startsecs"])
    if wait_s >= seconds >= 2:
        yield Said(
            fpm.at("startsecs"),
            f"startsecs is {seconds:g}, the guard may wait {wait_s:g} s",
            "the guard waits less than it was told where supervisord's XML-RPC answers; where it"
            " does not, a start that will fail looks RUNNING",
            f"startsecs={int(wait_s) + 2}",
            fpm.edits(startsecs=f"{int(wait_s) + 2}"),
        )


@rule("FPM007", _W, "supervisord gives up soon")
@for_each_fpm
def startretries(fpm: Fpm) -> Iterator[Said]:
    """Three retries are six seconds."""
    retries = int(fpm.process.settings["startretries"])
    if retries < 5:
        seconds = retries * (retries + 1) // 2
        yield Said(
            fpm.at("startretries"),
            f"startretries is {retries}",
            f"after about {seconds} s of failing supervisord gives up (FATAL), and the site stays"
            " down until somebody comes",
            "startretries=10",
            fpm.edits(startretries="10"),
        )


@rule("FPM008", _E, "exitcodes calls a failed start expected")
@for_each_fpm
def exitcodes(fpm: Fpm) -> Iterator[Said]:
    """70: address taken (daemon); 78: refused; 75: the guard."""
    wrong = sorted({70, 75, 78} & {int(code) for code in fpm.process.settings["exitcodes"]})
    if wrong:
        codes = ", ".join(map(str, wrong))
        yield Said(
            fpm.at("exitcodes"),
            f"exitcodes has {codes}",
            "that is how php-fpm and the guard say that the address is taken or the configuration"
            " wrong: supervisord calls it expected, and with autorestart=unexpected never starts it"
            " again",
            "exitcodes=0",
            fpm.edits(exitcodes="0"),
        )


@rule("FPM009", _W, "php-fpm is not always started again")
@for_each_fpm
def autorestart(fpm: Fpm) -> Iterator[Said]:
    """TERM and QUIT from elsewhere end it with 0."""
    how = str(fpm.process.settings["autorestart"])
    if how != "true":
        yield Said(
            fpm.at("autorestart"),
            f"autorestart is {how}",
            "php-fpm exits with 0 after any QUIT or TERM, whoever sent it: the site stays down"
            if how == "unexpected"
            else "whatever ends php-fpm, the site stays down",
            "autorestart=true",
            fpm.edits(autorestart="true"),
        )


@rule("FPM016", _E, "several masters on one configuration")
@for_each_fpm
def numprocs(fpm: Fpm) -> Iterator[Said]:
    """The second one never starts."""
    if int(fpm.process.settings["numprocs"]) > 1:
        yield Said(
            fpm.at("numprocs"),
            f"numprocs is {fpm.process.settings['numprocs']}",
            "all have the same listen addresses: every one but the first fails with 78, for ever",
            "numprocs=1; more workers come from pm.max_children",
            fpm.edits(numprocs="1"),
        )


@rule("FPM017", _W, "-c names php-fpm's configuration")
@for_each_fpm
def wrong_option(fpm: Fpm) -> Iterator[Said]:
    """-c is for php.ini."""
    words = fpm.invocation.arguments
    for word, value in pairwise(words):
        if word == "-c" and "fpm" in value.rpartition("/")[2] and value.endswith(".conf"):
            yield Said(
                fpm.at("command"),
                f"-c {value}",
                "-c is for php.ini: php-fpm reads its default configuration instead of this one",
                f"-y {value}",
            )


@rule("FPM018", _W, "the master runs everything as root")
@for_each_fpm
def allows_root(fpm: Fpm) -> Iterator[Said]:
    """-R lets pools run as root."""
    if fpm.invocation.allow_root:
        yield Said(
            fpm.at("command"),
            "-R lets pools run as root",
            "a hole in the application is a hole in the host",
            "no -R, and a user of its own for each pool",
        )


@rule("FPM019", _W, "php-fpm's words are mixed with its output")
@for_each_fpm
def redirects(fpm: Fpm) -> Iterator[Said]:
    """redirect_stderr makes stdout of it."""
    if fpm.process.settings["redirect_stderr"]:
        yield Said(
            fpm.at("redirect_stderr"),
            "redirect_stderr is true",
            "supervisord sends what php-fpm says of a failed start as output, not as an error, so"
            " the listener hears of it from the log file only",
            "redirect_stderr=false and stderr_events_enabled=true",
            fpm.edits(redirect_stderr="false", stderr_events_enabled="true"),
        )


@rule("FPM020", _W, "php-fpm's words on stderr are not heard")
@for_each_fpm
def unheard(fpm: Fpm) -> Iterator[Said]:
    """What is wrong with php-fpm.conf is said on stderr only."""
    settings = fpm.process.settings
    kept = settings["stderr_logfile"] or settings["redirect_stderr"]
    if not settings["stderr_events_enabled"] and not kept:
        yield Said(
            fpm.at("stderr_logfile"),
            "stderr is neither kept nor sent to listeners",
            "what is wrong with php-fpm.conf is said there only, before error_log is open: the"
            " reason of a failed start is lost",
            "stderr_events_enabled=true, and a file in stderr_logfile",
            fpm.edits(stderr_events_enabled="true", stderr_logfile=None),
        )


@rule("FPM021", _W, "the error log is on stderr, unheard")
@for_each_fpm
def log_on_stderr(fpm: Fpm) -> Iterator[Said]:
    """In a container the log is often /proc/self/fd/2."""
    if fpm.conf.log.kind.value == "stderr" and not fpm.process.settings["stderr_events_enabled"]:
        yield Said(
            fpm.at("stderr_events_enabled"),
            "error_log is stderr, and stderr_events_enabled is false",
            "the listener reads stderr_logfile instead, if supervisord keeps one; otherwise it is"
            " blind",
            "stderr_events_enabled=true",
            fpm.edits(stderr_events_enabled="true"),
        )


@rule("FPM022", _E, "sockets from somewhere else")
@for_each_fpm
def fpm_sockets(fpm: Fpm) -> Iterator[Said]:
    """FPM_SOCKETS is how php-fpm hands sockets to itself."""
    environment = fpm.process.settings["environment"] or {}
    for name in environment:
        if str(name).startswith("FPM_SOCKETS") and not fpm.guarded:
            yield Said(
                fpm.at("environment"),
                f"{name} is set",
                "php-fpm takes the descriptors in it for its listening sockets: it forks without"
                " end, and clients are refused",
                f"no {name}",
            )


@rule("FPM023", _E, "php-fpm is not there")
def binary_missing(checkup: CheckedConfig) -> Iterator[Said]:
    """After an upgrade the old version is gone."""
    for fpm in checkup.fpms:
        binary = fpm.invocation.binary
        if binary.startswith("/") and not checkup.machine.exists(binary):
            others = ", ".join(checkup.machine.php_fpms())
            yield Said(
                fpm.at("command"),
                f"{binary} does not exist",
                "supervisord cannot start it, and gives up",
                f"name the php-fpm that is installed: {others}"
                if others
                else "install php-fpm: there is none in /usr/sbin or /usr/local/sbin",
            )


@rule("FPM024", _E, "a comment cuts the command short")
def cut_short(checkup: CheckedConfig) -> Iterator[Said]:
    """` ;` and ` #` begin a comment in any value."""
    for process in checkup.processes:
        line = process.section.lines.get("command")
        if line is None:
            continue
        if line.cut:
            yield Said(
                process.section.where("command"),
                f"{line.cut[0]} after a blank ends the command:"
                f" {masked_text(process.command)!r} is what runs",
                "what stands behind it is a comment to supervisor",
                f"no blank before {line.cut[0]}, comments on lines of their own",
            )


@rule("FPM025", _W, "a program as an ordinary user, with what only root can do")
@for_each_fpm
def ordinary_user(fpm: Fpm) -> Iterator[Said]:
    """Pools' users are ignored, low ports and owners refused."""
    user = fpm.process.settings["user"]
    if user in {None, 0}:
        return
    for pool in fpm.conf.pools:
        for key in ("listen.owner", "listen.group", "chroot"):
            if fpm.option(pool, key):
                yield Said(
                    fpm.in_fpm(pool.name, key),
                    f"{key} is set, and the program runs as user {user}",
                    "only root may do that: php-fpm does not start, or ignores it",
                    f"no {key}, or no user in the program's section",
                )
    if fpm.conf.log.kind.value == "stderr":
        yield Said(
            fpm.in_fpm("global", "error_log"),
            f"error_log is stderr, and the program runs as user {user}",
            "php-fpm opens it by its name, which is root's: Permission denied (13), status 78",
            "a file that the user may write, or no user in the program's section",
        )


@rule("FPM026", _E, "php-fpm in an fcgi-program")
@for_each_fpm
def fcgi_program(fpm: Fpm) -> Iterator[Said]:
    """supervisord has the socket, and php-fpm wants one of its own."""
    if fpm.process.kind == "fcgi-program":
        yield Said(
            fpm.at("socket"),
            "php-fpm in a section for programs that take their socket from supervisord",
            "php-fpm binds its addresses itself: on the one in socket= it fails with 78 each time"
            " (Address already in use), on another one nobody answers at the one in socket=",
            f"[program:{fpm.process.group}], without socket=",
        )
