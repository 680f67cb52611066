"""Saber (2025): adaptive acceleration, and remasking enhanced by backtracking. The surer, the more tokens; doubt takes back.

A step drafts every masked position whose confidence exceeds the mean of the confidences at which the tokens that stand now were
committed, and at least `least_commits`: the bar moves with how hard the text is. Then it backtracks: of the tokens that stood
before, those whose probability fell most under the new context return to the mask, one for each `backtrack_one_in` drafted, at
least one, and fewer than were drafted, so that each step gains a token. The step that completes the block takes none back.

`backtrack=probability` judges the tokens by how probable they are now, as the authors' code does for Dream. With
`reference_compat` all is as in the released code: tokens of this very step return, too, a part of one counts as one, and

- for LLaDA (`backtrack=fall`) the mean counts every position that was ever committed, at its last confidence, and what falls
  is the position's highest probability, whatever token stands there;
- for Dream (`backtrack=probability`) the mean counts each of these positions at its first confidence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, BoolArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import REFERENCE_COMPAT, Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals
from .rule import Budget, Decision, Rule, ranked, register

LEAST_COMMITS = declare(
    Setting("least_commits", 2, "Least tokens that `saber` commits a step, as far as there are masks.", least=1)
)
BACKTRACK = declare(
    Setting(
        "backtrack",
        "fall",
        "Which tokens `saber` takes back: those whose probability fell most (`fall`), or the least probable (`probability`).",
        choices=("fall", "probability"),
    )
)
BACKTRACK_ONE_IN = declare(
    Setting("backtrack_one_in", 8, "For how many commits of a step `saber` takes one token back (0: none, ever).", least=0)
)

Misses = Array
"""1 - c of confidences c, float64, by logarithms, which tell apart what is near 1; NaN where there is none."""


def taken_back(drafted: int, one_in: int, least: int, reference_compat: bool = False) -> int:
    """Return how many tokens a step that drafted so many takes back; by the released code at least half of `least`."""
    if not one_in:
        return 0
    share = max(least // 2, -(-drafted // one_in)) if reference_compat else max(1, drafted // one_in)
    return min(share, drafted - 1)


@register
class Saber(Rule):
    """All that is surer than the mean at commitment; those that became doubtful return to the mask."""

    name = "saber"
    summary = "all above the mean probability at commitment, `least_commits` at least; takes back what became doubtful (Saber)"
    compares = "token probabilities"
    settings = (LEAST_COMMITS, BACKTRACK, BACKTRACK_ONE_IN, REFERENCE_COMPAT)
    sweep = Sweep(LEAST_COMMITS, (1, 2, 4, 8))
    looks_at = "all"

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.least, self.one_in = settings.least_commits, settings.backtrack_one_in
        self.by_fall, self.reference_compat = settings.backtrack == "fall", settings.reference_compat
        self.at_commit: Misses = np.zeros(0)
        self.last: Misses = np.zeros(0)
        self.mean = 0.0

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        if not self.last.size:
            self.at_commit, self.last = np.full((2, len(canvas)), np.nan)
        masked = proposals.current_ids == canvas.mask_token_id
        misses: Misses = -np.expm1(proposals.log_confidence.astype(np.float64))
        draft = self._draft(misses, masked, proposals.positions)
        judged, doubts = self._doubts(misses, masked, draft, proposals)
        complete = draft.size == np.count_nonzero(masked)
        count = 0 if complete else taken_back(draft.size, self.one_in, self.least, self.reference_compat)
        scores = np.full(len(proposals), np.nan)
        scores[judged] = doubts
        return Decision(draft, remask=judged[ranked(doubts)[:count]], remask_scores=scores)

    def _draft(self, misses: Misses, masked: BoolArray, positions: IntArray) -> IntArray:
        """Return the masked that are surer than the mean, best first, and note how sure they are."""
        known = self.at_commit if self.reference_compat else self.at_commit[positions[~masked]]
        known = known[~np.isnan(known)]
        self.mean = float(known.mean()) if known.size else 0.0
        left = masked.nonzero()[0]
        best = left[ranked(-misses[left])]
        draft: IntArray = best[: max(self.least, int(np.count_nonzero(misses[left] < self.mean)))]
        first_counts = self.reference_compat and not self.by_fall
        noted = draft[np.isnan(self.at_commit[positions[draft]])] if first_counts else draft
        self.at_commit[positions[noted]] = misses[noted]
        return draft

    def _doubts(self, misses: Misses, masked: BoolArray, draft: IntArray, proposals: Proposals) -> tuple[IntArray, Misses]:
        """Return which of the proposals may return to the mask, ascending, and how doubtful they are; note what they miss."""
        current: Misses = -np.expm1(proposals.current_log_probs.astype(np.float64))
        current[draft] = misses[draft]
        seen = misses if self.reference_compat and self.by_fall else current
        before = np.nan_to_num(self.last[proposals.positions], nan=1.0)
        self.last[proposals.positions] = seen
        standing = ~masked
        standing[draft] |= self.reference_compat
        judged = standing.nonzero()[0]
        return judged, (seen - before if self.by_fall else seen)[judged]

    def gates(self) -> Sequence[float]:
        return (1 - self.mean,)
