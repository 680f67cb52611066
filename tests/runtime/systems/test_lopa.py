"""Branches with one token more: none are the rule alone; of several the surest goes on, with its own answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.branches import branch_step
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import StepResult
from dllm_edge.runtime.decoding.trace import StepTrace
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.systems.lopa import mean_confidences, surest
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import CONFIG, ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import proposals_of, request

BASELINES = {"none": "vanilla", "dual": "fast-dllm-dual"}
RULES: tuple[dict[str, Any], ...] = (
    {"unmask": "threshold", "threshold": 0.4},
    {"steps": 6},
    {"unmask": "factor", "temperature": 0.7},
    {"unmask": "saber"},
)


@pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])
@pytest.mark.parametrize("cache", BASELINES)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_without_branches_it_is_the_rule_alone(rule: dict[str, Any], cache: str, config: ModelConfig) -> None:
    asked = [request(name, config=config, early_stop=False, **rule) for name in (BASELINES[cache], "lopa")]
    asked[1].settings = asked[1].settings.replace(cache=cache, branches=0)
    ends = [finish(NumpyEngine(config), [one])[0] for one in asked]
    first, second = ([vars(change) for change in one.canvas.changes] for one in asked)
    assert [str(change) for change in first] == [str(change) for change in second]
    assert ends[0].forwards == ends[1].forwards


def test_mean_confidence_is_that_of_the_masks_that_are_left() -> None:
    """By hand: (0.6 + 0.2 + 0.4) / 3 of the anchor, (0.5 + 0.3) / 2 with the first mask filled, (0.9 + 0.1) / 2 the second."""
    canvas = Canvas([7, MASK, MASK, MASK], CONFIG)
    rule = Unmasking(canvas, Settings(gen_length=3), np.random.default_rng(0)).begin(Block(1, 4))
    versions = np.array([[7, MASK, MASK, MASK], [7, 9, MASK, MASK], [7, MASK, 9, MASK]])
    step = branch_step(canvas, Block(1, 4), versions, cached=False)
    log_probs = np.log(np.array([[0.6, 0.2, 0.4, 0.99, 0.5, 0.3, 0.9, 0.99, 0.1]], dtype=np.float32)).T
    result = StepResult(step, np.full((9, 1), 8), log_probs, log_probs[:, 0], log_probs)
    np.testing.assert_allclose(mean_confidences(rule, versions, result), [0.4, 0.4, 0.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("confidence", "branches", "expected"),
    [([0.2, 0.9, 0.8], 2, [1, 2]), ([0.2, 0.9, 0.8], 9, [1, 2, 0]), ([0.2, 0.9], 0, []), ([0.2], 3, []), ([0.5, 0.5], 1, [0])],
)
def test_the_surest_are_tried_and_none_that_would_be_complete(
    confidence: list[float], branches: int, expected: list[int]
) -> None:
    canvas = Canvas([7, *[MASK] * len(confidence)], CONFIG)
    assert surest(canvas, proposals_of(confidence), branches).tolist() == expected


@pytest.mark.parametrize("cache", BASELINES)
def test_the_winners_token_and_its_answer_are_taken(cache: str) -> None:
    """Replayed from the trace: a forward first commits the token of the surest branch, if that is not the anchor."""
    outcomes = []
    for seed in range(6):
        asked = request("lopa", unmask="threshold", threshold=1.01, cache=cache, branches=2, early_stop=False)
        (end,) = finish(NumpyEngine(seed=seed), [asked])
        won = [_winner(step) for step in end.trace if len(step.choices) > 1]
        assert end.forwards == 16 - sum(won)
        outcomes += won
    assert {True, False} == set(outcomes)


def _winner(step: StepTrace) -> bool:
    """Whether a branch beat the anchor in a forward, whose commits are then two."""
    tried, sizes = step.choices[0], [commit.positions.size for commit in step.commits]
    best = int(tried.scores.argmax())
    won = bool(tried.scores[best] > tried.gates[0])
    assert sizes == [1] * (1 + won)
    assert not won or step.commits[0].positions[0] == tried.positions[best]
    return won


def test_a_branchs_rows_are_counted() -> None:
    (end,) = finish(NumpyEngine(ENDLESS), [request("lopa", branches=2, early_stop=False, block_length=0)])
    sent = [step.positions.size for step in end.trace]
    assert sent[0] == 21
    assert set(sent[1:-1]) == {48}
    assert sent[-1] in (16, 48)
