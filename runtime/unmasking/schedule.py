"""The schedule of Dream (Ye et al. 2025): the share of masks that a step removes follows linearly falling times."""

from __future__ import annotations

import numpy as np

LAST_TIME = 1e-3


def scheduled(masks: int, step: int, steps: int) -> int:
    """How many of `masks` tokens step number `step` (from 0) of `steps` commits; the last commits all. May be 0."""
    if step >= steps - 1:
        return masks
    times = np.linspace(1.0, LAST_TIME, steps + 1)
    return int(masks * (1 - times[step + 1] / times[step]))
