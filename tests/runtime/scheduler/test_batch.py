from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.engines.base import StepInputs
from dllm_edge.runtime.scheduler.batch import fill, fill_padding, result_of

from ..numpy_engine import CONFIG, MASK, NumpyEngine

PROFILE = Profile(batch=3, queries=6, capacity=5, rows=3, targets=2)
CANVAS = Canvas([7, 8, MASK, MASK], CONFIG)


def dirty() -> StepInputs:
    """Buffers as an earlier step of the same profile may have left them."""
    inputs = NumpyEngine().inputs(PROFILE)
    for field in fields(inputs):
        getattr(inputs, field.name)[:] = 1
    return inputs


def test_a_step_and_its_padding() -> None:
    inputs, step = dirty(), CANVAS.step(CANVAS.whole, predict=Block(2, 4))
    fill(inputs, 1, step, PROFILE)
    assert inputs.input_ids[1].tolist() == [7, 8, MASK, MASK, 0, 0]
    assert inputs.position_ids[1].tolist() == [0, 1, 2, 3, 0, 0]
    assert inputs.logit_rows[1].tolist() == [2, 3, 0]
    assert inputs.target_ids[1].tolist() == [[0, 0]] * 3
    assert inputs.saliency_weights[1].tolist() == [0] * 6
    own = np.array([[True] * 4 + [False] * 2] * 4 + [[False] * 4 + [True, False], [False] * 5 + [True]])
    assert inputs.attention_mask[1, 0, :, 5:].tolist() == own.tolist()
    assert not inputs.attention_mask[1, 0, :, :5].any()
    assert (inputs.input_ids[[0, 2]] == 1).all()
    assert inputs.attention_mask[[0, 2]].all()


def test_visible_slots_shorter_than_the_capacity() -> None:
    inputs, visible = dirty(), np.array([True, False, True])
    fill(inputs, 0, CANVAS.step(Block(2, 4), visible=visible), PROFILE)
    assert inputs.attention_mask[0, 0, :2, :5].tolist() == [[True, False, True, False, False]] * 2
    assert not inputs.attention_mask[0, 0, 2:, :5].any()


def test_masks_of_single_rows() -> None:
    """What a row sees may be its own: of the cache, and of the step."""
    inputs, step = dirty(), CANVAS.step(Block(2, 4), visible=np.array([[True, False], [False, True]]))
    fill(inputs, 0, replace(step, own_mask=np.tri(2, dtype=np.bool_)), PROFILE)
    assert inputs.attention_mask[0, 0, :2, :2].tolist() == [[True, False], [False, True]]
    assert inputs.attention_mask[0, 0, :2, 5:7].tolist() == [[True, False], [True, True]]


def test_targets_and_weights() -> None:
    inputs, step = dirty(), CANVAS.refresh(predict=Block(2, 4), salient=Block(2, 4))
    fill(inputs, 0, replace(step, target_ids=np.array([[1, 2], [3, 4]])), PROFILE)
    assert inputs.target_ids[0].tolist() == [[1, 2], [3, 4], [0, 0]]
    assert inputs.saliency_weights[0].tolist() == [0, 0, 0.5, 0.5, 0, 0]


def test_rows_without_a_sequence_see_themselves_alone() -> None:
    inputs = dirty()
    fill_padding(inputs, 2, PROFILE)
    assert (inputs.attention_mask[2, 0] == np.eye(6, 11, 5, dtype=np.bool_)).all()
    for buffer in (inputs.input_ids, inputs.position_ids, inputs.logit_rows, inputs.target_ids, inputs.saliency_weights):
        assert not buffer[2].any()
        assert buffer[0].all()


def test_a_result_is_the_sequences_own_and_a_copy() -> None:
    engine, step = NumpyEngine(), CANVAS.step(CANVAS.whole, predict=Block(2, 4))
    outputs = engine.workspace(PROFILE).outputs
    for index, field in enumerate(fields(outputs)):
        buffer = getattr(outputs, field.name)
        buffer[:] = np.arange(buffer.size).reshape(buffer.shape) + index
    result = result_of(step, outputs, 1)
    for name in ("topk_ids", "topk_log_probs", "entropy", "target_log_probs"):
        expected = getattr(outputs, name)[1, :2].copy()
        getattr(outputs, name)[:] = 0
        assert (getattr(result, name) == expected).all()
        assert expected.any()
