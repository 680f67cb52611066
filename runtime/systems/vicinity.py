"""Vicinity refresh (dInfer, Ma et al. 2025): a dual cache that sends the block with its neighbours.

What lies next to a block changes most with it. So each step sends the `window` positions before and after the block, too,
over the cached positions beyond them. The first `warmup` forwards of a decode are full, and so is each block's first.

A model with shifted logits (Dream) predicts a block's first token from the row before the block; without a window only the
full pass has that row: it then commits this token, and no other.
"""

from __future__ import annotations

from itertools import count

from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.step import Reserve
from ..decoding.window import WINDOW, Block
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register
from .fast_dllm import REFRESH, is_full

WARMUP = declare(Setting("warmup", 2, "Forwards at a decode's beginning that send the whole canvas.", least=0))


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    yield Reserve(len(canvas))
    warm = 0
    for block, rule in unmasking.blocks(first_alone=canvas.config.logit_shift and not settings.window):
        sent = Block(max(0, block.start - settings.window), min(len(canvas), block.stop + settings.window))
        visible = canvas.outside(sent)
        for step in count():
            if not rule.pending:
                break
            if warm < settings.warmup or is_full(settings, step):
                rule.commit((yield canvas.refresh(predict=block)))
            else:
                rule.commit((yield canvas.step(sent, predict=block, visible=visible)))
            warm += 1


register(
    System(
        name="vicinity",
        summary="dual cache that sends the block and its neighbours",
        source="dInfer (Ma et al. 2025)",
        since="2025-10",
        decode=decode,
        attention=("bidirectional",),
        settings=(WINDOW, WARMUP, REFRESH),
        defaults={"window": 16, "unmask": "threshold"},
    )
)
