from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.runtime.evaluation.intervals import paired_difference, wilson


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, table I: method 3 (Wilson without continuity correction).
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(successes: int, total: int, low: float, high: float) -> None:
    assert wilson(successes, total) == pytest.approx((low, high), abs=5e-5)


def test_wilson_of_all_right_mirrors_none_right() -> None:
    low, high = wilson(20, 20)
    assert (1 - high, 1 - low) == pytest.approx(wilson(0, 20))


def test_paired_difference_counts_discordant_pairs() -> None:
    first = [True] * 6 + [False] * 4
    second = [True] * 3 + [False] * 5 + [True, False]
    found = paired_difference(first, second)
    assert (found.gained, found.lost, found.samples) == (3, 1, 10)
    assert found.difference == pytest.approx(0.2)
    assert found.low < 0.2 < found.high


def test_a_paired_interval_by_hand() -> None:
    """7/20 - 2/20 and 1.959964 sqrt((9/20 - (5/20)^2) / 20)."""
    found = paired_difference([True] * 6 + [False] * 12, [False] * 6 + [True] + [False] * 11)
    assert (found.low, found.high) == pytest.approx((0.25 - 0.272816, 0.25 + 0.272816), abs=1e-6)


def test_equal_answers_still_leave_doubt() -> None:
    found = paired_difference([True] * 500, [True] * 500)
    assert found.difference == 0
    assert -0.006 < found.low < 0 < found.high < 0.006


def test_paired_difference_turns_its_sign() -> None:
    first, second = [True, True, False, True], [False, True, True, False]
    one, other = paired_difference(first, second), paired_difference(second, first)
    assert (one.difference, one.low, one.high) == pytest.approx((-other.difference, -other.high, -other.low))


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired_difference([True, False], [True])


@pytest.mark.parametrize(("gain", "loss"), [(0.02, 0.01), (0.05, 0.05), (0.2, 0.1), (0.004, 0.0)])
def test_the_interval_holds_the_truth_in_about_95_of_100(gain: float, loss: float) -> None:
    random, held, rounds = np.random.default_rng(0), 0, 600
    for _ in range(rounds):
        kinds = random.choice(3, size=200, p=[gain, loss, 1 - gain - loss])
        found = paired_difference((kinds != 1).tolist(), (kinds != 0).tolist())
        held += found.low <= gain - loss <= found.high
    assert held / rounds >= 0.93
