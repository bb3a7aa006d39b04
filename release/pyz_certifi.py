"""Where the certificates of public authorities are: it becomes `certifi/core.py` of the zip file.

certifi's own module copies them from a zip file to a temporary file. That fails on a read-only file
system, and the temporary file can be deleted while the listener runs.
"""

from __future__ import annotations

import os
import pkgutil
from functools import cache

_NAME = "cacert.pem"


@cache
def where() -> str:
    """Return a path of the certificates, which is valid as long as this process runs."""
    beside = os.path.join(os.path.dirname(__file__), _NAME)
    if os.path.isfile(beside):  # after `unpack`
        return beside
    descriptor = _unnamed_file()
    with open(descriptor, "wb", closefd=False) as file:
        file.write(contents().encode())
    return f"/proc/self/fd/{descriptor}"


def _unnamed_file() -> int:
    """Return the descriptor of a file that has no name, so nobody can delete it."""
    try:
        return os.memfd_create(_NAME)
    except (AttributeError, OSError):  # a Python for old systems, or a sandbox
        import tempfile

        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
        return descriptor


def contents() -> str:
    """Return the certificates."""
    return (pkgutil.get_data("certifi", _NAME) or b"").decode()
