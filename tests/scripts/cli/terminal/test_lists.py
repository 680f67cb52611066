from __future__ import annotations

import pytest

from dllm_edge import DllmEdgeError
from dllm_edge.scripts.cli.terminal.lists import MOST, parse_names, parse_numbers

SHAPES = ("tiny", "135m", "8b")


@pytest.mark.parametrize(
    ("text", "names"), [("8b", ["8b"]), ("8b, tiny", ["8b", "tiny"]), ("8b,8b,", ["8b"]), (" , tiny", ["tiny"])]
)
def test_names(text: str, names: list[str]) -> None:
    assert parse_names(text, "shape", SHAPES) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9b", "unknown shape '9b': choose one of tiny, 135m, 8b"),
        ("8b,9b", "unknown shape '9b'"),
        ("", "--shapes '' names no shape: give one or more of tiny, 135m, 8b, separated by commas"),
        (" ,", "--shapes ' ,' names no shape"),
    ],
)
def test_names_that_are_none(text: str, message: str) -> None:
    with pytest.raises(DllmEdgeError, match=f"^{message}"):
        parse_names(text, "shape", SHAPES)


@pytest.mark.parametrize(
    ("text", "numbers"), [("512", (512,)), ("2048, 512", (2048, 512)), ("2,2,", (2,)), (str(MOST), (MOST,))]
)
def test_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert parse_numbers(text, "--context", least=2) == numbers


@pytest.mark.parametrize("text", ["", ",", "1", "512,1", "-4", "1k", "2.5", "²", str(MOST + 1), "9" * 5000])
def test_numbers_out_of_bounds(text: str) -> None:
    with pytest.raises(DllmEdgeError) as refused:
        parse_numbers(text, "--context", least=2)
    assert str(refused.value) == (f"--context {text}: must be numbers from 2 to 10000000, separated by commas, as in 512,2048")
