"""WINO (2025): draft and verify. A step commits much, and takes back what the rest of the text does not bear out.

Drafted are all masks surer than `threshold`, but of m masks at most 0.7 m, at least 5 and never more than 20, and always the
best. Verified is each token of the block that stood before: those less probable than `threshold_back` return to the mask, the
least probable first, if the step drafted more than one, and fewer than the step before committed; so a block of n masks takes
at most n steps.

How probable a token is, the system `wino` asks of rows that do not see it. In other systems it is what its own row says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals, log_of
from .rule import Budget, Decision, Rule, ranked, register
from .threshold import THRESHOLD

DRAFTED_SHARE, LEAST_BOUND, MOST_DRAFTED = 0.7, 5, 20
THRESHOLD_BACK = declare(
    Setting("threshold_back", 0.9, "Least probability that `wino` leaves a committed token.", least=0.0, most=1.0)
)


def most_drafted(masks: int) -> int:
    """Return how many of so many masks a step drafts at most."""
    return min(max(int(DRAFTED_SHARE * masks), LEAST_BOUND), MOST_DRAFTED)


@register
class Wino(Rule):
    """All that is sure, up to a bound; what the text around it makes doubtful returns."""

    name = "wino"
    summary = "all above `threshold`, 20 at most; takes back what is less probable than `threshold_back` (WINO)"
    compares = "probabilities"
    settings = (THRESHOLD, THRESHOLD_BACK)
    sweep = Sweep(THRESHOLD, (0.95, 0.9, 0.8, 0.6))
    looks_at = "all"

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.least, self.least_back = settings.threshold, settings.threshold_back
        self.drafted_before = 1

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        masked = proposals.current_ids == canvas.mask_token_id
        draft = self._draft(proposals, masked.nonzero()[0])
        doubts = np.where(masked, np.nan, -proposals.current_log_probs)
        doubtful = (doubts > -log_of(np.array(self.least_back))).nonzero()[0]
        most = self.drafted_before - 1 if draft.size > 1 else 0
        self.drafted_before = draft.size
        back = doubtful[ranked(doubts[doubtful])[:most]]
        return Decision(draft, remask=back, remask_scores=np.exp(-doubts), remask_gates=(self.least_back,))

    def _draft(self, proposals: Proposals, masks: IntArray) -> IntArray:
        """Return the surest of the masks, best first: at least one, and at most as many as are bounded."""
        log_confidence = proposals.log_confidence[masks]
        count = int(np.count_nonzero(log_confidence > log_of(np.array(self.least))))
        draft: IntArray = masks[ranked(log_confidence)[: max(1, min(count, most_drafted(masks.size)))]]
        return draft

    def gates(self) -> Sequence[float]:
        return (self.least,)
