from __future__ import annotations

from fractions import Fraction

import pytest

from dllm_edge.runtime.unmasking.schedule import scheduled


def counts(masks: int, steps: int, first: int = 0) -> list[int]:
    """What each step from `first` on commits, until no mask is left."""
    taken: list[int] = []
    for step in range(first, steps):
        taken.append(scheduled(masks - sum(taken), step, steps))
    return taken


@pytest.mark.parametrize(
    ("masks", "steps", "first", "expected"),
    [
        (64, 8, 0, [7, 8, 8, 8, 8, 8, 8, 9]),
        (256, 256, 0, [0, *[1] * 254, 2]),
        (31, 32, 1, [0, *[1] * 29, 2]),
        (4, 4, 0, [0, 1, 1, 2]),
        (1, 1, 0, [1]),
        (9, 1, 0, [9]),
    ],
)
def test_vectors(masks: int, steps: int, first: int, expected: list[int]) -> None:
    assert counts(masks, steps, first) == expected


def test_the_last_step_and_all_after_it_commit_everything() -> None:
    assert [scheduled(5, step, 4) for step in (3, 4, 9)] == [5, 5, 5]


@pytest.mark.parametrize("steps", [2, 3, 8, 17, 32, 64])
def test_counts_are_those_of_exact_arithmetic(steps: int) -> None:
    for step in range(steps - 1):
        now, then = (1 - Fraction(999, 1000) * index / steps for index in (step, step + 1))
        for masks in range(1, 65):
            assert scheduled(masks, step, steps) == int(masks * (1 - then / now))
