"""Measures how many small faults in the pure modules the unit tests notice: `make mutants`.

A seed chooses the mutants. Nothing is written into the checkout: each mutant lives in the memory of
one forked process. That process runs the unit tests that reach the changed statement, the shortest
first, until one fails. A test that takes far more CPU time than without the mutant has noticed it.

    SEED=   chooses other mutants (default: 11)
    COUNT=  how many (default: 300)
    ONLY=   only from paths that contain this text, for example delivery/receiver_queue.py

Exit status: 0 = the goal is reached, 1 = it is not.
"""

from __future__ import annotations

import ast
import builtins
import gc
import importlib.abc
import importlib.util
import os
import pickle
import random
import resource
import signal
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.mutations import Mutant, mutants, mutated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from types import ModuleType

_T = TypeVar("_T")
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fpm_listener"
#: The pure modules, below the package.
PURE = (
    *("incidents/*.py", "monitor/*.py", "doctor/rule*.py", "doctor/ini_edits.py"),
    *("doctor/checked_config.py", "supervisor/events.py", "supervisor/exit_log.py"),
    *("supervisor/process.py", "supervisor/protocol.py", "supervisor/ini_lines.py"),
    *("supervisor/ini_values.py", "supervisor/startsecs.py", "supervisor/supervisorctl.py"),
    *("phpfpm/command_line.py", "phpfpm/config.py", "phpfpm/config_test.py"),
    *("phpfpm/ini_values.py", "phpfpm/inherited_sockets.py", "phpfpm/listen_sockets.py"),
    *("phpfpm/log_facts.py", "phpfpm/log_parser.py", "phpfpm/status_page.py"),
    "phpfpm/log_scanner.py",
    *("phpfpm/config_reader.py", "phpfpm/shell_commands.py"),
    *("phpfpm/guard_command.py", "phpfpm/guard_messages.py", "phpfpm/line_splitter.py"),
    *("settings/mute_times.py", "settings/policy.py", "settings/receiver_types.py"),
    *("delivery/*_queue.py", "delivery/attempt.py", "delivery/batching.py"),
    "delivery/queued_alert.py",
    *("delivery/rate_limiter.py", "delivery/receiver_counters.py", "delivery/receiver_failure.py"),
    *("host/addresses.py", "host/address_holders.py", "host/holder_remedies.py"),
    *("host/masking.py", "host/oom_kills.py", "guard/handover_messages.py"),
    *("durations.py", "histogram.py", "untrusted_text.py", "values.py", "vocabulary.py"),
)
TESTS = ROOT / "tests" / "unit"
#: Mutants that change nothing that can be observed: `name  # reason` a line. They are not counted.
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.txt"
REPORT = ROOT / "build" / "mutants.txt"
#: The part of the mutants that the tests must notice.
GOAL = 0.90

#: CPU seconds that a test may take: as many times its usual time, and some more.
_TIMES, _MORE_S = 10, 3.0
#: Bytes that a test process may take: a mutant can make a list grow without end.
_MEMORY = 4 << 30
#: Files of tests that are tried before all of them.
_NEAR = 3
_SURVIVED, _KILLED, _NOT_PATCHED = 0, 1, 3
#: Options of pytest: no plugin writes a file or sets an alarm.
_OPTIONS = (
    *("-q", "-s", "-p", "no:cacheprovider", "-p", "no:faulthandler", "-o", "timeout=0"),
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis is imported before
)


class Cost(NamedTuple):
    """What one test does without a mutant."""

    cpu_s: float
    reached: frozenset[tuple[str, int, int]]  #: path, line and column of statements


class Baseline(NamedTuple):
    """All tests without a mutant."""

    tests: dict[str, Cost]  #: by node id
    at_import: frozenset[tuple[str, int, int]]  #: statements that run before the first test


def main() -> int:
    """Run the mutants of a seed and return the exit status."""
    seed, count = int(os.environ.get("SEED") or 11), int(os.environ.get("COUNT") or 300)
    started = time.monotonic()
    os.chdir(ROOT)
    settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    sources = {
        path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8")
        for pattern in PURE
        for path in sorted(PACKAGE.glob(pattern))
    }
    everything = [mutant for path, text in sources.items() for mutant in mutants(path, text)]
    equivalent = _equivalent()
    for name in sorted(equivalent - {mutant.name for mutant in everything}):
        _say(f"mutants: {EQUIVALENT.name} names a mutant that no longer exists: {name}")
    only = os.environ.get("ONLY") or ""
    counted = [m for m in everything if m.name not in equivalent and only in m.path]
    chosen = random.Random(seed).sample(counted, min(count, len(counted)))  # noqa: S311 - no secret
    _say(f"mutants: {len(chosen)} of {len(counted)}, seed {seed}; runs the tests without a mutant")
    baseline = _baseline(sources)
    _say(f"mutants: {len(baseline.tests)} tests, {time.monotonic() - started:.0f} s")
    results = _run(chosen, sources, baseline)
    text = _report(chosen, results, baseline, seed)
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(text, encoding="utf-8")
    _say(text.rstrip())
    killed = sum(result != _SURVIVED for result in results)
    _say(f"mutants: {time.monotonic() - started:.0f} s; the list is in {REPORT}")
    return 0 if killed >= GOAL * len(chosen) else 1


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _equivalent() -> set[str]:
    lines = EQUIVALENT.read_text(encoding="utf-8").splitlines() if EQUIVALENT.exists() else ()
    return {line.rpartition("  # ")[0] for line in lines if line and not line.startswith("#")}


def _place(mutant: Mutant) -> tuple[str, int, int] | None:
    """Return where the changed statement is; None outside of functions."""
    return (mutant.path, *mutant.statement) if mutant.statement else None


def _report(chosen: list[Mutant], results: list[int], baseline: Baseline, seed: int) -> str:
    killed = sum(result != _SURVIVED for result in results)
    survivors = [m for m, result in zip(chosen, results, strict=True) if result == _SURVIVED]
    reached = set().union(*(cost.reached for cost in baseline.tests.values())) | baseline.at_import
    lines = []
    for mutant in sorted(survivors):
        place = _place(mutant)
        note = "  (no test reaches it)" if place and place not in reached else ""
        where = f"{PACKAGE.name}/{mutant.path}:{mutant.line}"
        lines += [f"{where}{note}", f"    {mutant.name}", f"  - {mutant.before}"]
        lines += [f"  + {mutant.after}", ""]
    of_module = Counter(mutant.path for mutant in survivors)
    lines += [f"{number:4} survive in {path}" for path, number in of_module.most_common()]
    timeouts = sum(result < 0 for result in results)
    lines.append(
        f"mutants: seed {seed}: {killed} of {len(chosen)} noticed"
        f" ({killed / max(1, len(chosen)):.1%}; {timeouts} by time), goal {GOAL:.0%}"
    )
    return "\n".join(lines) + "\n"


# -- without a mutant ------------------------------------------------------------------------------


def _baseline(sources: dict[str, str]) -> Baseline:
    """Run all tests once, on all cores, and note which statements each reaches."""
    parts = os.cpu_count() or 1
    children = [_Child(partial(_measure, sources, part, parts)) for part in range(parts)]
    found = [child.value() for child in children]
    tests = {name: cost for part in found for name, cost in part.tests.items()}
    return Baseline(tests, found[0].at_import)


def _measure(sources: dict[str, str], part: int, parts: int) -> Baseline:
    """Run every n-th test with modules that note each statement that runs."""
    reached: set[tuple[str, int, int]] = set()
    builtins.__dict__["__reached__"] = reached.add
    trees = {}
    for path, source in sources.items():
        trees[path] = ast.parse(source)
        _Notes(path).visit(trees[path])
        ast.fix_missing_locations(trees[path])
    sys.meta_path.insert(0, _Finder(trees))
    tests: dict[str, Cost] = {}
    at_import: set[tuple[str, int, int]] = set()

    class Plugin(_StopAtFailure):
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            at_import.update(reached)
            items = session.items[part::parts]
            for item, following in _with_next(items):
                reached.clear()
                before = time.process_time()
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                tests[item.nodeid] = Cost(time.process_time() - before, frozenset(reached))
            return True

        def stop(self, why: str) -> None:
            print(f"mutants: the tests fail without a mutant:\n{why}", file=sys.__stderr__)
            os._exit(_KILLED)

    _pytest(Plugin())
    return Baseline(tests, frozenset(at_import))


class _Notes(ast.NodeTransformer):
    """Puts a call before each statement of a function."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._inside = False

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        outside, self._inside = self._inside, True
        node.body = self._noted(node.body)
        self._inside = outside
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Go on below; statements in functions get their calls."""
        for field, value in ast.iter_fields(node):
            is_body = isinstance(value, list) and value and isinstance(value[0], ast.stmt)
            if is_body and self._inside:
                setattr(node, field, self._noted(value))
                continue
            for child in value if isinstance(value, list) else (value,):
                if isinstance(child, ast.AST):
                    self.visit(child)
        return node

    def _noted(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        noted: list[ast.stmt] = []
        for statement in statements:
            parts = self._path, statement.lineno, statement.col_offset
            place = ast.Tuple([ast.Constant(part) for part in parts], ast.Load())
            noted.append(ast.Expr(ast.Call(ast.Name("__reached__", ast.Load()), [place], [])))
            ast.copy_location(noted[-1], statement)
            noted.append(self.visit(statement))
        return noted


# -- with mutants ----------------------------------------------------------------------------------


def _run(chosen: list[Mutant], sources: dict[str, str], baseline: Baseline) -> list[int]:
    """Return the result of each mutant: the exit status of its process, or minus its signal."""
    reached_by: dict[tuple[str, int, int], list[str]] = {}
    shortest_first = sorted(baseline.tests, key=lambda name: baseline.tests[name].cpu_s)
    for name in shortest_first:
        for place in baseline.tests[name].reached:
            reached_by.setdefault(place, []).append(name)
    results: dict[int, int] = {}
    patched: dict[int, list[str]] = {}
    for number, mutant in enumerate(chosen):
        changed = _place(mutant)
        if changed and changed not in baseline.at_import:
            if changed in reached_by:
                patched[number] = reached_by[changed]
            else:
                results[number] = _SURVIVED
    results |= _on_all_cores(
        list(patched), lambda todo: _patch_each(chosen, sources, patched, todo, baseline)
    )
    rest = [n for n in range(len(chosen)) if results.get(n, _NOT_PATCHED) == _NOT_PATCHED]

    def import_each(todo: Iterator[int]) -> dict[int, int]:
        done = {}
        for number in todo:
            mutant = chosen[number]
            source = sources[mutant.path]
            near = _near(mutant, baseline)
            done[number] = _fork(partial(_import_mutant, mutant, source, near, baseline))
            if done[number] == _SURVIVED:
                everything = [str(TESTS)]
                done[number] = _fork(partial(_import_mutant, mutant, source, everything, baseline))
        return done

    return [value for _, value in sorted((results | _on_all_cores(rest, import_each)).items())]


def _on_all_cores(
    numbers: list[int], work: Callable[[Iterator[int]], dict[int, int]]
) -> dict[int, int]:
    """Share numbers among processes, one for each core; each takes the next one when it is free."""
    reader, writer = os.pipe()
    os.write(writer, b"".join(number.to_bytes(4, "big") for number in numbers))
    os.close(writer)

    def todo() -> Iterator[int]:
        while word := os.read(reader, 4):
            yield int.from_bytes(word, "big")

    children = [_Child(lambda: work(todo())) for _ in range(os.cpu_count() or 1)]
    os.close(reader)
    return {number: result for child in children for number, result in child.value().items()}


def _patch_each(
    chosen: list[Mutant],
    sources: dict[str, str],
    tests: dict[int, list[str]],
    todo: Iterator[int],
    baseline: Baseline,
) -> dict[int, int]:
    """Import all tests once, then give changed code to the functions of one mutant a process."""
    done: dict[int, int] = {}

    class Plugin:
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            functions = _live_functions()
            items = {item.nodeid: item for item in session.items}
            gc.freeze()
            for number in todo:
                chosen_items = [items[name] for name in tests[number]]
                mutant = chosen[number]
                source = sources[mutant.path]
                run = partial(_run_items, session, chosen_items, baseline)
                done[number] = _fork(partial(_run_patched, functions, mutant, source, run))
            return True

    _pytest(Plugin())
    return done


_Key = tuple[str, str, int]


def _key(code: CodeType) -> _Key:
    return code.co_filename, code.co_name, code.co_firstlineno


def _live_functions() -> dict[_Key, list[FunctionType]]:
    functions: dict[_Key, list[FunctionType]] = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType:
            functions.setdefault(_key(thing.__code__), []).append(thing)
    return functions


def _patch(functions: dict[_Key, list[FunctionType]], mutant: Mutant, source: str) -> bool:
    """Give the functions that exist the mutant's code; return whether that was possible."""
    path = str(PACKAGE / mutant.path)
    old = list(_codes(compile(source, path, "exec", dont_inherit=True)))
    new = list(_codes(compile(mutated(source, mutant.number), path, "exec", dont_inherit=True)))
    if len(old) != len(new) or len({_key(code) for code in old}) != len(old):
        return False
    for before, after in zip(old, new, strict=True):
        if before == after:
            continue
        for function in functions.get(_key(before), ()):
            if function.__code__.co_freevars != after.co_freevars:
                return False
            function.__code__ = after
    return True


def _run_patched(
    functions: dict[_Key, list[FunctionType]], mutant: Mutant, source: str, run: Callable[[], int]
) -> int:
    return run() if _patch(functions, mutant, source) else _NOT_PATCHED


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _near(mutant: Mutant, baseline: Baseline) -> list[str]:
    """Return the files of tests that most likely notice a mutant: collecting all takes seconds."""
    files: Counter[str] = Counter()
    for name, cost in baseline.tests.items():
        files[name.partition("::")[0]] += any(place[0] == mutant.path for place in cost.reached)
    stem = Path(mutant.path).stem
    return sorted(files, key=lambda file: (stem not in file, -files[file]))[:_NEAR]


def _import_mutant(mutant: Mutant, source: str, files: Sequence[str], baseline: Baseline) -> int:
    """Import the tests of some files with the mutant, and run them, the shortest first."""
    _limit(30.0)
    sys.meta_path.insert(0, _Finder({mutant.path: mutated(source, mutant.number)}))
    results = [_KILLED]  # a mutant that cannot be imported

    class Plugin(_StopAtFailure):
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            items = sorted(session.items, key=lambda item: _cpu_s(item, baseline))
            results[0] = _run_items(session, items, baseline)
            return True

    _pytest(Plugin(), files)
    return results[0]


def _cpu_s(item: pytest.Item, baseline: Baseline) -> float:
    """Return what a test usually takes; a mutant can give it another name."""
    cost = baseline.tests.get(item.nodeid)
    return cost.cpu_s if cost else 1.0


def _run_items(session: pytest.Session, items: list[pytest.Item], baseline: Baseline) -> int:
    plugin = _StopAtFailure()
    session.config.pluginmanager.register(plugin)
    for item, following in _with_next(items):
        _limit(_cpu_s(item, baseline) * _TIMES + _MORE_S)
        item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
    return _SURVIVED


def _limit(cpu_s: float) -> None:
    """End this process by a signal when it has taken that much CPU time from now on."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)


class _StopAtFailure:
    """Ends the process at the first test that fails."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.stop(f"{report.nodeid}\n{report.longreprtext}")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.stop(report.longreprtext)

    def stop(self, why: str) -> None:
        del why
        os._exit(_KILLED)


# -- processes -------------------------------------------------------------------------------------


def _module(path: str) -> str:
    parts = path.removesuffix(".py").removesuffix("/__init__").split("/")
    return ".".join((PACKAGE.name, *parts))


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports pure modules from trees in memory."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self._trees = {_module(path): (path, tree) for path, tree in trees.items()}

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module whose tree is here."""
        if name not in self._trees:
            return None
        path = PACKAGE / self._trees[name][0]
        folders = [str(path.parent)] if path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            name, path, loader=self, submodule_search_locations=folders
        )

    def exec_module(self, module: ModuleType) -> None:
        """Run the tree."""
        path, tree = self._trees[module.__name__]
        exec(compile(tree, str(PACKAGE / path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102


class _Child(Generic[_T]):
    """A process that works out one value."""

    def __init__(self, work: Callable[[], _T]) -> None:
        self._reader, writer = os.pipe()
        sys.stdout.flush()
        self._pid = os.fork()
        if self._pid:
            os.close(writer)
            return
        with os.fdopen(writer, "wb") as pipe:
            pickle.dump(work(), pipe)
        os._exit(0)

    def value(self) -> _T:
        """Return the value, or exit when there is none."""
        with os.fdopen(self._reader, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self._pid, 0)
        if not data:
            sys.exit("mutants: a process ended without a result")
        value: _T = pickle.loads(data)  # noqa: S301 - from our own child
        return value


def _fork(work: Callable[[], int]) -> int:
    """Run something in a process of its own and return how it ended."""
    pid = os.fork()
    if not pid:
        status = _KILLED
        try:
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _pytest(plugin: object, files: Sequence[str] = (str(TESTS),)) -> None:
    """Collect tests in this process, silently; the plugin runs them."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    pytest.main([*_OPTIONS, *files], plugins=[plugin])


def _with_next(items: Sequence[pytest.Item]) -> Iterable[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, (*items[1:], None), strict=True)


if __name__ == "__main__":
    os.nice(10)
    sys.exit(main())
