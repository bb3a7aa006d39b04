"""`fpm-listener init`: writes the two configuration files for this machine.

Laws:
1. It overwrites nothing and asks nothing.
2. The files are those that the project ships, with the paths of this machine.
"""

from __future__ import annotations

import re
from contextlib import suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import FOLDERS, regular_file
from fpm_listener.doctor.host_facts import PHP_FPMS
from fpm_listener.host import own_command
from fpm_listener.phpfpm import command_line, config_files
from fpm_listener.phpfpm.config import STDERR
from fpm_listener.settings import receiver_check, settings
from fpm_listener.supervisor import ini_lines
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.settings.receivers import ReceiverSettings
    from fpm_listener.supervisor.ini_lines import ConfigSection

#: The main files of supervisord's packages.
USUAL_FILES = ("/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
#: The files as the project ships them.
_SHIPPED = resources.files(__package__) / "supervisord.d"


class Php(NamedTuple):
    """One php-fpm of this machine."""

    binary: str
    config: str
    timeout_s: float  #: process_control_timeout


def shipped_listener() -> dict[str, str]:
    """Return the keys of the listener's section in the file that the project ships."""
    text = (_SHIPPED / "fpm_listener.conf").read_text()
    lines = ini_lines.scan([("", text)])["eventlistener:fpm-listener"].lines
    return {key: line.value for key, line in lines.items()}


def find_php(patterns: Sequence[str] = PHP_FPMS) -> list[Php]:
    """Return each php-fpm of this machine that has a configuration, once."""
    found: dict[str, Php] = {}
    for pattern in patterns:
        first, *rest = Path(pattern).parts
        for path in sorted(Path(first).glob(str(Path(*rest)))):
            real = str(path.resolve())
            invocation = command_line.find(f"{path} -F")
            if invocation is None or real in found:
                continue
            config = _config(invocation)
            if config is not None:
                conf = config_files.read(
                    invocation._replace(config=config),
                    directory=None,
                    environment={},
                )
                found[real] = Php(str(path), config, conf.process_control_timeout_s)
    return list(found.values())


def _config(invocation: FpmInvocation) -> str | None:
    real = invocation._replace(binary=config_files.real_binary(invocation))
    candidates = (
        *config_files.config_candidates(real),
        *config_files.config_candidates(invocation),
    )
    return next((path for path in candidates if Path(path).is_file()), None)


def write(folder: str | None, say: Callable[[str], None]) -> int:
    """Write the files into `folder` (None: supervisord's include directory); return the status.

    Raises FpmListenerError if nothing can be written.
    """
    place, ending = _place(folder)
    versions = find_php()
    if not versions:
        say(f"found no php-fpm with a configuration: {', '.join(PHP_FPMS)}")
    texts = {
        f"fpm_listener.{ending}": _listener((_SHIPPED / "fpm_listener.conf").read_text(), ending),
    }
    if versions:
        text = (_SHIPPED / "php-fpm.conf").read_text()
        programs = _programs(text, versions, ending)
        existing = _existing(place, programs, f"php-fpm.{ending}")
        for section in existing:
            say(_instead(section, programs))
        if not existing:
            texts[f"php-fpm.{ending}"] = programs
    for name, text in texts.items():
        _write(place / name, text, say)
    receivers = receiver_check.problems(_receivers(place / f"fpm_listener.{ending}"))
    for problem in receivers:
        of = f"receiver {problem.receiver}: " if problem.receiver else ""
        say(f"warning: {of}{problem.why}")
    if receivers:
        say(f"add a section [fpm-listener:receiver:NAME] to {place}/fpm_listener.{ending}")
    for php in versions:
        _warn_of_access_log(php, say)
    say("then run: supervisorctl update")
    return 0


def _receivers(path: Path) -> tuple[ReceiverSettings, ...]:
    try:
        return settings.load(str(path)).receivers
    except FpmListenerError as error:
        raise FpmListenerError(f"the listener cannot start: {error}") from error


def _existing(place: Path, programs: str, own: str) -> list[ConfigSection]:
    """Return the sections that the new file would duplicate.

    supervisor merges sections with the same name, so that a mixture of both files would run.
    """
    names = {name for name in ini_lines.scan([("", programs)]) if name.startswith("program:")}
    paths = [path for ending in ("conf", "ini") for path in sorted(place.glob(f"*.{ending}"))]
    if any(str(place) == folder for folder, _ in FOLDERS):
        paths += [Path(path) for path in USUAL_FILES]
    texts = []
    for path in paths:
        with suppress(OSError):
            if path.name != own:  # that file stays unchanged
                texts.append((str(path), regular_file.read_text(path)))
    return [section for name, section in ini_lines.scan(texts).items() if name in names]


def _instead(existing: ConfigSection, programs: str) -> str:
    """Return what to change in an existing section."""
    wanted = ini_lines.scan([("", programs)])[existing.name]
    changes = [
        f"    {key}={line.value}"
        for key, line in wanted.lines.items()
        if key not in existing.lines or existing.lines[key].value != line.value
    ]
    where = f"{existing.file}:{existing.number}"
    head = f"{where}: [{existing.name}] exists, so no second one is written; set in it"
    return "\n".join([head, *changes])


def _warn_of_access_log(php: Php, say: Callable[[str], None]) -> None:
    """Warn if each request would become an event of supervisord."""
    invocation = command_line.find(f"{php.binary} -F --fpm-config {php.config}")
    if invocation is None:
        return
    conf = config_files.read(invocation, directory=None, environment={})
    for pool in conf.pools:
        if pool.options.get("access.log") in STDERR:
            say(
                f"warning: {php.config}: pool {pool.name} writes its access.log to standard error,"
                " so each request becomes an event of supervisord; write it to a file or remove it"
                " (fpm-listener check, FPM119)"
            )


def _place(folder: str | None) -> tuple[Path, str]:
    if folder is not None:
        ending = next((known for path, known in FOLDERS if folder.rstrip("/") == path), "conf")
        if not Path(folder).is_dir():
            raise FpmListenerError(f"{folder}: no such directory; create it, or name another one")
        return Path(folder), ending
    for path, ending in FOLDERS:
        if Path(path).is_dir():
            return Path(path), ending
    raise FpmListenerError(
        f"no include directory of supervisord found ({', '.join(p for p, _ in FOLDERS)});"
        " name it: fpm-listener init DIR. For one supervisord.conf without [include], as in most"
        " images: fpm-listener init --container -c FILE",
    )


def _write(path: Path, text: str, say: Callable[[str], None]) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        say(f"{path} exists and stays unchanged")
    except OSError as error:
        raise FpmListenerError(f"{path}: cannot be written: {error.strerror}") from error
    else:
        say(f"{path} written")


def _listener(text: str, ending: str) -> str:
    return _set(
        text, "command", f"{own_command.line()} listen --config %(here)s/fpm_listener.{ending}"
    )


def _set(text: str, key: str, value: str) -> str:
    """Return `text` with this value of the first `key`."""
    return re.sub(rf"^{key}=.*$", lambda _: f"{key}={value}", text, count=1, flags=re.MULTILINE)


def _programs(text: str, versions: Sequence[Php], ending: str) -> str:
    """Return the shipped text with a section for each php-fpm."""
    head, marker, section = text.partition("[program:php-fpm]")
    sections: list[str] = []
    for php in versions:
        number = re.search(r"\d+(?:\.\d+)?", Path(php.binary).name)
        name = f"php-fpm{number[0] if number else ''}" if len(versions) > 1 else "php-fpm"
        command = (
            f"{own_command.line()} guard --hold --config %(here)s/fpm_listener.{ending} --"
            f" {php.binary} -F --fpm-config {php.config}"
        )
        own = section.replace("/php-fpm.std", f"/{name}.std")
        own = _set(own, "command", command)
        own = _set(own, "stopwaitsecs", str(max(20, int(php.timeout_s) + 10)))
        sections.append(f"{marker.replace('php-fpm', name)}{own if not sections else _bare(own)}")
    return head + "\n".join(sections)


def _bare(text: str) -> str:
    """Return a section without its comments, which the first section has."""
    lines = (line for line in text.splitlines() if line and not line.startswith(";"))
    return "\n" + "\n".join(lines) + "\n"
