"""The linear quota of LLaDA (Nie et al. 2025, section 2.4; low-confidence remasking): a fixed number of tokens a step."""

from __future__ import annotations

from ..arrays import FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import STEPS, Settings
from ..decoding.sweep import Sweep, steps_for
from .proposals import Proposals
from .rule import Budget, Decision, Rule, ranked, register


def quotas(masks: int, steps: int) -> list[int]:
    """Return how many of `masks` tokens each of `steps` steps commits: equal shares, the remainder first."""
    share, rest = divmod(masks, steps)
    return [share + (step < rest) for step in range(steps)]


def quota(log_confidence: FloatArray, count: int) -> IntArray:
    """Return the `count` most confident of `log_confidence` `[m]`."""
    return ranked(log_confidence)[:count]


@register
class Quota(Rule):
    """The most confident tokens, as many as the step's quota."""

    name = "quota"
    summary = "a fixed number a step: `steps` spread evenly over the masks, one token a step by default (LLaDA)"
    settings = (STEPS,)
    sweep = Sweep(STEPS, (1, 2, 4, 8), steps_for, "tokens a step")

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.quotas = iter(quotas(budget.masks, max(1, budget.steps - budget.spent)))

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        # A block that takes more steps, since some of its tokens were out of sight or returned to the mask: one a step.
        return Decision(quota(proposals.log_confidence, next(self.quotas, 1)))
