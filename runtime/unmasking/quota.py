"""The linear quota of LLaDA (Nie et al. 2025, section 2.4; low-confidence remasking): a fixed number of tokens a step."""

from __future__ import annotations

from ..arrays import FloatArray, IntArray
from .order import ranked


def quotas(masks: int, steps: int) -> list[int]:
    """How many of `masks` tokens each of `steps` steps commits: equal shares, the remainder first."""
    share, rest = divmod(masks, steps)
    return [share + (step < rest) for step in range(steps)]


def quota(confidence: FloatArray, count: int) -> IntArray:
    """The `count` most confident of `confidence` `[m]`."""
    return ranked(confidence)[:count]
