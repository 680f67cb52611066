from __future__ import annotations

import pytest

from dllm_edge.graphs.errors import DllmEdgeError, did_you_mean, unknown

NAMES = ["vanilla", "fast-dllm-prefix", "fast-dllm-dual", "Thor"]


@pytest.mark.parametrize(
    ("name", "question"),
    [
        ("vanila", " did you mean 'vanilla'?"),
        ("fast-dllm-dua", " did you mean 'fast-dllm-dual'?"),
        ("VANILLA", " did you mean 'vanilla'?"),
        ("thor", " did you mean 'Thor'?"),
        ("magic", ""),
        ("fast", ""),
        ("", ""),
        (5, ""),
    ],
)
def test_the_word_that_is_spelled_alike(name: object, question: str) -> None:
    assert did_you_mean(name, NAMES) == question


def test_an_unknown_word() -> None:
    assert str(unknown("system", "magic", ["a", "b"])) == "unknown system 'magic': choose one of a, b"
    assert str(unknown("group", 48, [32, 64], advice=", or none")) == "unknown group '48': choose one of 32, 64, or none"


def test_an_error_is_one_line_whatever_it_quotes() -> None:
    assert str(DllmEdgeError("setting 'a\nb\r\nc' is unknown")) == "setting 'a b c' is unknown"
