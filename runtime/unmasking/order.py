"""The order in which all rules look at candidates."""

from __future__ import annotations

import numpy as np

from ..arrays import FloatArray, IntArray


def ranked(confidence: FloatArray) -> IntArray:
    """Indices of `confidence` `[m]`, highest first; ties by position (index) ascending."""
    return np.argsort(-confidence, kind="stable")
