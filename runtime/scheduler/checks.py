"""What a coroutine may ask for: checked when it asks, so that a mistake ends its own request and no other's."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..decoding.step import Forward, Refresh, Saliency, Select, Step, Store
from ..engines.base import Engine
from .cache_pool import Lane
from .groups import check_sizes, engine_of
from .sequence import Sequence


def check_forward(engines: Mapping[str, Engine], sequence: Sequence) -> None:
    """Raise unless the forward that the sequence waits for, if any, can be run.

    `DllmEdgeError` where its model is not there or has no such sizes, `AssertionError` for what no system should ask for.
    """
    forward = sequence.pending
    if forward is None:
        return
    assert isinstance(forward, Step | Refresh), f"a decode yields steps, refreshes and cache operations, not {forward!r}"
    engine, lane = engine_of(engines, forward.model), sequence.lanes.get(forward.model)
    assert 0 < forward.input_ids.size == forward.position_ids.size, "a forward sends at least one row, each with its position"
    # As unsigned numbers negative ones are the largest.
    assert forward.input_ids.view(np.uint64).max() < engine.config.vocab_size, "ids are the model's own"
    if not _checked_before(sequence.checked, forward, lane):
        _check_layout(forward, lane)
        check_sizes(engines, sequence)
        sequence.checked = (forward, lane)


def _checked_before(checked: tuple[Forward, Lane | None] | None, forward: Forward, lane: Lane | None) -> bool:
    """Return whether a forward has the very same arrays, but for its ids, as the last that was checked, and the same lane."""
    if checked is None or checked[1] is not lane:
        return False
    last = checked[0]
    return (
        last.position_ids is forward.position_ids
        and last.logit_rows is forward.logit_rows
        and last.predicts is forward.predicts
        and last.own_mask is forward.own_mask
        and last.target_ids is forward.target_ids
        and last.model == forward.model
        and isinstance(last, Step)
        and isinstance(forward, Step)
        and last.visible is forward.visible
    )


def _check_layout(forward: Step | Refresh, lane: Lane | None) -> None:
    slots, queries = lane.cache.capacity if lane else 0, forward.input_ids.size
    assert forward.logit_rows.size == forward.predicts.size, "each logit row predicts one position"
    assert forward.own_mask is None or forward.own_mask.shape == (queries, queries), "an own mask is [Q, Q]"
    if isinstance(forward, Refresh):
        assert lane is not None, "a refresh fills a cache: reserve one first"
        assert forward.evicts or queries <= slots, f"a refresh of {queries} rows fills a cache of {slots} slots"
    elif forward.visible is not None:
        assert forward.visible.shape[-1] <= slots, f"a step sees {forward.visible.shape[-1]} slots of a cache of {slots}"


def check_operation(sequence: Sequence, operation: Saliency | Select | Store) -> None:
    """Raise `AssertionError` unless the sequence's last forward left what the operation works on."""
    last, lane = sequence.last, sequence.lanes.get(operation.model)
    assert lane is not None, f"no cache was reserved for {operation}"
    if isinstance(operation, Store):
        kept = isinstance(last, Step) and last.keep_rows and last.model == operation.model
        assert kept, "a store copies rows of the last forward, a step of the same model that kept them"
        assert not operation.slots.size or operation.slots.max() < lane.cache.capacity, "a store writes to slots that are there"
    elif isinstance(operation, Select):
        evicts = isinstance(last, Refresh) and last.evicts and last.model == operation.model
        assert evicts, "a selection takes from the last forward, an evicting refresh of the same model"
