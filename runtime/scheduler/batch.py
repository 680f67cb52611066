"""Steps of several sequences as one: filling an engine's input buffers and taking one sequence's part of its outputs."""

from __future__ import annotations

import numpy as np

from ...graphs.contract import Profile
from ..decoding.step import Step, StepResult
from ..engines.base import StepInputs, StepOutputs


def fill(inputs: StepInputs, row: int, step: Step, profile: Profile) -> None:
    """Write one sequence's step into row `row` of the buffers; rows and slots beyond its own are hidden."""
    queries, rows = step.input_ids.size, step.logit_rows.size
    inputs.input_ids[row, :queries] = step.input_ids
    inputs.input_ids[row, queries:] = 0
    inputs.position_ids[row, :queries] = step.position_ids
    inputs.position_ids[row, queries:] = 0
    inputs.logit_rows[row, :rows] = step.logit_rows
    inputs.logit_rows[row, rows:] = 0
    inputs.target_ids[row] = 0
    if step.target_ids is not None:
        inputs.target_ids[row, :rows] = step.target_ids
    inputs.saliency_weights[row] = 0
    if step.saliency_weights is not None:
        inputs.saliency_weights[row, :queries] = step.saliency_weights
    mask, own = inputs.attention_mask[row, 0], slice(profile.capacity, profile.capacity + queries)
    mask[:] = False
    if step.visible is not None:
        mask[:queries, : step.visible.shape[-1]] = step.visible
    mask[:queries, own] = True if step.own_mask is None else step.own_mask
    for padding in range(queries, profile.queries):
        mask[padding, profile.capacity + padding] = True


def fill_padding(inputs: StepInputs, row: int, profile: Profile) -> None:
    """Fill a row that no sequence has: its tokens see themselves alone."""
    for buffer in (inputs.input_ids, inputs.position_ids, inputs.logit_rows, inputs.target_ids, inputs.saliency_weights):
        buffer[row] = 0
    inputs.attention_mask[row, 0] = np.eye(
        profile.queries, profile.capacity + profile.queries, profile.capacity, dtype=np.bool_
    )


def result_of(step: Step, outputs: StepOutputs, row: int) -> StepResult:
    """One sequence's part of the outputs, copied: the engine's buffers serve the next step."""
    rows = step.logit_rows.size
    return StepResult(
        step,
        outputs.topk_ids[row, :rows].copy(),
        outputs.topk_logits[row, :rows].copy(),
        outputs.logsumexp[row, :rows].copy(),
        outputs.entropy[row, :rows].copy(),
        outputs.target_logits[row, :rows].copy(),
    )
