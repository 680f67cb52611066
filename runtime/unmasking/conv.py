"""Convolutional decoding (2025): far from all context a model repeats what is frequent, so what is near decided tokens leads.

A mask's weight is tanh(`conv_mult` n), n the decided tokens among the `conv_window` around it, those of the prompt, too. The
default is the form for LLaDA: a step commits its quota of the masks whose confidence times weight is highest. Masks out of
reach of all decided tokens score 0: as in every tie the earlier position goes first.

`conv_top_k` = k above 0 is the other form, the ancestral update of masked diffusion: times t fall in equal steps from 1 to
`LAST_TIME`, and from t to s each mask draws once, by Gumbel-max, among its k best tokens, of odds p weight (t - s) Z, and the
mask, of odds s. Z makes the k + 1 best of all masks weigh one each on average, so that a share (t - s) / t is decided.

Departures: the last step decides all that is left; where nothing is in reach all masks weigh the same; the mask's own
probability stays in the sum of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...graphs.errors import DllmEdgeError
from ..arrays import Array, BoolArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import STEPS, Setting, Settings, declare
from ..decoding.sweep import Sweep, steps_for
from .proposals import Proposals
from .quota import quotas
from .rule import Budget, Decision, Rule, ranked, register

LAST_TIME = 1e-5
CONV_MULT = declare(
    Setting(
        "conv_mult", 1.0, "How fast a mask's weight rises with the decided tokens near it, in `conv`.", least=1e-6, most=1e6
    )
)
CONV_WINDOW = declare(
    Setting(
        "conv_window",
        128,
        "Positions around a mask, itself among them, where `conv` counts decided tokens (an even number: one more).",
        least=1,
    )
)
CONV_TOP_K = declare(
    Setting(
        "conv_top_k",
        0,
        "Candidates of a mask among which `conv` draws, or leaves it masked (0: the best of a quota of masks).",
        least=0,
        most=31,
    )
)


def decided_nearby(decided: BoolArray, window: int) -> IntArray:
    """Return for each of `decided` `[L]` how many are true among the `window` around it."""
    reach, positions = window // 2, np.arange(decided.size)
    sums = np.concatenate(([0], decided.cumsum()))
    counts: IntArray = sums[np.minimum(positions + reach + 1, decided.size)] - sums[np.maximum(positions - reach, 0)]
    return counts


@register
class Conv(Rule):
    """The masks that are both sure and near what is decided."""

    name = "conv"
    summary = "a quota of the highest probability x tanh(`conv_mult` x decided tokens in the `conv_window` around) (Conv)"
    compares = "probabilities"
    settings = (CONV_MULT, CONV_WINDOW, CONV_TOP_K, STEPS)
    sweep = Sweep(STEPS, (1, 2, 4, 8), steps_for, "tokens a step")

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.mult, self.window, self.top_k = settings.conv_mult, settings.conv_window, settings.conv_top_k
        self.steps, self.random = budget.steps, budget.random
        self.quotas = iter(quotas(budget.masks, max(1, budget.steps - budget.spent)))

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        decided = canvas.tokens != canvas.mask_token_id
        weights = np.tanh(self.mult * decided_nearby(decided, self.window)[proposals.positions])
        if self.top_k:
            return self._drawn(proposals, weights, step)
        with np.errstate(divide="ignore"):
            scores = proposals.log_confidence + np.log(weights)
        return Decision(ranked(scores)[: next(self.quotas, 1)], scores=np.exp(scores))

    def _drawn(self, proposals: Proposals, weights: Array, step: int) -> Decision:
        """Return what the ancestral update decides; a score is the odds of the best token against the mask, as a share."""
        weights = weights if weights.any() else np.ones_like(weights)
        before, after = np.linspace(1, LAST_TIME, self.steps + 1)[min(step, self.steps - 1) :][:2]
        odds = np.exp(proposals.topk_log_probs[:, : self.top_k + 1].astype(np.float64)) * weights[:, None]
        odds = odds[:, : self.top_k] * (before - after) * len(proposals) / odds.sum()
        with np.errstate(divide="ignore", over="ignore"):
            drawn = np.log(np.column_stack((odds, np.full(len(proposals), after))))
            drawn += self.random.gumbel(size=drawn.shape)
            best, mask = drawn[:, :-1].max(1), drawn[:, -1]
            scores = 1 / (1 + np.exp(mask - best))
        commit = np.flatnonzero((best > mask) | (step >= self.steps - 1))
        return Decision(commit, proposals=proposals.taking(drawn[:, :-1].argmax(1)), scores=scores)

    def gates(self) -> Sequence[float]:
        return (0.5,) if self.top_k else ()

    @classmethod
    def check(cls, settings: Settings) -> None:
        if settings.conv_top_k and settings.temperature:
            raise DllmEdgeError(f"unmask=conv draws by itself with conv_top_k={settings.conv_top_k}: use temperature=0")
