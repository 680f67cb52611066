"""Convolutional decoding (Conv): the whole generation as one block, without a cache, decided outwards from what is decided.

`eos_fill` is the authors' way to stop early: as soon as two end-of-text tokens stand anywhere in the generation, all that
follows the second becomes end of text, what was decided there, too. Between the two decoding goes on.
"""

from __future__ import annotations

import numpy as np

from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register

EOS_FILL = declare(
    Setting("eos_fill", False, "Let all that follows the second end-of-text token become end of text, whatever is masked.")
)


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    for block, rule in unmasking.blocks():
        while rule.pending:
            rule.commit((yield canvas.step(canvas.whole, predict=block)))
            if settings.eos_fill:
                fill_after_second_end(canvas)


def fill_after_second_end(canvas: Canvas) -> None:
    """Write the end-of-text token to every decoded position after the second one, masked or not."""
    generated = canvas.generated_positions.nonzero()[0]
    ends = generated[np.isin(canvas.tokens[generated], canvas.config.eos_token_ids)]
    if ends.size > 1:
        canvas.end_after(int(ends[1]), canvas.config.eos_token_ids[0])


register(
    System(
        name="conv",
        summary="no cache; one block, decided outwards from what is decided",
        source="Convolutional decoding (2025)",
        since="2025-09",
        decode=decode,
        attention=("bidirectional",),
        settings=(EOS_FILL,),
        rules=("conv",),
        defaults={"unmask": "conv", "block_length": 0},
    )
)
