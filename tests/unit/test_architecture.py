"""The import law: the core is pure, the rim imports downward, nothing knows the daemon."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "fpm_listener"

#: What the core may use: values and their arithmetic; no file, clock, thread, network or log.
PURE = {
    *("__future__", "bisect", "codecs", "collections", "collections.abc", "dataclasses"),
    *(
        "datetime",
        "enum",
        "fnmatch",
        "hashlib",
        "itertools",
        "json",
        "re",
        "shlex",
        "signal",
        "typing",
    ),
}

RECEIVERS = (
    *("webhook", "alertmanager", "slack", "discord", "teams", "google_chat", "telegram", "ntfy"),
    *("pagerduty", "feishu", "dingtalk", "wecom", "email"),
)

#: The rim, from the top down. A module imports only what stands below it.
FLOORS = (
    ("__main__",),
    ("daemon", "alerts_command", "leave_command", "check", "init_command", "status_command"),
    ("surroundings", "endpoint"),
    ("examiner", "healer", "poolwatch", "process_query"),
    ("checkup", "delivery", "outbox", "memory", "programs", "web", "textfile", "logtail", "guard"),
    ("held_addresses",),
    ("keeper", "control", "deposit", "quickstart", "obstacles", "former_masters", "logfile"),
    ("outbox_statements", "receiver_check"),
    ("reclaim", "start_deadline"),
    ("startsecs",),
    (
        "door",
        "relinker",
    ),
    ("relink_helper",),
    ("receivers.exec",),
    tuple(f"receivers.{kind}" for kind in RECEIVERS),
    ("receivers.body", "receivers.markdown", "receivers.command"),
    ("receivers.http", "receivers.text"),
    ("receivers.deadline", "receivers.secrets", "receivers.phrases", "receivers.stamp"),
    ("page", "terminal"),
    ("page_day", "page_programs"),
    ("markup",),
    (
        "database",
        "outbox_log",
        "supervisord_conf",
        "supervisor_rpc",
        "status",
        "metrics",
        "sockets",
        "oomkills",
        "fastcgi",
    ),
    ("worker", "inbox", "descriptors"),
    (
        "masters",
        "fpmfiles",
        "binding",
        "supervisord_path",
        "deaths",
        "rendezvous",
        "names",
        "becoming",
        "forkstorm",
    ),
    ("children", "lost_events"),
    (
        "listener",
        "ledger",
        "engine_settings",
        "clocks",
        "signals",
        "unreadable_events",
        "remarks",
        "engine_settings",
        "keeper_state",
        "settings",
        "stdout",
        "receivers",
        "connections",
    ),
    ("receiver_settings",),
    ("sections",),
    ("output",),
    ("internal_errors",),
    ("procfs", "machine", "metrics_pools", "regular_file", "state_directory", ""),
)


def name_of(path: Path) -> str:
    """Return `core.engine` for its file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """Return the modules that a file imports, those for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {module for module in modules if is_ours(module)}
            found |= known or {node.module}
    return found


def is_ours(module: str) -> bool:
    """Return whether it is a module of the package, not a name in one."""
    path = PACKAGE.parent / module.replace(".", "/")
    inside = module.startswith("fpm_listener.")
    return inside and (path.with_suffix(".py").is_file() or (path / "__init__.py").is_file())


def ours(path: Path) -> set[str]:
    """Return the modules of the package that a file imports."""
    prefix = "fpm_listener"
    return {
        module.removeprefix(prefix).removeprefix(".")
        for module in imports(path)
        if module.split(".")[0] == prefix
    }


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
CORE = {name: path for name, path in MODULES.items() if name.split(".")[0] == "core"}


def test_the_core_imports_only_the_core_and_values() -> None:
    """No module of the core can reach a file, a clock, a thread or the network."""
    strays = {
        (name, module)
        for name, path in CORE.items()
        for module in imports(path)
        if module not in PURE and not module.startswith("fpm_listener.core")
    }

    assert strays == set()


def test_the_core_has_no_circle() -> None:
    """The core's modules can be put in an order."""
    below = {name: {m for m in ours(path) if m in CORE} for name, path in CORE.items()}
    while below:
        free = {name for name, needs in below.items() if not needs & set(below)}
        assert free, f"a circle among {sorted(below)}"
        below = {name: needs for name, needs in below.items() if name not in free}


def test_the_rim_imports_downward() -> None:
    """No module imports one of its own floor or of a higher one; the core knows no rim."""
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    rim = {name: path for name, path in MODULES.items() if name not in CORE}

    assert set(rim) == set(floor), "a module without a floor"
    upward = {
        (name, module)
        for name, path in rim.items()
        for module in ours(path)
        if module not in CORE and floor[module] <= floor[name] and module != ""
    }
    assert upward == set()


def test_heavy_libraries_wait() -> None:
    """What an idle listener has no use for is imported by the one module that needs it."""
    heavy = {
        "requests": {"receivers.http", "receivers.deadline"},
        "prometheus_client": {"metrics", "metrics_pools", "web", "textfile"},
    }
    for library, allowed in heavy.items():
        users = {
            name
            for name, path in MODULES.items()
            if any(module.split(".")[0] == library for module in imports(path))
        }
        assert users <= allowed


def test_modules_are_rooms_not_halls() -> None:
    """No module is longer than about three hundred lines."""
    lines = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}

    assert {name: count for name, count in lines.items() if count > 440} == {}


def test_this_test_reads_the_right_python() -> None:
    """The names that the core may use are modules of the standard library."""
    assert {name.split(".")[0] for name in PURE} <= set(sys.stdlib_module_names)
