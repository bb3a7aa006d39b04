"""Where the files of a checked configuration come from: this machine, an image, a repository."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from fpm_listener import regular_file
from fpm_listener.phpfpm import config, config_files, script_files
from fpm_listener.settings import settings
from fpm_listener.values import FpmListenerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fpm_listener.host.file_tree import FileTree
    from fpm_listener.phpfpm.command_line import FpmInvocation
    from fpm_listener.phpfpm.config import FpmConf
    from fpm_listener.phpfpm.start_script import Reader
    from fpm_listener.supervisor.ini_lines import ConfigSection

#: Bytes of one file; a larger one is not a configuration.
LONGEST = 4 << 20
_NO_POOL = "no pool is defined"
_USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Sources:
    """The files of this machine."""

    tree: FileTree | None = None

    def read_text(self, path: str) -> str:
        """Return the text of a configuration file. Raises OSError."""
        return regular_file.read_text(path, LONGEST)

    def may_read(self, path: str) -> bool:
        """Return whether a file can be read."""
        return os.access(path, os.R_OK)

    def settings_text(self, path: str) -> str:
        """Return the text of our own settings file. Raises FpmListenerError."""
        return settings.read_text(path)

    def fpm_conf(
        self, invocation: FpmInvocation, directory: str | None, environment: Mapping[str, str]
    ) -> FpmConf:
        """Return the configuration that a php-fpm reads."""
        return config_files.read(invocation, directory=directory, environment=environment)

    def known_problems(self, conf: FpmConf) -> tuple[str, ...]:
        """Return the problems of a configuration that files elsewhere cannot solve."""
        return conf.problems

    def version(self, invocation: FpmInvocation) -> tuple[int, ...]:
        """Return the version of PHP; () = unknown."""
        return config_files.version(invocation)

    def scripts(self, environ: Mapping[str, str]) -> Reader:
        """Return a function that reads the scripts of a command."""
        return script_files.reader(environ)

    def uid(self, section: ConfigSection | None) -> int | None:  # noqa: ARG002 - as in a tree
        """Return the number of the user in a section; here supervisor's parser finds it."""
        return None


class TreeSources(Sources):
    """The files of a directory, and nothing else."""

    def __init__(self, tree: FileTree, find_uid: Callable[[str], int | None]) -> None:
        """find_uid: returns the number of a user with this name."""
        self.tree: FileTree = tree
        self._find_uid = find_uid

    def read_text(self, path: str) -> str:
        """As Sources."""
        return self.tree.read_text(path, LONGEST)

    def may_read(self, path: str) -> bool:
        """As Sources."""
        return self.tree.exists(path)

    def settings_text(self, path: str) -> str:
        """As Sources."""
        try:
            return self.tree.read_text(path, errors="strict")
        except (OSError, UnicodeDecodeError) as error:
            raise FpmListenerError(f"{path} cannot be read: {error}") from error

    def fpm_conf(
        self, invocation: FpmInvocation, directory: str | None, environment: Mapping[str, str]
    ) -> FpmConf:
        """As Sources."""
        candidates = config_files.layouts(self._real(invocation))
        layout = next((one for one in candidates if self.tree.exists(one.config)), candidates[0])
        return config.load(
            invocation.config or layout.config,
            TreeFiles(self.tree, directory),
            layout=layout,
            invocation=invocation,
            environment=environment,
        )

    def known_problems(self, conf: FpmConf) -> tuple[str, ...]:
        """As Sources; in a repository, other files come from the image."""
        if self.tree.is_image:
            return conf.problems
        patterns = [repr(pattern) for pattern in conf.includes if pattern in self.tree.outside]
        return tuple(
            problem
            for problem in conf.problems
            if not problem.endswith(_NO_POOL) and not any(one in problem for one in patterns)
        )

    def version(self, invocation: FpmInvocation) -> tuple[int, ...]:
        """As Sources."""
        return invocation.version or self._real(invocation).version

    def _real(self, invocation: FpmInvocation) -> FpmInvocation:
        """Return the invocation with the path of the binary after all links."""
        path = self._find(invocation.binary, _USUAL_PATH)
        if path is None or not self.tree.is_image:
            return invocation
        real = self.tree.real(path).removeprefix(self.tree.root.rstrip("/"))
        return invocation._replace(binary=real)

    def _find(self, name: str, path: str) -> str | None:
        if "/" in name:
            return name if self.tree.exists(name) else None
        if not self.tree.is_image:
            return None
        places = (f"{folder}/{name}" for folder in path.split(":") if folder.startswith("/"))
        return next((one for one in places if self.tree.exists(one)), None)

    def scripts(self, environ: Mapping[str, str]) -> Reader:
        """As Sources; a relative path is unknown."""

        def read(name: str) -> str | None:
            path = self._find(name, environ.get("PATH") or _USUAL_PATH)
            if path is None or not path.startswith("/"):
                return None
            try:
                text = self.tree.read_text(path, script_files.LONGEST, errors="surrogateescape")
            except OSError:
                return None
            return None if "\0" in text else text

        return read

    def uid(self, section: ConfigSection | None) -> int | None:
        """Return the number of the user in a section; None = none is named, or it is open."""
        line = section.lines.get("user") if section else None
        name = line.value if line else ""
        if not name or re.search(r"[%$]", name):
            return None
        return self._find_uid(name)


class TreeFiles:
    """As config_files.DiskFiles, for the files of a directory."""

    def __init__(self, tree: FileTree, directory: str | None) -> None:
        self._tree = tree
        self._directory = directory or "/"

    def read(self, path: str) -> str:
        """As DiskFiles."""
        return self._tree.read_text(self._whole(path), LONGEST, errors="surrogateescape")

    def glob(self, pattern: str) -> list[str]:
        """As DiskFiles."""
        return self._tree.glob(self._whole(pattern))

    def exists(self, path: str) -> bool:
        """As DiskFiles."""
        return self._tree.exists(self._whole(path))

    def _whole(self, path: str) -> str:
        return os.path.join(self._directory, path)  # noqa: PTH118 - texts
