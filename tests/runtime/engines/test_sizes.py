from __future__ import annotations

from dataclasses import replace

import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.engines.sizes import ALIGNMENT, AnySizes, RoundedSizes, slot_multiple

from ..numpy_engine import CONFIG


@pytest.mark.parametrize(("kv_heads", "head_dim", "multiple"), [(2, 8, 8), (8, 128, 1), (1, 64, 2), (2, 48, 4), (3, 10, 64)])
def test_lanes_of_so_many_slots_are_aligned(kv_heads: int, head_dim: int, multiple: int) -> None:
    config = replace(CONFIG, kv_heads=kv_heads, heads=kv_heads, head_dim=head_dim)
    assert slot_multiple(config) == multiple
    lane_bytes = [2 * kv_heads * head_dim * slots for slots in range(1, multiple + 1)]
    assert [nbytes % ALIGNMENT == 0 for nbytes in lane_bytes] == [False] * (multiple - 1) + [True]


def test_any_sizes_are_those_that_are_wanted() -> None:
    sizes, wanted = AnySizes(), Profile(2, 3, 0, 1)
    assert (sizes.profiles, sizes.profile(wanted), sizes.context(7)) == (None, wanted, None)
    assert sizes.cache(3, 5, True, True) == (3, 5)
    sizes.check_saliency(5)
    sizes.check_select(5, 3)


@pytest.mark.parametrize(
    ("wanted", "run"), [((5, 0), (8, 8)), ((8, 8), (8, 8)), ((1, 9), (8, 16)), ((17, 1), (24, 8))], ids=str
)
def test_rounded_sizes_are_the_next_multiples(wanted: tuple[int, int], run: tuple[int, int]) -> None:
    """Queries and slots; an empty cache is one of the fewest slots."""
    sizes = RoundedSizes(8)
    assert sizes.profile(Profile(3, *wanted, 5, 2)) == Profile(3, *run, 5, 2)
    assert sizes.profiles is None
    assert sizes.cache(3, wanted[1] or 1, True, True) == (3, run[1])
