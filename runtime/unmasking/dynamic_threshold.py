"""The dynamic confidence threshold of Streaming-dLLM (Xiao et al. 2026): it falls as the masks become few.

The threshold is `threshold` (1 - `confidence_alpha` (1 - r)), r the share of masks among what a step sends from the block's
start on. The authors' code counts the suffix that is sent, too, so r does not fall to 0 while there is one; the paper's
words can also be read as the block's own share (`mask_ratio=block`). A block's first step sees masks alone: r is 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.step import Forward
from ..decoding.sweep import Sweep
from .proposals import Proposals
from .rule import Budget, Decision, Rule, register
from .threshold import THRESHOLD, threshold

CONFIDENCE_ALPHA = declare(
    Setting(
        "confidence_alpha",
        0.3,
        "How far `dynamic-threshold` falls: without masks it would be `threshold` (1 - `confidence_alpha`).",
        least=0.0,
        most=1.0,
    )
)
MASK_RATIO = declare(
    Setting(
        "mask_ratio",
        "window",
        "Where `dynamic-threshold` counts masks: `window`, in the block and what a step sends after it; `block`, in the block.",
        choices=("window", "block"),
    )
)


def dynamic_threshold(least: float, alpha: float, mask_ratio: float) -> float:
    """Return the threshold at a share of masks between 0 and 1: `least` at 1, and the lower the fewer there are."""
    return least * (1 - alpha * (1 - mask_ratio))


@register
class DynamicThreshold(Rule):
    """All tokens of at least a threshold that falls with the share of masks, and always the most confident."""

    name = "dynamic-threshold"
    summary = "as `threshold`, which falls by up to `confidence_alpha` of it as masks become few (Streaming-dLLM)"
    compares = "probabilities"
    settings = (THRESHOLD, CONFIDENCE_ALPHA, MASK_RATIO)
    sweep = Sweep(THRESHOLD, (0.95, 0.9, 0.8, 0.6))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.highest, self.alpha, self.block = settings.threshold, settings.confidence_alpha, budget.block
        self.counts_window, self.least = settings.mask_ratio == "window", settings.threshold

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        self.least = dynamic_threshold(self.highest, self.alpha, self._mask_ratio(proposals.result.step, canvas))
        return Decision(threshold(proposals.log_confidence, self.least))

    def _mask_ratio(self, forward: Forward, canvas: Canvas) -> float:
        """Return the share of masks in the block, or in the rows that the forward sends from its start on."""
        if not self.counts_window:
            return canvas.masked(self.block).size / len(self.block)
        sent = forward.input_ids[forward.position_ids >= self.block.start]
        return np.count_nonzero(sent == canvas.mask_token_id) / max(1, sent.size)

    def gates(self) -> Sequence[float]:
        return (self.least,)
