"""Forwards of several sequences as one: filling an engine's input buffers and taking one sequence's part of its outputs."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from ...graphs.contract import Profile
from ..decoding.step import Forward, Refresh, Step, StepResult
from ..engines.base import StepInputs, StepOutputs


@dataclass
class _Written:
    """What a row of the buffers holds: the forward that was written last, None for padding."""

    forward: Forward | None = None


_WRITTEN: WeakKeyDictionary[StepInputs, dict[int, _Written]] = WeakKeyDictionary()


def fill(inputs: StepInputs, row: int, forward: Step | Refresh, profile: Profile) -> None:
    """Write one sequence's forward into row `row` of the buffers; rows and slots beyond its own are hidden.

    What the last forward in this row had of the very same arrays is not written again.
    """
    written = _WRITTEN.setdefault(inputs, {}).setdefault(row, _Written())
    last, written.forward = written.forward, forward
    queries, rows = forward.input_ids.size, forward.logit_rows.size
    inputs.input_ids[row, :queries] = forward.input_ids
    if last is None or last.position_ids is not forward.position_ids:
        inputs.input_ids[row, queries:] = 0
        inputs.position_ids[row, :queries] = forward.position_ids
        inputs.position_ids[row, queries:] = 0
    if last is None or last.logit_rows is not forward.logit_rows:
        inputs.logit_rows[row, :rows] = forward.logit_rows
        inputs.logit_rows[row, rows:] = 0
    if last is None or last.target_ids is not forward.target_ids:
        inputs.target_ids[row] = 0
        if forward.target_ids is not None:
            inputs.target_ids[row, :rows] = forward.target_ids
    if last is None or last.saliency_weights is not forward.saliency_weights:
        inputs.saliency_weights[row] = 0
        if forward.saliency_weights is not None:
            inputs.saliency_weights[row, :queries] = forward.saliency_weights
    if last is None or not _same_mask(last, forward):
        _fill_mask(inputs, row, forward, profile)


def _same_mask(last: Forward, forward: Forward) -> bool:
    return (
        last.position_ids is forward.position_ids
        and last.own_mask is forward.own_mask
        and isinstance(last, Step)
        and isinstance(forward, Step)
        and last.visible is forward.visible
    )


def _fill_mask(inputs: StepInputs, row: int, forward: Step | Refresh, profile: Profile) -> None:
    queries = forward.input_ids.size
    mask, own = inputs.attention_mask[row, 0], slice(profile.capacity, profile.capacity + queries)
    mask[:] = False
    visible = forward.visible if isinstance(forward, Step) else None
    if visible is not None:
        mask[:queries, : visible.shape[-1]] = visible
    mask[:queries, own] = True if forward.own_mask is None else forward.own_mask
    padding = np.arange(queries, profile.queries)
    mask[padding, profile.capacity + padding] = True


def fill_padding(inputs: StepInputs, row: int, profile: Profile) -> None:
    """Fill a row that no sequence has: its tokens see themselves alone."""
    written = _WRITTEN.setdefault(inputs, {})
    if row in written and written[row].forward is None:
        return
    written[row] = _Written()
    for buffer in (inputs.input_ids, inputs.position_ids, inputs.logit_rows, inputs.target_ids, inputs.saliency_weights):
        buffer[row] = 0
    inputs.attention_mask[row, 0] = np.eye(
        profile.queries, profile.capacity + profile.queries, profile.capacity, dtype=np.bool_
    )


def result_of(forward: Step | Refresh, outputs: StepOutputs, row: int) -> StepResult:
    """Return one sequence's part of the outputs, copied: the engine's buffers serve the next forward."""
    rows = forward.logit_rows.size
    return StepResult(
        forward,
        outputs.topk_ids[row, :rows].copy(),
        outputs.topk_log_probs[row, :rows].copy(),
        outputs.entropy[row, :rows].copy(),
        outputs.target_log_probs[row, :rows].copy(),
    )
