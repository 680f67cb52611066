"""The schedule of Dream (Ye et al. 2025): the share of masks that a step removes follows linearly falling times."""

from __future__ import annotations

from ..decoding.canvas import Canvas
from ..decoding.settings import STEPS, Settings
from ..decoding.sweep import Sweep, steps_for
from .proposals import Proposals
from .quota import quota
from .rule import Budget, Decision, Rule, register

LAST_TIME = 1e-3


def scheduled(masks: int, step: int, steps: int) -> int:
    """Return how many of `masks` tokens step number `step` (from 0) of `steps` commits; the last commits all. May be 0."""
    if step >= steps - 1:
        return masks
    fall = (LAST_TIME - 1.0) / steps
    return int(masks * (1 - (1.0 + (step + 1) * fall) / (1.0 + step * fall)))


@register
class Schedule(Rule):
    """The most confident tokens, as many as the schedule has them at this step."""

    name = "schedule"
    summary = "a share that follows linearly falling times; the last step commits the rest (Dream)"
    settings = (STEPS,)
    sweep = Sweep(STEPS, (1, 2, 4, 8), steps_for, "tokens a step")

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.steps = budget.steps

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        return Decision(quota(proposals.log_confidence, scheduled(len(proposals), step, self.steps)))
