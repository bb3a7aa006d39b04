"""Lists the small faults ("mutants") that can be put into a Python source, and makes them.

A mutant changes one place: a comparison, `and`/`or`, `not`, a condition, `+`/`-`, a constant, or a
statement. Strings are changed only if they are one ASCII word: these belong to closed sets and
formats; sentences do not. Annotations, docstrings, protocols and dataclass options are left alone.
"""

from __future__ import annotations

import ast
import copy
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What each operator becomes.
_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
}
#: Values that `+` joins: `-` would only raise TypeError.
_JOINED = (ast.JoinedStr, ast.Tuple, ast.List, ast.ListComp)
#: Fields that hold types or declarations.
_SKIPPED_FIELDS = {"annotation", "returns", "type_comment", "type_params", "format_spec"}
#: Characters shown on each side of a change.
_CONTEXT = 40


class Mutant(NamedTuple):
    """One change of one place."""

    path: str  #: of the module, below the package: delivery/receiver_queue.py
    name: str  #: unique and without line numbers: it survives changes elsewhere in the file
    number: int  #: its place in the list of the module's mutants
    line: int
    statement: tuple[int, int] | None  #: line and column of the statement; None outside functions
    before: str
    after: str


class _Change(NamedTuple):
    """A new node in the place of an old one."""

    owner: ast.AST
    field: str
    place: int | None
    new: ast.AST
    statement: ast.stmt
    function: ast.stmt | None
    qualname: str

    def swap(self, node: ast.AST) -> ast.AST:
        """Put a node in the place, and return the one that was there."""
        if self.place is None:
            old = getattr(self.owner, self.field)
            setattr(self.owner, self.field, node)
        else:
            nodes = getattr(self.owner, self.field)
            old, nodes[self.place] = nodes[self.place], node
        return old  # type: ignore[no-any-return] # the fields of ast hold nodes


def mutants(path: str, source: str) -> list[Mutant]:
    """Return all mutants of a module, in the order of its lines."""
    found: list[Mutant] = []
    names: Counter[str] = Counter()
    for number, change in enumerate(_Walk(ast.parse(source)).changes):
        before = _header(change.statement)
        old = change.swap(change.new)
        after = "pass" if old is change.statement else _header(change.statement)
        if isinstance(change.new, ast.Return):
            after = "return None"
        change.swap(old)
        before, after = _shortened(before, after)
        name = f"{path} {change.qualname}: {before} -> {after}"
        names[name] += 1
        if names[name] > 1:
            name += f" ({names[name]})"
        place = change.statement if change.function else None
        found.append(
            Mutant(
                path,
                name,
                number,
                getattr(old, "lineno", change.statement.lineno),
                (place.lineno, place.col_offset) if place else None,
                before,
                after,
            )
        )
    return found


def mutated(source: str, number: int) -> ast.Module:
    """Return the tree of a module with one of its mutants made."""
    tree = ast.parse(source)
    change = _Walk(tree).changes[number]
    old = change.swap(change.new)
    for node in ast.walk(change.new):
        if isinstance(node, ast.expr | ast.stmt) and not hasattr(node, "lineno"):
            ast.copy_location(node, old)
    return ast.fix_missing_locations(tree)


class _Walk:
    """Goes through a tree and collects all changes."""

    def __init__(self, tree: ast.Module) -> None:
        self.changes: list[_Change] = []
        self._names: list[str] = []
        self._function: ast.stmt | None = None
        self._statement: ast.stmt = ast.Pass()
        self._children(tree)

    def _children(self, node: ast.AST) -> None:
        for field, value in ast.iter_fields(node):
            if field in _SKIPPED_FIELDS:
                continue
            if field == "decorator_list" and isinstance(node, ast.ClassDef):
                continue
            if isinstance(value, list):
                for index, child in enumerate(value):
                    if isinstance(child, ast.AST):
                        self._visit(node, field, index, child)
            elif isinstance(value, ast.AST):
                self._visit(node, field, None, value)

    def _visit(self, owner: ast.AST, field: str, index: int | None, node: ast.AST) -> None:
        if _left_alone(node):
            return
        outside = self._statement, self._function
        named = isinstance(node, ast.ClassDef | ast.FunctionDef)
        if isinstance(node, ast.stmt):
            self._statement = node
        for new in _replacements(owner, field, node):
            change = _Change(
                *(owner, field, index, new, self._statement, self._function),
                ".".join(self._names) or "<module>",
            )
            self.changes.append(change)
        if named:
            self._names.append(node.name)  # type: ignore[attr-defined] # both have one
        if isinstance(node, ast.FunctionDef):
            for place, child in enumerate(node.decorator_list):
                self._visit(node, "decorator_list", place, child)
            self._children(node.args)
            self._function = node  # decorators and defaults run outside of it
            for place, inner in enumerate(node.body):
                self._visit(node, "body", place, inner)
        else:
            self._children(node)
        if named:
            self._names.pop()
        self._statement, self._function = outside


def _left_alone(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TYPE_CHECKING":
        return True
    if isinstance(node, ast.If):
        return "TYPE_CHECKING" in ast.unparse(node.test)
    if isinstance(node, ast.ClassDef):
        return any(ast.unparse(base) in {"Protocol", "typing.Protocol"} for base in node.bases)
    if isinstance(node, ast.Expr):
        called = isinstance(node.value, ast.Call) and ast.unparse(node.value.func)
        return isinstance(node.value, ast.Constant) or called == "assert_never"
    return isinstance(node, ast.Import | ast.ImportFrom | ast.Global | ast.Nonlocal)


def _replacements(owner: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """Yield what may stand in a node's place."""
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            new = copy.deepcopy(node)
            new.ops[index] = _SWAPS[type(operator)]()  # type: ignore[call-overload] # no arguments
            yield new
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(_SWAPS[type(node.op)](), node.values)  # type: ignore[arg-type] # as above
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp):
        is_number = not _is_joined(node.left) and not _is_joined(node.right)
        if is_number and type(node.op) in _SWAPS:
            yield ast.BinOp(node.left, _SWAPS[type(node.op)](), node.right)  # type: ignore[arg-type]
    elif isinstance(node, ast.Constant):
        yield from _constants(owner, node)
    elif isinstance(node, ast.stmt):
        yield from _statements(node)
    is_condition = field in {"test", "guard"} or (
        field == "ifs" and isinstance(owner, ast.comprehension)
    )
    if is_condition and not isinstance(node, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
        yield ast.UnaryOp(ast.Not(), node)  # type: ignore[arg-type] # a condition is an expression


def _constants(owner: ast.AST, node: ast.Constant) -> Iterator[ast.AST]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and re.fullmatch(r"[!-~]*", value):
        yield from () if isinstance(owner, ast.JoinedStr) else (ast.Constant(value + "X"),)


def _statements(node: ast.stmt) -> Iterator[ast.AST]:
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    stored = isinstance(target, ast.Attribute | ast.Subscript) and getattr(node, "value", None)
    is_action = isinstance(
        node, ast.Expr | ast.AugAssign | ast.Raise | ast.Delete | ast.Continue | ast.Break
    )
    if is_action or stored:
        yield ast.Pass()
    elif isinstance(node, ast.Return) and node.value is not None:
        is_none = isinstance(node.value, ast.Constant) and node.value.value is None
        if not is_none:
            yield ast.Return(None)


def _is_joined(node: ast.expr) -> bool:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text or isinstance(node, _JOINED)


def _header(statement: ast.stmt) -> str:
    """Return a statement as one line, without the statements in it."""
    bare = copy.copy(statement)
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        if isinstance(getattr(bare, field, None), list):
            setattr(bare, field, [])
    return re.sub(r"\s+", " ", ast.unparse(bare))


def _shortened(before: str, after: str) -> tuple[str, str]:
    """Return both texts without what they have in common far from the change."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return _cut(before, start, end), _cut(after, start, end)


def _cut(text: str, start: int, end: int) -> str:
    first, last = max(0, start - _CONTEXT), min(len(text), len(text) - end + _CONTEXT)
    return ("…" if first else "") + text[first:last] + ("…" if last < len(text) else "")
