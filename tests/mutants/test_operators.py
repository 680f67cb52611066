from __future__ import annotations

import ast

import pytest

from .operators import mutants_of


def changes(source: str) -> list[tuple[str, str]]:
    """Each mutant's operator, and the line that it makes."""
    mutants = mutants_of("a.py", source)
    for mutant in mutants:
        ast.parse(mutant.applied(source.encode()))
    return [(mutant.operator, mutant.lines(source.encode())[1]) for mutant in mutants]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a < b", ["a <= b"]),
        ("a is not b", ["a is b"]),
        ("a in b", ["a not in b"]),
        ("x = (a + c) >= b", ["x = (a + c) > b", "x = (a - c) >= b"]),
        ("x = a and b", ["x = a or b"]),
        ("x = a - -b", ["x = a + -b", "x = a - b"]),
        ("x = not (a or b)", ["x = (a or b)", "x = not (a and b)"]),
        ("x = a @ b", []),
        ("x += a", ["x -= a"]),
        ("x = 1, 0.5, 0.0, True, 'text', None", [f"x = {rest}" for rest in ("2, 0.5, 0.0, True, 'text', None",
            "1, 1.0, 0.0, True, 'text', None", "1, 0.5, 1.0, True, 'text', None", "1, 0.5, 0.0, False, 'text', None")]),
        ("f(a)", ["pass"]),
        ("x = f(a, b, c)", ["x = f(b, a, c)"]),
        ("x = f(a, a) + g(*a, b)", ["x = f(a, a) - g(*a, b)"]),
        ("x = np.minimum(a, b)", ["x = np.maximum(a, b)"]),
        ("x = f(a, axis=0, keepdims=True)", ["x = f(a, axis=1, keepdims=True)", "x = f(a, axis=0, keepdims=False)"]),
        ("x = f(a, dim=-1)", ["x = f(a, dim=0)"]),
        ("raise ValueError(f'{1 + 2}')", ["pass"]),
        ("if a:\n    raise ValueError", ["if not (a):", "pass"]),
        ("if a.b(c):\n    continue", ["if not (a.b(c)):", "pass"]),
        ("def f():\n    if a:\n        return b\n    return c", ["if not (a):", "pass"]),
        ("ü = 'ü' < b", ["ü = 'ü' <= b"]),
    ],
)  # fmt: skip
def test_defects(source: str, expected: list[str]) -> None:
    inside = "for _ in a:\n" + "\n".join(f"    {line}" for line in source.splitlines()) if "continue" in source else source
    assert [change for _, change in changes(inside)] == expected


@pytest.mark.parametrize(
    "source",
    [
        '"""A docstring: 1 < 2."""',
        "def f(x: Literal[1] | None) -> tuple[int, 2]:\n    ...",
        "x: tuple[int, 2]",
        "assert 1 < 2, f(3)",
        "x = f'{1 + 2}'",
        "if TYPE_CHECKING:\n    f(1)",
        "class A:\n    def __repr__(self):\n        return 1 + 2",
        "class A(Protocol):\n    x = 1",
        "@f(1)\nclass A:\n    pass",
        "@f(1)\ndef g():\n    pass",
    ],
)
def test_what_is_left_alone(source: str) -> None:
    assert changes(source) == []
