"""Confidence-aware parallel decoding by a threshold (Fast-dLLM, Wu et al. 2025, section 3.3)."""

from __future__ import annotations

import numpy as np

from ..engines.base import Float32, Int64
from .order import ranked


def threshold(confidence: Float32, least: float) -> Int64:
    """All of `confidence` `[m]` of at least `least`, and always the most confident."""
    order = ranked(confidence)
    return order[: max(1, int(np.count_nonzero(confidence >= np.float32(least))))]
