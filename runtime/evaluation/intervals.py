"""95% intervals of accuracies, and of the difference of two accuracies on the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

Z = 1.959964
PAIRED_METHOD = "Bonett-Price interval for paired proportions, 95%"


def wilson(successes: int, total: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion."""
    share, spread = successes / total, Z * Z / total
    centre = share + spread / 2
    margin = sqrt(spread * (share * (1 - share) + spread / 4))
    return max(0.0, (centre - margin) / (1 + spread)), min(1.0, (centre + margin) / (1 + spread))


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy of the first less that of the second, a share between -1 and 1, with its interval.

    `gained` problems only the first solves, `lost` only the second.
    """

    difference: float
    low: float
    high: float
    gained: int
    lost: int
    samples: int
    method: str = PAIRED_METHOD

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> PairedDifference:
    """The difference of two lists of right answers to the same problems, in the same order.

    The interval is that of Bonett and Price (2012): a normal one after a gained and a lost problem are added, which
    keeps its level at few discordant pairs, where a bootstrap's would shrink to a point.
    """
    samples = len(first)
    gained = sum(a and not b for a, b in zip(first, second, strict=True))
    lost = sum(b and not a for a, b in zip(first, second, strict=True))
    up, down = (gained + 1) / (samples + 2), (lost + 1) / (samples + 2)
    margin = Z * sqrt((up + down - (up - down) ** 2) / (samples + 2))
    low, high = max(-1.0, up - down - margin), min(1.0, up - down + margin)
    return PairedDifference((gained - lost) / samples, low, high, gained, lost, samples)
