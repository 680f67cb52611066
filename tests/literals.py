"""Strings of the source that are shown to users, so that tests can say something of all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import dllm_edge

ROOT = Path(dllm_edge.__file__).parent
DECLARING = ("Option", "Argument")


def shown(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield file and text of each string below `folders`: no docstrings, no help of options; `{}` is what is filled in."""
    for file in sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        hidden = {id(node) for part in _hidden(tree) for node in ast.walk(part)}
        for node in ast.walk(tree):
            if id(node) not in hidden and isinstance(node, ast.Constant | ast.JoinedStr):
                hidden |= {id(inner) for inner in ast.walk(node)}
                if text := _text(node):
                    yield str(file.relative_to(ROOT)), text


def _hidden(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) or (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in DECLARING
        ):
            yield node


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
