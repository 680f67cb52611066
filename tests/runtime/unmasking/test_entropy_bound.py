from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.entropy_bound import EntropyBound, shared_entropy
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget

from ..numpy_engine import CONFIG, MASK
from ..scripted import proposals_of

CANVAS = Canvas([7, *[MASK] * 8], CONFIG)


def begun(**settings: Any) -> EntropyBound:
    return EntropyBound(Settings(**settings), Budget(8, 8, 0, np.random.default_rng(0), Block(1, 9)))


def seen(confidence: list[float], entropy: list[float]) -> Proposals:
    made = proposals_of(confidence)
    return replace(made, result=replace(made.result, entropy=np.array(entropy, dtype=np.float32)))


@pytest.mark.parametrize(
    ("confidence", "entropy", "bound", "expected"),
    [
        # By confidence: 0.1, then 0.1 again without the larger, then 0.3.
        ([0.9, 0.8, 0.7], [0.125, 0.25, 0.5], 0.125, [0, 1]),
        ([0.9, 0.8, 0.7], [0.125, 0.25, 0.5], 0.375, [0, 1, 2]),
        ([0.9, 0.8, 0.7], [0.125, 0.25, 0.5], 0.25, [0, 1]),
        # The largest comes first, and stays the one left out.
        ([0.9, 0.8, 0.7], [0.5, 0.25, 0.125], 0.25, [0, 1]),
        ([0.7, 0.9, 0.8], [0.125, 0.5, 0.25], 0.375, [1, 2, 0]),
        ([0.2, 0.9], [3.0, 2.0], 0.0, [1]),
        ([0.2, 0.9], [3.0, 0.0], 0.0, [1, 0]),
        ([0.5], [9.0], 0.0, [0]),
        # Certain to rounding: an entropy of a hair less than nothing.
        ([1.0, 0.9], [-1e-7, 0.5], 0.0, [0, 1]),
    ],
)
def test_vectors(confidence: list[float], entropy: list[float], bound: float, expected: list[int]) -> None:
    assert begun(entropy_bound=bound).choose(seen(confidence, entropy), CANVAS, 0).commit.tolist() == expected


def test_a_larger_maximum_is_of_those_before_it() -> None:
    """Along the positions, each maximum is of the first n: not one for all, nor the row's own."""
    assert shared_entropy(np.array([0.5, 0.25, 2.0, 0.25], dtype=np.float32)).tolist() == [0, 0.25, 0.75, 1.0]


def test_the_higher_the_bound_the_more_tokens() -> None:
    counts = set[int]()
    for seed in range(50):
        random = np.random.default_rng(seed)
        made = seen(random.uniform(0.1, 1, 8).tolist(), random.exponential(size=8).tolist())
        chosen = [begun(entropy_bound=bound).choose(made, CANVAS, 0).commit.tolist() for bound in (0, 0.3, 1, 2, 4, 30)]
        assert all(fewer == more[: len(fewer)] for fewer, more in pairwise(chosen))
        assert (len(chosen[0]), len(chosen[-1])) == (1, 8)
        counts |= {len(one) for one in chosen}
    assert counts == set(range(1, 9))


def test_gates_say_how_far_the_sum_is_from_the_bound() -> None:
    """Of the second, which is 0.025 below the bound, and of the third, which is 0.225 above it."""
    rule = begun(entropy_bound=0.15)
    assert rule.choose(seen([0.9, 0.8, 0.7, 0.6], [0.125, 0.25, 0.5, 1.0]), CANVAS, 0).commit.tolist() == [0, 1]
    assert list(rule.gates()) == pytest.approx([0.8 - 0.025, 0.7 + 0.225])
    assert rule.choose(seen([0.9], [1.0]), CANVAS, 0).commit.tolist() == [0]
    assert list(rule.gates()) == []
