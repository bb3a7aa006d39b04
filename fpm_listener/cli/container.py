"""`fpm-listener init --container`: adds fpm-listener to the one supervisord.conf of an image.

Laws:
1. Without --write it changes nothing. With it, it changes one file. A second run changes nothing.
2. Every change of a key comes from a rule of the doctor or from the guard, is a new section, or
   lets the listener read the log of a php-fpm whose configuration is not here.
"""

from __future__ import annotations

import difflib
import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fpm_listener import regular_file
from fpm_listener.cli import container_draft, container_notes, dockerfile
from fpm_listener.cli.init import shipped_listener
from fpm_listener.doctor import check, ini_edits
from fpm_listener.doctor.container_plan import Choices
from fpm_listener.doctor.host_facts import Host
from fpm_listener.host import file_replacement, own_command
from fpm_listener.phpfpm.guard_command import PROGRAM
from fpm_listener.supervisor import config
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fpm_listener.cli.container_draft import Draft, Parse
    from fpm_listener.cli.dockerfile import Image
    from fpm_listener.doctor.machine import Machine

_NAME = "fpm-listener"


class Options(NamedTuple):
    """What the command line says."""

    conf: str | None = None  #: supervisord's file
    write: bool = False
    path: str | None = None  #: of fpm-listener in the image
    user: str | None = None  #: that supervisord starts as
    token_file: str | None = None
    textfile: str | None = None
    dockerfile: str | None = None


def run(
    options: Options,
    say: Callable[[str], None],
    say_exactly: Callable[[str], None],
    machine: Machine | None = None,
    parse: Parse = config.read,
) -> int:
    """Print, or write, what to add to supervisord's file; return the exit status.

    say_exactly: for a diff; its line ends count. parse: as config.read. Raises FpmListenerError.
    """
    path = str(Path(check.find_conf(options.conf, "-c")).absolute())
    old = container_draft.read(path)
    image = _image(options.dockerfile, path)
    choices = Choices(
        command=_command(options),
        command_elsewhere=_path(options),
        file=Path(image.file or path).name,
        shipped=shipped_listener(),
        token_file=options.token_file or "",
        textfile=options.textfile or "",
    )
    user = options.user or image.user
    draft = container_draft.improve(
        path, old, machine or Host(), os.environ, choices, user, parse=parse
    )
    if draft.is_image and not image.system:
        image = image._replace(system=_system())
    if draft.text == old:
        say(f"{path}: nothing to change")
    elif options.write:
        _write(path, draft.text, say)
    else:
        say_exactly(_diff(path, old, draft.text))
    for other, text in draft.others.items():
        say_exactly(_diff(other, container_draft.read(other), text))
    image = image._replace(file=image.file or (path if draft.is_image else f"/etc/{choices.file}"))
    if draft.is_image:
        notes = [*_path_note(draft, options)]
    else:
        notes = [] if user or image.is_read else [*_guesses(draft, path)]
    say("\n".join(container_notes.lines(draft, image, path, notes)))
    return 0


def _guesses(draft: Draft, path: str) -> Iterator[str]:
    """Say what only the image or its Dockerfile tells."""
    if "user" not in draft.config.section("supervisord").lines:
        yield "supervisord starts as root here. If the Dockerfile has USER, add --dockerfile FILE"
    yield (
        f"The listener reads its settings from {Path(path).name}. If the image has this file under"
        " another name, add --dockerfile FILE, or change --config"
    )


def _command(options: Options) -> str:
    """Return how supervisord starts fpm-listener if this machine is the image.

    Without a link in PATH it is the path of this program, so that php-fpm starts here. The lines
    of a Dockerfile create a link.
    """
    if options.path or options.dockerfile or shutil.which(_NAME):
        return _path(options)
    return own_command.line().replace("%", "%%")


def _path(options: Options) -> str:
    """Return the path that the user names, or the name in PATH. Raises FpmListenerError."""
    path = options.path or _NAME
    if not PROGRAM.fullmatch(Path(path).name):
        raise FpmListenerError(
            f"--path {path}: the name of the file must be fpm-listener or fpm-listener.pyz;"
            " otherwise fpm-listener does not find php-fpm in command="
        )
    return shlex.quote(path).replace("%", "%%")


def _path_note(draft: Draft, options: Options) -> Iterator[str]:
    command = draft.choices.command
    if not options.path and command != _NAME:
        yield (
            f"fpm-listener is not in PATH here, so command= starts {command}. If it has another"
            " path in the image, add --path PATH; the lines above create"
            " /usr/local/bin/fpm-listener"
        )


def _image(path: str | None, conf: str) -> Image:
    if path is not None:
        text = container_draft.read(path)
        return dockerfile.read(text, Path(conf).name)._replace(is_read=True)
    return dockerfile.Image()


def _system() -> str:
    """Return the system of this image; empty if it is unknown."""
    try:
        words = regular_file.read_text("/etc/os-release")
    except OSError:
        return ""
    return next((one for one in dockerfile.SYSTEMS if one.lower() in words.lower()), "")


def _diff(path: str, old: str, new: str) -> str:
    lines = difflib.unified_diff(ini_edits.lines_of(old), ini_edits.lines_of(new), path, path)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    ).removesuffix("\n")


def _write(path: str, text: str, say: Callable[[str], None]) -> None:
    try:
        copy = file_replacement.replace(path, text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        why = error.strerror or str(error)
        raise FpmListenerError(
            f"{path} cannot be written, and stays unchanged: {why}. Without --write, this command"
            " prints the changes"
        ) from error
    say(f"{path} written; the old file is {copy}")
