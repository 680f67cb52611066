"""Factor-based parallel decoding (Fast-dLLM, Wu et al. 2025, section 3.3): more confidence, more tokens at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import REFERENCE_COMPAT, Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals, log_of
from .rule import Budget, Decision, Rule, ranked, register

FACTOR = declare(
    Setting(
        "factor",
        1.0,
        "Bound of `factor`: n tokens are committed while (n + 1)(1 - confidence) stays below it.",
        least=1e-6,
        most=1e6,
    )
)


def factor(log_confidence: FloatArray, limit: float, reference_compat: bool = False) -> IntArray:
    """Return the n most confident of `log_confidence` `[m]`, n the largest with (k + 1)(1 - c_k) < `limit` for k = 2 ... n.

    That is c_k > 1 - `limit` / (k + 1), asked of logarithms, which tell confidences near 1 from each other. The most confident
    is always among them. With `reference_compat`, as the authors' code has it, equality passes, and the last candidate is
    committed as well when it is the first to fail: of two candidates always both are.
    """
    order = ranked(log_confidence)
    ordered, bounds = log_confidence[order], _bounds(limit, order.size)
    within = ordered >= log_of(bounds) if reference_compat else ordered > log_of(bounds)
    within |= bounds < 0
    within[:1] = True
    count = int(np.logical_and.accumulate(within).sum())
    return order if reference_compat and count == order.size - 1 else order[:count]


def _bounds(limit: float, count: int) -> Array:
    """Return which confidence the n-th best of `count` has to exceed, `[count]` float64."""
    return 1 - limit / np.arange(2, count + 2)


@register
class Factor(Rule):
    """The more tokens, the more confident they are."""

    name = "factor"
    summary = "the n best while (n + 1)(1 - probability) < `factor` (Fast-dLLM)"
    compares = "probabilities"
    settings = (FACTOR, REFERENCE_COMPAT)
    sweep = Sweep(FACTOR, (0.5, 1.0, 1.5, 2.0))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.limit, self.reference_compat = settings.factor, settings.reference_compat
        self.candidates = 0

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        self.candidates = len(proposals)
        return Decision(factor(proposals.log_confidence, self.limit, self.reference_compat))

    def gates(self) -> Sequence[float]:
        return [float(bound) for bound in _bounds(self.limit, self.candidates)]
