"""A block's unmasking rule: which proposals each of its steps commits."""

from __future__ import annotations

from ..arrays import FloatArray, IntArray
from ..decoding.settings import Settings
from .factor import factor
from .quota import quota, quotas
from .schedule import scheduled
from .threshold import threshold


class Rule:
    """The rule of one block: called once a step with the confidences of the block's candidates.

    `masks` are to be committed over `steps` steps. With `first_alone`, a step was spent before the first call: a
    shifted model's refresh commits the block's first token on its own, and the schedule goes on with step 1.
    """

    def __init__(self, settings: Settings, masks: int, steps: int, first_alone: bool = False) -> None:
        self.settings = settings
        self.step, self.steps = int(first_alone), steps
        self.quotas = iter(quotas(masks - first_alone, max(1, steps - first_alone)))

    def choose(self, confidence: FloatArray) -> IntArray:
        """Indices into `confidence` `[m]` (m of at least 1), the most confident first; none where a schedule pauses."""
        step, self.step = self.step, self.step + 1
        settings = self.settings
        if settings.unmask == "threshold":
            return threshold(confidence, settings.threshold)
        if settings.unmask == "factor":
            return factor(confidence, settings.factor, settings.reference_compat)
        if settings.unmask == "schedule":
            return quota(confidence, scheduled(confidence.size, step, self.steps))
        return quota(confidence, next(self.quotas))
