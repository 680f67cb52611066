"""Steps drafted ahead: the same decode in fewer forwards, whatever is drafted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.branches import branch_step
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Change
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import StepResult
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.scheduler.request import Finished, Request
from dllm_edge.runtime.systems.ssd import drafted, verify
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import CONFIG, ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import PROMPTS, proposals_of, request

BASELINES = {"none": "vanilla", "dual": "fast-dllm-dual"}
RULES: tuple[dict[str, Any], ...] = (
    {},
    {"steps": 6},
    {"confidence": "entropy"},
    {"confidence": "topk_margin", "block_length": 0},
    {"confidence": "random"},
    {"temperature": 1.2},
    {"early_stop": True},
    {"early_stop": True, "stop_at": "block"},
    {"unmask": "threshold", "threshold": 0.4},
    {"unmask": "saber", "backtrack_one_in": 2},
    {"unmask": "schedule", "steps": 8},
)

both = pytest.mark.parametrize("config", [CONFIG, SHIFTED], ids=["plain", "shifted"])
caches = pytest.mark.parametrize("cache", BASELINES)


def decoded(system: str, config: ModelConfig, seed: int, **settings: Any) -> tuple[Request, Finished]:
    asked = request(system, PROMPTS[0], config, **{"early_stop": False, **settings})
    (end,) = finish(NumpyEngine(config, seed), [asked])
    return asked, end


def shown(changes: list[Change]) -> list[tuple[str, dict[str, Any]]]:
    """What was done, in which order, less the last digits of confidences."""
    return [
        (type(change).__name__, {name: np.round(array, 4).tolist() for name, array in vars(change).items()})
        for change in changes
    ]


def sent_rows(end: Finished) -> list[int]:
    return [step.positions.size for step in end.trace]


@both
@caches
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_changes_are_those_of_the_decode_without_drafts(rule: dict[str, Any], cache: str, config: ModelConfig) -> None:
    """For any number of branches; without one, forward by forward and row by row."""
    fewer = 0
    for seed in range(3):
        plain, baseline = decoded(BASELINES[cache], config, seed, **rule)
        for branches in (0, 1, 3, 9):
            asked, end = decoded("ssd", config, seed, cache=cache, branches=branches, **rule)
            assert shown(asked.canvas.changes) == shown(plain.canvas.changes)
            assert end.refresh_forwards == baseline.refresh_forwards
            assert end.forwards <= baseline.forwards
            assert branches or sent_rows(end) == sent_rows(baseline)
            fewer += end.forwards < baseline.forwards
    one_a_step_and_no_chance = {"unmask", "temperature", "steps"}.isdisjoint(rule) and rule.get("confidence") != "random"
    assert fewer > 0 or not one_a_step_and_no_chance


@pytest.mark.parametrize(("cache", "width"), [("none", 21), ("dual", 8)])
def test_rows_are_those_of_the_canvas_and_of_each_branch(cache: str, width: int) -> None:
    """A draft is never complete: the fewer masks are left, the fewer branches there are."""
    _, end = decoded("ssd", ENDLESS, 0, cache=cache, branches=4)
    masks = 16
    for step, rows in zip(end.trace, sent_rows(end), strict=True):
        left = masks if masks < 8 else masks - 8
        begins = masks in (16, 8)
        assert rows == (21 if begins else width * min(5, left))
        masks -= sum(commit.positions.size for commit in step.commits)
    assert masks == 0


def drafts_of(confidence: list[float], committed: list[int], branches: int) -> list[list[int]]:
    """The drafts after a step that committed some of the masks; `M` is the mask."""
    proposals = proposals_of(confidence)
    canvas = Canvas([7, *[MASK] * len(confidence)], CONFIG)
    chosen = np.array(committed)
    canvas.commit(proposals.positions[chosen], proposals.ids[chosen], proposals.confidence[chosen])
    drafts: list[list[int]] = drafted(canvas, proposals, branches)[:, 1:].tolist()
    return drafts


M = MASK


@pytest.mark.parametrize(
    ("confidence", "committed", "branches", "expected"),
    [
        ([0.9, 0.8, 0.5], [0], 3, [[0, M, M], [0, 1, M]]),
        ([0.9, 0.5, 0.8], [0], 3, [[0, M, M], [0, M, 2]]),
        ([0.9, 0.8, 0.5, 0.4], [0], 1, [[0, M, M, M], [0, 1, M, M]]),
        ([0.9, 0.8, 0.5, 0.4], [0], 0, [[0, M, M, M]]),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.3, 0.4], [0, 1], 9, [[0, 1, M, M, M, M, M], [0, 1, 2, 3, M, M, M], [0, 1, 2, 3, 4, M, 6]]),
        ([0.9, 0.8, 0.7, 0.6], [0, 1], 9, [[0, 1, M, M]]),
        ([0.9, 0.8], [0], 9, [[0, M]]),
    ],
)
def test_drafts(confidence: list[float], committed: list[int], branches: int, expected: list[list[int]]) -> None:
    """As many tokens more as the step committed; of what is left, the last is never drafted."""
    assert drafts_of(confidence, committed, branches) == expected


A, B, C, D = 11, 12, 13, 14


def advanced(*answers: list[tuple[int, float]]) -> list[int]:
    """What is made of the draft `[A, B, _]` of a canvas `[A, _, _]` by the answers of both branches, a token and its
    confidence for each position."""
    canvas = Canvas([7, A, MASK, MASK], CONFIG)
    unmasking = Unmasking(canvas, Settings(gen_length=3, early_stop=False), np.random.default_rng(0))
    block = Block(1, 4)
    rule, drafts = unmasking.begin(block), np.array([[7, A, MASK, MASK], [7, A, B, MASK]])
    step = branch_step(canvas, block, drafts, cached=True)
    ids, confidence = (np.array([pair[part] for answer in answers for pair in answer]) for part in (0, 1))
    zeros = np.zeros((ids.size, 1), dtype=np.float32)
    log_probs = np.log(confidence.astype(np.float32))[:, None]
    verify(rule, drafts, StepResult(step, ids[:, None], log_probs, zeros[:, 0], zeros))
    tokens: list[int] = canvas.tokens[1:].tolist()
    return tokens


def test_verification() -> None:
    """The text's vectors: T_1 = [A B _] is the draft, whose own answer goes on with D; T_1 = [A _ C] is not."""
    kept, other = [(A, 0.9), (B, 0.8), (C, 0.5)], [(A, 0.9), (B, 0.5), (C, 0.8)]
    second = [(A, 0.9), (B, 0.9), (D, 0.1)]
    assert advanced(kept, second) == [A, B, D]
    assert advanced(other, second) == [A, MASK, C]
    assert advanced([(A, 0.9), (D, 0.8), (C, 0.5)], second) == [A, D, MASK]
