from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.local_leap import LocalLeap, local_leap
from dllm_edge.runtime.unmasking.rule import Budget
from dllm_edge.runtime.unmasking.threshold import threshold

from ..numpy_engine import CONFIG, MASK
from ..scripted import proposals_of

CANVAS = Canvas([7, *[MASK] * 6], CONFIG)


@pytest.mark.parametrize(
    ("positions", "confidence", "radius", "expected"),
    [
        ([0, 1, 2, 3], [0.95, 0.78, 0.70, 0.80], 1, [0, 1]),
        ([0, 1, 2, 3], [0.95, 0.78, 0.70, 0.80], 3, [0, 3, 1]),
        ([0, 1, 2, 3], [0.95, 0.78, 0.70, 0.80], 0, [0]),
        # By positions, not by how many masks lie between; and to either side.
        ([0, 5, 6, 9], [0.80, 0.80, 0.95, 0.80], 2, [2, 1]),
        ([0, 1, 2], [0.8, 0.85, 0.8], 4, [1]),
        ([0, 1, 2], [0.2, 0.2, 0.1], 4, [0]),
        # What is near an anchor by way of another token alone is not near it.
        ([0, 1, 2], [0.95, 0.85, 0.80], 1, [0, 1]),
        ([0, 4, 8], [0.95, 0.85, 0.95], 4, [0, 2, 1]),
    ],
)
def test_vectors(positions: list[int], confidence: list[float], radius: int, expected: list[int]) -> None:
    log_confidence = np.log(np.array(confidence, dtype=np.float32))
    assert local_leap(np.array(positions), log_confidence, 0.9, 0.75, radius).tolist() == expected


def test_a_radius_of_0_is_the_threshold_and_more_is_never_less() -> None:
    more = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        positions = np.sort(random.choice(32, random.integers(1, 20), replace=False))
        log_confidence = np.log(random.uniform(0.5, 1, positions.size)).astype(np.float32)
        plain = threshold(log_confidence, 0.9)
        assert local_leap(positions, log_confidence, 0.9, 0.6, 0).tolist() == plain.tolist()
        wide = local_leap(positions, log_confidence, 0.9, 0.6, 3)
        assert set(plain.tolist()) <= set(wide.tolist())
        more += wide.size > plain.size
    assert more > 100


def begun(**settings: Any) -> LocalLeap:
    return LocalLeap(Settings(**settings), Budget(6, 6, 0, np.random.default_rng(0), Block(1, 7)))


def test_gates_are_what_each_token_needs() -> None:
    """The anchor 0.9; by it 0.75; out of its reach 0.9; and beside what lacks 0.02 to be an anchor, 0.02 more than it has."""
    rule = begun(leap_radius=1)
    rule.choose(proposals_of([0.95, 0.5, 0.2, 0.88, 0.8]), CANVAS, 0)
    assert list(rule.gates()) == pytest.approx([0.9, 0.75, 0.75, 0.9, 0.82])
