from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.runtime.unmasking.factor import factor
from dllm_edge.runtime.unmasking.proposals import log_of


def chosen(confidence: list[float], limit: float = 1.0, compat: bool = False) -> list[int]:
    return sorted(factor(log_of(np.array(confidence)), limit, compat).tolist())


@pytest.mark.parametrize(
    ("confidence", "paper", "compat"),
    [
        ([0.99, 0.98, 0.1], [0, 1], [0, 1, 2]),
        ([0.99, 0.98, 0.1, 0.05], [0, 1], [0, 1]),
        ([0.2, 0.1], [0], [0, 1]),
        ([0.7, 0.69, 0.74], [0, 2], [0, 1, 2]),
        ([0.95] * 5, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([0.2], [0], [0]),
        ([0.2, 0.2, 0.2, 0.2], [0], [0]),
    ],
)
def test_vectors(confidence: list[float], paper: list[int], compat: list[int]) -> None:
    """One, two and three candidates, and the last that fails."""
    assert chosen(confidence) == paper
    assert chosen(confidence, compat=True) == compat


@pytest.mark.parametrize(
    ("limit", "count"),
    [(1.0, 4), (0.5, 1), (2.0, 9), (100.0, 10), (1e-6, 1)],
)
def test_the_limit_bounds_what_all_of_them_may_miss(limit: float, count: int) -> None:
    """(n + 1)(1 - 0.81) < limit; at a limit of 2, n = 9 gives 1.9 and n = 10 gives 2.09."""
    assert len(chosen([0.81] * 10, limit)) == count


def test_no_confidence_at_all_is_within_a_limit_that_asks_for_none() -> None:
    assert chosen([0.0, 0.0, 0.0], 100.0) == [0, 1, 2]
    assert chosen([0.5, 0.0, 0.0], 3.5) == [0, 1]


def test_equality_does_not_commit_by_the_papers_rule_but_does_by_the_published_code() -> None:
    """(3 + 1)(1 - 0.75) = 1: the paper asks for less, the code drops what lies below 1 - 1 / (3 + 1)."""
    confidence = [0.99, 0.98, 0.75, 0.1, 0.1]
    assert chosen(confidence) == [0, 1]
    assert chosen(confidence, compat=True) == [0, 1, 2]


def brute_force(confidence: list[float], limit: float) -> list[int]:
    """The paper's words: the largest n with (n + 1)(1 - c_n) < limit, at least one."""
    order = sorted(range(len(confidence)), key=lambda index: (-confidence[index], index))
    fits = [n for n, index in enumerate(order, 1) if (n + 1) * (1 - confidence[index]) < limit]
    return sorted(order[: max(fits, default=1)])


def published_code(confidence: list[float], limit: float) -> list[int]:
    """A scan that stops at the first failure, whose count goes up when it reached the last candidate."""
    order = sorted(range(len(confidence)), key=lambda index: (-confidence[index], index))
    place = 0
    for place, index in enumerate(order):
        if place > 0 and confidence[index] < 1 - limit / (place + 2):
            break
    return sorted(order[: place + (place == len(order) - 1)])


@pytest.mark.parametrize("limit", [0.3, 1.0, 1.7])
def test_both_rules_against_brute_force(limit: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(300):
        values = (1 - random.random(random.integers(1, 9)) ** 3).astype(np.float32).astype(float).tolist()
        assert chosen(values, limit) == brute_force(values, limit)
        assert chosen(values, limit, compat=True) == published_code(values, limit)
