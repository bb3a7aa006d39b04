"""The import rules: packages import only downward, pure modules do no I/O, no circles.

The table of packages and its reasons are in CONTRIBUTING.md and docs/adr/. All imports count: those
under `TYPE_CHECKING` and those inside functions too.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "fpm_listener"

#: Modules at the top level that every package may import; they import nothing of ours.
BASE = {
    *(
        "durations",
        "histogram",
        "internal_errors",
        "regular_file",
        "untrusted_text",
        "values",
        "vocabulary",
    ),
    "__init__",
}

_GROUND = {"host", "supervisor", "settings"}
_MIDDLE = {"incidents", "phpfpm", *_GROUND}
#: What each package may import, apart from itself and the base modules.
MAY_IMPORT: dict[str, set[str]] = {
    "host": set(),
    "supervisor": {"host"},
    "settings": set(),
    "phpfpm": {"host"},
    "incidents": {"settings", "supervisor", "phpfpm", "host"},
    "guard": {"supervisor", "phpfpm", "host"},
    "doctor": {"settings", "supervisor", "phpfpm", "host"},
    "monitor": _MIDDLE,
    "delivery": {"incidents", "settings", "host"},
    "status": {"monitor", "delivery", *_MIDDLE},
    "web": {"status", "settings", "host"},
    "daemon": {"web", "status", "monitor", "delivery", "guard", *_MIDDLE},
    "replay": {"status", "monitor", *_MIDDLE},
    "cli": {"replay", "daemon", "doctor", "status", "monitor", "delivery", *_MIDDLE},
}

#: Modules that decide and do no I/O: no file, socket, thread, clock or log.
PURE = {
    *("durations", "histogram", "values", "vocabulary"),
    *(
        "host.address_holders",
        "host.addresses",
        "host.fallback_names",
        "host.fpm_titles",
        "host.holder_remedies",
        "host.masking",
        "host.memory_cgroups",
        "host.memory_sizes",
        "host.obstacles",
        "host.oom_kills",
        "host.operator_commands",
        "host.output_lines",
    ),
    "supervisor.spawn_error",
    *("supervisor.events", "supervisor.exit_log", "supervisor.process", "supervisor.protocol"),
    *("supervisor.ini_lines", "supervisor.ini_values", "supervisor.startsecs"),
    "supervisor.listen_options",
    *("supervisor.supervisorctl", "untrusted_text"),
    *(
        "phpfpm.capacity",
        "phpfpm.pool_capacity",
        "phpfpm.check_command",
        "phpfpm.command_line",
        "phpfpm.wrappers",
        "phpfpm.config",
        "phpfpm.ini_values",
        "phpfpm.inherited_sockets",
    ),
    *("phpfpm.listen_sockets", "phpfpm.log_facts", "phpfpm.log_parser"),
    *("phpfpm.log_scanner", "phpfpm.worker_requests", "phpfpm.status_entries"),
    *("phpfpm.status_page", "phpfpm.opcache", "phpfpm.guard_command", "phpfpm.guard_messages"),
    *("phpfpm.config_reader", "phpfpm.config_test", "phpfpm.line_splitter"),
    *("phpfpm.pool_life", "phpfpm.pool_probe", "phpfpm.shell_commands", "phpfpm.start_messages"),
    *("status.health", "status.health_report", "status.snapshot", "web.request_head"),
    *("phpfpm.directives", "phpfpm.pool_checks", "phpfpm.access_format"),
    *("settings.environment", "settings.mute_times", "settings.policy", "settings.receiver_types"),
    "guard.handover_messages",
    *("replay.answers", "replay.clock", "replay.fpm_programs", "replay.fpm_runs"),
    *("replay.engine_drive", "replay.incident_log", "replay.line_order", "replay.log_owners"),
    *("replay.reconstruction", "replay.supervisord_lines"),
    *("replay.clock_offset", "replay.envelopes", "replay.line_filter", "replay.line_kinds"),
    *("replay.log_values", "replay.rotated_names", "replay.stamps"),
    *("doctor.checked_config", "doctor.ini_edits", "doctor.rule", "doctor.rules"),
    *("doctor.baseline", "doctor.fingerprints", "doctor.selection", "doctor.suppressions"),
    *("doctor.report_github", "doctor.report_gitlab", "doctor.report_sarif"),
    *("doctor.texts", "doctor.explanations", "doctor.held_address"),
    *("doctor.rules_address", "doctor.rules_command", "doctor.rules_fpm_config"),
    "doctor.rules_capacity",
    *("doctor.rules_fpm_rejections", "doctor.package_defaults"),
    *("doctor.environment_values", "doctor.rejections", "doctor.unknown_keys"),
    *("doctor.rules_environment", "doctor.rules_logs", "doctor.rules_servers"),
    *("doctor.rules_listener", "doctor.rules_program", "doctor.rules_running"),
    *("doctor.rules_supervisord", "doctor.rules_execution"),
    *("doctor.config_kinds", "doctor.partial", "doctor.running_facts"),
    *("doctor.neighbours", "doctor.rules_foreground", "doctor.rules_neighbours"),
    *("doctor.rules_shells", "doctor.rules_workers", "doctor.nginx_conf"),
    *("doctor.machine", "doctor.guarded_command", "doctor.container_plan", "phpfpm.start_script"),
    *(
        "delivery.alert_queue",
        "delivery.alert_texts",
        "delivery.alertmanager_queue",
        "delivery.attempt",
    ),
    *("delivery.batching", "delivery.queued_alert"),
    *("delivery.rate_limiter", "delivery.receiver_counters", "delivery.receiver_failure"),
    "delivery.receiver_queue",
}
#: Every module of these packages is pure.
PURE_PACKAGES = ("incidents", "monitor")

#: What a pure module may use of the standard library: values and their arithmetic.
VALUES = {
    *("__future__", "ast", "bisect", "codecs", "collections", "collections.abc", "dataclasses"),
    *(
        "datetime",
        "difflib",
        "enum",
        "fnmatch",
        "functools",  # caches of pure functions
        "hashlib",
        "ipaddress",
        "itertools",
        "json",
        "re",
        "shlex",
        "signal",
        "textwrap",
        "typing",
        "urllib.parse",
    ),
}

#: Lines of the longest module.
LONGEST = 300


def name_of(path: Path) -> str:
    """Return `monitor.engine` for its file, `monitor.__init__` for the package's."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports(path: Path) -> frozenset[str]:
    """Return every module that a file imports, with `fpm_listener.` before ours."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            known = {name for name in whole if name.removeprefix("fpm_listener.") in MODULES}
            found |= known or {node.module}
    return frozenset(found)


def ours(name: str) -> set[str]:
    """Return the modules of the package that a module imports."""
    found = {
        m.removeprefix("fpm_listener").removeprefix(".")
        for m in imports(MODULES[name])
        if m.split(".")[0] == "fpm_listener"
    }
    return {m if m in MODULES else f"{m}.__init__".removeprefix(".") for m in found}


def package_of(name: str) -> str:
    """Return the package of a module, the empty text for the top level."""
    return name.split(".", maxsplit=1)[0] if "." in name else ""


def is_pure(name: str) -> bool:
    """Return whether a module is listed as one that does no I/O."""
    return name in PURE or package_of(name) in PURE_PACKAGES


def test_packages_import_only_what_the_table_allows() -> None:
    """A module imports its own package, base modules, and what the table names."""
    wrong = {
        f"{name} -> {module}"
        for name in MODULES
        if package_of(name)
        for module in ours(name)
        if module not in BASE and module not in _own_and_allowed(package_of(name))
    }

    assert wrong == set()


def _own_and_allowed(package: str) -> set[str]:
    return {m for m in MODULES if package_of(m) in {package, *MAY_IMPORT[package]}}


def test_every_package_is_in_the_table() -> None:
    """The table names each package, and nothing else."""
    assert {package_of(name) for name in MODULES} - {""} == set(MAY_IMPORT)


def test_base_modules_import_nothing_of_ours() -> None:
    """A base module imports base modules only; there are at most eight modules at the top level."""
    top = {name for name in MODULES if not package_of(name)}

    assert top == {*BASE, "__main__"}
    assert len(top - {"__init__"}) <= 8
    assert {m for name in BASE for m in ours(name)} <= BASE


def test_no_circle_between_modules() -> None:
    """The modules can be put in an order in which each imports only earlier ones."""
    below = {name: ours(name) - {name} for name in MODULES}
    while below:
        free = {name for name, needs in below.items() if not needs & set(below)}
        assert free, f"a circle among {sorted(below)}"
        below = {name: needs for name, needs in below.items() if name not in free}


@pytest.mark.parametrize("name", [name for name in MODULES if is_pure(name)])
def test_pure_modules_do_no_io(name: str) -> None:
    """A pure module imports values of the standard library and pure modules only."""
    strays = {
        module
        for module in imports(MODULES[name])
        if module not in VALUES
        and not (
            module.startswith("fpm_listener.") and is_pure(module.removeprefix("fpm_listener."))
        )
    }

    assert strays == set()


def test_pure_list_names_modules_that_exist() -> None:
    """No name in the list is out of date."""
    assert set(MODULES) >= PURE
    assert {name.split(".")[0] for name in VALUES} <= set(sys.stdlib_module_names)


def test_heavy_libraries_are_imported_where_they_are_needed() -> None:
    """The listener without receivers loads no requests, and the guard nothing heavy."""
    heavy = {
        "requests": {"delivery.receivers.http", "delivery.receivers.deadline"},
        "prometheus_client": {
            "status.metrics",
            "status.metrics_library",
            "status.registry",
            "status.textfile",
            "web.application",
            "web.server",
        },
    }
    for library, allowed in heavy.items():
        users = {
            n for n, path in MODULES.items() if library in {m.split(".")[0] for m in imports(path)}
        }

        assert users <= allowed


def test_only_status_and_delivery_compose_sentences() -> None:
    """An incident is facts; its texts are added where it is sent or shown."""
    kinds = ("text", "faults", "live")
    modules = ("language", *(f"{kind}_{language}" for kind in kinds for language in ("en", "zh")))
    texts = {f"incidents.{module}" for module in modules}
    users = {package_of(name) for name in set(MODULES) - texts if ours(name) & texts}

    assert users == {"status", "delivery"}


def test_modules_are_short() -> None:
    """A module has one subject, so it is short."""
    lines = {
        name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()
    }

    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_every_package_says_what_it_is_for(package: str) -> None:
    """A package's `__init__` has a docstring of three to six lines, and nothing else."""
    tree = ast.parse((PACKAGE / package / "__init__.py").read_text(encoding="utf-8"))
    doc = ast.get_docstring(tree) or ""

    assert 3 <= len(doc.splitlines()) <= 6
    assert len(tree.body) == 1
