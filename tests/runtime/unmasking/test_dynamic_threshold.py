from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block, pruned_suffix
from dllm_edge.runtime.unmasking.dynamic_threshold import DynamicThreshold, dynamic_threshold
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget

from ..numpy_engine import CONFIG, MASK, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import proposals_of, request

M = MASK


@pytest.mark.parametrize(
    ("alpha", "masks", "sent", "expected"),
    [
        (0.3, 32, 32, 0.900),
        (0.3, 98, 129, 0.835),
        (0.3, 1, 32, 0.638),
        (0.3, 34, 65, 0.771),
        (0.6, 130, 161, 0.796),
        (0.6, 1, 32, 0.377),
        (0.0, 1, 32, 0.900),
        (1.0, 0, 32, 0.0),
    ],
)
def test_vectors(alpha: float, masks: int, sent: int, expected: float) -> None:
    """By `window`, one mask left in a block of 32 with a whole suffix or with none."""
    assert dynamic_threshold(0.9, alpha, masks / sent) == pytest.approx(expected, abs=1e-3)


def rule(**changes: Any) -> DynamicThreshold:
    settings = Settings(**{"threshold": 0.8, "confidence_alpha": 0.5, **changes})
    return DynamicThreshold(settings, Budget(4, 4, 0, np.random.default_rng(0), Block(2, 6)))


def least(canvas: Canvas, window: Block | np.ndarray, **changes: Any) -> float:
    """The threshold of a forward that sends `window`, of four candidates that are all below it: only the best is taken."""
    asked = rule(**changes)
    masked = canvas.masked(Block(2, 6))
    made = proposals_of([0.05, 0.1, 0.01, 0.02][: masked.size])
    forward = canvas.step(window, predict=Block(2, 6))
    proposals = replace(made, positions=masked, result=replace(made.result, step=forward))
    assert asked.choose(proposals, canvas, 1).commit.tolist() == [1]
    (gate,) = asked.gates()
    return gate


# The block has two masks of four; what follows is masked but for one given token.
CANVAS = Canvas([7, 8, 9, M, M, 9, M, M, M, 9, M, M], CONFIG)


@pytest.mark.parametrize(
    ("window", "ratio"),
    [
        (Block(2, 6), 2 / 4),
        (Block(2, 12), 7 / 10),
        (Block(0, 12), 7 / 10),
        (pruned_suffix(Block(2, 6), 12, 2, 1)[2:], 5 / 7),
        (pruned_suffix(Block(2, 6), 12, 0, 0), 2 / 4),
        (np.array([5, 4, 3, 2, 6, 1]), 3 / 5),
    ],
)
def test_the_masks_of_what_is_sent_from_the_block_on_count(window: Block | np.ndarray, ratio: float) -> None:
    """Whatever the window of the system: block, suffix, whole canvas, pruned, or in another order."""
    assert least(CANVAS, window) == pytest.approx(0.8 * (1 - 0.5 * (1 - ratio)))
    assert least(CANVAS, window, mask_ratio="block") == pytest.approx(0.8 * (1 - 0.5 * 0.5))


def test_a_forward_that_sends_nothing_of_the_block_has_no_masks() -> None:
    """A shifted model's row before the block, alone."""
    canvas = Canvas([7, 8, M, M, M, M], SHIFTED)
    assert least(canvas, Block(1, 2)) == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("confidence", "taken"), [([0.59, 0.61, 0.2, 0.1], [1]), ([0.6, 0.61, 0.2, 0.1], [1, 0]), ([0.3, 0.1, 0.2, 0.4], [3])]
)
def test_all_of_at_least_the_threshold_and_always_one(confidence: list[float], taken: list[int]) -> None:
    """Half of what is sent is masked, so that .8 has become .6, which commits."""
    canvas = Canvas([7, 8, M, M, M, M, 9, 9, 9, 9], CONFIG)
    made = proposals_of(confidence)
    proposals: Proposals = replace(made, result=replace(made.result, step=canvas.step(Block(2, 10), predict=Block(2, 6))))
    assert rule().choose(proposals, canvas, 3).commit.tolist() == taken


@pytest.mark.parametrize("system", ["vanilla", "fast-dllm-prefix", "fast-dllm-dual", "sparse-dllm", "streaming-dllm"])
def test_where_it_does_not_fall_it_is_the_threshold(system: str) -> None:
    ends = [
        request(system, unmask=unmask, threshold=0.4, confidence_alpha=0.0, early_stop=False)
        for unmask in ("dynamic-threshold", "threshold")
    ]
    finish(NumpyEngine(), ends)
    assert ends[0].canvas.tokens.tolist() == ends[1].canvas.tokens.tolist()
    assert len(ends[0].canvas.commits) == len(ends[1].canvas.commits) < 16


@pytest.mark.parametrize("ratio", ["window", "block"])
def test_a_block_begins_with_the_whole_threshold(ratio: str) -> None:
    """All that is sent of block and suffix is masked in a block's first forward."""
    asked = request("streaming-dllm", unmask="dynamic-threshold", threshold=0.5, mask_ratio=ratio, early_stop=False)
    (end,) = finish(NumpyEngine(), [asked])
    gates = [choice.gates[0] for step in end.trace for choice in step.choices]
    kinds = [step.kind for step in end.trace]
    assert [gate for gate, kind in zip(gates, kinds, strict=True) if kind == "refresh"] == [0.5, 0.5]
    assert all(gate < 0.5 for gate, kind in zip(gates, kinds, strict=True) if kind == "block")


def test_entropies_have_no_threshold() -> None:
    with pytest.raises(DllmEdgeError, match="unmask=dynamic-threshold compares probabilities: confidence=entropy has none"):
        Settings(unmask="dynamic-threshold", confidence="entropy")
