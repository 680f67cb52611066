"""What a coroutine may ask for: checked when it asks, so that a mistake ends its own request and no other's."""

from __future__ import annotations

from collections.abc import Mapping

from ..decoding.step import Refresh, Saliency, Select, Step, Store
from ..engines.base import Engine
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
    slots, queries = lane.cache.capacity if lane else 0, forward.input_ids.size
    assert 0 < queries == forward.position_ids.size, "a forward sends at least one row, each with its position"
    assert forward.logit_rows.size == forward.predicts.size, "each logit row predicts one position"
    assert forward.own_mask is None or forward.own_mask.shape == (queries, queries), "an own mask is [Q, Q]"
    assert 0 <= forward.input_ids.min() <= forward.input_ids.max() < engine.config.vocab_size, "ids are the model's own"
    if isinstance(forward, Refresh):
        assert lane is not None, "a refresh fills a cache: reserve one first"
        assert forward.evicts or queries <= slots, f"a refresh of {queries} rows fills a cache of {slots} slots"
    elif forward.visible is not None:
        assert forward.visible.shape[-1] <= slots, f"a step sees {forward.visible.shape[-1]} slots of a cache of {slots}"
    check_sizes(engines, sequence)


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
