"""Several blocks in flight, each with its own rule and state, over an exact cache."""

from __future__ import annotations

import numpy as np

from dllm_edge.runtime.decoding.canvas import Canvas
from dllm_edge.runtime.decoding.settings import Settings
from dllm_edge.runtime.decoding.step import Reserve, Store
from dllm_edge.runtime.decoding.window import Block
from dllm_edge.runtime.systems.base import Decode, Decoding
from dllm_edge.runtime.unmasking.proposals import Proposals
from dllm_edge.runtime.unmasking.rule import Decision, Rule, ranked
from dllm_edge.runtime.unmasking.unmasking import BlockUnmasking, Unmasking

from ..numpy_engine import MASK
from ..systems.step_equality import assert_same
from .runs import commits, decoded

# Keys and values go through float32 caches, all else is float64.
TOLERANCE = 1e-4


class Above(Rule):
    """D2F: what is above a confidence; at least the best once the block is fully activated."""

    name, summary = "above", ""

    def __init__(self, least: float) -> None:
        self.least, self.active = least, False

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        order = ranked(proposals.confidence)
        return Decision(order[: max(int(self.active), int((proposals.confidence > self.least).sum()))])


def progress(canvas: Canvas, one: BlockUnmasking) -> float:
    return 1 - canvas.masked(one.block).size / len(one.block)


def d2f(add: float, activate: float, least: float) -> Decode:
    """Blocks are added, activated, completed and cached; each step equals a whole canvas under the block-causal mask."""

    def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
        yield Reserve(len(canvas))
        coming = list(canvas.blocks(settings.block))
        flight: list[BlockUnmasking] = []
        edges = [0, *(block.start for block in coming)]
        owner = np.searchsorted(edges, np.arange(len(canvas)), side="right")
        sees, cached = owner[:, None] >= owner, 0
        while coming or any(one.pending for one in flight):
            if coming and (not flight or progress(canvas, flight[-1]) >= add):
                flight.append(unmasking.begin(coming.pop(0), rule=Above(least)))
            for before, one in zip([None, *flight], flight, strict=False):
                if isinstance(one.rule, Above) and (before is None or progress(canvas, before) >= activate):
                    one.rule.active = True
            complete = next((one.block.start for one in flight if not one.complete), flight[-1].block.stop)
            window = Block(cached, flight[-1].block.stop)
            own = sees[cached : window.stop, cached : window.stop]
            prefix = np.arange(len(canvas)) < cached
            predict = Block(flight[0].block.start, window.stop)
            result = yield canvas.step(window, predict=predict, visible=prefix, own_mask=own, keep_rows=True)
            yield Store(np.arange(cached, complete), np.arange(complete - cached))
            cached = complete
            exact = yield canvas.step(canvas.whole, predict=predict, own_mask=sees)
            assert assert_same(result, exact, TOLERANCE)
            for one in flight:
                one.commit(result)

    return decode


def test_blocks_in_flight_over_an_exact_cache() -> None:
    for each, end in decoded(d2f(add=0.25, activate=0.75, least=0.5), block_length=4):
        assert MASK not in each.canvas.tokens
        sent = [step for step in end.trace if step.kind == "block"]
        assert max(len({position // 4 for position in step.positions.tolist()}) for step in sent) > 2
        steps = [[position for commit in step.commits for position in commit.positions.tolist()] for step in end.trace]
        at_once = [{(position - each.canvas.start) // 4 for position in positions} for positions in steps]
        assert max(len(blocks) for blocks in at_once) > 1, "two blocks decoded by one step"


def test_blocks_that_are_added_when_the_last_is_complete_are_never_two() -> None:
    """With both bounds at one there is one block at a time, at least one token a step, left to right."""
    for each, end in decoded(d2f(add=1.0, activate=1.0, least=1.0), block_length=4):
        changed = [commit.positions.tolist() for commit in each.canvas.commits]
        assert [len(positions) for positions in changed] == [1] * 16
        assert [(positions[0] - each.canvas.start) // 4 for positions in changed] == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
        assert end.forwards == 32


def test_a_block_that_is_not_yet_activated_may_wait() -> None:
    """Of two blocks that are below the bound, the first alone commits, until its progress activates the other."""
    runs = decoded(d2f(add=0.0, activate=0.5, least=1.0), block_length=8)
    for each, sequence in zip((each for each, _ in runs), commits(runs), strict=True):
        blocks = [[(position - each.canvas.start) // 8 for position in positions] for positions, _ in sequence]
        firsts = [index for index, one in enumerate(blocks) if one == [0]]
        seconds = [index for index, one in enumerate(blocks) if one == [1]]
        assert len(firsts) == len(seconds) == 8
        assert seconds[0] > firsts[3]
        assert seconds[0] < firsts[-1]
