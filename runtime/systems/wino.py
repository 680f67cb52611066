"""WINO (2025): a step drafts over the whole canvas, and verifies by a shadow block that does not see what it verifies.

Behind the canvas a step sends the block once more, all masks, with the same positions. The canvas does not see this shadow;
a row of the shadow sees the shadow and all of the canvas but the position that it predicts. So a token is judged by what the
rest of the text says of it, in the very forward that drafts others. Rules that look at committed tokens take that for
their probability: `wino`, the paper's, or `saber`.

With shifted logits (Dream), which the paper does not have, the shadow has the positions of the rows that predict the block.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..arrays import BoolArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import Step, StepResult
from ..decoding.window import Block
from ..unmasking.unmasking import Unmasking
from .base import Decoding, System, register


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    for block, rule in unmasking.blocks():
        step = shadowed(canvas, block)
        while rule.pending:
            rule.commit(verified((yield showing(canvas, step))))


def shadowed(canvas: Canvas, block: Block) -> Step:
    """Return a step of the canvas and a shadow of the block, all masks, which predicts the block by both."""
    plain, length = canvas.step(canvas.whole, predict=block), len(canvas)
    return canvas.step(
        np.concatenate((plain.position_ids, plain.logit_rows)),
        predict=np.tile(plain.predicts, 2),
        own_mask=leave_one_out(canvas, block),
        input_ids=np.full(length + len(block), canvas.mask_token_id),
        logit_rows=np.concatenate((plain.logit_rows, np.arange(length, length + len(block)))),
    )


def showing(canvas: Canvas, step: Step) -> Step:
    """Return the step with the tokens of the canvas, and with those that stand where it predicts named."""
    input_ids = np.concatenate((canvas.tokens, step.input_ids[len(canvas) :]))
    return replace(step, input_ids=input_ids, target_ids=canvas.tokens[step.predicts][:, None])


def leave_one_out(canvas: Canvas, block: Block) -> BoolArray:
    """Return `[Q, Q]`: what the rows of the canvas and of the block's shadow see of each other."""
    length, rows = len(canvas), np.arange(len(block))
    seen = np.ones((length + rows.size, length + rows.size), dtype=np.bool_)
    seen[:length, length:] = False
    seen[length + rows, block.start + rows] = False
    return seen


def verified(result: StepResult) -> StepResult:
    """Return what the canvas' own rows say, but what the shadow's say of the tokens that stand."""
    own, shadow = np.arange(result.step.predicts.size).reshape(2, -1)
    return replace(result.select(own), target_log_probs=result.target_log_probs[shadow])


register(
    System(
        name="wino",
        summary="no cache; a shadow block verifies each token by the rest of the text, doubtful ones return to the mask",
        source="WINO (2025)",
        since="2025-07",
        decode=decode,
        attention=("bidirectional",),
        rules=("wino", "saber"),
        defaults={"unmask": "wino", "threshold": 0.6, "block_length": 128},
    )
)
