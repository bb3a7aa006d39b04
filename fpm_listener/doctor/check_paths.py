"""`fpm-listener check PATH…`: checks files whose machine is not here.

Laws:
1. Unknown counts as correct: users, ports, other files, variables of an environment.
2. Each real file is reported once, by the first configuration that reads it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from fpm_listener.doctor import check, gathering, running
from fpm_listener.doctor.check import CheckResult
from fpm_listener.doctor.checked_config import words_of
from fpm_listener.doctor.config_kinds import Kind
from fpm_listener.doctor.config_search import Search
from fpm_listener.doctor.elsewhere import Image, Offline
from fpm_listener.doctor.lone_pools import lone_pools
from fpm_listener.doctor.partial import Partial, incomplete, open_lines
from fpm_listener.doctor.rules import examine, in_order
from fpm_listener.doctor.sources import TreeSources
from fpm_listener.doctor.text_files import texts
from fpm_listener.host.file_tree import FileTree
from fpm_listener.supervisor import config_errors
from fpm_listener.supervisor.parser_child import ParserChild
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.doctor.checked_config import CheckedConfig
    from fpm_listener.doctor.config_search import ConfigFile
    from fpm_listener.doctor.rule import Finding
    from fpm_listener.supervisor.config import ConfUnreadable
    from fpm_listener.supervisor.ini_lines import Place

#: A section of a group, whose programs can be in a file that is not here.
_GROUP = re.compile(r"(?m)^([ \t]*\[)group:")
#: A server whose socket can be in a file that is not here.
_UNIX = re.compile(r"(?m)^[ \t]*\[unix_http_server\].*")
#: `php-fpm-F`: no program has this name.
_WITHOUT_BLANK = re.compile(r"(?:php-?fpm[\d.]*|php[\d.]+-fpm)-[FRDOtcy]", re.ASCII)
_MOST_OUTSIDE = 5


def check_paths(
    paths: Sequence[str], *, root: str | None = None, is_offline: bool = False
) -> CheckResult:
    """Return what is wrong in the files. Raises FpmListenerError.

    root: the directory of an unpacked image, to which the paths belong. is_offline: a supervisord
    that runs with one of the files does not matter.
    """
    image = None if root is None else _image(root)
    if image is not None and not paths:
        paths = _usual(image)
    found = Search(image).find(list(paths))
    if not found.files:
        raise FpmListenerError(_nothing(paths, found.notes))
    checks = _Checks(image, found.notes)
    if image is None and not is_offline:
        checks.live(found.files)
    trees = {one.tree.root: one.tree for one in found.files}
    with ParserChild() as child:
        for tree in trees.values():
            checks.tree(tree, [one for one in found.files if one.tree is tree], child)
    return checks.result()


def _image(root: str) -> FileTree:
    if not os.path.isdir(root):  # noqa: PTH112 - a text
        raise FpmListenerError(f"--root {root} is not a directory; name that of an unpacked image")
    return FileTree(root, is_image=True)


def _usual(image: FileTree) -> list[str]:
    """Return the files of supervisord in an image: the usual ones, or the top directories."""
    usual = [path for path in check.USUAL_FILES if image.exists(path)]
    if usual:
        return usual
    tops = ("/etc", "/opt", "/app", "/srv", "/usr/local/etc", "/*.conf", "/*.ini")
    return [one for one in tops if image.glob(one)] or ["/"]


def _nothing(paths: Sequence[str], notes: Iterable[str]) -> str:
    named = ", ".join(paths)
    why = "; ".join(list(notes)[:_MOST_OUTSIDE])
    return (
        f"{named}: no configuration of supervisord or php-fpm is there"
        f"{f' ({why})' if why else ''}; name supervisord.conf, a file with [program:x],"
        " php-fpm.conf, or a file with an FPM pool"
    )


def _with_real_edits(finding: Finding, image: FileTree) -> Finding:
    """Return the finding with the paths that its edits have on this machine."""
    edits = tuple(edit._replace(file=image.real(edit.file)) for edit in finding.edits)
    return finding._replace(edits=edits)


def _as_typed(
    answer: dict[str, Any] | ConfUnreadable, path: str
) -> dict[str, Any] | ConfUnreadable:
    """Return the answer; if the user typed a relative path, included files have relative ones."""
    if isinstance(answer, dict) and not path.startswith("/"):
        here = f"{os.getcwd()}/"  # noqa: PTH109 - a text
        answer["files"] = [one.removeprefix(here) for one in answer["files"]]
    return answer


def _doubt(file: ConfigFile, answer: object) -> str:
    """Return why it is not known whether supervisord rejects a file; empty if it does."""
    if getattr(answer, "damaged", None):
        return ""
    variable = file.seen.variable or next(iter(re.findall(r"%\(ENV_\w+\)s", file.text)), "")
    if variable:
        return f"{variable} is unknown. Check the file with its values, too"
    if getattr(answer, "is_incomplete", False):
        return "a part of a section is missing. Another file that includes it may have that"
    return ""


class _Checks:
    """The results of one command."""

    def __init__(self, image: FileTree | None, notes: Iterable[str]) -> None:
        self._image = image
        self._notes = dict.fromkeys(notes)
        self._findings: dict[Finding, None] = {}
        self._texts: dict[str, str] = {}
        self._done: set[str] = set()  # real paths
        self._live: list[str] = []
        self._count = 0
        self._is_continued: dict[str, bool] = {}  # likewise
        self._complete: dict[str, frozenset[str]] = {}  # sections of php-fpm, by real path

    def result(self) -> CheckResult:
        """Return everything."""
        found = in_order(self._findings)
        if self._image is not None:
            found = [_with_real_edits(one, self._image) for one in found]
        return CheckResult(found, tuple(self._notes), self._texts, self._mode())

    def _mode(self) -> str:
        files = f"{self._count} file{'s' * (self._count != 1)}"
        if self._image is not None:
            return f"checked {files} below {self._image.root}, with the users of that directory"
        live = f"a supervisord runs with {', '.join(self._live)}: checked on this machine"
        offline = (
            f"checked {files} without this machine (offline): its users, ports and memory do not"
            " count, and variables of the environment are unknown"
        )
        return "; ".join([*([live] if self._live else []), *([offline] if self._count else [])])

    def live(self, files: Iterable[ConfigFile]) -> None:
        """Check the files that a supervisord or its php-fpm uses now, on this machine."""
        named = {os.path.realpath(file.path): file.path for file in files}
        for conf in running.confs():
            try:
                result = check.check_machine(conf, live=True)
            except FpmListenerError:
                continue  # checked without this machine
            read = {path: os.path.realpath(path) for path in result.texts}
            used = set(read.values()) & set(named)
            if used:
                is_whole = os.path.realpath(conf) in used
                self._live.append(conf)
                self._texts |= result.texts
                self._done |= set(read.values()) if is_whole else used
                self._findings.update(
                    (one, None) for one in result.findings if is_whole or read.get(one.file) in used
                )

    def tree(self, tree: FileTree, files: list[ConfigFile], child: ParserChild) -> None:
        """Check the files of one directory tree without this machine."""
        by_kind = {kind: [f for f in files if f.seen.kind is kind] for kind in Kind}
        for file in (*by_kind[Kind.SUPERVISORD], *by_kind[Kind.PROGRAMS]):
            if self._real(tree, file.path) not in self._done:
                self._supervisord(tree, file, child)
        mains = sorted(by_kind[Kind.PHP_FPM], key=lambda file: "global" not in file.seen.complete)
        self._is_continued |= {self._real(tree, one.path): one.seen.is_continued for one in mains}
        self._complete |= {self._real(tree, one.path): one.seen.complete for one in mains}
        for file in mains:
            # The pools that it includes are not checked again.
            if self._real(tree, file.path) not in self._done:
                machine = self._machine(tree)
                sources = TreeSources(tree, machine.uid)
                config = lone_pools(file.path, machine, sources)
                self._examine(tree, file, config)

    def _supervisord(self, tree: FileTree, file: ConfigFile, child: ParserChild) -> None:
        machine = self._machine(tree)
        sources = TreeSources(tree, machine.uid)
        is_fragment = file.seen.kind is Kind.PROGRAMS
        draft = f"{file.text}\n[supervisord]\n" if is_fragment else file.text
        tree.outside.clear()
        answer = _as_typed(child.read(file.path, draft, tree), file.path)
        if getattr(answer, "is_incomplete", False) and _GROUP.search(draft):
            draft = _GROUP.sub(r"\1x-group:", draft)
            answer = _as_typed(child.read(file.path, draft, tree), file.path)
            self._note(file.path, "a [group:x] names programs of a file that is not here")
        if config_errors.NO_FILE in getattr(answer, "why", ""):
            draft = _UNIX.sub(r"\g<0>\nfile=/run/supervisor.sock", draft)
            answer = _as_typed(child.read(file.path, draft, tree), file.path)
            self._note(file.path, "[unix_http_server] has no file=; another file must have it")
        try:
            config = gathering.gather(
                file.path,
                machine,
                {},
                draft=file.text,
                read=lambda *_, **__: answer,
                sources=sources,
            )
        except FpmListenerError as error:
            self._note(file.path, f"not checked: {str(error).removeprefix(f'{file.path}: ')}")
            self._done.add(self._real(tree, file.path))
            return
        config = self._without_scripts(tree, file, config)
        if "refused" in config.supervisord and (why := _doubt(file, answer)):
            self._note(file.path, f"checked in part: supervisord may reject it, because {why}")
            config = config._replace(supervisord={})
        elif is_fragment and config.supervisord.get("marked"):
            why = "it begins with a byte order mark (BOM), and supervisord rejects it"
            self._note(file.path, f"not checked: {why}")
        self._examine(tree, file, config, is_fragment=is_fragment)

    def _without_scripts(
        self, tree: FileTree, file: ConfigFile, config: CheckedConfig
    ) -> CheckedConfig:
        """Return the configuration without programs whose script is not here; they are notes."""
        unknown = []
        for one in config.unknown:
            words = words_of(one.process.command)
            is_typing_error = words and _WITHOUT_BLANK.fullmatch(words[0])
            if not tree.is_image and one.is_nothing_read and not is_typing_error:
                why = "its script is not in these files, so its php-fpm was not checked"
                self._note(file.path, f"[{one.process.section.name}]: {why}")
            else:
                unknown.append(one)
        return config._replace(unknown=tuple(unknown))

    def _examine(
        self, tree: FileTree, file: ConfigFile, config: CheckedConfig, *, is_fragment: bool = False
    ) -> None:
        sources = TreeSources(tree, self._machine(tree).uid)
        paths = [path for path in config.files if path != file.path]
        read = {file.path: file.text, **dict(gathering.texts_of(paths, sources))}
        reals = {path: self._real(tree, path) for path in read}
        fpm_sections = [fpm.sections for fpm in config.fpms]
        opened = set(open_lines(config.sections))
        opened.update(*(open_lines(one, php=True) for one in fpm_sections))
        incomplete_at: set[Place] = set()
        if file.seen.kind is Kind.PHP_FPM:
            lone = {one for real in reals.values() for one in self._complete.get(real, ())}
            if tree.outside:
                lone -= {"global"}  # an included file that is not here can have this section, too
            incomplete_at.update(*(incomplete(one.values(), lone) for one in fpm_sections))
        new = frozenset(path for path, real in reals.items() if real not in self._done)
        partial = Partial(
            files=new,
            is_fragment=is_fragment,
            open_lines=frozenset(opened),
            continued=frozenset(
                path for path, real in reals.items() if self._is_continued.get(real)
            ),
            open_sections=frozenset(incomplete_at),
        )
        defaults = {fpm.conf.path for fpm in config.fpms if fpm.invocation.config is None}
        outside = [path for path in tree.outside if path not in defaults]
        if outside and not tree.is_image:
            more = f" and {len(outside) - _MOST_OUTSIDE} more" if outside[_MOST_OUTSIDE:] else ""
            named = ", ".join(outside[:_MOST_OUTSIDE])
            self._note(file.path, f"not in these files, so not checked: {named}{more}")
        tree.outside.clear()
        found = examine(config._replace(partial=partial), texts())
        self._findings.update(dict.fromkeys(found))
        self._texts |= read
        self._count += len(new)
        self._done.update(reals.values())

    def _machine(self, tree: FileTree) -> Offline | Image:
        return Image(tree) if tree.is_image else Offline(tree)

    def _real(self, tree: FileTree, path: str) -> str:
        try:
            return os.path.realpath(tree.real(path))
        except OSError:
            return path

    def _note(self, path: str, why: str) -> None:
        self._notes[f"{path}: {why}"] = None
