"""FlashDLM (Hu et al. 2025): guided diffusion over FreeCache.

Each forward of the diffusion model drafts every mask that it sends, greedily; an autoregressive guide accepts the longest
prefix of these that it would have written itself. That much is committed, or else the diffusion model's own first draft: the
guide writes nothing. So text grows strictly from left to right, however it is masked.
"""

from __future__ import annotations

import numpy as np

from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import Reserve
from ..decoding.window import WINDOW
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register
from .free_cache import FREEZE, SLIDING, FreeCache
from .judge import SETTINGS, Judge


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    judge, cache = Judge(canvas, settings, unmasking), FreeCache(canvas, settings)
    yield Reserve(len(canvas))
    for block in canvas.blocks(settings.block_length):
        while canvas.masked(block).size and not unmasking.stopped:
            drafted = yield from cache.forward(block)
            masks = drafted.step.predicts
            first, stop = int(masks[0]), int(masks[-1]) + 1
            drafts = canvas.tokens[first:stop].copy()
            drafts[masks - first] = drafted.topk_ids[:, 0]
            count = yield from judge.accepted(drafts)
            taken = masks < first + max(1, count)
            canvas.commit(masks[taken], drafts[masks[taken] - first], np.exp(drafted.topk_log_probs[taken, 0]))
    if unmasking.stopped and unmasking.finishes_block:
        canvas.fill_end(canvas.start)


register(
    System(
        name="flashdlm",
        summary="drafts every mask, and commits what a causal guide would have written, left to right",
        source="FlashDLM (Hu et al. 2025)",
        since="2025-05",
        decode=decode,
        attention=("bidirectional",),
        settings=(FREEZE, WINDOW, *SETTINGS),
        rules=(),
        defaults={**SLIDING, "freeze": "window"},
        guided=True,
    )
)
