"""The order in which all rules look at candidates."""

from __future__ import annotations

import numpy as np

from ..engines.base import Float32, Int64


def ranked(confidence: Float32) -> Int64:
    """Indices of `confidence` `[m]`, highest first; ties by position (index) ascending."""
    return np.argsort(-confidence, kind="stable")
