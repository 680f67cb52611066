from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.runtime.unmasking.order import ranked


@pytest.mark.parametrize(
    ("confidence", "order"),
    [
        ([0.1, 0.9, 0.5], [1, 2, 0]),
        ([0.5, 0.5, 0.5], [0, 1, 2]),
        ([0.3, 0.5, 0.5, 0.3], [1, 2, 0, 3]),
        ([-0.0, 0.0, 0.0], [0, 1, 2]),
        ([-2.0, -0.5, -1.0], [1, 2, 0]),
        ([0.7], [0]),
        ([], []),
    ],
)
def test_confidence_descending_then_position_ascending(confidence: list[float], order: list[int]) -> None:
    assert ranked(np.array(confidence, dtype=np.float32)).tolist() == order


def test_ties_stay_in_position_order_when_there_are_many() -> None:
    """Small arrays are sorted by insertion, which is stable whatever was asked for."""
    confidence = np.repeat(np.array([0.25, 0.75], dtype=np.float32), 200)
    assert ranked(confidence).tolist() == [*range(200, 400), *range(200)]
