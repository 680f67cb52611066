"""Windows of any positions: pruned suffixes, reordered masks, branches, shadow rows, the vicinity of a block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from dllm_edge.runtime.arrays import IntArray
from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import Reserve, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.systems.base import Decode, Decoding
from dllm_edge.runtime.unmasking.unmasking import Unmasking

from ..numpy_engine import CONFIG, ENDLESS, MASK, NumpyEngine
from ..scripted import request
from ..systems.step_equality import assert_same
from .runs import commits, decoded, run, system, tokens

# Keys and values go through float32 caches, all else is float64.
TOLERANCE = 1e-4
RULE: dict[str, Any] = {"unmask": "threshold", "threshold": 0.4}


def pruned(canvas: Canvas, block: Block, width: int) -> IntArray:
    """All positions up to the block's end, `width` of those after it, and the last."""
    suffix = np.arange(block.stop, len(canvas))
    kept = suffix if suffix.size <= width else np.append(suffix[:width], suffix[-1])
    return np.concatenate((np.arange(block.stop), kept))


def streaming(width: int) -> Decode:
    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        for block, rule in unmasking.blocks():
            kept = pruned(canvas, block, width)
            rule.commit((yield canvas.refresh(kept, predict=block)))
            while rule.pending:
                window, prefix = kept[block.start :], np.arange(kept.size) < block.start
                rule.commit((yield canvas.step(window, predict=block, visible=prefix)))

    return decode


def test_a_pruned_suffix_as_wide_as_the_suffix_is_the_prefix_cache() -> None:
    assert commits(decoded(streaming(16), **RULE)) == commits(decoded("fast-dllm-prefix", **RULE))


def test_a_pruned_suffix_sends_the_last_position_as_well() -> None:
    (_, end), *_ = decoded(streaming(2), **RULE)
    first = [step for step in end.trace if step.predicts[0] == 5]
    assert first[0].kind == "refresh"
    assert first[0].positions.tolist() == [*range(15), 20]
    assert all(step.positions.tolist() == [*range(5, 15), 20] for step in first[1:])
    assert len(first) > 1


def reordered(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    """WeDLM: known tokens before masks, causal in that order; the leading run of known tokens is appended to the cache."""
    yield Reserve(len(canvas))
    rule, cached = unmasking.begin(Block(canvas.start, canvas.stop)), 0
    while rule.pending:
        first = int(canvas.masked(canvas.whole)[0])
        window = np.arange(cached, min(first + 6, len(canvas)))
        masked = canvas.tokens[window] == MASK
        order = np.concatenate((window[~masked], window[masked]))
        ahead, prefix = np.tri(order.size, dtype=np.bool_), np.arange(len(canvas)) < cached
        sent = yield canvas.step(order, predict=window[masked], own_mask=ahead, visible=prefix, keep_rows=True)
        yield Store(np.arange(cached, first), np.arange(first - cached))
        every = np.concatenate((np.arange(cached), order))
        exact = yield canvas.step(every, predict=window[masked], own_mask=np.tri(every.size, dtype=np.bool_))
        assert assert_same(sent, exact, TOLERANCE) == masked.sum()
        cached = first
        rule.commit(sent)


def test_a_reordered_window_over_an_append_only_cache() -> None:
    """Each step equals one without a cache over all tokens in that order."""
    runs = decoded(reordered, replace(ENDLESS, attention="causal"), **RULE)
    assert all(MASK not in each.canvas.tokens for each, _ in runs)
    orders = [step.positions.tolist() for step in runs[0][1].trace if step.kind == "block"]
    assert any(order != sorted(order) for order in orders)


def branches(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    """LoPA: of the anchor and two branches, each with one more mask filled, the most confident goes on with its own rows."""
    yield Reserve(len(canvas))
    for block, rule in unmasking.blocks():
        visible, region, size = canvas.outside(block), slice(block.start, block.stop), len(block)
        result = yield canvas.refresh(predict=block)
        while rule.pending:
            proposals = rule.propose(result)
            rule.commit(result)
            left = np.flatnonzero(canvas.tokens[proposals.positions] == MASK)[:2]
            ids = np.tile(canvas.tokens[region], (1 + left.size, 1))
            ids[np.arange(left.size) + 1, proposals.positions[left] - block.start] = proposals.ids[left]
            each = np.kron(np.eye(len(ids), dtype=np.bool_), np.ones((size, size), dtype=np.bool_))
            window = np.tile(np.arange(block.start, block.stop), len(ids))
            many = yield canvas.step(window, input_ids=ids.ravel(), own_mask=each, visible=visible)
            rows = np.arange(window.size).reshape(ids.shape)
            for branch, own in zip(ids, rows, strict=True):
                alone = yield canvas.step(block, input_ids=branch, visible=visible)
                assert assert_same(many.select(own), alone, TOLERANCE) == size
            means = [float(many.topk_log_probs[own, 0][branch == MASK].sum()) for branch, own in zip(ids, rows, strict=True)]
            best = int(np.argmax(means))
            if best:
                chosen = left[[best - 1]]
                canvas.commit(proposals.positions[chosen], proposals.ids[chosen], proposals.confidence[chosen])
            result = many.select(rows[best])


def test_branches_repeat_positions_and_see_themselves_alone() -> None:
    """Each branch's rows equal the same branch sent alone, and the next decision rests on those of one branch."""
    runs = decoded(branches, unmask="quota")
    assert all(MASK not in each.canvas.tokens for each, _ in runs)
    sizes = {step.positions.size for _, end in runs for step in end.trace if step.kind == "block"}
    assert {8, 16, 24} <= sizes


def shadows(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    """WINO: beside the canvas one mask for each position of the block, which sees all but the token that stands there."""
    for block, rule in unmasking.blocks():
        size, length = len(block), len(canvas)
        own = np.zeros((length + size, length + size), dtype=np.bool_)
        own[:, :length] = True
        at, shadow = np.arange(block.start, block.stop), np.arange(length, length + size)
        own[shadow, at], own[shadow, shadow] = False, True
        window = np.concatenate((np.arange(length), at))
        while rule.pending:
            ids = np.concatenate((canvas.tokens, np.full(size, MASK)))
            both = np.concatenate((at, at))
            rows = np.concatenate((at, shadow))
            result = yield canvas.step(window, predict=both, input_ids=ids, logit_rows=rows, own_mask=own)
            plain = yield canvas.step(canvas.whole, predict=block)
            assert assert_same(result.select(np.arange(size)), plain, TOLERANCE) == size
            if canvas.config.layers == 1:
                for row, position in enumerate(range(block.start, block.stop), size):
                    left_out = canvas.tokens.copy()
                    left_out[position] = MASK
                    alone = yield canvas.step(canvas.whole, predict=Block(position, position + 1), input_ids=left_out)
                    assert assert_same(result.select(np.array([row])), alone, TOLERANCE) == 1
            rule.commit(result.select(np.arange(size)))


@pytest.mark.parametrize("layers", [1, 3])
def test_shadow_rows_are_seen_by_nobody_and_leave_one_token_out(layers: int) -> None:
    """With one layer a shadow row equals a whole canvas with its position masked; with more, the others have seen the token."""
    settings: dict[str, Any] = {"unmask": "quota", "steps": 4, "early_stop": False}
    config = replace(ENDLESS, layers=layers)
    assert commits(decoded(shadows, config, **settings)) == commits(decoded("vanilla", config, **settings))


def vicinity(halo: Callable[[int], int]) -> Decode:
    """dKV-Cache's kin: the rows around the block are sent with it, and refresh their slots by each step."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        for block, rule in unmasking.blocks():
            for step in count():
                if not rule.pending:
                    break
                near = Block(max(0, block.start - halo(step)), min(len(canvas), block.stop + halo(step)))
                result = yield canvas.step(near, predict=block, visible=canvas.outside(near), keep_rows=True)
                yield Store(np.arange(near.start, near.stop), np.arange(len(near)))
                rule.commit(result)

    return decode


def test_a_vicinity_of_everything_is_no_cache_and_now_and_then_it_is_the_dual_cache() -> None:
    assert commits(decoded(vicinity(lambda step: 99))) == commits(decoded("vanilla"))
    turns = decoded(vicinity(lambda step: 0 if step % 3 else 99))
    assert commits(turns) == commits(decoded("fast-dllm-dual", unmask="quota", refresh=3))
    assert tokens(turns) != tokens(decoded("vanilla"))


def test_a_vicinity_refreshes_its_own_slots_alone() -> None:
    """After a full step and one over some rows, a third sees what either left."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        ids, near = canvas.tokens.copy(), np.array([6, 2, 4])
        yield canvas.step(canvas.whole, predict=Block(5, 6), keep_rows=True)
        yield Store(np.arange(len(canvas)), np.arange(len(canvas)))
        ids[near] = [9, 8, 7]
        away = ~np.isin(np.arange(len(canvas)), near)
        yield canvas.step(near, input_ids=ids[near], visible=away, keep_rows=True)
        yield Store(near, np.arange(3))
        third = yield canvas.step(Block(7, 9), visible=canvas.outside(Block(7, 9)))
        # The same by hand: all rows that the third sees, with what each saw itself.
        sees = np.ones((len(canvas) + 5, len(canvas) + 5), dtype=np.bool_)
        old, new, last = np.arange(len(canvas)), len(canvas) + np.arange(3), len(canvas) + 3 + np.arange(2)
        sees[np.ix_(old, np.concatenate((new, last)))] = False
        sees[np.ix_(new, np.concatenate((near, last)))] = False
        sees[np.ix_(last, np.concatenate((near, np.arange(7, 9))))] = False
        window = np.concatenate((old, near, np.arange(7, 9)))
        every = np.concatenate((canvas.tokens, ids[near], canvas.tokens[7:9]))
        exact = yield canvas.step(window, predict=np.arange(7, 9), input_ids=every, logit_rows=last, own_mask=sees)
        assert assert_same(third, exact, TOLERANCE) == 2

    run(NumpyEngine(CONFIG), [request(system(decode), config=CONFIG)])
