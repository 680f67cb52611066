"""Decoding without a cache: every step is a forward of the whole canvas.

LLaDA (Nie et al. 2025, section 2.4): blocks from left to right, a quota of the most confident tokens a step. Dream (Ye et al.
2025): one block over the whole generation, tokens by its schedule. With `unmask=threshold` or `factor`: Fast-dLLM's
parallel decoding without its cache (Wu et al. 2025, Algorithm 1 less the cache).
"""

from __future__ import annotations

from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    for block, rule in unmasking.blocks():
        while rule.pending:
            rule.commit((yield canvas.step(canvas.whole, predict=block)))


register(
    System(
        name="vanilla",
        summary="no cache: the whole canvas in every step",
        source="LLaDA (Nie et al. 2025), Dream (Ye et al. 2025)",
        since="2025-02",
        decode=decode,
        attention=("bidirectional", "block-causal"),
    )
)
