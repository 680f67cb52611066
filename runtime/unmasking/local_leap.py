"""LocalLeap (arXiv 2510.07081): what lies near a token that is sure needs less confidence.

Tokens of at least `threshold` are anchors. A step commits them, and those of at least `leap_threshold` within
`leap_radius` positions of an anchor; where nothing is sure, the most confident. A radius of 0 leaves `threshold` alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, BoolArray, FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals, log_of
from .rule import Budget, Decision, Rule, ranked, register
from .threshold import THRESHOLD

LEAP_THRESHOLD = declare(
    Setting(
        "leap_threshold", 0.75, "Least confidence that `local-leap` commits near what has `threshold`.", least=0.0, most=1.01
    )
)
LEAP_RADIUS = declare(
    Setting("leap_radius", 4, "Positions to either side that are near what has `threshold`, for `local-leap`.", least=0)
)


def near(positions: IntArray, radius: int) -> BoolArray:
    """Return `[m, m]`: which of `positions` `[m]` lie within `radius` of which; each does of itself."""
    close: BoolArray = np.abs(positions[:, None] - positions) <= radius
    return close


def local_leap(positions: IntArray, log_confidence: FloatArray, least: float, relaxed: float, radius: int) -> IntArray:
    """Return all of `log_confidence` `[m]` of at least `least`, of at least `relaxed` near those, or the best; best first."""
    order = ranked(log_confidence)
    anchors = log_confidence >= log_of(np.array(least))
    if not anchors[order[0]]:
        return order[:1]
    taken = anchors | (near(positions, radius)[:, anchors].any(1) & (log_confidence >= log_of(np.array(relaxed))))
    return order[taken[order]]


@register
class LocalLeap(Rule):
    """All that is sure, what is near it and less sure, and always the most confident."""

    name = "local-leap"
    summary = "all of at least `threshold`, and of `leap_threshold` within `leap_radius` of those (LocalLeap)"
    compares = "probabilities"
    settings = (THRESHOLD, LEAP_THRESHOLD, LEAP_RADIUS)
    sweep = Sweep(LEAP_THRESHOLD, (0.9, 0.75, 0.6, 0.4))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.least, self.relaxed, self.radius = settings.threshold, settings.leap_threshold, settings.leap_radius
        self.positions: IntArray = np.zeros(0, dtype=np.int64)
        self.confidence: FloatArray = np.zeros(0, dtype=np.float32)

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        self.positions, self.confidence = proposals.positions, proposals.confidence
        return Decision(local_leap(proposals.positions, proposals.log_confidence, self.least, self.relaxed, self.radius))

    def gates(self) -> Sequence[float]:
        """Return for each token what it needs: `threshold`, or near another as much as that lacks of `threshold` more."""
        best = np.where(near(self.positions, self.radius), self.confidence, -np.inf).max(1)
        needed: Array = np.minimum(self.least, np.maximum(self.relaxed, self.confidence + self.least - best))
        return [float(gate) for gate in needed]
