"""Hierarchical decoding (dInfer): the best of each run of masks, so that commits split runs and steps are few.

The masked positions of a block fall into runs of neighbours. A step commits the most confident token of each run if its
probability exceeds `low_threshold`, every token above `threshold`, and always the most confident of all.

With a `remask_threshold`, tokens of earlier steps whose probability has fallen below it return to the mask, the least probable,
and fewer than there are masks. Then at least one token more is committed than returns, the most confident of those left, so
that each step gains a token. What is compared, where the description leaves it open, is the probability of the token itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals, log_of
from .rule import Budget, Decision, Rule, ranked, register
from .threshold import THRESHOLD

LOW_THRESHOLD = declare(
    Setting(
        "low_threshold", 0.4, "Confidence above which `hierarchical` commits the best of a run of masks.", least=0.0, most=1.01
    )
)
REMASK_THRESHOLD = declare(
    Setting(
        "remask_threshold",
        0.0,
        "Probability below which tokens return to the mask by `hierarchical` (0: none does).",
        least=0.0,
        most=1.0,
    )
)


def run_bests(positions: IntArray, order: IntArray) -> IntArray:
    """Return which of `positions` `[m]`, ascending, comes first in `order` `[m]` of each run of neighbours, by run."""
    runs = (np.diff(positions, prepend=positions[:1]) > 1).cumsum()
    bests = np.zeros(runs[-1] + 1, dtype=np.int64)
    # Of several values for one index the last stays.
    bests[runs[order[::-1]]] = order[::-1]
    return bests


def hierarchical(positions: IntArray, log_confidence: FloatArray, low: float, high: float, least: int = 1) -> IntArray:
    """Return the best of each run above `low` and all above `high`, best first, and then more if they are not `least`.

    positions: `[m]`, ascending. log_confidence: `[m]`.
    """
    order = ranked(log_confidence)
    taken = log_confidence > log_of(np.array(high))
    bests = run_bests(positions, order)
    taken[bests] |= log_confidence[bests] > log_of(np.array(low))
    chosen, others = order[taken[order]], order[~taken[order]]
    missing = least - chosen.size
    return np.concatenate((chosen, others[:missing])) if missing > 0 else chosen


@register
class Hierarchical(Rule):
    """The best of each run of masks, and all that is sure."""

    name = "hierarchical"
    summary = "the best of each run of masks above `low_threshold`, all above `threshold`, and always the best (dInfer)"
    compares = "probabilities"
    settings = (THRESHOLD, LOW_THRESHOLD, REMASK_THRESHOLD)
    sweep = Sweep(LOW_THRESHOLD, (0.8, 0.6, 0.4, 0.2))
    looks_at = "all"

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.low, self.high, self.doubtful = settings.low_threshold, settings.threshold, settings.remask_threshold

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        masked = proposals.current_ids == canvas.mask_token_id
        left = masked.nonzero()[0]
        remask = self._doubted(proposals, masked)[: left.size - 1]
        positions, log_confidence = proposals.positions[left], proposals.log_confidence[left]
        commit = hierarchical(positions, log_confidence, self.low, self.high, remask.size + 1)
        if not self.doubtful:
            return Decision(left[commit])
        scores = np.where(masked, proposals.confidence, np.exp(proposals.current_log_probs))
        return Decision(left[commit], remask=remask, scores=scores)

    def _doubted(self, proposals: Proposals, masked: BoolArray) -> IntArray:
        """Return the committed tokens below `remask_threshold`, the least probable first."""
        if not self.doubtful:
            return np.zeros(0, dtype=np.int64)
        log_probs = np.where(masked, 0, proposals.current_log_probs)
        order = ranked(-log_probs)
        return order[: int(np.count_nonzero(log_probs < log_of(np.array(self.doubtful))))]

    def gates(self) -> Sequence[float]:
        return (self.low, self.high, self.doubtful) if self.doubtful else (self.low, self.high)
