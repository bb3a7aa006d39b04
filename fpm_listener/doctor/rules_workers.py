"""Rules on queue workers, schedulers and commands that end by themselves.

Each consequence was measured with supervisor 4.3.0, or is in the source of the worker.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener.doctor.neighbours import base_name, neighbours
from fpm_listener.doctor.rule import rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fpm_listener.doctor.neighbours import Neighbour
    from fpm_listener.doctor.rule import Match

_DEFAULT_TIMEOUT_S = 60.0  # Laravel: queue:work --timeout, and `timeout` in config/horizon.php
_RESERVE_S = 5


class Worker(NamedTuple):
    """A command that takes jobs from a queue."""

    command: str
    ends: str  #: pattern of the options that end it with status 0
    told_by: str  #: the command that ends it with status 0; empty = none


#: Source: Illuminate\Queue\Worker::stopIfNecessary, Laravel\Horizon\MasterSupervisor::terminate,
#: Symfony's ConsumeMessagesCommand, Nextcloud's core/Command/TaskProcessing/WorkerCommand.
_WORKERS = (
    Worker("queue:work", r"--(?:max-time|max-jobs|stop-when-empty|once)", "queue:restart"),
    Worker("horizon", r"(?!)", "horizon:terminate"),
    Worker(
        "messenger:consume",
        r"--(?:time-limit|limit|memory-limit|failure-limit)|-[tlmf]",
        "messenger:stop-workers",
    ),
    Worker("taskprocessing:worker", r"--(?:timeout|once)|-t", ""),
    Worker("background-job:worker", r"--(?:stop_after|once)|-t", ""),
    Worker("queue:consumers:start", r"--max-messages", ""),
)
#: Commands of frameworks that end when their work is done.
_TASK = re.compile(
    r"migrate(?::(?:fresh|refresh|install|rollback))?|db:(?:seed|wipe)|key:generate|storage:link"
    r"|(?:cache|config|route|view|event|optimize|schedule|icons):(?:cache|clear|clear-cache|warmup)"
    r"|optimize|package:discover|vendor:publish|queue:(?:restart|flush)|horizon:(?:terminate|purge)"
    r"|doctrine:(?:migrations:migrate|schema:update|database:create|fixtures:load)"
    r"|assets:install|importmap:install|messenger:(?:setup-transports|stop-workers)"
    r"|setup:(?:upgrade|di:compile)|updatedb|updb|cr",
)
_FRAMEWORKS = {"artisan", "console", "magento", "drush", "occ", "cake", "wp", "spark"}
_TOOLS = {"chown", "chmod", "mkdir", "cp", "mv", "rm", "ln", "touch", "install", "chgrp", "sed"}
#: Commands that run what is due, and end.
_SCHEDULERS = {"schedule:run", "cron:run", "cron.php"}


def _worker(program: Neighbour) -> tuple[Worker, tuple[str, ...]] | None:
    """Return the worker that a program runs, and the words after its name."""
    names = [base_name(word) for word in program.words]
    for worker in _WORKERS:
        if worker.command in names and (worker.command != "horizon" or "artisan" in names):
            return worker, program.words[names.index(worker.command) + 1 :]
    return None


def _timeout_s(words: tuple[str, ...]) -> float | None:
    """Return the value of --timeout; None if it is not given, or no number."""
    found = re.search(r"(?:^|\s)--timeout[= ](\d{1,9})(?=\s|$)", " ".join(words), re.ASCII)
    return float(found[1]) if found else None


@rule("FPM140", neighbours)
def job_killed(program: Neighbour) -> Iterator[Match]:
    """supervisord waits for stopwaitsecs, then it sends KILL."""
    found = _worker(program)
    if found is None or found[0].command not in {"queue:work", "horizon"}:
        return
    given = _timeout_s(found[1]) if found[0].command == "queue:work" else None
    has_other = given is None and any(word.startswith("--timeout") for word in found[1])
    timeout_s = _DEFAULT_TIMEOUT_S if given is None else given
    waits_s = program.settings["stopwaitsecs"]
    if timeout_s and waits_s < timeout_s and not has_other:
        variant = "" if given is not None else "default"
        change = {"stopwaitsecs": str(int(timeout_s) + _RESERVE_S)}
        values = {"waits_s": waits_s, "timeout_s": timeout_s, "worker": found[0].command}
        yield program.match("stopwaitsecs", change, variant, **values)


@rule("FPM141", neighbours)
def worker_stays_down(program: Neighbour) -> Iterator[Match]:
    """Status 0 is an expected exit, after which `unexpected` restarts nothing."""
    how = program.settings["autorestart"]
    found = _worker(program)
    is_expected = how == "unexpected" and 0 in program.settings["exitcodes"]
    if found is None or program.is_script or not program.starts:
        return
    if not is_expected and how != "false":
        return
    worker, words = found
    option = next((one for one in words if re.match(rf"(?:{worker.ends})(?:=|\d|$)", one)), "")
    named = option.partition("=")[0] or worker.told_by
    if named:
        variant = "" if option else "told"
        yield program.match("autorestart", {"autorestart": "true"}, variant, named=named, value=how)


def _ends_with_its_command(program: Neighbour) -> bool:
    """Return whether supervisord starts it, and no shell repeats the command or waits after it."""
    started = program.started
    return program.starts and not started.repeats and not started.waits


def _scheduler(program: Neighbour) -> str:
    """Return the command of a scheduler that ends when nothing more is due; empty if none."""
    if program.is_script:
        return ""
    words = program.words
    for at, word in enumerate(words):
        if base_name(word) in _SCHEDULERS:
            return base_name(word)
        if base_name(word) == "drush" and words[at + 1 : at + 2] == ("cron",):
            return "drush cron"
        if base_name(word) == "wp" and words[at + 1 : at + 4] == ("cron", "event", "run"):
            return "wp cron event run"
    return ""


@rule("FPM142", neighbours)
def scheduler_ends(program: Neighbour) -> Iterator[Match]:
    """It runs what is due, and exits."""
    command = _scheduler(program)
    if not command or not _ends_with_its_command(program):
        return
    is_laravel = command == "schedule:run"
    written = program.written()
    change: dict[str, str | None] = {}
    if is_laravel and written.count(command) == 1:
        change = {"command": written.replace(command, "schedule:work")}
    yield program.match("command", change, "" if is_laravel else "other", command=command)


def _task(program: Neighbour) -> str:
    """Return the command that ends when its work is done; empty if it may be another."""
    words = program.words
    if program.name in _TOOLS:
        return program.name
    if program.name == "composer" and words[1:2] in {("install",), ("dump-autoload",)}:
        return " ".join(words[:2])
    if program.is_script:
        return ""
    for before, word in pairwise(words):
        if base_name(before) in _FRAMEWORKS and _TASK.fullmatch(word):
            return word
    return ""


@rule("FPM143", neighbours)
def task_is_repeated(program: Neighbour) -> Iterator[Match]:
    """supervisord expects that a program runs on."""
    command = _task(program)
    if not command or not _ends_with_its_command(program):
        return
    seconds, how = program.settings["startsecs"], program.settings["autorestart"]
    once: dict[str, str | None] = {"startsecs": "0", "autorestart": "false"}
    if how == "true":
        yield program.match("autorestart", once, "again", command=command, value=how)
    elif seconds:
        yield program.match("startsecs", {"startsecs": "0"}, command=command, value=f"{seconds:g}")


#: What runs once for each queue or each port, and the variant of the text.
_SINGLE = {
    "schedule:run": "",
    "schedule:work": "",
    "supercronic": "",
    "horizon": "horizon",
    "reverb:start": "port",
    "octane:start": "port",
    "octane:frankenphp": "port",
    "websockets:serve": "port",
    "nginx": "port",
    "apache2": "port",
    "httpd": "port",
    "apache2-foreground": "port",
    "caddy": "port",
    "redis-server": "port",
    "memcached": "port",
}


@rule("FPM153", neighbours)
def runs_several_times(program: Neighbour) -> Iterator[Match]:
    """Unless each process has another command or other variables."""
    if program.alike == 1:
        return
    names = [base_name(word) for word in program.words]
    commands = names[:1] + [word for before, word in pairwise(names) if before == "artisan"]
    single = next((one for one in commands if one in _SINGLE), None)
    if single:
        change: dict[str, str | None] = {"numprocs": "1"}
        yield program.match(
            "numprocs", change, _SINGLE[single], value=program.alike, command=single
        )


RULES = (job_killed, worker_stays_down, scheduler_ends, task_is_repeated, runs_several_times)
