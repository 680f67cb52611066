"""Branches: versions of a canvas side by side in one forward, none of which sees another.

Of each version a forward sends the whole canvas, or, over a cache of what is outside the block, the block alone. So its rows
are as many times those of one version, at positions that repeat.
"""

from __future__ import annotations

import numpy as np

from ..arrays import IntArray
from .canvas import Canvas
from .settings import Setting, declare
from .step import Refresh, Step, StepResult
from .window import Block

BRANCHES = declare(
    Setting("branches", 3, "Branches that a forward tries beside the canvas as it stands (0: none).", least=0, most=255)
)
CACHE = declare(
    Setting(
        "cache",
        "dual",
        "What forwards with branches see: `dual`, the block over what is cached outside it; `none`, the whole canvas anew.",
        choices=("dual", "none"),
    )
)


def first_forward(canvas: Canvas, block: Block, cached: bool) -> Step | Refresh:
    """Return the forward that begins a block: of the canvas as it stands, filling the cache if there is one."""
    return canvas.refresh(predict=block) if cached else canvas.step(canvas.whole, predict=block)


def branch_step(canvas: Canvas, block: Block, versions: IntArray, cached: bool) -> Step:
    """Return a step that predicts the block in each of `versions` `[n, L]`, the first of which is the canvas.

    `cached` says that what is outside the block is seen in the cache. Of n versions alike the step is that of the canvas.
    """
    count, visible = len(versions), canvas.outside(block) if cached else None
    window = block if cached else canvas.whole
    one = canvas.step(window, predict=block, visible=visible)
    if count == 1:
        return one
    first_rows = np.arange(count)[:, None] * len(window)
    return canvas.step(
        np.tile(one.position_ids, count),
        predict=np.tile(one.predicts, count),
        visible=visible,
        own_mask=np.kron(np.eye(count, dtype=np.bool_), np.ones((len(window), len(window)), dtype=np.bool_)),
        input_ids=versions[:, window.start : window.stop].ravel(),
        logit_rows=(first_rows + one.logit_rows).ravel(),
        target_ids=versions[:, block.start : block.stop].reshape(-1, 1),
    )


def of_branch(result: StepResult, block: Block, branch: int) -> StepResult:
    """Return the part of a branch step's result that predicts the block in the version of that number."""
    return result.select(np.arange(len(block)) + branch * len(block))
