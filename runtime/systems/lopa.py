"""LoPA (2025, Algorithm 1): lookahead parallel decoding, branches that commit one token more, of which the surest goes on.

A step's rule fills the anchor branch (`threshold` in the paper). For each of the `branches` surest masks that it left, another
branch has that one filled, too. One forward sends all of them; the branch whose remaining masks have the highest mean
confidence becomes the canvas, and its part of the answer decides the next step, so no forward is spent on the choice. Without
branches it is the rule alone. The anchor wins ties, then the branch with the surer token. No branch is complete, since no mask
would be left to be confident about.

Without a cache, or over a dual cache (`cache`). The paper also decodes D2F's blocks in flight so.
"""

from __future__ import annotations

import numpy as np

from ..arrays import Array, IntArray
from ..decoding.branches import BRANCHES, CACHE, branch_step, first_forward, of_branch
from ..decoding.canvas import Canvas
from ..decoding.settings import Settings
from ..decoding.step import Reserve, StepResult
from ..decoding.trace import Choice
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
            tried = surest(canvas, proposals, settings.branches)
            versions = np.tile(canvas.tokens, (1 + tried.size, 1))
            versions[np.arange(tried.size) + 1, proposals.positions[tried]] = proposals.ids[tried]
            result = yield branch_step(canvas, block, versions, cached)
            scores = mean_confidences(rule, versions, result)
            best = int(scores.argmax())
            if unmasking.traced and tried.size:
                unmasking.choices.append(Choice(proposals.positions[tried], scores[1:], scores[:1].tolist()))
            if best:
                chosen = tried[[best - 1]]
                canvas.commit(proposals.positions[chosen], proposals.ids[chosen], proposals.confidence[chosen])
            proposals = rule.commit(of_branch(result, block, best))


def surest(canvas: Canvas, proposals: Proposals, branches: int) -> IntArray:
    """Return which of the proposals that the last step left are tried, surest first: none if there is but one."""
    left = remaining(canvas, proposals)
    return left[: branches if left.size > 1 else 0]


def mean_confidences(rule: BlockUnmasking, versions: IntArray, result: StepResult) -> Array:
    """Return for each of `versions` `[n, L]` the mean confidence over its remaining masks, `[n]` float64."""
    if len(versions) == 1:
        return np.zeros(1)
    proposed = [rule.propose(of_branch(result, rule.block, branch)) for branch in range(len(versions))]
    masked = versions[:, proposed[0].positions] == rule.canvas.mask_token_id
    return np.array([one.confidence[left].mean(dtype=np.float64) for one, left in zip(proposed, masked, strict=True)])


register(
    System(
        name="lopa",
        summary="branches with one token more, the most confident of which goes on, over a dual cache or none",
        source="LoPA (2025)",
        since="2025-12",
        decode=decode,
        attention=("bidirectional",),
        settings=(BRANCHES, CACHE),
        defaults={"unmask": "threshold"},
    )
)
