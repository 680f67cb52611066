"""Few rows of a full product in which every pair of values still meets: most faults need no more than two."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

Row = tuple[str, ...]
Pair = tuple[tuple[int, str], tuple[int, str]]


def pairs_of(row: Row) -> set[Pair]:
    """The pairs of values, with the axis of each, that a row holds."""
    return set(combinations(enumerate(row), 2))


def pairwise(axes: Sequence[Sequence[str]]) -> list[Row]:
    """Rows of `axes`' product, chosen greedily: each the first that holds the most pairs that none before it holds."""
    rows = list(product(*axes))
    left = set().union(*map(pairs_of, rows))
    chosen = []
    while left:
        chosen.append(max(rows, key=lambda row: len(pairs_of(row) & left)))
        left -= pairs_of(chosen[-1])
    return chosen
