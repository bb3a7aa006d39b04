"""The guard with a fault: `faulty_guard.py MODULE:NAME ARGUMENTS...`; NAME raises an error."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

from fpm_listener.__main__ import main
from fpm_listener.guard import startsecs


def fail(*_: object, **__: object) -> NoReturn:
    """Raise an unexpected error."""
    raise LookupError("a secret\nsecond line")


def break_function(place: str) -> None:
    """Replace a function or method by one that raises."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    owner: object = importlib.import_module(module)
    for word in owners:
        owner = getattr(owner, word)
    getattr(owner, name)  # it must exist
    setattr(owner, name, fail)


if __name__ == "__main__":
    # Without a startsecs the guard ends after half a second: too early on a busy machine.
    startsecs.longest_wait_s = lambda *_: 30.0
    break_function(sys.argv[1])
    sys.exit(main(["guard", *sys.argv[2:]]))
