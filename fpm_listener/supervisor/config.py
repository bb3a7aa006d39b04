"""supervisord's configuration, read by supervisor's own parser in a short-lived child process.

Laws:
1. supervisor's parser makes includes, expansions and `numprocs` exact. It runs in a child, so that
   the listener does not keep the library in its memory.
2. The child parses, prints JSON and exits; it changes nothing. It imports no plugin that the file
   names.
3. The error messages of supervisor are dropped, because they print whole values, for example
   passwords. Our error names the section and the file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fpm_listener.supervisor import config_errors, drafts, program_settings, tree_parser
from fpm_listener.supervisor.config_state import Recorder
from fpm_listener.supervisor.parsed_values import LEVELS, log_of, process_of, server_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fpm_listener.host.file_tree import FileTree
    from fpm_listener.supervisor.process import Program

#: -I: modules come from the listener's own sys.path, not from supervisord's working directory,
#: which in a container is often one that php may write to. -B: no caches are written.
_CHILD = (
    "import sys, json; sys.path = json.loads(sys.argv[1]); "
    "from {} import main; sys.exit(main(sys.argv[2:]))"
)
#: Limits of the child: bytes of memory, and processes in its answer.
_MOST_MEMORY, _MOST_PROCESSES = 1 << 30, 5000
#: Where supervisord creates the logs whose names it chooses, without childlogdir.
_TEMPORARY = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - it only looks there


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfUnreadable:
    """The configuration could not be read."""

    why: str
    refused: bool = False  #: supervisord refuses it, too
    #: names of environment variables that it uses and that are not set here
    unset: tuple[str, ...] = ()
    missing: str = ""  #: a path in it whose directory does not exist
    marked: str = ""  #: the path of a file that begins with a byte order mark
    is_incomplete: bool = False  #: another file may have what is missing
    damaged: tuple[str, int] | None = None  #: file and number of a line that is not UTF-8


def child_command(module: str, *arguments: str) -> list[str]:
    """Return the command of a child that runs `main` of one of our modules, from a zip file too."""
    return [sys.executable, "-IBc", _CHILD.format(module), json.dumps(sys.path), *arguments]


def read_programs(
    path: str, timeout_s: float = 20.0, environ: Mapping[str, str] | None = None
) -> tuple[Program, ...] | ConfUnreadable:
    """Return the processes of the configuration at `path`.

    environ: values of `%(ENV_X)s`; None = our own, which comes from supervisord.
    """
    answer = read(path, timeout_s, environ)
    return answer if isinstance(answer, ConfUnreadable) else programs_of(answer)


def programs_of(answer: Mapping[str, Any]) -> tuple[Program, ...]:
    """Return the processes in the result of `describe`."""
    beginning = f"{answer['childlogdir']}/{{name}}-{{channel}}---{answer['identifier']}-"
    own = answer["loglevel"], answer["logfile"] or ""
    return tuple(program_settings.program(found, beginning, *own) for found in answer["processes"])


def read(
    path: str,
    timeout_s: float = 20.0,
    environ: Mapping[str, str] | None = None,
    text: str | None = None,
) -> dict[str, Any] | ConfUnreadable:
    """Return the result of `describe` for the file at `path`.

    environ: as read_programs. text: replaces that of the file, which may be of another machine.
    """
    try:
        done = subprocess.run(
            child_command("fpm_listener.supervisor.config", path, *["-"] * (text is not None)),
            check=False,
            input=(text or "").encode("utf-8", "surrogateescape"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # law 3
            timeout=timeout_s,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        return ConfUnreadable(why=f"{path}: reading it took longer than {timeout_s:g} s")
    except OSError as error:
        return ConfUnreadable(why=f"{path}: cannot start a child to read it: {error.strerror}")
    if done.returncode:
        return ConfUnreadable(why=f"{path}: supervisor's parser failed, status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return unreadable(path, answer) or answer


def unreadable(path: str, answer: Mapping[str, Any]) -> ConfUnreadable | None:
    """Return why `describe` could not read the file at `path`; None = it could."""
    if "refused" not in answer:
        return None
    return ConfUnreadable(
        why=f"{path}: {answer['refused']}",
        refused=not answer.get("unreadable"),
        unset=tuple(answer.get("unset", ())),
        missing=answer.get("missing", ""),
        marked=answer.get("marked", ""),
        is_incomplete=answer.get("incomplete", False),
        damaged=tuple(answer["damaged"]) if "damaged" in answer else None,
    )


# -- the child -------------------------------------------------------------------------------------


def describe(path: str, draft: str | None = None, tree: FileTree | None = None) -> dict[str, Any]:
    """Return the content of the file as supervisor's own parser reads it, or why it refuses it.

    draft: replaces the text of the file. tree: with its files, and with values for all variables.
    Either `refused` (and `unreadable` if the file itself is not the reason), or `identifier`,
    `nodaemon`, `minfds`, `servers`, `files`, `seen` and `processes`.
    """
    import tempfile  # noqa: PLC0415 - the child's, see law 1

    # gettempdir would test whether it can write. Its result is only the default directory for logs,
    # which are not opened here; `childlogdir` below replaces it.
    tempfile.tempdir = "/"
    try:
        from supervisor import options  # noqa: PLC0415 - the child's, see law 1
    except ImportError:
        why = f"{sys.executable} has no package supervisor, which is needed to read it"
        return {"refused": why, "unreadable": True}

    recorder = Recorder()
    if tree is None:
        parser = _parsed(options, recorder, path, draft)
    else:
        parser = tree_parser.parsed(options, tree, path, draft, _MOST_PROCESSES)
    if isinstance(parser, dict):
        return parser
    section = parser.configroot.supervisord
    count = sum(len(group.process_configs) for group in section.process_group_configs)
    if count > _MOST_PROCESSES:
        why = f"it has {count} processes (numprocs); more than {_MOST_PROCESSES} are not read"
        return {"refused": why, "unreadable": True}
    return {
        "identifier": section.identifier,
        "nodaemon": bool(section.nodaemon),
        "loglevel": LEVELS.get(section.loglevel, "info"),
        "minfds": int(section.minfds),
        "uid": uid_of(section.user) if tree is None else None,
        "logfile_maxbytes": int(section.logfile_maxbytes),
        "logfile": log_of(section.logfile),
        "childlogdir": section.childlogdir if section.childlogdir != "/" else _TEMPORARY,
        "servers": [server_of(server) for server in section.server_configs],
        "files": [path, *_included(parser.parse_infos)],
        "seen": recorder.seen(),
        "processes": [
            process_of(group, process)
            for group in section.process_group_configs
            for process in group.process_configs
        ],
    }


def _parsed(options: Any, recorder: Recorder, path: str, draft: str | None) -> Any:  # noqa: ANN401 - supervisor has no types
    """Return a parser that has read the file of this machine, or why supervisor refuses it."""
    options.glob = recorder

    class Parser(options.ServerOptions):  # type: ignore[misc]  # supervisor has no types
        def import_spec(self, spec: str) -> str:
            return spec  # law 2; a plugin can also be missing here

        def open(self, fn: str, mode: str = "r") -> Any:  # noqa: ANN401 - as in supervisor
            recorder.add(fn)
            is_draft = draft is not None and fn == path
            return drafts.opened(draft or "", path) if is_draft else super().open(fn, mode)

    if not os.access(path, os.R_OK):
        return {"refused": "it does not exist or is not readable", "unreadable": True}
    if draft is not None:
        drafts.accept_missing()
    parser = config_errors.parsed(Parser, path)
    if isinstance(parser, dict):
        return parser
    # configparser silently skips a file that it cannot open; supervisord, as root, has read it.
    # Both skip a link to nowhere.
    for included in _included(parser.parse_infos):
        if Path(included).exists() and not os.access(included, os.R_OK):
            why = f"the included file {included} is not readable"
            return {"refused": why, "unreadable": True}
    return parser


def _included(parse_infos: Sequence[str]) -> list[str]:
    return [info.partition('"')[2].rpartition('"')[0] for info in parse_infos]


def limit_memory() -> None:
    """Limit the memory of this child: numprocs = 1000000000 ends it, and not the host."""
    import resource  # noqa: PLC0415 - the child's, see law 1

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY or soft > _MOST_MEMORY:
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, hard))


def main(arguments: Sequence[str]) -> int:
    """Print the content of the file on the command line as one JSON document."""
    limit_memory()
    answers = os.dup(1)
    os.dup2(2, 1)  # supervisor may warn on stdout; the JSON must stay clean
    with os.fdopen(answers, "w", encoding="utf-8") as out:
        text = sys.stdin.buffer.read().decode(errors="surrogateescape")
        json.dump(describe(arguments[0], text if arguments[1:] else None), out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
