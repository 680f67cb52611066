"""Confidence-aware parallel decoding by a threshold (Fast-dLLM, Wu et al. 2025, section 3.3)."""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray, IntArray
from .order import ranked


def threshold(confidence: FloatArray, least: float) -> IntArray:
    """All of `confidence` `[m]` of at least `least`, and always the most confident."""
    order = ranked(confidence)
    return order[: max(1, int(np.count_nonzero(confidence >= np.float32(least))))]
