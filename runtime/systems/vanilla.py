"""Decoding without a cache: every step is a forward of the whole canvas.

LLaDA (Nie et al. 2025, section 2.4): blocks from left to right, a quota of the most confident tokens a step. Dream (Ye et al.
2025): one block over the whole generation, tokens by its schedule. With `unmask=threshold` or `factor`: Fast-dLLM's
parallel decoding without its cache (Wu et al. 2025, Algorithm 1 less the cache).
"""

from __future__ import annotations

from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..unmasking.unmasker import Unmasker
from .base import RULE_SETTINGS, Decoding, System


def decode(canvas: Canvas, settings: Settings, unmasker: Unmasker) -> Decoding:
    for block in canvas.blocks(settings.block):
        unmasker.begin(block)
        while unmasker.pending:
            unmasker.commit((yield canvas.full_step(block)))
        if unmasker.stopped:
            return


VANILLA = System(
    name="vanilla",
    summary="no cache: the whole canvas in every step",
    source="LLaDA (Nie et al. 2025), Dream (Ye et al. 2025)",
    decode=decode,
    capacity=lambda canvas, settings: 0,
    settings=RULE_SETTINGS,
    attention=("bidirectional", "block-causal"),
    defaults={},
)
