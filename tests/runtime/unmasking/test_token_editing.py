from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.changes import Edit
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import StepResult
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.base import Lanes, StepOutputs
from dllm_edge.runtime.scheduler.request import Request
from dllm_edge.runtime.systems import SYSTEMS
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Budget
from dllm_edge.runtime.unmasking.token_editing import TokenEditing

from ..numpy_engine import CONFIG, ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import request

CANVAS = Canvas([7, *[MASK] * 6], CONFIG)
RULE: dict[str, Any] = {"unmask": "token-editing", "early_stop": False}


def begun(**settings: Any) -> TokenEditing:
    budget = Budget(6, 6, 0, np.random.default_rng(0), Block(1, 7))
    return TokenEditing(Settings(unmask="token-editing", **settings), budget)


def seen(proposed: list[tuple[int, float]], current: list[int]) -> Proposals:
    """Tokens and confidences that are proposed where `current` stands."""
    ids, confidence = np.array([token for token, _ in proposed]), np.array([one for _, one in proposed], dtype=np.float32)
    rows = np.arange(ids.size)
    step = CANVAS.step(Block(1, 1 + ids.size))
    columns = np.zeros((ids.size, 1), dtype=np.float32)
    result = StepResult(step, ids[:, None], np.log(confidence)[:, None], columns[:, 0], columns)
    return Proposals(rows + 1, ids, confidence, np.log(confidence), np.array(current), rows, result)


def decided(rule: TokenEditing, proposals: Proposals) -> tuple[list[int], list[int], bool]:
    decision = rule.choose(proposals, CANVAS, 0)
    assert not decision.remask.size
    return decision.commit.tolist(), decision.edit.tolist(), rule.revises


@pytest.mark.parametrize(
    ("proposed", "current", "commit", "edit"),
    [
        ([(1, 0.8), (2, 0.6), (3, 0.9)], [MASK] * 3, [2, 0], []),
        ([(1, 0.7), (2, 0.6), (3, 0.7)], [MASK] * 3, [0], []),
        ([(1, 0.8), (2, 0.6), (3, 0.9)], [MASK, 1, 3], [0], [1]),
        ([(1, 0.2), (2, 0.5), (3, 0.9)], [MASK, 1, 2], [0], [2]),
        ([(1, 0.9), (2, 0.9), (3, 0.4)], [1, 2, 2], [], []),
        ([(1, 0.9), (2, 0.9), (3, 0.51)], [2, 3, 2], [], [0, 1, 2]),
    ],
)
def test_masks_to_tokens_and_tokens_to_tokens(
    proposed: list[tuple[int, float]], current: list[int], commit: list[int], edit: list[int]
) -> None:
    """Above 0.7 and above 0.5, neither at them; the best mask always."""
    rule = begun(threshold=0.7, edit_threshold=0.5)
    assert decided(rule, seen(proposed, current))[:2] == (commit, edit)
    assert list(rule.gates()) == [0.7, 0.5]


def test_a_block_without_masks_goes_on_while_something_changes() -> None:
    rule = begun(threshold=0.5)
    assert not rule.revises
    assert decided(rule, seen([(1, 0.9), (2, 0.9)], [MASK, MASK])) == ([0, 1], [], True)
    assert decided(rule, seen([(2, 0.9), (2, 0.9)], [1, 2])) == ([], [0], True)
    assert decided(rule, seen([(2, 0.9), (2, 0.9)], [2, 2])) == ([], [], False)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_block_without_masks_goes_on_for_so_many_steps(most: int) -> None:
    rule, left = begun(threshold=0.5, max_post_edit_steps=most), 0
    revises = decided(rule, seen([(1, 0.9)], [MASK]))[2]
    while revises:
        left += 1
        revises = decided(rule, seen([(left, 0.9)], [left + 1]))[2]
    assert left == most


class Restless(NumpyEngine):
    """Proposes another token at every position in every forward, surely."""

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        outputs = super().run(profile, cache, bind, keep_rows)
        given = self.inputs(profile)
        outputs.topk_ids[..., 0] = np.where(given.target_ids[..., 0] == 10, 11, 10)
        outputs.topk_log_probs[..., 0] = -1e-3
        return outputs


@pytest.mark.parametrize("system", [name for name in SYSTEMS if SYSTEMS[name].rules is None])
@pytest.mark.parametrize(("length", "most"), [(8, 16), (8, 2), (0, 16), (4, 0)])
def test_it_ends_within_the_masks_and_the_post_edit_steps(system: str, length: int, most: int) -> None:
    """Whatever the model does: one token a step, all at once, and another one in every forward."""
    for engine, threshold in ((Restless(), 0.5), (Restless(), 1.01), (NumpyEngine(), 0.0), (NumpyEngine(), 1.01)):
        asked = request(system, block_length=length, threshold=threshold, edit_threshold=0.0, max_post_edit_steps=most, **RULE)
        (end,) = finish(engine, [asked])
        blocks = asked.settings.block_count
        assert (end.reason, MASK in asked.canvas.tokens) == ("complete", False)
        assert end.forwards <= 16 + most * blocks
        if isinstance(engine, Restless) and system != "d3llm":  # which ends with the last mask
            assert end.forwards == (blocks if threshold < 1 else 16) + most * blocks


@pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])
def test_given_tokens_stay(config: ModelConfig) -> None:
    """Infilling, also with a block that is given as a whole, over which there is no forward."""
    tokens = [7, MASK, 8, MASK, 9, 9, 9, 9, MASK]
    canvas = Canvas(tokens, config)
    settings = Settings(gen_length=8, block_length=4, threshold=0.0, edit_threshold=0.0, **RULE)
    (end,) = finish(Restless(config), [Request(canvas, SYSTEMS["vanilla"], settings, trace=True)])
    assert end.forwards == 2 * 17
    assert [new for new, old in zip(canvas.tokens.tolist(), tokens, strict=True) if old != MASK] == [7, 8, 9, 9, 9, 9]


def test_without_edits_it_is_the_threshold() -> None:
    """No token is surer than a confidence of 1."""
    ends = {}
    for unmask in ("threshold", "token-editing"):
        asked = request("fast-dllm-dual", unmask=unmask, threshold=0.3, edit_threshold=1.0, max_post_edit_steps=0)
        (end,) = finish(NumpyEngine(ENDLESS), [asked])
        ends[unmask] = end.forwards, asked.canvas.tokens.tolist()
    assert ends["threshold"] == ends["token-editing"]


def test_edits_are_in_the_trace_and_on_the_canvas() -> None:
    asked = request("vanilla", threshold=0.2, edit_threshold=0.1, **RULE)
    (end,) = finish(NumpyEngine(ENDLESS), [asked])
    edits = [change for change in asked.canvas.changes if isinstance(change, Edit)]
    assert edits
    assert sum(len(step.to_json()["edited"]) for step in end.trace) == len(edits)
    assert all((edit.ids != edit.previous_ids).all() for edit in edits)


@pytest.mark.parametrize("stop_at", ["text", "block"])
def test_early_stop(stop_at: str) -> None:
    """At once where the text has ended; with its block, revised as every other, where that is asked for."""
    ending = replace(ENDLESS, eos_token_ids=(10,))
    asked = request("vanilla", config=ending, threshold=0.0, edit_threshold=0.0, stop_at=stop_at, unmask="token-editing")
    (end,) = finish(Restless(ending), [asked])
    assert end.forwards == {"text": 1, "block": 17}[stop_at]
