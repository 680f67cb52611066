"""Token editing (LLaDA2.1): committed tokens of a block become others as soon as the model prefers others.

A step commits every mask surer than `threshold`, and at least the best; at the same time each committed token of the block
whose position has another best candidate, surer than `edit_threshold`, becomes that. A block without masks goes on until a
step changes nothing, for `max_post_edit_steps` at most. Given tokens stay; so does a first token that only a full pass
predicts. The optional penalty on the left neighbour's token is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals, log_of
from .rule import Budget, Decision, Rule, ranked, register
from .threshold import THRESHOLD

EDIT_THRESHOLD = declare(
    Setting(
        "edit_threshold",
        0.5,
        "What the confidence in a token exceeds that `token-editing` writes over another.",
        least=0.0,
        most=1.0,
    )
)
MAX_POST_EDIT_STEPS = declare(
    Setting("max_post_edit_steps", 16, "Most steps of `token-editing` over a block that has no masks left.", least=0)
)


@register
class TokenEditing(Rule):
    """All masks that are sure, and at least the best; and other tokens over those that the model would write no more."""

    name = "token-editing"
    summary = "all above `threshold`, and always the best; other tokens become candidates above `edit_threshold` (LLaDA2.1)"
    compares = "probabilities"
    settings = (THRESHOLD, EDIT_THRESHOLD, MAX_POST_EDIT_STEPS)
    sweep = Sweep(THRESHOLD, (0.95, 0.9, 0.8, 0.6))
    looks_at = "all"

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.least, self.least_edit, self.post_edits = settings.threshold, settings.edit_threshold, settings.max_post_edit_steps

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        masked = proposals.current_ids == canvas.mask_token_id
        left = masked.nonzero()[0]
        best = left[ranked(proposals.log_confidence[left])]
        sure = np.count_nonzero(proposals.log_confidence[left] > log_of(np.array(self.least)))
        other = ~masked & (proposals.ids != proposals.current_ids)
        edit = (other & (proposals.log_confidence > log_of(np.array(self.least_edit)))).nonzero()[0]
        self.post_edits -= not left.size
        self.revises = bool(left.size or edit.size) and self.post_edits > 0
        return Decision(best[: max(1, int(sure))], edit=edit)

    def gates(self) -> Sequence[float]:
        return (self.least, self.least_edit)
