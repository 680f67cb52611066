from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget
from dllm_edge.runtime.unmasking.wino import Wino, most_drafted

from ..numpy_engine import CONFIG, ENDLESS, MASK, NumpyEngine
from ..recorder import finish
from ..scripted import proposals_of, request

CANVAS = Canvas([7, *[MASK] * 30], CONFIG)


def begun(**settings: Any) -> Wino:
    return Wino(Settings(unmask="wino", **settings), Budget(30, 30, 0, np.random.default_rng(0), Block(1, 31)))


def seen(confidence: list[float], standing: dict[int, float] | None = None) -> Proposals:
    """Proposals with these confidences; by index, how probable the token that stands there is."""
    made, standing = proposals_of(confidence), standing or {}
    current_ids, current = np.full(len(confidence), MASK), np.full((len(confidence), 1), -50.0, dtype=np.float32)
    for index, probability in standing.items():
        current_ids[index], current[index] = 7, np.log(probability)
    return replace(made, current_ids=current_ids, result=replace(made.result, target_log_probs=current))


def decided(rule: Wino, proposals: Proposals) -> tuple[list[int], list[int]]:
    decision = rule.choose(proposals, CANVAS, 0)
    return decision.commit.tolist(), decision.remask.tolist()


@pytest.mark.parametrize(
    ("masks", "most"), [(1, 5), (7, 5), (8, 5), (9, 6), (10, 7), (20, 14), (28, 19), (29, 20), (30, 20), (128, 20)]
)
def test_the_bound_of_a_draft(masks: int, most: int) -> None:
    assert most_drafted(masks) == most


def test_drafts_are_surer_than_the_threshold_and_bounded() -> None:
    assert decided(begun(threshold=0.5), seen([0.5, 0.6, 0.51, 0.2])) == ([1, 2], [])
    assert decided(begun(threshold=0.5), seen([0.1, 0.3, 0.3])) == ([1], [])
    assert decided(begun(threshold=0.5), seen([0.9] * 10))[0] == list(range(7))
    assert decided(begun(threshold=0.5), seen([0.9] * 30))[0] == list(range(20))
    assert decided(begun(threshold=0.5), seen([0.6, 0.9, 0.7, 0.8]))[0] == [1, 3, 2, 0]


def test_fewer_return_than_the_step_before_committed() -> None:
    """Three were; of those that stand the two least probable return, though three are below the threshold."""
    rule = begun(threshold=0.5, threshold_back=0.8)
    assert decided(rule, seen([0.9, 0.8, 0.7, 0.1, 0.1, 0.1, 0.1])) == ([0, 1, 2], [])
    assert decided(rule, seen([0.1, 0.1, 0.1, 0.9, 0.6, 0.1, 0.1], {0: 0.5, 1: 0.7, 2: 0.4})) == ([3, 4], [2, 0])
    # Now two were committed, so one may return.
    assert decided(rule, seen([0.6, 0.1, 0.9, 0.1, 0.1, 0.1, 0.1], {1: 0.9, 3: 0.1, 4: 0.2})) == ([2, 0], [3])


def test_as_probable_as_the_threshold_stays() -> None:
    rule = begun(threshold=0.5, threshold_back=0.5)
    decided(rule, seen([0.9, 0.9, 0.9, 0.1, 0.1]))
    assert decided(rule, seen([0.1, 0.1, 0.1, 0.9, 0.9], {0: 0.5, 1: 0.499, 2: 0.9})) == ([3, 4], [1])


def test_a_step_that_commits_one_verifies_nothing() -> None:
    rule = begun(threshold=0.5)
    decided(rule, seen([0.9, 0.9, 0.9, 0.1, 0.1]))
    assert decided(rule, seen([0.1, 0.1, 0.1, 0.4, 0.3], {0: 0.1, 1: 0.1, 2: 0.1})) == ([3], [])
    # And after one that committed one nothing returns either.
    assert decided(rule, seen([0.1, 0.1, 0.1, 0.1, 0.6, 0.7], {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1})) == ([5, 4], [])


def test_what_the_decision_rested_on() -> None:
    rule = begun(threshold=0.5, threshold_back=0.8)
    decided(rule, seen([0.9, 0.9, 0.1]))
    decision = rule.choose(seen([0.1, 0.1, 0.9, 0.8], {0: 0.5, 1: 0.7}), CANVAS, 1)
    assert decision.remask_scores is not None
    assert decision.remask_scores[:2] == pytest.approx([0.5, 0.7])
    assert np.isnan(decision.remask_scores[2:]).all()
    assert (list(rule.gates()), list(decision.remask_gates)) == ([0.5], [0.8])


@pytest.mark.parametrize("system", ["wino", "vanilla", "fast-dllm-dual"])
@pytest.mark.parametrize(("threshold", "back"), [(0.0, 1.0), (0.1, 1.0), (0.2, 0.9)])
def test_a_block_takes_no_more_steps_than_it_has_masks(threshold: float, back: float, system: str) -> None:
    asked = request(
        system, gen_length=64, block_length=32, early_stop=False, unmask="wino", threshold=threshold, threshold_back=back
    )
    (end,) = finish(NumpyEngine(ENDLESS), [asked])
    assert (end.reason, end.forwards <= 64) == ("complete", True)
    assert any(step.to_json()["remasked"] for step in end.trace)
