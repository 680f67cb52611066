"""Parallel decoding by a threshold of the entropy (d3LLM, arXiv 2601.07568): what the model is all but decided on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals
from .rule import Budget, Decision, Rule, ranked, register

# No entropy is below 0: one token a step.
ENTROPY_THRESHOLD = declare(
    Setting(
        "entropy_threshold",
        0.5,
        "Highest entropy, in nats, that `entropy-threshold` commits (below 0: one token a step).",
        least=-1.0,
        most=100.0,
    )
)


def entropy_threshold(entropy: FloatArray, most: float) -> IntArray:
    """Return all of `entropy` `[m]` of at most `most`, lowest first, and always the lowest."""
    return ranked(-entropy)[: max(1, int(np.count_nonzero(entropy <= most)))]


@register
class EntropyThreshold(Rule):
    """All tokens of at most `entropy_threshold`, and always that of the lowest entropy."""

    name = "entropy-threshold"
    summary = "all candidates of at most `entropy_threshold` entropy, and always that of the lowest (d3LLM)"
    settings = (ENTROPY_THRESHOLD,)
    sweep = Sweep(ENTROPY_THRESHOLD, (0.1, 0.3, 0.5, 1.0))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.most = settings.entropy_threshold

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        return Decision(entropy_threshold(proposals.entropy, self.most), scores=-proposals.entropy)

    def gates(self) -> Sequence[float]:
        return (-self.most,)
