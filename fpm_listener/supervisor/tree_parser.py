"""Lets supervisor's parser read the files of a directory, and nothing else of this machine.

Only the child that parses uses this. Users have no number there; the doctor finds it. Variables of
the environment get a placeholder.

Source: supervisor/options.py, 4.2.5 and 4.3.0.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fpm_listener.supervisor import config_errors, drafts

if TYPE_CHECKING:
    from fpm_listener.host.file_tree import FileTree


class TooManyProcessesError(Exception):
    """A program has more processes than can be read within the limits."""


def parsed(
    options: Any,  # noqa: ANN401 - supervisor has no types
    tree: FileTree,
    path: str,
    draft: str | None,
    most_processes: int,
) -> Any:  # noqa: ANN401 - supervisor has no types
    """Return a parser that has read the file of the tree, or why supervisor refuses it.

    draft: replaces the text of the file. most_processes: of one program.
    """
    drafts.accept_missing()
    options.name_to_uid = lambda _: None
    options.glob = tree
    if not hasattr(options, "parser_of_disk"):
        options.parser_of_disk = options.UnhosedConfigParser

    class IniParser(options.parser_of_disk):  # type: ignore[misc]  # supervisor has no types
        def read(self, filenames: str, **_: object) -> list[str]:
            before = frozenset(self._sections)
            try:
                text = tree.read_text(filenames, errors="strict")
            except OSError:
                return []
            self._read(io.StringIO(text), filenames)
            new = frozenset(self._sections) - before
            self.section_to_file.update(dict.fromkeys(new, filenames))
            return [filenames]

    class Parser(options.ServerOptions):  # type: ignore[misc]  # supervisor has no types
        def import_spec(self, spec: str) -> str:
            return spec  # no code of the files runs

        def exists(self, path: str) -> bool:  # noqa: ARG002 - as in supervisor
            return True

        def processes_from_section(
            self,
            parser: Any,  # noqa: ANN401 - as in supervisor
            section: str,
            *more: Any,  # noqa: ANN401 - as in supervisor
            **names: Any,  # noqa: ANN401 - as in supervisor
        ) -> Any:  # noqa: ANN401 - as in supervisor
            count = str(parser.saneget(section, "numprocs", 1)).strip()
            if count.isdecimal() and int(count[:10]) > most_processes:
                raise TooManyProcessesError(count[:20])
            return super().processes_from_section(parser, section, *more, **names)

        def open(self, fn: str, mode: str = "r") -> io.StringIO:  # noqa: ARG002 - as in supervisor
            is_draft = draft is not None and fn == path
            text = (draft if is_draft else tree.read_text(fn, errors="strict")) or ""
            text.encode()  # raises ValueError, as supervisor does for a file that is not UTF-8
            return drafts.opened(text, fn)

    options.UnhosedConfigParser = IniParser
    try:
        return config_errors.parsed(Parser, path, is_open=True, read=tree.read)
    except TooManyProcessesError as count:
        why = f"numprocs = {count} are more than {most_processes} processes, which are not read"
        return {"refused": why, "unreadable": True}
