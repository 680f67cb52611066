"""Sparse-dLLM (Song et al. 2025, section 3): a dual cache from which the least salient slots are evicted.

A block's first `delay` steps are full passes that keep nothing, since keys and values change most right after a token is
committed. The next full pass fills the cache; saliency is the raw dot product of each slot's key with the block's mean
query, averaged over heads and smoothed over neighbours; each layer keeps its own best share `retention`, one set for all
its heads. All further steps send the block over what was kept. The paper decodes by quota; threshold and factor, which
it lacks, work as in Fast-dLLM.
"""

from __future__ import annotations

from itertools import count

import numpy as np

from ..decoding.canvas import Canvas
from ..decoding.eviction import KERNEL, RETENTION, evict, kept_count
from ..decoding.settings import Setting, Settings, declare
from ..decoding.step import Reserve
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register

DELAY = declare(Setting("delay", 1, "Full steps of a block before its cache is filled and evicted.", least=0))


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    kept = (kept_count(len(canvas), len(block), settings.retention) for block in canvas.blocks(settings.block_length))
    # At least one slot: a block step attends to a cache even where nothing is kept.
    yield Reserve(max(1, *kept), bound=False)
    for block, rule in unmasking.blocks(first_alone=canvas.config.logit_shift):
        visible = np.zeros(0, dtype=np.bool_)
        for step in count():
            if not rule.pending:
                break
            if step < settings.delay:
                rule.commit((yield canvas.step(canvas.whole, predict=block)))
            elif step == settings.delay:
                rule.commit((yield canvas.refresh(predict=block, salient=block, evicts=True)))
                if rule.pending:
                    visible = yield from evict(block, len(canvas), settings)
            else:
                rule.commit((yield canvas.step(block, visible=visible)))


register(
    System(
        name="sparse-dllm",
        summary="dual cache that keeps the most salient slots of each layer",
        source="Sparse-dLLM (Song et al. 2025)",
        since="2025-08",
        decode=decode,
        attention=("bidirectional",),
        settings=(RETENTION, KERNEL, DELAY),
        claim="5.8x at 256 tokens (GSM8K, LLaDA 8B, by quota)",
    )
)
