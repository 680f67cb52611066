"""d3LLM's multi-block decoding (arXiv 2601.07568): blocks in flight together, over a prefix that is cached late and refreshed.

A forward predicts all masks, and one rule decides over those up to the end of the last block that has begun (in the paper
`entropy-threshold`). Before each forward the next block begins, if the last has `block_add_threshold` of its tokens. Where the
rule gives the first block that has masks none, it decides over that block alone, too, so that text grows from the left. (The
paper asks for this token of the first fully activated block with masks: one is activated when the block before has a share of
its tokens. The first with masks always is, for all before it are complete, so there is no setting.)

Keys and values of the prompt and of complete blocks, in order, are kept once they have been complete for `cache_delay`
forwards: those of a token change most right after it is committed. While a complete block waits for that, and in every
`refresh`-th forward, the whole canvas is sent and all that is kept is made anew. Else what follows the kept prefix is sent, the
masks that have not begun among it. What is kept stands in the slots of its own positions.

With `early_stop` all that follows the first end-of-text token becomes one at once, committed tokens, too. Departures: the
authors' code then decides once more over the masks that it has just filled, a forward that may come to nothing; and where
several blocks wait, it keeps more than it has recorded.

A model with shifted logits (Dream) predicts a position from the row before it, so that is sent, too, though it is kept.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import takewhile
from typing import Any

import numpy as np

from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.step import CacheOperation, Refresh, Reserve, Step, StepResult, Store
from ..decoding.window import Block
from ..unmasking.unmasking import BlockUnmasking, Unmasking
from .base import Decoding, System, register
from .fast_dllm import REFRESH

BLOCK_ADD_THRESHOLD = declare(
    Setting("block_add_threshold", 0.1, "Share of the last block's tokens at which the next begins.", least=0.0, most=1.0)
)
CACHE_DELAY = declare(
    Setting(
        "cache_delay",
        2,
        "Forwards for which a block is complete before its keys and values are kept (as many as there are masks: never).",
        least=0,
    )
)


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    coming, begun, prefix = list(canvas.blocks(settings.block_length)), list[Block](), Prefix(canvas, settings)
    if prefix.keeps:
        yield Reserve(len(canvas))
    rule: BlockUnmasking | None = None
    while True:
        if settings.early_stop:
            end_text(canvas)
        if unmasking.stopped or not canvas.masked(canvas.whole).size:
            return
        begin(canvas, begun, coming, settings.block_add_threshold)
        prefix.grow(begun)
        region = Block(max(canvas.start, prefix.kept), begun[-1].stop)
        if rule is None or rule.block != region:
            rule = unmasking.begin(region)
        first = next(block for block in begun if canvas.masked(block).size)
        masks = canvas.masked(first).size
        result = yield from prefix.send()
        rule.commit(result)
        if canvas.masked(first).size == masks:
            unmasking.begin(first).commit(result)


def end_text(canvas: Canvas) -> None:
    """Let all that is decoded after the first end-of-text token be such tokens, whether masks stand before it or not."""
    ends = canvas.generated_positions & np.isin(canvas.tokens, canvas.config.eos_token_ids)
    if ends.any():
        first = int(ends.argmax())
        canvas.end_after(first, int(canvas.tokens[first]))


def begin(canvas: Canvas, begun: list[Block], coming: list[Block], least: float) -> None:
    """Let the next block begin where the last has a share `least` of its tokens; and more, until one has masks."""
    if coming and (not begun or 1 - canvas.masked(begun[-1]).size / len(begun[-1]) >= least):
        begun.append(coming.pop(0))
    while not any(canvas.masked(block).size for block in begun):
        begun.append(coming.pop(0))


class Prefix:
    """The forwards of a canvas, over the keys and values that are kept of it: those of the positions before `kept`."""

    def __init__(self, canvas: Canvas, settings: Settings) -> None:
        self.canvas, self.delay, self.refresh = canvas, settings.cache_delay, settings.refresh
        self.keeps = self.delay < canvas.masked(canvas.whole).size
        """Whether anything is ever kept: not if it would wait for as many forwards as there are masks."""
        self.kept = self.kept_before = self.forward = 0
        self.waits = False
        self.complete = {Block(0, canvas.start): 0}
        """By block that is complete, the forward before which it was first seen so; the prompt always was."""

    def grow(self, begun: Sequence[Block]) -> None:
        """Count a forward, and find what is kept from it on and whether a complete block waits for that."""
        self.forward += 1
        blocks = [Block(0, self.canvas.start), *begun]
        self.complete = {one: self.complete.get(one, self.forward) for one in blocks if not self.canvas.masked(one).size}
        self.kept_before, self.waits = self.kept, False
        for block in takewhile(self.complete.__contains__, blocks if self.keeps else ()):
            self.waits = self.forward - self.complete[block] < self.delay
            if self.waits:
                return
            self.kept = max(self.kept, block.stop)

    def send(self) -> Generator[Step | Refresh | CacheOperation, Any, StepResult]:
        """Send what this forward sends, keep what is to be kept of it from now on, and return its result."""
        canvas, everywhere, grows = self.canvas, Block(self.canvas.start, self.canvas.stop), self.kept > self.kept_before
        due = not grows and (self.waits or (self.refresh and self.forward % self.refresh == 0))
        result: StepResult
        if not self.kept:
            result = yield canvas.step(canvas.whole, predict=everywhere)
        elif not self.kept_before or due:
            result = yield canvas.refresh(predict=everywhere)
        else:
            window = Block(self.kept_before - canvas.config.logit_shift, len(canvas))
            predict, visible = Block(self.kept_before, canvas.stop), canvas.before(window)
            result = yield canvas.step(window, predict=predict, visible=visible, keep_rows=grows)
            if grows:
                slots = np.arange(self.kept_before, self.kept)
                yield Store(slots, slots - window.start)
        return result


register(
    System(
        name="d3llm",
        summary="several blocks in flight under one rule, over a prefix that is kept late and refreshed",
        source="d3LLM (2026)",
        since="2026-01",
        decode=decode,
        attention=("bidirectional",),
        settings=(BLOCK_ADD_THRESHOLD, CACHE_DELAY, REFRESH),
        defaults={"unmask": "entropy-threshold", "refresh": 3},
    )
)
