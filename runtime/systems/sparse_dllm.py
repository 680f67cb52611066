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
from ..decoding.eviction import kept_count, kept_slots
from ..decoding.settings import Settings
from ..decoding.step import Saliency, Select
from ..unmasking.unmasker import Unmasker
from .base import RULE_SETTINGS, Decoding, System


def decode(canvas: Canvas, settings: Settings, unmasker: Unmasker) -> Decoding:
    for block in canvas.blocks(settings.block):
        unmasker.begin(block, first_alone=canvas.config.logit_shift)
        kept = np.zeros(0, dtype=np.bool_)
        for step in count():
            if not unmasker.pending:
                break
            if step < settings.delay:
                unmasker.commit((yield canvas.full_step(block)))
            elif step == settings.delay:
                unmasker.commit((yield canvas.full_step(block, staging=True, salient=True)))
                if unmasker.pending:
                    scores = (yield Saliency())[:, : len(canvas)]
                    keep = kept_slots(scores, block, settings.retention, settings.kernel)
                    kept = np.ones(keep.shape[1], dtype=np.bool_)
                    yield Select(keep)
            else:
                unmasker.commit((yield canvas.window_step(block, block, kept)))
        if unmasker.stopped:
            return


def capacity(canvas: Canvas, settings: Settings) -> int:
    """At least one: a block step attends to a cache even where nothing is kept."""
    return max(1, *(kept_count(len(canvas), len(block), settings.retention) for block in canvas.blocks(settings.block)))


SPARSE = System(
    name="sparse-dllm",
    summary="dual cache that keeps the most salient slots of each layer",
    source="Sparse-dLLM (Song et al. 2025)",
    decode=decode,
    capacity=capacity,
    settings=(*RULE_SETTINGS, "retention", "kernel", "delay"),
    attention=("bidirectional",),
    defaults={},
    staged=True,
)
