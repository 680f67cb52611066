"""Fast-dLLM (Wu et al. 2025, Algorithm 1): approximate key-value caches for blocks, prefix and dual.

One full pass a block fills the cache and commits the block's first tokens. The prefix cache then sends the block and all
that follows it, over the cached positions before it; the dual cache sends the block alone, over the cached positions
before and after it. The cache is not written within a block: the block's own stale slots are hidden instead of replaced,
which is the same attention. Departures: `refresh` can repeat the full pass within a block.

A model with shifted logits (Dream) predicts a block's first token from the row before the block, which only the full pass
has: that pass commits this token, and no other.
"""

from __future__ import annotations

from itertools import count

from ..arrays import BoolArray
from ..decoding.canvas import Block, Canvas
from ..decoding.settings import Settings
from ..unmasking.unmasker import Unmasker
from .base import RULE_SETTINGS, Decoding, System


def decode_prefix(canvas: Canvas, settings: Settings, unmasker: Unmasker) -> Decoding:
    for block in canvas.blocks(settings.block):
        window = Block(block.start, len(canvas))
        yield from _decode_block(canvas, settings, unmasker, block, window, canvas.before(block))
        if unmasker.stopped:
            return


def decode_dual(canvas: Canvas, settings: Settings, unmasker: Unmasker) -> Decoding:
    for block in canvas.blocks(settings.block):
        yield from _decode_block(canvas, settings, unmasker, block, block, canvas.outside(block))
        if unmasker.stopped:
            return


def _decode_block(
    canvas: Canvas, settings: Settings, unmasker: Unmasker, block: Block, window: Block, visible: BoolArray
) -> Decoding:
    unmasker.begin(block, first_alone=canvas.config.logit_shift)
    for step in count():
        if not unmasker.pending:
            return
        if step == 0 or (settings.refresh and step % settings.refresh == 0):
            result = yield canvas.full_step(block, keep=True)
        else:
            result = yield canvas.window_step(block, window, visible)
        unmasker.commit(result)


def _system(name: str, summary: str, decode: object) -> System:
    return System(
        name=name,
        summary=summary,
        source="Fast-dLLM (Wu et al. 2025)",
        decode=decode,  # type: ignore[arg-type]
        capacity=lambda canvas, settings: len(canvas),
        settings=(*RULE_SETTINGS, "refresh"),
        attention=("bidirectional",),
        defaults={"unmask": "threshold"},
    )


PREFIX = _system("fast-dllm-prefix", "cached prefix; sends the block and the suffix", decode_prefix)
DUAL = _system("fast-dllm-dual", "cached prefix and suffix; sends the block alone", decode_dual)
