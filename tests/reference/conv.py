"""Convolutional decoding (2025), from its description: weights by what is decided nearby, and the ancestral update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def weight(decided: Sequence[bool], position: int, window: int, mult: float) -> float:
    """tanh of how many are decided within half a window; an even window has one more."""
    reach = (window if window % 2 else window + 1) // 2
    near = [decided[other] for other in range(len(decided)) if abs(other - position) <= reach]
    return math.tanh(mult * sum(near))


@dataclass(frozen=True)
class Draw:
    candidate: int | None  # None: it stays masked
    slack: float  # of logarithms


def ancestral(
    probabilities: Sequence[Sequence[float]], weights: Sequence[float], step: int, steps: int, random: np.random.Generator
) -> list[Draw]:
    """From time t to s: a candidate j of mask i has odds p_ij w_i Z (t - s), the mask s; of k + 1 candidates k are drawn from.

    The last step leaves no mask. Where no weight is above 0 all are 1.
    """
    if not any(weights):
        weights = [1.0] * len(weights)
    time, until = (1 + (1e-5 - 1) * min(step + later, steps - 1 + later) / steps for later in (0, 1))
    spread = sum(w * p for row, w in zip(probabilities, weights, strict=True) for p in row)
    z = len(weights) / spread
    draws = []
    for row, w in zip(probabilities, weights, strict=True):
        odds = [p * w * z * (time - until) for p in row[:-1]] + [until]
        noisy = [(math.log(one) if one else -math.inf) + random.gumbel() for one in odds]
        order = sorted(range(len(row) - 1), key=lambda index: (-noisy[index], index))
        best, second, mask = noisy[order[0]], max((noisy[index] for index in order[1:]), default=-math.inf), noisy[-1]
        last = step >= steps - 1
        taken = best > mask or last
        between = best - second if best > -math.inf else math.inf
        slack = min(math.inf if last else abs(best - mask), between if taken else math.inf)
        draws.append(Draw(order[0] if taken else None, slack))
    return draws
