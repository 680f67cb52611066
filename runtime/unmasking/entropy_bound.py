"""The entropy-bounded sampler (EB-Sampler): as many tokens as depend little enough on each other.

Tokens that are drawn together, each from its own distribution, err by what they tell of each other. The sum of their entropies
less the largest bounds that, so the n most confident tokens are committed, n the largest with

    (H_1 + ... + H_n) - max(H_1 ... H_n) <= bound,    and the most confident always.

The sum never falls as n grows, so the higher the bound, the more tokens. `confidence` chooses what orders them (the paper's
error proxy: probability, margin or entropy); by any order it is entropies that are bounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, FloatArray
from ..decoding.canvas import Canvas
from ..decoding.settings import Setting, Settings, declare
from ..decoding.sweep import Sweep
from .proposals import Proposals
from .rule import Budget, Decision, Rule, ranked, register

ENTROPY_BOUND = declare(
    Setting(
        "entropy_bound",
        0.1,
        "Nats that the entropies of a step's tokens, less the largest, may add up to by `entropy-bound`.",
        least=0.0,
    )
)


def shared_entropy(entropy: FloatArray) -> Array:
    """Return for each n the sum of the first n of `entropy` `[m]` less the largest of these, `[m]` float64, ascending."""
    # An entropy of next to nothing may be rounded to less than that.
    nats = np.maximum(entropy, 0).astype(np.float64)
    shared: Array = nats.cumsum() - np.maximum.accumulate(nats)
    return shared


@register
class EntropyBound(Rule):
    """The most confident tokens, while their entropies but for the largest stay within a bound."""

    name = "entropy-bound"
    summary = "the most confident while their entropies, less the largest, add up to at most `entropy_bound` (EB-Sampler)"
    settings = (ENTROPY_BOUND,)
    sweep = Sweep(ENTROPY_BOUND, (0.01, 0.1, 0.5, 1.0))

    def __init__(self, settings: Settings, budget: Budget) -> None:
        self.bound = settings.entropy_bound
        self.needed: Array = np.zeros(0)

    def choose(self, proposals: Proposals, canvas: Canvas, step: int) -> Decision:
        order = ranked(proposals.log_confidence)
        shared = shared_entropy(proposals.entropy[order])
        count = max(1, int(np.count_nonzero(shared <= self.bound)))
        # Of the last that is committed and the first that is not: what their scores lack or have to spare, as the sum has.
        edge = slice(max(1, count - 1), count + 1)
        self.needed = proposals.confidence[order[edge]] + shared[edge] - self.bound
        return Decision(order[:count])

    def gates(self) -> Sequence[float]:
        return [float(needed) for needed in self.needed]
