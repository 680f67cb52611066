from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest

from dllm_edge.graphs.errors import LONGEST, DllmEdgeError, shown
from dllm_edge.graphs.schema import Form, Range, check_fields, read, text, true_or_false, whole_number


@dataclass(frozen=True)
class Inner:
    size: Annotated[int, Range(1, 8)]
    hash: Annotated[str, Form("[0-9a-f]+", "hexadecimal")] = "0"


@dataclass(frozen=True)
class Outer:
    inner: Inner
    share: Annotated[float, Range(0)]
    kind: Literal["one", "two"]
    by_name: dict[str, list[Inner]]
    pairs: tuple[tuple[int, int], ...] = ()
    token: int | None = None
    value: str | bool | int | float = ""


WHOLE: dict[str, Any] = {"inner": {"size": 2}, "share": 1, "kind": "one", "by_name": {"a": [{"size": 8, "hash": "ff"}]}}


def test_what_fits_is_read() -> None:
    further = {"pairs": [[1, 2], [3, 4]], "token": None, "value": True}
    expected = Outer(Inner(2), 1.0, "one", {"a": [Inner(8, "ff")]}, ((1, 2), (3, 4)), None, True)
    assert read(Outer, WHOLE | further) == expected
    assert isinstance(read(Outer, WHOLE).share, float)
    assert read(Outer, WHOLE | {"share": 2**53}).share == 2**53
    for value in ("text", False, 7, 0.5):
        assert read(Outer, WHOLE | {"value": value}).value is value


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner": 5}, "inner is 5; it must be an object"),
        ({"inner": {}}, "inner lacks size"),
        ({"inner": {"size": 2, "b": 1, "a": 1}}, 'inner has the unknown field "a"'),
        ({"inner": {"size": 0}}, "inner.size is 0; it must be at least 1 and at most 8"),
        ({"inner": {"size": 9}}, "inner.size is 9; it must be at least 1 and at most 8"),
        ({"inner": {"size": 2.0}}, "inner.size is 2.0; it must be a whole number"),
        ({"inner": {"size": True}}, "inner.size is true; it must be a whole number"),
        ({"inner": {"size": "2"}}, 'inner.size is "2"; it must be a whole number'),
        ({"inner": {"size": 2, "hash": "fg"}}, 'inner.hash is "fg"; it must be hexadecimal'),
        ({"inner": {"size": 2, "hash": "ff\n"}}, 'inner.hash is "ff\\n"; it must be hexadecimal'),
        ({"share": -1}, "share is -1.0; it must be at least 0"),
        ({"share": float("nan")}, "share is NaN; it must be a finite number"),
        ({"share": float("inf")}, "share is Infinity; it must be a finite number"),
        ({"share": 10**400}, "; it must be a finite number"),
        ({"share": 2**53 + 1}, "share is 9007199254740993; it must be a finite number"),
        ({"share": False}, "share is false; it must be a finite number"),
        ({"kind": "three"}, 'kind is "three"; it must be one of one, two'),
        ({"kind": []}, "kind is []; it must be one of one, two"),
        ({"by_name": []}, "by_name is []; it must be an object"),
        ({"by_name": {"a": {}}}, "by_name.a is {}; it must be a list"),
        ({"by_name": {"a": [{"size": 1}, {"size": 99}]}}, "by_name.a[1].size is 99; it must be"),
        ({"pairs": [[1, 2], [3]]}, "pairs[1] is [3]; it must be a list of 2"),
        ({"pairs": [[1, None]]}, "pairs[0][1] is null; it must be a whole number"),
        ({"pairs": "12"}, 'pairs is "12"; it must be a list'),
        ({"token": 1.5}, "token is 1.5; it must be a whole number"),
        ({"value": None}, "value is null; it must be text"),
        ({"value": float("nan")}, "value is NaN; it must be a finite number"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DllmEdgeError) as caught:
        read(Outer, WHOLE | change)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_read_from_the_top_is_called_it_unless_named() -> None:
    with pytest.raises(DllmEdgeError, match=r"^it is 5; it must be an object"):
        read(Inner, 5)
    with pytest.raises(DllmEdgeError, match=r"^part\.size is"):
        read(Inner, {"size": 0}, "part")


def test_fields_that_were_given_in_python() -> None:
    check_fields(Inner(2), "inner")
    with pytest.raises(DllmEdgeError, match=r"^inner: size is 9; it must be at least 1"):
        check_fields(Inner(9), "inner")


def test_arguments() -> None:
    assert [whole_number(number, "n") for number in (0, 3, np.int64(3), np.uint8(3))] == [0, 3, 3, 3]
    assert type(whole_number(np.int64(3), "n")) is int
    for wrong in (True, np.bool_(True), 1.0, np.float32(1), "1", None, -1, 9, [1]):
        with pytest.raises(DllmEdgeError, match=r"^n is"):
            whole_number(wrong, "n", most=8)
    assert text("a", "t") == "a"
    assert true_or_false(False, "b") is False
    with pytest.raises(DllmEdgeError, match=r"^b is 0; it must be true or false"):
        true_or_false(0, "b")
    with pytest.raises(DllmEdgeError, match=r"^t is null; it must be text"):
        text(None, "t")


def test_a_value_is_shown_in_one_short_line_of_ascii() -> None:
    assert [shown(value) for value in ("a\nb\x1b", 1.5, None, [True])] == ['"a\\nb\\u001b"', "1.5", "null", "[true]"]
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (10**400, 10**5000, "x" * 500, deep, {1, 2}, object()):
        assert len(shown(value)) <= LONGEST
        assert shown(value).isascii()
