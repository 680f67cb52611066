"""Caches that grow by stored rows and live to the end, each step against the whole canvas; and such as are made larger."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import Reserve, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.scheduler.rehearsal import derive_workload
from dllm_edge.runtime.systems.base import Decode, Decoding
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import ENDLESS, MASK, NumpyEngine
from ..recorder import Recorder
from ..scripted import PROMPTS, fill, request
from ..systems.step_equality import assert_same
from .runs import decoded, run, system

CAUSAL = replace(ENDLESS, attention="causal", logit_shift=True)
ALIGNED = replace(ENDLESS, attention="block-causal", attention_block=8)
# Keys and values go through float32 caches, all else is float64.
TOLERANCE = 1e-4


def autoregressive(room: Callable[[Canvas, int], int]) -> Decode:
    """The prompt in one step, then a token a step; `room` is the cache that it wants for so many slots."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        cached = 0
        for position in range(canvas.start, canvas.stop):
            yield Reserve(room(canvas, position), bound=False)
            window, prefix = Block(cached, position), np.arange(cached) < cached
            predict = Block(position, position + 1)
            result = yield canvas.step(window, predict=predict, visible=prefix, keep_rows=True)
            yield Store(np.arange(cached, position), np.arange(position - cached))
            cached = position
            assert assert_same(result, (yield canvas.step(canvas.whole, predict=predict)), TOLERANCE) == 1
            fill(canvas, result)

    return decode


def test_autoregressive_over_a_cache_equals_whole_causal_forwards() -> None:
    for each, end in decoded(autoregressive(lambda canvas, slots: len(canvas)), CAUSAL):
        assert MASK not in each.canvas.tokens
        windows = [step.positions.size for step in end.trace if step.kind == "block"]
        assert windows == [each.canvas.start, *[1] * 15]


def test_a_larger_cache_keeps_what_was_stored() -> None:
    """Of three sequences that grow by four slots, out of step with each other; lanes move between caches on the way."""
    engine = Recorder(NumpyEngine(CAUSAL))
    runs = decoded(autoregressive(lambda canvas, slots: -(-slots // 4) * 4), CAUSAL, engine)
    assert all(MASK not in each.canvas.tokens for each, _ in runs)
    assert {capacity for _, capacity in engine.allocated} >= {8, 16}
    assert "select" in engine.operations


def test_the_same_tokens_whatever_the_cache() -> None:
    rooms = [lambda canvas, slots: len(canvas), lambda canvas, slots: slots, lambda canvas, slots: -(-slots // 4) * 4]
    runs = [decoded(autoregressive(room), CAUSAL) for room in rooms]
    assert len({tuple(each.canvas.tokens.tolist()) for one in runs for each, _ in one}) == len(PROMPTS)


def test_an_engine_is_built_for_the_moves_to_larger_caches() -> None:
    growing = system(autoregressive(lambda canvas, slots: -(-slots // 16) * 16))
    settings = Settings(gen_length=40, block_length=8)
    workload = derive_workload(CAUSAL, [(growing, settings)], [50])
    capacities = sorted({target for _, target in workload.select} | {source for source, _ in workload.select})
    assert len(capacities) > 2
    assert set(pairwise(capacities)) <= set(workload.select)


def hierarchical(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    """Fast-dLLM v2: finished blocks are committed to the cache; a sub-block's rows over those of the block around it.

    The block's slots are filled by a step of the whole block, of which sub-block steps then replace their own. Where
    nothing has changed since, they equal the whole canvas.
    """
    yield Reserve(-(-len(canvas) // 8) * 8)
    slots, cached = np.arange(-(-len(canvas) // 8) * 8), 0
    for block in canvas.blocks(8):
        first = block.start // 8 * 8
        if first > cached:
            yield canvas.step(Block(cached, first), predict=Block(first - 1, first), visible=slots < cached, keep_rows=True)
            yield Store(np.arange(cached, first), np.arange(first - cached))
            cached = first
        for start in range(first + (block.start - first) // 4 * 4, block.stop, 4):
            part = Block(max(start, block.start), min(start + 4, block.stop))
            rule = unmasking.begin(part)
            while rule.pending:
                whole = Block(first, block.stop)
                yield canvas.step(whole, predict=part, visible=slots < first, keep_rows=True)
                yield Store(np.arange(first, whole.stop), np.arange(len(whole)))
                around = (slots < whole.stop) & ~((slots >= part.start) & (slots < part.stop))
                result = yield canvas.step(part, visible=around, keep_rows=True)
                yield Store(np.arange(part.start, part.stop), np.arange(len(part)))
                exact = yield canvas.step(canvas.whole, predict=part)
                assert assert_same(result, exact, TOLERANCE) == len(part)
                rule.commit(result)


def test_a_sub_block_over_its_block_and_committed_blocks_equals_whole_forwards() -> None:
    for each, _ in decoded(hierarchical, ALIGNED, unmask="threshold", threshold=0.5):
        assert MASK not in each.canvas.tokens


def test_a_stale_sub_block_is_noticed() -> None:
    """The oracle above can fail: without the step of the whole block, what surrounds the sub-block is stale."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        skipped = hierarchical(canvas, settings, unmasking)
        wanted = next(skipped)
        while True:
            answer = None if isinstance(wanted, Store) and wanted.rows.size == 8 else (yield wanted)
            try:
                wanted = skipped.send(answer)
            except StopIteration:
                return

    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        run(NumpyEngine(ALIGNED), [request(system(decode), PROMPTS[2], ALIGNED)])


def test_a_step_without_a_prediction_fills_a_cache() -> None:
    """A commit pass, or a prompt that is read: no row of it passes through the head but one of padding."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        nothing = np.zeros(0, dtype=np.int64)
        empty = np.zeros(len(canvas), dtype=np.bool_)
        result = yield canvas.step(Block(0, canvas.start), predict=nothing, visible=empty, keep_rows=True)
        assert result.topk_ids.shape[0] == 0
        yield Store(np.arange(canvas.start), np.arange(canvas.start))
        predict = Block(canvas.start, canvas.start + 1)
        seen = np.arange(len(canvas)) < canvas.start - 1
        cached = yield canvas.step(Block(canvas.start - 1, canvas.start), predict=predict, visible=seen)
        assert assert_same(cached, (yield canvas.step(canvas.whole, predict=predict)), TOLERANCE) == 1

    engine = Recorder(NumpyEngine(CAUSAL))
    decoded(decode, CAUSAL, engine)
    assert min(launch.profile.rows for launch in engine.launches) == 1
