"""The Fréchet profile (Fast-dLLM++, arXiv 2606.02955): as many tokens as are right together, whatever depends on what.

Sort the probabilities, c_1 >= c_2 >= ... By Fréchet's lower bound the n best tokens are all right with a probability of at
least sum c_j - (n - 1). n are committed while this, less what the last of them may miss, exceeds a margin:

    G_n = (sum c_j - (n - 1)) - (1 - c_n) > margin,    and the best token always.

Where `factor` looks at the n-th probability alone, this counts how much surer the better ones are: it never commits fewer than
`factor` with a limit of 1 - margin, and as many where all are equal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals
from .rule import Budget, Decision, Rule, ranked, register

FRECHET_MARGIN = declare(
    Setting(
        "frechet_margin",
        0.25,
        "What `frechet` wants of the probability that all tokens of a step are right: the higher, the fewer they are (1: one).",
        least=-1e6,
        most=1.0,
    )
)


def frechet(log_confidence: FloatArray, margin: float) -> IntArray:
    """Return the n most confident of `log_confidence` `[m]`, n the largest with G_n > `margin`; always the most confident.

    That is (1 - c_1) + ... + (1 - c_n) + (1 - c_n) < 1 - `margin`, of logarithms, which tell apart what is near 1.
    """
    order = ranked(log_confidence)
    misses = _misses(log_confidence[order])
    return order[: max(1, int(np.count_nonzero(misses.cumsum() + misses < 1 - margin)))]


def _misses(log_confidence: FloatArray) -> Array:
    """Return 1 - c of logarithms `[m]`, float64."""
    misses: Array = -np.expm1(log_confidence.astype(np.float64))
    return misses


def _bounds(log_confidence: FloatArray, margin: float) -> Array:
    """Return which confidence the n-th best has to exceed after those better than it, `[m - 1]` float64 from the second on."""
    before = _misses(log_confidence[ranked(log_confidence)]).cumsum()[:-1]
    bounds: Array = 1 - (1 - margin - before) / 2
    return bounds


@register
class Frechet(Rule):
    """The more tokens, the more confident all of them are together."""

    name = "frechet"
    summary = "the n best while sum of probabilities - n + probability of the last > `frechet_margin` (Fast-dLLM++)"
    compares = "probabilities"
    settings = (FRECHET_MARGIN,)
    sweep = Sweep(FRECHET_MARGIN, (0.5, 0.25, 0.0, -0.5))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.margin = settings.frechet_margin
        self.bounds: Array = np.zeros(0)

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        commit = frechet(proposals.log_confidence, self.margin)
        # Beyond the first that fails, no confidence alone would bring in more.
        self.bounds = _bounds(proposals.log_confidence, self.margin)[: commit.size]
        return Decision(commit)

    def gates(self) -> Sequence[float]:
        return [float(bound) for bound in self.bounds]
