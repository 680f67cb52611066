"""dKV-Cache (Ma et al. 2025), delayed caching: a token is cached one forward after it was decoded.

Keys and values change most in the forward after a token was decoded, when its own embedding takes the mask's place. So that
forward still sends it, and only what this forward gave is kept. Further forwards send the masks of the whole canvas and what
was decided last, over the cached tokens. A block's first two forwards are full, and so is each `refresh`-th.

The paper's greedy variant, which also leaves out masks far from what was decoded last, is not among it. A model with shifted
logits (Dream) predicts a position from the row before it, so a mask's neighbour is sent with it.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from ..arrays import BoolArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import Reserve, Store
from ..decoding.window import Block
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register
from .fast_dllm import REFRESH, is_full

FULL = 2
"""Forwards of a block before its cache is read: the second sees the first one's tokens."""


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    yield Reserve(len(canvas))
    for block, rule in unmasking.blocks():
        cached = np.zeros(len(canvas), dtype=np.bool_)
        for step in count():
            if not rule.pending:
                break
            tokens = canvas.tokens.copy()
            decided = tokens != canvas.mask_token_id
            if step < FULL or is_full(settings, step):
                rule.commit((yield canvas.refresh(predict=block)))
            else:
                sent = ~cached | _also_sent(canvas, block)
                positions = sent.nonzero()[0]
                rule.commit((yield canvas.step(positions, predict=block, visible=~sent, keep_rows=True)))
                new = decided & ~cached
                yield Store(new.nonzero()[0], new[positions].nonzero()[0])
            # A token that the rule took back or changed since it was sent is cached no longer.
            cached = decided & (canvas.tokens == tokens)


def _also_sent(canvas: Canvas, block: Block) -> BoolArray:
    """Return `[L]`: what is sent of the cached, too: rows that predict masks, and a block without masks, which a rule edits."""
    sent, masks = np.zeros(len(canvas), dtype=np.bool_), canvas.masked(block)
    if not masks.size:
        sent[block.start : block.stop] = True
    if canvas.config.logit_shift:
        sent[np.maximum((masks if masks.size else np.arange(block.start, block.stop)) - 1, 0)] = True
    return sent


register(
    System(
        name="dkv-cache",
        summary="what was decoded is cached a forward later; sends all masks of the canvas",
        source="dKV-Cache (Ma et al. 2025)",
        since="2025-05",
        decode=decode,
        attention=("bidirectional",),
        settings=(REFRESH,),
        defaults={"refresh": 8},
        claim="2x to 10x (LLaDA 8B, Dream 7B)",
    )
)
