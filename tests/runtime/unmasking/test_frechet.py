from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest

from dllm_edge.runtime.arrays import FloatArray
from dllm_edge.runtime.unmasking.factor import factor
from dllm_edge.runtime.unmasking.frechet import frechet
from dllm_edge.runtime.unmasking.proposals import log_of


def count(confidence: list[float], margin: float) -> int:
    return int(frechet(np.log(np.array(confidence)), margin).size)


@pytest.mark.parametrize(
    ("confidence", "margin", "expected"),
    [
        ([0.99, 0.95, 0.90, 0.80, 0.60], 0.25, 4),
        ([0.60, 0.80, 0.99, 0.95, 0.90], 0.75, 2),
        ([0.7499999] * 4, 0.0, 2),
        ([0.7499999] * 4, 0.25, 1),
        ([0.62, 0.60], 0.25, 1),
        ([1.0, 1.0, 1.0, 0.5], 0.0, 3),
        ([0.5, 0.1], 0.0, 1),
        ([0.1], 0.9, 1),
        ([1.0, 1.0, 1.0], 1.0, 1),
        ([0.1, 0.1, 0.1], -3.0, 3),
    ],
)
def test_vectors(confidence: list[float], margin: float, expected: int) -> None:
    """Equality is not enough: 0.5 after what is certain. As a logarithm 0.75 would not meet it, so it is a hair less here."""
    assert count(confidence, margin) == expected


def test_the_most_confident_are_taken_and_of_equals_the_earlier() -> None:
    assert frechet(log_of(np.array([0.7, 0.99, 0.9, 0.99, 0.9])), 0.75).tolist() == [1, 3, 2]
    assert frechet(log_of(np.array([0.9, 0.9, 0.9])), 0.65).tolist() == [0, 1]
    assert frechet(log_of(np.array([1.0, 0.0])), -1.5).tolist() == [0, 1]


def test_confidences_that_round_to_1_are_told_apart() -> None:
    """Of 1 - 1e-9 each: 100 of them may miss 1.01e-7 together, and float32 has none of that."""
    sure = np.full(200, -1e-9, dtype=np.float32)
    assert np.exp(sure)[0] == 1
    assert frechet(sure, 1 - 1.015e-7).size == 100


def exact(log_confidence: FloatArray, margin: float) -> tuple[int, Decimal]:
    """The paper's count by decimal numbers of 50 digits, and how far the nearest G_n is from the margin."""
    with localcontext() as context:
        context.prec = 50
        ordered = sorted((Decimal(float(value)).exp() for value in log_confidence), reverse=True)
        profile = [sum(ordered[:n]) - (n - 1) - (1 - ordered[n - 1]) for n in range(1, len(ordered) + 1)]
        distance = min(abs(value - Decimal(margin)) for value in profile)
        return max(1, sum(value > Decimal(margin) for value in profile)), distance


def drawn(seed: int) -> tuple[FloatArray, float]:
    """Confidences of every kind, some of them equal, some all but certain, and a margin from below 0 to all but 1."""
    random = np.random.default_rng(seed)
    log_confidence = -(10.0 ** random.uniform(-12, 1, random.integers(1, 30))).astype(np.float32)
    log_confidence = random.choice(log_confidence, log_confidence.size)
    return log_confidence, float(random.choice([random.uniform(-3, 1), 1 - 10 ** random.uniform(-10, 0)]))


def test_against_exact_arithmetic() -> None:
    counts = set()
    for seed in range(500):
        log_confidence, margin = drawn(seed)
        expected, distance = exact(log_confidence, margin)
        assert distance > 1e-15
        assert frechet(log_confidence, margin).size == expected
        counts.add(expected)
    assert len(counts) > 15


def test_against_exact_arithmetic_at_the_edge() -> None:
    """Margins a hundred millionth of what may be missed to either side of where one more token comes in."""
    for seed in range(100):
        random = np.random.default_rng(seed)
        log_confidence = np.sort(-(10.0 ** random.uniform(-5, 0, 20)).astype(np.float32))[::-1]
        misses = -np.expm1(log_confidence.astype(np.float64))
        n = int(random.integers(2, 20))
        spent = misses[:n].sum() + misses[n - 1]
        for side, expected in ((1e-8, n), (-1e-8, n - 1)):
            margin = float(1 - spent * (1 + side))
            assert frechet(log_confidence, margin).size == exact(log_confidence, margin)[0] == expected


def test_never_fewer_than_factor_with_the_same_limit() -> None:
    more = 0
    for seed in range(500):
        log_confidence, margin = drawn(seed)
        fewer = factor(log_confidence, 1 - margin)
        taken = frechet(log_confidence, margin)
        assert set(fewer.tolist()) <= set(taken.tolist())
        more += taken.size > fewer.size
    assert more > 100


def test_as_many_as_factor_where_all_are_equal() -> None:
    for seed in range(200):
        random = np.random.default_rng(seed)
        equal = np.full(20, -(10.0 ** random.uniform(-6, 0.5)), dtype=np.float32)
        margin = float(random.uniform(-2, 0.9))
        by_formula = max([1, *(n for n in range(1, 21) if (n + 1) * -np.expm1(np.float64(equal[0])) < 1 - margin)])
        assert frechet(equal, margin).size == factor(equal, 1 - margin).size == by_formula
