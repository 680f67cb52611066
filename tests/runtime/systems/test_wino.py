from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.step import StepResult
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.systems.base import Decoding
from dllm_edge.runtime.systems.wino import shadowed, showing, verified

from ..numpy_engine import ENDLESS, MASK, SHIFTED, NumpyEngine
from ..recorder import finish
from ..scripted import request, scripted

BLOCK = Block(5, 13)
CONFIGS = pytest.mark.parametrize("config", [ENDLESS, SHIFTED], ids=["plain", "shifted"])


def results_of(config: ModelConfig, tokens: dict[int, int], block: Block = BLOCK) -> tuple[StepResult, StepResult]:
    """What a step with a shadow says, and what one without, of a canvas on which these tokens stand."""
    found: list[StepResult] = []

    def decode(canvas: Canvas) -> Decoding:
        ids = np.array(list(tokens.values()))
        canvas.commit(np.array(list(tokens)), ids, np.ones(ids.size, dtype=np.float32))
        found.append((yield showing(canvas, shadowed(canvas, block))))
        found.append((yield canvas.step(canvas.whole, predict=block)))

    finish(NumpyEngine(config), [request(scripted(decode), config=config)])
    return found[0], found[1]


@CONFIGS
def test_the_canvas_does_not_see_the_shadow(config: ModelConfig) -> None:
    both, plain = results_of(config, {6: 10, 9: 11})
    own = verified(both)
    assert own.step.predicts.tolist() == plain.step.predicts.tolist()
    assert own.topk_ids.tolist() == plain.topk_ids.tolist()
    assert own.topk_log_probs == pytest.approx(plain.topk_log_probs, rel=1e-5)


@CONFIGS
def test_a_witness_does_not_see_the_token(config: ModelConfig) -> None:
    """In one layer, where nothing that saw it is seen: the same distribution whatever stands there."""
    said = []
    for token in (10, 11, 12):
        both, _ = results_of(replace(config, layers=1), {6: 10, 9: token})
        said.append(both.select(np.arange(8, 16)))
    assert said[0].topk_ids[4].tolist() == said[1].topk_ids[4].tolist() == said[2].topk_ids[4].tolist()
    assert said[0].topk_log_probs[4] == pytest.approx(said[1].topk_log_probs[4], rel=1e-6)
    assert said[0].topk_log_probs[1] != pytest.approx(said[1].topk_log_probs[1], rel=1e-3), "but others do"


def test_a_witness_alone_is_the_forward_with_a_mask_in_the_tokens_place() -> None:
    """In one layer, of a block of one position: it sees the rest of the canvas and itself, a mask."""
    config = replace(ENDLESS, layers=1)
    both, _ = results_of(config, {6: 10, 9: 11}, Block(6, 7))
    _, masked = results_of(config, {9: 11}, Block(6, 7))
    assert both.topk_log_probs[1] == pytest.approx(masked.topk_log_probs[0], rel=1e-5)


@CONFIGS
def test_the_tokens_that_stand_are_judged_by_the_witnesses(config: ModelConfig) -> None:
    both, _ = results_of(config, {6: 10, 9: 11})
    named = both.step.target_ids
    assert named is not None
    assert named[:, 0].tolist() == [MASK, 10, MASK, MASK, 11, MASK, MASK, MASK] * 2
    assert verified(both).target_log_probs.tolist() == both.target_log_probs[8:].tolist()
    assert both.target_log_probs[9].tolist() != both.target_log_probs[1].tolist()


@CONFIGS
def test_where_nothing_is_taken_back_the_shadow_changes_nothing(config: ModelConfig) -> None:
    asked = [
        request(system, config=config, unmask="wino", threshold=0.2, threshold_back=0.0, early_stop=False)
        for system in ("wino", "vanilla")
    ]
    ends = [finish(NumpyEngine(config), [one])[0] for one in asked]
    assert asked[0].canvas.tokens.tolist() == asked[1].canvas.tokens.tolist()
    assert ends[0].forwards == ends[1].forwards
