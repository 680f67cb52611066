from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.runtime.unmasking.proposals import log_of
from dllm_edge.runtime.unmasking.threshold import threshold

JUST_BELOW = float(np.nextafter(np.float32(0.9), np.float32(0)))


@pytest.mark.parametrize(
    ("confidence", "least", "chosen"),
    [
        ([0.91, 0.5, 0.9, 0.2], 0.9, [0, 2]),
        ([0.3, 0.5, 0.5], 0.9, [1]),
        ([0.9], 0.9, [0]),
        ([JUST_BELOW, 0.95], 0.9, [1]),
        ([0.9, 0.9, 0.9], 0.9, [0, 1, 2]),
        ([0.1], 0.9, [0]),
        ([0.2, 0.2], 0.9, [0]),
        ([1.0, 1.0], 1.01, [0]),
        ([0.0, 0.0], 0.0, [0, 1]),
    ],
)
def test_all_of_at_least_the_threshold_and_always_one(confidence: list[float], least: float, chosen: list[int]) -> None:
    assert threshold(log_of(np.array(confidence)), least).tolist() == chosen


@pytest.mark.parametrize("least", [0.05, 0.1, 0.3, 0.6, 0.7, 0.85, 0.9, 0.95])
def test_equality_commits_although_confidences_are_float32(least: float) -> None:
    """0.9 in float32 is less than 0.9 in float64."""
    assert sorted(threshold(log_of(np.array([least, 1.0])), least).tolist()) == [0, 1]
