"""Loads prometheus_client without what the listener does not use: its servers and its clients.

prometheus_client.exposition renders the metrics. For HTTP servers, TLS and the Pushgateway, which
the listener does not use, it imports http.server, urllib.request and ssl: 9 MiB. Here, this one
module gets empty classes for them. No other module is affected: an import of ssl elsewhere, in any
thread and at the same moment, gets the real ssl.

If the module cannot be loaded in this way, it is loaded as usual.
"""

from __future__ import annotations

import builtins
import sys
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec

_MODULE = "prometheus_client.exposition"
#: What it imports, and needs only in functions that the listener does not call (0.16 to 0.26).
_UNUSED = frozenset(
    {
        *("http.server", "socketserver", "ssl", "urllib.error", "urllib.request"),
        "wsgiref.simple_server",
    }
)


def load() -> None:
    """Load prometheus_client, if it is not loaded. Raises ImportError."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        import prometheus_client  # noqa: F401, PLC0415 - its name is in sys.modules now
    finally:
        sys.meta_path.remove(finder)


class _Finder:
    """Finds the one module as Python does, with another loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the place of the module; None = another finder has to find it."""
        spec = PathFinder.find_spec(name, path, target) if name == _MODULE else None
        if spec is not None and spec.loader is not None:
            spec.loader = cast("Loader", _Loader(spec.loader))  # importlib.abc needs 1 MiB
        return spec


class _Loader:
    """Runs the code of the module with another `import`."""

    def __init__(self, usual: Loader) -> None:
        """`usual`: loads files, or loads from a zip file."""
        self._usual = usual

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - of any type
        return getattr(self._usual, name)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        # Documented for exec(): a dictionary under this key has the built-in names of the code.
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": _import}
        try:
            self._usual.exec_module(module)
        except Exception:  # noqa: BLE001 - a version that uses more of them
            vars(module)["__builtins__"] = builtins
            self._usual.exec_module(module)


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002 - as __import__ has it
    locals: Mapping[str, object] | None = None,  # noqa: A002 - the same
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> ModuleType:
    if level == 0 and name in _UNUSED:
        return _Empty(name)
    return __import__(name, globals, locals, fromlist, level)


class _Empty(ModuleType):
    """A module in which every name is a class without contents."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
