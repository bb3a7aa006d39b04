"""A child that parses many configurations of supervisord, one after the other.

To import supervisor's parser takes longer than to parse a file, so one child serves a whole
repository.

Laws:
1. Each parse has a limit of time and memory. A child that exceeds one is killed, and its file is
   reported; the next file gets a new child.
2. The files come from a `FileTree`. Variables of the environment are unknown, and stay open.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from typing import Any

from fpm_listener.host.file_tree import FileTree
from fpm_listener.supervisor import config
from fpm_listener.supervisor.config import ConfUnreadable

#: Limits of one parse. A configuration of 5,000 processes needs 6 s and an answer of 5 MiB.
_LONGEST_S, _LARGEST = 10.0, 32 << 20


class ParserChild:
    """Reads configurations; a `with` statement ends the child."""

    def __init__(self, longest_s: float = _LONGEST_S) -> None:
        """longest_s: seconds for one file."""
        self._longest_s = longest_s
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ParserChild:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: str, text: str, tree: FileTree) -> dict[str, Any] | ConfUnreadable:
        """Return the result of config.describe; text: replaces that of the file."""
        request = json.dumps({"path": path, "text": text, "tree": tree.to_json()})
        try:
            child = self._child or self._start()
            answer = self._ask(child, request.encode() + b"\n")
        except OSError as error:
            self._end()
            return ConfUnreadable(why=f"{path}: cannot start a child to read it: {error.strerror}")
        if answer is None:
            self._end()
            why = f"it needs more than {self._longest_s:g} s or too much memory to read"
            return ConfUnreadable(why=f"{path}: {why}")
        found: dict[str, Any] = json.loads(answer)
        tree.outside.update(dict.fromkeys(found.pop("outside", ())))
        return config.unreadable(path, found) or found

    def _start(self) -> subprocess.Popen[bytes]:
        self._child = subprocess.Popen(
            config.child_command("fpm_listener.supervisor.parser_child"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # supervisor's messages quote values
            env={"PATH": os.defpath},
        )
        return self._child

    def _ask(self, child: subprocess.Popen[bytes], request: bytes) -> bytes | None:
        """Return the child's line; None if it does not answer in time, or ended."""
        deadline = time.monotonic() + self._longest_s
        if child.stdin is None or child.stdout is None:
            return None
        try:
            child.stdin.write(request)
            child.stdin.flush()
        except BrokenPipeError:
            return None
        found = bytearray()
        while not found.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or len(found) > _LARGEST:
                return None
            if select.select([child.stdout], [], [], left_s)[0]:
                part = os.read(child.stdout.fileno(), 1 << 16)
                if not part:
                    return None
                found += part
        return bytes(found)

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            with contextlib.suppress(OSError):
                child.communicate()


def main(_: object) -> int:
    """Answer each line on standard input with one line."""
    config.limit_memory()
    answers = os.dup(1)
    os.dup2(2, 1)  # supervisor may warn on stdout
    kept = dict(os.environ)
    with os.fdopen(answers, "w", encoding="utf-8") as out:
        for line in sys.stdin.buffer:
            os.environ.clear()
            os.environ.update(kept)
            request = json.loads(line)
            tree = FileTree(**request["tree"])
            answer = config.describe(request["path"], request["text"], tree)
            answer.pop("seen", None)
            print(json.dumps({**answer, "outside": list(tree.outside)}), file=out, flush=True)
    return 0
