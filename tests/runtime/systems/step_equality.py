"""Coroutines that send each step in two ways, and hold the two answers against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.step import Forward, StepResult, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.systems.base import Decoding

from ..scripted import fill


def assert_same(first: StepResult, second: StepResult, tolerance: float) -> int:
    """The same answer for every position that both predict from the same row; how many those are."""
    shared = 0
    for row, position in enumerate(first.step.predicts):
        for other in np.flatnonzero(second.step.predicts == position):
            if source(first.step, row) == source(second.step, int(other)):
                shared += 1
                np.testing.assert_allclose(first.topk_log_probs[row], second.topk_log_probs[other], atol=tolerance)
                np.testing.assert_allclose(first.entropy[row], second.entropy[other], atol=tolerance)
    return shared


def source(step: Forward, row: int) -> int:
    return int(step.position_ids[step.logit_rows[row]])


def block_cache(tolerance: float, slots: IntArray) -> Callable[[Canvas], Decoding]:
    """As Fast-dLLM v2 and SDAR decode: finished blocks are stored, to slots in any order, and never looked at again.

    Each step of a block over the cache must equal the whole canvas under the block-causal mask.
    """

    def decode(canvas: Canvas) -> Decoding:
        length, stored, compared = canvas.config.attention_block, 0, 0
        visible = np.zeros(slots.size, dtype=np.bool_)
        for block in canvas.blocks(length):
            while stored < block.start // length * length:
                chunk = Block(stored, stored + length)
                yield canvas.step(chunk, visible=visible.copy(), keep_rows=True)
                yield Store(slots[stored : stored + length], np.arange(length))
                visible[slots[stored : stored + length]] = True
                stored += length
            window = Block(stored, min(stored + length, len(canvas)))
            while canvas.masked(block).size:
                cached = yield canvas.step(window, predict=block, visible=visible.copy())
                exact = yield canvas.step(canvas.whole, predict=block)
                compared += assert_same(cached, exact, tolerance)
                fill(canvas, exact)
        assert compared

    return decode


def pipelined(tolerance: float, length: int) -> Callable[[Canvas], Decoding]:
    """As D2F decodes: two blocks under way in one step with a block-causal mask of its own; the prompt is one block.

    A block's rows are stored by the first step that sends it complete.
    """

    def decode(canvas: Canvas) -> Decoding:
        edges = [0, *range(canvas.start, len(canvas), length), len(canvas)]
        owner = np.searchsorted(edges, np.arange(len(canvas)), side="right")
        sees = owner[:, None] >= owner
        visible, stored = np.zeros(len(canvas), dtype=np.bool_), 0
        while canvas.masked(Block(0, len(canvas))).size:
            first = canvas.masked(Block(0, len(canvas)))[0]
            done = max(edge for edge in edges if edge <= first)
            stop = next((edge for edge in edges if edge >= done + 2 * length), len(canvas))
            predicted, window = Block(done, stop), Block(stored, stop)
            whole = replace(canvas.step(canvas.whole, predict=predicted), own_mask=sees)
            step = canvas.step(window, predict=predicted, visible=visible.copy())
            cached = yield replace(step, own_mask=sees[stored:stop, stored:stop], keep_rows=True)
            new = np.arange(stored, done)
            yield Store(new, new - stored)
            visible[new] = True
            stored = done
            exact = yield whole
            assert assert_same(cached, exact, tolerance)
            fill(canvas, exact)

    return decode


def reordered(tolerance: float) -> Callable[[Canvas], Decoding]:
    """WeDLM's form: known tokens first, masks after them, each row seeing those before it; against positions in order."""

    def decode(canvas: Canvas) -> Decoding:
        random = np.random.default_rng(0)
        whole = Block(0, len(canvas))
        while (masked := canvas.masked(whole)).size:
            known = np.setdiff1d(np.arange(len(canvas)), masked)
            order = np.concatenate((known, random.permutation(masked)))
            place = np.argsort(order)
            step = replace(canvas.step(canvas.whole, predict=whole), own_mask=place[:, None] >= place)
            ahead = np.tri(order.size, dtype=np.bool_)
            moved = replace(step, input_ids=step.input_ids[order], position_ids=order, predicts=order, own_mask=ahead)
            sent, exact = (yield moved), (yield step)
            assert assert_same(sent, exact, tolerance)
            fill(canvas, sent)

    return decode
