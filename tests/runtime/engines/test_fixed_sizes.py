from __future__ import annotations

import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.fixed_sizes import FixedSizes
from dllm_edge.runtime.engines.profiles import Workload

PROFILES = (
    Profile(1, 24, 8, 8),
    Profile(1, 40, 8, 8),
    Profile(1, 8, 24, 8),
    Profile(4, 8, 24, 8),
    Profile(1, 8, 40, 8),
    Profile(1, 8, 16, 8),
)
SIZES = FixedSizes(Workload(PROFILES, (24,), ((24, 16),)), 8, "run 'build'")


def test_its_profiles_are_those_of_the_build() -> None:
    assert SIZES.profiles == PROFILES


@pytest.mark.parametrize(
    ("wanted", "run"),
    [
        (Profile(1, 20, 0, 4), PROFILES[0]),
        (Profile(1, 25, 0, 8), PROFILES[1]),
        (Profile(1, 3, 24, 1), PROFILES[2]),
        (Profile(2, 8, 24, 8), PROFILES[3]),
        (Profile(1, 8, 40, 8), PROFILES[4]),
    ],
    ids=str,
)
def test_the_smallest_that_holds_what_is_wanted(wanted: Profile, run: Profile) -> None:
    assert SIZES.profile(wanted) == SIZES.profile(wanted) == run


@pytest.mark.parametrize(
    ("wanted", "described"),
    [
        (Profile(1, 41, 0, 8), "1 x 41 tokens without a cache with 8 logit rows"),
        (Profile(5, 8, 24, 8), "5 x 8 tokens over 24 slots with 8 logit rows"),
        (Profile(1, 8, 32, 8), "1 x 8 tokens over 32 slots with 8 logit rows"),
        (Profile(1, 8, 24, 8, 2), "1 x 8 tokens over 24 slots with 8 logit rows"),
    ],
)
def test_what_none_holds(wanted: Profile, described: str) -> None:
    with pytest.raises(DllmEdgeError) as error:
        SIZES.profile(wanted)
    assert f"no profile of the engine holds a step of {described}; it was built for 1 x 24 tokens" in str(error.value)
    assert str(error.value).endswith("and 2 more: run 'build'")


@pytest.mark.parametrize(("length", "context"), [(5, 24), (24, 24), (25, 40), (50, 50)])
def test_a_canvas_is_padded_to_the_next_full_pass(length: int, context: int) -> None:
    assert SIZES.context(length) == context


@pytest.mark.parametrize(
    ("batch", "capacity", "bound", "read", "cache"),
    [
        (1, 20, True, True, (1, 24)),
        (2, 20, True, True, (4, 24)),
        (1, 10, True, True, (1, 24)),
        (1, 10, False, True, (1, 16)),
        (7, 25, True, False, (7, 40)),
    ],
)
def test_caches_that_its_profiles_can_fill_and_read(
    batch: int, capacity: int, bound: bool, read: bool, cache: tuple[int, int]
) -> None:
    assert SIZES.cache(batch, capacity, bound, read) == cache


@pytest.mark.parametrize(
    ("batch", "capacity", "message"),
    [
        (1, 41, "this decode needs a cache of 41 slots; the engine was built for 24, 40: run 'build'"),
        (5, 24, "5 sequences at once; the engine was built for 1, 4 over 24 slots: run 'build', or decode fewer at once"),
        (2, 40, "2 sequences at once; the engine was built for 1 over 40 slots: run 'build', or decode fewer at once"),
    ],
)
def test_caches_that_it_cannot(batch: int, capacity: int, message: str) -> None:
    with pytest.raises(DllmEdgeError) as error:
        SIZES.cache(batch, capacity, True, True)
    assert message in str(error.value)


def test_operations_are_those_of_the_build() -> None:
    SIZES.check_saliency(24)
    SIZES.check_select(24, 16)
    with pytest.raises(DllmEdgeError, match="scores a cache of 40 slots; the engine was built for 24: run 'build'"):
        SIZES.check_saliency(40)
    with pytest.raises(DllmEdgeError, match="evicts 40 slots to 16; the engine was built for 24 to 16: run 'build'"):
        SIZES.check_select(40, 16)
