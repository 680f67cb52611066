from __future__ import annotations

from math import exp, log

import pytest

from dllm_edge.runtime.evaluation.aup import accuracy_under_parallelism

CASES: dict[str, tuple[list[tuple[float, float]], float, float]] = {
    "the text's vector": ([(1, 80), (3, 78)], 80, 232.364),
    "one point is its rectangle, whatever is best": ([(2, 50)], 100, 100.0),
    "equal accuracies that are the best: the plain area": ([(1, 80), (5, 80)], 80, 400.0),
    # 1 * 60 + (2 - 1) * (60 / 2 + 60 / 2), where the weight at best + log(2) / 3 of it below is a half.
    "a weight of a half": ([(1, 60), (2, 60)], 60 / (1 - log(2) / 3), 90.0),
    "a point exactly 5 below counts": ([(1, 80), (2, 75)], 80, 80 + (80 + 75 * exp(-3 / 16)) / 2),
    "one further below does not": ([(1, 80), (2, 74.99)], 80, 80.0),
    "and those beyond it still do": ([(1, 80), (2, 60), (3, 80)], 80, 80 + 2 * 80),
    "better than the best weighs 1": ([(1, 80), (2, 90)], 80, 80 + 85),
    "the order does not matter": ([(3, 78), (1, 80)], 80, 232.364),
    # The slowest is the first of two of equal speed by accuracy: 78 stays within 5 of 80, 74 does not.
    "of equal speeds the most accurate begins": ([(1, 76), (1, 80), (2, 74)], 80, 80.0),
    "nothing": ([], 80, 0.0),
    "nothing is solved": ([(1, 0), (4, 0)], 0, 0.0),
}


@pytest.mark.parametrize("name", CASES)
def test_by_hand(name: str) -> None:
    points, best, expected = CASES[name]
    assert accuracy_under_parallelism(points, best) == pytest.approx(expected, abs=1e-3)
