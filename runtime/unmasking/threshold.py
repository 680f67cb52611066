"""Confidence-aware parallel decoding by a threshold (Fast-dLLM, Wu et al. 2025, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals, log_of
from .rule import Budget, Decision, Rule, ranked, register

# A threshold above 1 is out of reach: one token a step.
THRESHOLD = declare(
    Setting(
        "threshold",
        0.9,
        "Confidence from which on `threshold` commits, and most rules that know more than that.",
        least=0.0,
        most=1.01,
    )
)


def threshold(log_confidence: FloatArray, least: float) -> IntArray:
    """Return all of `log_confidence` `[m]` of at least the logarithm of `least`, and always the most confident."""
    order = ranked(log_confidence)
    return order[: max(1, int(np.count_nonzero(log_confidence >= log_of(np.array(least)))))]


@register
class Threshold(Rule):
    """All tokens of at least `threshold` confidence, and always the most confident."""

    name = "threshold"
    summary = "all candidates of at least `threshold` probability, and always the best (Fast-dLLM)"
    compares = "probabilities"
    settings = (THRESHOLD,)
    sweep = Sweep(THRESHOLD, (0.95, 0.9, 0.8, 0.6))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.least = settings.threshold

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        return Decision(threshold(proposals.log_confidence, self.least))

    def gates(self) -> Sequence[float]:
        return (self.least,)
