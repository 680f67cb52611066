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
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.step import Reserve
from ..decoding.window import Block
from ..unmasking.unmasking import BlockUnmasking, Unmasking
from .base import Decode, Decoding, System, register

REFRESH = declare(
    Setting("refresh", 0, "Steps after which the cache is refreshed within a block (0: at its start alone).", least=0)
)


def is_full(settings: Settings, step: int) -> bool:
    """Return whether a block's step is a full pass: its first, and then every `refresh`-th."""
    return step == 0 or bool(settings.refresh and step % settings.refresh == 0)


def decode_prefix(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    yield Reserve(len(canvas))
    for block, rule in unmasking.blocks(first_alone=canvas.config.logit_shift):
        yield from _decode_block(canvas, settings, block, rule, Block(block.start, len(canvas)), canvas.before(block))


def decode_dual(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    yield Reserve(len(canvas))
    for block, rule in unmasking.blocks(first_alone=canvas.config.logit_shift):
        yield from _decode_block(canvas, settings, block, rule, block, canvas.outside(block))


def _decode_block(
    canvas: Canvas, settings: Settings, block: Block, rule: BlockUnmasking, window: Block, visible: BoolArray
) -> Decoding:
    for step in count():
        if not rule.pending:
            return
        if is_full(settings, step):
            rule.commit((yield canvas.refresh(predict=block)))
        else:
            rule.commit((yield canvas.step(window, predict=block, visible=visible)))


def _system(name: str, summary: str, claim: str, decode: Decode) -> System:
    return System(
        name=name,
        summary=summary,
        source="Fast-dLLM (Wu et al. 2025)",
        since="2025-05",
        decode=decode,
        attention=("bidirectional",),
        settings=(REFRESH,),
        defaults={"unmask": "threshold"},
        claim=claim,
    )


register(
    _system(
        "fast-dllm-prefix",
        "cached prefix; sends the block and the suffix",
        "8.1x at 256 tokens, 11.0x at 512 (GSM8K, LLaDA 8B)",
        decode_prefix,
    ),
    _system("fast-dllm-dual", "cached prefix and suffix; sends the block alone", "up to 27.6x (LLaDA 8B)", decode_dual),
)
