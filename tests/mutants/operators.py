"""The defects that a source can get: comparisons, arithmetic, axes, constants, what is dropped, swapped or turned round."""

from __future__ import annotations

import ast
from typing import Any

from .mutant import Mutant

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="),
    ast.LtE: ("<=", "<"),
    ast.Gt: (">", ">="),
    ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}
ARITHMETIC: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "+"),
    ast.FloorDiv: ("//", "*"),
    ast.Div: ("/", "*"),
    ast.Mod: ("%", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
OPPOSITES = {
    "min": "max",
    "any": "all",
    "minimum": "maximum",
    "argmin": "argmax",
    "floor": "ceil",
    "zeros": "ones",
    "amin": "amax",
}
NAMES = OPPOSITES | {new: old for old, new in OPPOSITES.items()}
AXES = {"axis", "dim", "dims"}
SYMMETRIC = {"isinstance", "cast", "min", "max", "minimum", "maximum", "equal", "logical_and", "logical_or", "print"}
SHOWN = {"__repr__", "__str__", "__rich__"}


def mutants_of(file: str, source: str) -> list[Mutant]:
    """Return every mutant of a source, in the order of the syntax tree."""
    finder = Finder(file, source)
    finder.visit(ast.parse(source))
    return finder.mutants


def called(node: ast.Call) -> str:
    """Return the last part of a called name, or nothing."""
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class Finder(ast.NodeVisitor):
    """Collects the mutants of one file; types, messages of errors, assertions, decorators and texts are left alone."""

    def __init__(self, file: str, source: str) -> None:
        self.file = file
        self.source = source.encode()
        self.mutants: list[Mutant] = []
        self.line_starts = [0]
        for line in self.source.splitlines(keepends=True):
            self.line_starts.append(self.line_starts[-1] + len(line))

    # -- positions

    def start(self, node: Any) -> int:
        return self.line_starts[int(node.lineno) - 1] + int(node.col_offset)

    def stop(self, node: Any) -> int:
        return self.line_starts[int(node.end_lineno) - 1] + int(node.end_col_offset)

    def text(self, node: Any) -> str:
        return self.source[self.start(node) : self.stop(node)].decode()

    def add(self, operator: str, start: int, stop: int, replacement: str) -> None:
        line = self.source.count(b"\n", 0, start) + 1
        self.mutants.append(Mutant(self.file, line, operator, start, stop, replacement))

    def replace(self, operator: str, node: Any, replacement: str) -> None:
        self.add(operator, self.start(node), self.stop(node), replacement)

    def replace_between(self, operator: str, left: ast.expr, right: ast.expr, old: str, new: str) -> None:
        """Replace an operator that stands between two operands on one line."""
        start, stop = self.stop(left), self.start(right)
        between = self.source[start:stop].decode()
        if "\n" not in between and old in between:
            start += between.index(old)
            self.add(operator, start, start + len(old), new)

    # -- what is left alone

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name not in SHOWN:
            for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
                self.visit(default)
            self.visit_all(node.body)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if "Protocol" not in [getattr(base, "id", "") for base in node.bases]:
            self.visit_all(node.body)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        pass

    def visit_all(self, nodes: list[ast.stmt]) -> None:
        for node in nodes:
            self.visit(node)

    # -- statements

    def visit_Raise(self, node: ast.Raise) -> None:
        self.replace("dropped raise", node, "pass")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call):
            self.replace("dropped call", node, "pass")
        if not isinstance(node.value, ast.Constant):
            self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if self.text(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
            self.replace("condition", node.test, f"not ({self.text(node.test)})")
        for statement in node.body:
            if isinstance(statement, ast.Return | ast.Continue | ast.Break):
                self.replace("dropped exit", statement, "pass")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        old, new = ARITHMETIC.get(type(node.op), ("", ""))
        if old:
            self.replace_between("arithmetic", node.target, node.value, old, new)
        self.visit(node.value)

    # -- expressions

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for operator, left, right in zip(node.ops, operands, node.comparators, strict=False):
            self.replace_between("comparison", left, right, *COMPARISONS[type(operator)])
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self.replace_between("and, or", left, right, old, new)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        old, new = ARITHMETIC.get(type(node.op), ("", ""))
        if old:
            self.replace_between("arithmetic", node.left, node.right, old, new)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub | ast.Invert):
            word = "not " if isinstance(node.op, ast.Not) else self.text(node)[0]
            self.add("not, minus", self.start(node), self.start(node) + len(word), "")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        plain = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
        if len(plain) == len(node.args) >= 2 and called(node) not in SYMMETRIC:
            self.swap(node.args[0], node.args[1])
        if called(node) in NAMES:
            self.add("opposite", self.stop(node.func) - len(called(node)), self.stop(node.func), NAMES[called(node)])
        self.generic_visit(node)

    def swap(self, first: ast.expr, second: ast.expr) -> None:
        between = self.source[self.stop(first) : self.start(second)].decode()
        if self.text(first) != self.text(second):
            swapped = self.text(second) + between + self.text(first)
            self.add("swapped arguments", self.start(first), self.stop(second), swapped)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg in AXES and isinstance(node.value, ast.UnaryOp | ast.Constant):
            self.replace("axis", node.value, "1" if self.text(node.value) == "0" else "0")
        else:
            self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.replace("constant", node, str(not node.value))
        elif isinstance(node.value, int):
            self.replace("constant", node, str(node.value + 1))
        elif isinstance(node.value, float):
            self.replace("constant", node, repr(node.value * 2 or 1.0))
