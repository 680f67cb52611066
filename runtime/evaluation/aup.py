"""AUP, accuracy under parallelism (d3LLM, arXiv 2601.07568): one number for how much accuracy is left at which parallelism.

The area under accuracy over tokens a forward, in which accuracy counts the less the further it lies below the best that any
method reaches on the task.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import exp

ALPHA = 3.0
"""How fast a lower accuracy loses its weight: at two thirds of the best it counts for 37%."""
MOST_LOSS = 5.0
"""Points of accuracy below that of the slowest decode, beyond which a faster one counts for nothing."""


def accuracy_under_parallelism(points: Iterable[tuple[float, float]], best: float) -> float:
    """Return the AUP of `points`, each (tokens a forward, accuracy in percent), in any order; 0 of none.

    `best` is the highest accuracy, in percent, of any method on the task. Of decodes of equal tokens a forward, the most
    accurate counts.
    """
    ordered = sorted(points, key=lambda point: (point[0], -point[1]))
    if not ordered:
        return 0.0
    kept = [point for point in ordered if point[1] >= ordered[0][1] - MOST_LOSS]
    area = kept[0][0] * kept[0][1]
    for (slower, before), (faster, after) in pairwise(kept):
        area += (faster - slower) * (_weighted(after, best) + _weighted(before, best)) / 2
    return area


def _weighted(accuracy: float, best: float) -> float:
    """Return an accuracy times its weight: 1 at `best` and above, e to the power of minus `ALPHA` at 0."""
    return accuracy * min(1.0, exp(-ALPHA * (1 - accuracy / best))) if best else 0.0
