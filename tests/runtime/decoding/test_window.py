from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.runtime.decoding.window import Block, pruned_suffix

LENGTH = 138


@pytest.mark.parametrize(
    ("start", "stop", "count", "suffix"),
    [
        (10, 42, 75, [*range(42, 74), 137]),
        (42, 74, 107, [*range(74, 106), 137]),
        (74, 106, 138, [*range(106, 138)]),
        (106, 138, 138, []),
    ],
)
def test_blocks_of_32_after_a_prompt_of_10_with_32_positions_ahead(
    start: int, stop: int, count: int, suffix: list[int]
) -> None:
    """A suffix that is no longer than the window stays whole, and then the last position is not sent twice."""
    found = pruned_suffix(Block(start, stop), LENGTH, 32, 1)
    assert found.tolist() == [*range(stop), *suffix]
    assert found.size == count == stop + min(32, LENGTH - stop) + (LENGTH - stop > 32)


@pytest.mark.parametrize(
    ("ahead", "trailing", "suffix"),
    [
        (0, 1, [19]),
        (0, 0, []),
        (9, 1, [*range(10, 20)]),
        (2, 3, [10, 11, 17, 18, 19]),
        (8, 3, [*range(10, 20)]),
        (100, 100, [*range(10, 20)]),
    ],
)
def test_what_is_kept_of_a_suffix(ahead: int, trailing: int, suffix: list[int]) -> None:
    assert pruned_suffix(Block(4, 10), 20, ahead, trailing).tolist() == [*range(10), *suffix]


def test_positions_are_each_there_once_and_in_order() -> None:
    for ahead in range(12):
        for trailing in range(12):
            found = pruned_suffix(Block(3, 6), 14, ahead, trailing)
            assert (np.diff(found) > 0).all()
            assert found.size == 6 + min(8, ahead + trailing)
