"""KLASS: tokens whose distribution has stood still for some steps, and of which the model is sure.

A masked position is ready when the Kullback-Leibler divergence of its distribution from that of the step before has been below
`kl_threshold` in each of the last `kl_steps` steps, and its confidence exceeds `threshold`. A step commits all that are
ready; where none is, the quota of the step (one token, unless `steps` says otherwise).

A step returns the K best candidates of a row, not its distribution, so the divergence is one between coarser ones: what is
a candidate in both steps, each id alone, and all other ids together. Merging ids loses information, so it is never more
than the divergence over all ids: a token may be ready that would not be by that, never the reverse. It is equal to it
where at most one id is no candidate, and close where the others hold little, as they do of a row that is sure.

The rule begins without a history in each block, but by the system `klass`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, BoolArray, FloatArray, IntArray
from ..decoding.canvas import Canvas
from ..decoding.settings import STEPS, Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals, log_of
from .quota import quotas
from .rule import Budget, Decision, Rule, ranked, register
from .threshold import THRESHOLD

KL_THRESHOLD = declare(
    Setting("kl_threshold", 0.01, "Nats below which `klass` takes a distribution to have stood still for a step.", least=0.0)
)
KL_STEPS = declare(Setting("kl_steps", 2, "Steps for which `klass` wants a distribution to have stood still.", least=1))

# Of a sum of float32 probabilities.
ROUNDING = 1e-6


def divergence(ids: IntArray, log_probs: FloatArray, before_ids: IntArray, before_log_probs: FloatArray) -> Array:
    """Return a lower bound of KL(now || before), `[m]` float64, by the candidates of both `[m, K]`, best first.

    A candidate that is new was at most as probable as the last of those before it. It counts alone, with that, where this makes
    the bound higher than to merge it with the others.
    """
    same = ids[:, :, None] == before_ids[:, None, :]
    both = same.any(2)
    last = before_log_probs[:, -1:]
    before = np.where(both, np.take_along_axis(before_log_probs, same.argmax(2), 1), last)
    merged = _others(log_probs, both) - _others(before, both)
    alone = both | (log_probs - last > merged[:, None])
    others = _others(log_probs, alone)
    each = np.where(alone, np.exp(log_probs.astype(np.float64)) * (log_probs - before), 0)
    nats: Array = each.sum(1) + np.exp(others) * (others - _others(before, alone))
    return nats


def _others(log_probs: FloatArray, among: BoolArray) -> Array:
    """Return the logarithm, `[m]` float64, of what the probabilities `[m, K]` that are `among` leave of 1."""
    left: Array = np.log(np.maximum(1 - np.where(among, np.exp(log_probs.astype(np.float64)), 0).sum(1), ROUNDING))
    return left


class History:
    """Of positions before `stop`: the candidates when they were last seen, and the divergences of their last `steps` steps."""

    def __init__(self, stop: int, steps: int) -> None:
        self.nats: Array = np.full((stop, steps), np.inf)
        self.ids: IntArray = np.zeros((stop, 0), dtype=np.int64)
        self.log_probs: FloatArray = np.zeros((stop, 0), dtype=np.float32)
        self.seen: BoolArray = np.zeros(stop, dtype=np.bool_)

    def add(self, positions: IntArray, ids: IntArray, log_probs: FloatArray) -> None:
        """Compare the candidates `[m, K]` of `positions` `[m]` with those of the step before; there is none for the first."""
        if self.ids.shape[1] != ids.shape[1]:
            self.ids, self.log_probs = (np.zeros((len(self.nats), ids.shape[1]), dtype=part.dtype) for part in (ids, log_probs))
        nats = divergence(ids, log_probs, self.ids[positions], self.log_probs[positions])
        self.nats[positions, 1:] = self.nats[positions, :-1]
        self.nats[positions, 0] = np.where(self.seen[positions], nats, np.inf)
        self.ids[positions], self.log_probs[positions], self.seen[positions] = ids, log_probs, True

    def highest(self, positions: IntArray) -> Array:
        """Return the highest divergence of the last steps at `positions`, `[m]` nats, infinite where there were fewer."""
        highest: Array = self.nats[positions].max(1)
        return highest


@register
class Klass(Rule):
    """All tokens that are sure and have stood still, or the quota."""

    name = "klass"
    summary = "all above `threshold` that stood still for `kl_steps` steps to `kl_threshold`; else the step's quota (KLASS)"
    compares = "probabilities"
    settings = (THRESHOLD, KL_THRESHOLD, KL_STEPS, STEPS)
    sweep = Sweep(THRESHOLD, (0.95, 0.9, 0.8, 0.6))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.least, self.still, self.steps = settings.threshold, settings.kl_threshold, settings.kl_steps
        self.quotas = iter(quotas(budget.masks, max(1, budget.steps - budget.spent)))
        self.history = History(budget.block.stop, settings.kl_steps)
        self.needed: Array = np.zeros(0)

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        count = max(1, next(self.quotas, 1))
        self.history.add(proposals.positions, proposals.topk_ids, proposals.topk_log_probs)
        # Of a block's first steps none is ready, though a history of earlier blocks may be long enough.
        highest = self.history.highest(proposals.positions) if step + 1 >= self.steps else np.full(len(proposals), np.inf)
        # What each confidence would have to be, if it were to make up for a distribution that moved.
        self.needed = np.maximum(self.least, proposals.confidence + highest - self.still)
        ready = (highest < self.still) & (proposals.log_confidence > log_of(np.array(self.least)))
        order = ranked(proposals.log_confidence)
        return Decision(order[ready[order]] if ready.any() else order[:count])

    def gates(self) -> Sequence[float]:
        return [float(needed) for needed in self.needed[np.isfinite(self.needed)]]
