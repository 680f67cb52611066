"""Self-speculative decoding (SSD, arXiv 2510.04147; FreeDave, arXiv 2510.00294): steps drafted ahead, verified at once.

Every forward proposes a token for each mask, and so the steps that would follow if nothing changed: the next takes the best of
what is left, the one after it the best of the rest. The forward that is due is sent with these drafts of the canvas, as
branches. Its own answer decides a step as ever; where the canvas then is the first draft, that branch's answer decides the
next, and so on. A draft that is not what the steps arrive at is dropped. So tokens, their order and their confidences are those
of the same decode without drafts, for any number of `branches`, by any rule, and forwards are as many or fewer: without a cache
those of `vanilla`, with `cache=dual` those of `fast-dllm-dual`. What it costs are rows: each branch's beside the canvas' own.

Departures: FreeDave's thresholded form takes drafts that agree in part, which is not lossless; here a draft has as many tokens
more as the last step committed, and has to agree in whole. No forward is sent for a draft that is complete.
"""

from __future__ import annotations

import numpy as np

from ..arrays import IntArray
from ..decoding.branches import BRANCHES, CACHE, branch_step, first_forward, of_branch
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import Reserve, StepResult
from ..unmasking.proposals import Proposals
from ..unmasking.rule import remaining
from ..unmasking.unmasking import BlockUnmasking, Unmasking
from .base import Decoding, System, register


def decode(canvas: Canvas, settings: Settings, unmasking: Unmasking) -> Decoding:
    cached = settings.cache == "dual"
    if cached:
        yield Reserve(len(canvas))
    for block, rule in unmasking.blocks(first_alone=cached and canvas.config.logit_shift):
        if not rule.pending:
            continue
        proposals = rule.commit((yield first_forward(canvas, block, cached)))
        while rule.pending:
            drafts = drafted(canvas, proposals, settings.branches)
            proposals = verify(rule, drafts, (yield branch_step(canvas, block, drafts, cached)))


def drafted(canvas: Canvas, proposals: Proposals, branches: int) -> IntArray:
    """Return the canvas and at most `branches` drafts of the steps after it, `[n, L]`, none of them complete.

    Each has as many more of the `proposals` that the last step left as that step committed, best first.
    """
    order = remaining(canvas, proposals)
    size = max(1, len(proposals) - order.size)
    drafts = np.tile(canvas.tokens, (1 + min(branches, max(0, order.size - 1) // size), 1))
    for number in range(1, len(drafts)):
        taken = order[: number * size]
        drafts[number, proposals.positions[taken]] = proposals.ids[taken]
    return drafts


def verify(rule: BlockUnmasking, drafts: IntArray, result: StepResult) -> Proposals:
    """Decide one step after the other, as long as the next draft is what they arrive at; return what the last one looked at."""
    proposals = rule.commit(of_branch(result, rule.block, 0))
    for branch in range(1, len(drafts)):
        if not rule.pending or (rule.canvas.tokens != drafts[branch]).any():
            break
        proposals = rule.commit(of_branch(result, rule.block, branch))
    return proposals


register(
    System(
        name="ssd",
        summary="drafts the steps to come and verifies them in one forward; the tokens of the decode without drafts",
        source="SSD (2025), FreeDave (2025)",
        since="2025-10",
        decode=decode,
        attention=("bidirectional",),
        settings=(BRANCHES, CACHE),
    )
)
