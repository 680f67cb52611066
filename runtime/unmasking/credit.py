"""Credit decoding (dInfer): what a row has put first before gains probability.

Each step every id's credit at a position decays by `credit_decay`; then the id that the row puts first gains
p ^ `credit_power`, p its probability. Tokens and confidences are those of the logits + `credit_weight` log(1 + credit), and
all of at least `threshold` are committed. With a weight of 0 it is the rule `threshold`. A block begins without credit.

Only ids that a row has put first have any, so they are kept by position, and the probabilities of the K candidates suffice:

    log p'(v) = log p(v) + a(v) - log(1 + sum over credited u of p(u) (exp a(u) - 1)),    a = weight log(1 + credit)

Credited ids that are no candidates any more are left out: they cannot be proposed, and the sum lacks them. None of them is more
probable than the last candidate, so the others' probabilities are too high by a share of at most that times exp a(u) - 1
for each. Nothing is left out where all allowed ids are candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals
from .rule import Budget, Decision, Rule, register
from .threshold import THRESHOLD, threshold

CREDIT_WEIGHT = declare(
    Setting(
        "credit_weight",
        0.7,
        "What `credit` adds to a logit, times the log(1 + credit) of its id.",
        least=0.0,
        most=100.0,
    )
)
CREDIT_DECAY = declare(
    Setting("credit_decay", 0.8, "What a step leaves of the credit that an id has by `credit`.", least=0.0, most=1.0)
)
CREDIT_POWER = declare(
    Setting(
        "credit_power", 0.2, "The power of its probability that an id gains as credit by being first.", least=0.0, most=100.0
    )
)


class Credits:
    """Ids that have credit and how much, `ids` and `amounts` `[n, S]` by position of a block; -1 is no id."""

    def __init__(self, positions: int) -> None:
        self.ids: IntArray = np.full((positions, 0), -1)
        self.amounts: Array = np.zeros((positions, 0))
        self.counts: IntArray = np.zeros(positions, dtype=np.int64)

    def add(self, rows: IntArray, ids: IntArray, gains: Array) -> None:
        """Give the ids `[m]` of the positions `rows` `[m]` their gains `[m]`."""
        known = self.ids[rows] == ids[:, None]
        slots = np.where(known.any(1), known.argmax(1) if known.size else 0, self.counts[rows])
        if slots.max() == self.ids.shape[1]:
            self.ids = np.pad(self.ids, ((0, 0), (0, 1)), constant_values=-1)
            self.amounts = np.pad(self.amounts, ((0, 0), (0, 1)))
        self.ids[rows, slots] = ids
        self.amounts[rows, slots] += gains
        self.counts[rows] = np.maximum(self.counts[rows], slots + 1)

    def of(self, rows: IntArray, ids: IntArray) -> Array:
        """Return the credit of the ids `[m, K]` at the positions `rows` `[m]`, `[m, K]` float64."""
        found = np.zeros(ids.shape)
        for known, amounts in zip(self.ids[rows].T, self.amounts[rows].T, strict=True):
            found += np.where(ids == known[:, None], amounts[:, None], 0)
        return found


def fused(log_probs: FloatArray, boosts: Array, chosen: IntArray) -> FloatArray:
    """Return the log probability, `[m]` float32, of the `chosen` `[m]` candidates once the logits of all get `boosts` `[m, K]`.

    log_probs: `[m, K]`, those before. It comes from what the others have, so it is exact near a probability of 1.
    """
    rows = np.arange(chosen.size)
    gained = np.exp(log_probs.astype(np.float64)) * np.expm1(boosts)
    gained[rows, chosen] = 0
    own = log_probs[rows, chosen].astype(np.float64)
    others = gained.sum(1) - np.expm1(own)
    log_confidence: FloatArray = -np.log1p(others * np.exp(-own - boosts[rows, chosen])).astype(np.float32)
    return log_confidence


@register
class Credit(Rule):
    """All tokens of at least `threshold`, with what earlier steps put first."""

    name = "credit"
    summary = "as `threshold`, of probabilities that grow with what earlier steps put first (dInfer)"
    compares = "token probabilities"
    settings = (THRESHOLD, CREDIT_WEIGHT, CREDIT_DECAY, CREDIT_POWER)
    sweep = Sweep(THRESHOLD, (0.95, 0.9, 0.8, 0.6))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.least, self.temperature, self.random = settings.threshold, settings.temperature, budget.random
        self.weight, self.decay, self.power = settings.credit_weight, settings.credit_decay, settings.credit_power
        self.start, self.credits = budget.block.start, Credits(len(budget.block))

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        rows, ids, log_probs = proposals.positions - self.start, proposals.topk_ids, proposals.topk_log_probs
        self.credits.amounts *= self.decay
        self.credits.add(rows, ids[:, 0], np.exp(self.power * log_probs[:, 0].astype(np.float64)))
        boosts = self.weight * np.log1p(self.credits.of(rows, ids))
        noise = self.temperature * self.random.gumbel(size=boosts.shape) if self.temperature else 0
        chosen = (log_probs + boosts + noise).argmax(1)
        credited = proposals.instead(ids[np.arange(rows.size), chosen], fused(log_probs, boosts, chosen))
        return Decision(threshold(credited.log_confidence, self.least), proposals=credited)

    def gates(self) -> Sequence[float]:
        return (self.least,)
