"""Factor-based parallel decoding (Fast-dLLM, Wu et al. 2025, section 3.3): more confidence, more tokens at once."""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray, IntArray
from .order import ranked


def factor(confidence: FloatArray, limit: float, reference_compat: bool = False) -> IntArray:
    """The n most confident of `confidence` `[m]`, n the largest with (k + 1)(1 - c_k) < `limit` for k = 2 ... n.

    The most confident is always among them. With `reference_compat`, as the authors' code has it, equality passes, and
    the last candidate is committed as well when it is the first to fail: of two candidates always both are.
    """
    order = ranked(confidence)
    counts = np.arange(1, confidence.size + 1)
    missed = (counts + 1) * (1 - confidence[order].astype(np.float64))
    within = missed <= limit if reference_compat else missed < limit
    within[:1] = True
    count = int(np.logical_and.accumulate(within).sum())
    return order if reference_compat and count == confidence.size - 1 else order[:count]
