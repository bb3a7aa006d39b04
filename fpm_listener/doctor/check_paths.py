"""`fpm-listener check PATH…`: checks files whose machine is not here.

Laws:
1. Unknown counts as correct: users, ports, other files, variables of an environment.
2. Each real file is reported once, by the first configuration that reads it.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

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
from fpm_listener.supervisor.parser_child import ParserChild
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fpm_listener.doctor.checked_config import CheckedConfig
    from fpm_listener.doctor.config_search import ConfigFile
    from fpm_listener.doctor.rule import Finding

#: A section of a group, whose programs can be in a file that is not here.
_GROUP = re.compile(r"(?m)^([ \t]*\[)group:")
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
    for tree in trees.values():
        checks.tree(tree, [one for one in found.files if one.tree is tree])
    return checks.result()


def _image(root: str) -> FileTree:
    if not os.path.isdir(root):  # noqa: PTH112 - a text
        raise FpmListenerError(f"--root {root}: it is no directory; name that of an unpacked image")
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

    def result(self) -> CheckResult:
        """Return everything."""
        found = in_order(self._findings)
        return CheckResult(found, tuple(self._notes), self._texts, self._mode())

    def _mode(self) -> str:
        files = f"{self._count} file{'s' * (self._count != 1)}"
        if self._image is not None:
            return f"checked {files} below {self._image.root}, with the users of that directory"
        live = f"{', '.join(self._live)}: a supervisord runs with it, so this machine was checked"
        offline = (
            f"checked {files} without this machine (offline): its users, ports and memory do not"
            " count, and variables of the environment are unknown"
        )
        return "; ".join([*([live] if self._live else []), *([offline] if self._count else [])])

    def live(self, files: Iterable[ConfigFile]) -> None:
        """Check the files with which a supervisord runs now, on this machine."""
        mains = [one for one in files if one.seen.kind is Kind.SUPERVISORD]
        used = running.confs() if mains else set()
        for file in mains:
            real = os.path.realpath(file.path)
            if real in used:
                self._live.append(file.path)
                result = check.check_machine(file.path, live=True)
                self._findings.update(dict.fromkeys(result.findings))
                self._texts |= result.texts
                self._done |= {real, *map(os.path.realpath, check.files_of(file.path))}

    def tree(self, tree: FileTree, files: list[ConfigFile]) -> None:
        """Check the files of one directory tree without this machine."""
        by_kind = {kind: [f for f in files if f.seen.kind is kind] for kind in Kind}
        with ParserChild(tree) as child:
            for file in (*by_kind[Kind.SUPERVISORD], *by_kind[Kind.PROGRAMS]):
                if self._real(tree, file.path) not in self._done:
                    self._supervisord(tree, file, child)
        for file in by_kind[Kind.PHP_FPM]:
            # The files that it includes are not checked again.
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
        answer = child.read(file.path, text=draft)
        if getattr(answer, "lacks_programs", False):
            draft = _GROUP.sub(r"\1x-group:", draft)
            answer = child.read(file.path, text=draft)
            self._note(file.path, "a [group:x] names programs of a file that is not here")
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
        variable = file.seen.variable or next(iter(re.findall(r"%\(ENV_\w+\)s", file.text)), "")
        if "refused" in config.supervisord and variable:
            why = f"supervisord may reject it because of the unknown {variable}"
            self._note(file.path, f"checked in part: {why}. Check the file with its values, too")
            config = config._replace(supervisord={})
        self._examine(tree, file, config, is_fragment=is_fragment)

    def _without_scripts(
        self, tree: FileTree, file: ConfigFile, config: CheckedConfig
    ) -> CheckedConfig:
        """Return the configuration without programs whose script is not here; they are notes."""
        unknown = []
        for one in config.unknown:
            words = [word for word in words_of(one.process.command) if word.startswith("/")]
            if any(self._machine(tree).is_elsewhere(word) for word in words):
                why = "its script is not in these files, so its php-fpm was not checked"
                self._note(file.path, f"[{one.process.section.name}]: {why}")
            else:
                unknown.append(one)
        return config._replace(unknown=tuple(unknown))

    def _examine(
        self, tree: FileTree, file: ConfigFile, config: CheckedConfig, *, is_fragment: bool = False
    ) -> None:
        read = {file.path: file.text}
        for path in config.files:
            if path not in read:
                try:
                    read[path] = tree.read_text(path)
                except OSError:
                    continue
        new = {path for path in read if self._real(tree, path) not in self._done}
        fpm_sections = [fpm.sections for fpm in config.fpms]
        lone = file.seen.complete if file.seen.kind is Kind.PHP_FPM else None
        partial = Partial(
            files=frozenset(new),
            is_fragment=is_fragment,
            open_lines=frozenset(
                {
                    *open_lines(config.sections),
                    *(place for one in fpm_sections for place in open_lines(one, php=True)),
                }
            ),
            open_sections=frozenset(
                place
                for one in fpm_sections
                if lone is not None
                for place in incomplete(one.values(), lone)
            ),
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
        self._done |= {self._real(tree, path) for path in read}

    def _machine(self, tree: FileTree) -> Offline | Image:
        return Image(tree) if tree.is_image else Offline(tree)

    def _real(self, tree: FileTree, path: str) -> str:
        try:
            return os.path.realpath(tree.real(path))
        except OSError:
            return path

    def _note(self, path: str, why: str) -> None:
        self._notes[f"{path}: {why}"] = None
