from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.hierarchical import Hierarchical, hierarchical, run_bests
from dllm_edge.runtime.unmasking.proposals import Proposals, log_of
from dllm_edge.runtime.unmasking.rule import Budget, ranked

from ..numpy_engine import CONFIG, ENDLESS, MASK, NumpyEngine
from ..recorder import finish
from ..scripted import proposals_of, request

CANVAS = Canvas([7, *[MASK] * 9], CONFIG)


@pytest.mark.parametrize(
    ("positions", "confidence", "least", "expected"),
    [
        # Two runs: the best of each above 0.4, and what is above 0.8.
        ([1, 2, 3, 6, 7], [0.5, 0.7, 0.6, 0.3, 0.45], 1, [1, 4]),
        ([1, 2, 3, 6, 7], [0.85, 0.9, 0.6, 0.3, 0.35], 1, [1, 0]),
        ([1, 2, 3, 6, 7], [0.1, 0.2, 0.3, 0.35, 0.3], 1, [3]),
        # Strictly above: these are the thresholds themselves.
        ([1, 3], [0.4, 0.4], 1, [0]),
        ([1, 2, 3], [0.9, 0.8, 0.1], 1, [0]),
        ([1, 3, 5, 7], [0.5, 0.6, 0.5, 0.6], 1, [1, 3, 0, 2]),
        ([4, 5], [0.6, 0.6], 1, [0]),
        ([4], [0.1], 1, [0]),
        # As many as are wanted: the most confident of the others.
        ([1, 2, 3, 6, 7], [0.5, 0.7, 0.6, 0.3, 0.45], 3, [1, 4, 2]),
        ([1, 2, 3, 6, 7], [0.1, 0.2, 0.3, 0.35, 0.3], 3, [3, 2, 4]),
    ],
)
def test_vectors(positions: list[int], confidence: list[float], least: int, expected: list[int]) -> None:
    log_confidence = log_of(np.array(confidence))
    assert hierarchical(np.array(positions), log_confidence, 0.4, 0.8, least).tolist() == expected


def test_the_best_of_each_run() -> None:
    positions, confidence = np.array([2, 3, 5, 8, 9, 10]), np.array([0.2, 0.2, 0.1, 0.3, 0.5, 0.4], dtype=np.float32)
    assert run_bests(positions, ranked(confidence)).tolist() == [0, 2, 4]


def begun(**settings: Any) -> Hierarchical:
    return Hierarchical(Settings(**settings), Budget(9, 9, 0, np.random.default_rng(0), Block(1, 10)))


def seen(confidence: list[float], standing: dict[int, float]) -> Proposals:
    """Proposals with these confidences; by index, how probable the token that stands there is."""
    made = proposals_of(confidence)
    current_ids, current = np.full(len(confidence), MASK), np.full((len(confidence), 1), -9.0, dtype=np.float32)
    for index, probability in standing.items():
        current_ids[index], current[index] = 7, np.log(probability)
    return replace(made, current_ids=current_ids, result=replace(made.result, target_log_probs=current))


@pytest.mark.parametrize(
    ("doubtful", "commit", "remask"),
    [
        (0.0, [3], []),
        (0.05, [3], []),
        # One returns, so two are committed; then two, the less probable first, and three.
        (0.2, [3, 2], [0]),
        (0.5, [3, 2, 4], [0, 1]),
    ],
)
def test_one_token_more_is_committed_than_returns(doubtful: float, commit: list[int], remask: list[int]) -> None:
    proposals = seen([0.9, 0.9, 0.3, 0.5, 0.2], {0: 0.1, 1: 0.4})
    decision = begun(remask_threshold=doubtful).choose(proposals, CANVAS, 1)
    assert (decision.commit.tolist(), decision.remask.tolist()) == (commit, remask)


def test_fewer_return_than_there_are_masks() -> None:
    proposals = seen([0.9, 0.3, 0.5, 0.9], {0: 0.1, 3: 0.05})
    decision = begun(remask_threshold=1.0).choose(proposals, CANVAS, 1)
    assert (decision.commit.tolist(), decision.remask.tolist()) == ([2, 1], [3])
    assert begun(remask_threshold=1.0).choose(seen([0.9, 0.3], {0: 0.1}), CANVAS, 1).remask.tolist() == []


def test_scores_of_what_stands_are_its_own_probabilities() -> None:
    rule = begun(low_threshold=0.3, threshold=0.8, remask_threshold=0.2)
    decision = rule.choose(seen([0.9, 0.3, 0.5], {0: 0.1}), CANVAS, 1)
    np.testing.assert_allclose(np.asarray(decision.scores), [0.1, 0.3, 0.5], rtol=1e-6)
    assert list(rule.gates()) == [0.3, 0.8, 0.2]
    rule = begun(low_threshold=0.3, threshold=0.8)
    assert rule.choose(seen([0.9, 0.3, 0.5], {0: 0.1}), CANVAS, 1).scores is None
    assert list(rule.gates()) == [0.3, 0.8]


def test_with_the_low_threshold_out_of_reach_it_is_the_threshold() -> None:
    ends = [
        finish(NumpyEngine(ENDLESS), [request("vanilla", unmask=rule, threshold=0.31, low_threshold=1.01, early_stop=False)])[0]
        for rule in ("threshold", "hierarchical")
    ]
    assert ends[0].request.canvas.tokens.tolist() == ends[1].request.canvas.tokens.tolist()
    assert ends[0].forwards == ends[1].forwards < 16
