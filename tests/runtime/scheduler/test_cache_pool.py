"""Lanes in host memory, of an engine that takes any size and of one that was built for a few."""

from __future__ import annotations

import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.fixed_sizes import FixedSizes
from dllm_edge.runtime.engines.host import lane_tensors
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.scheduler.cache_pool import CachePool

from ..numpy_engine import NumpyEngine

# Up to two at a time over 24 slots, one over 48.
BUILT = Workload((Profile(1, 8, 24, 8), Profile(2, 8, 24, 8), Profile(1, 8, 48, 8)))


@pytest.fixture
def engine() -> NumpyEngine:
    return NumpyEngine()


@pytest.fixture
def built() -> NumpyEngine:
    engine = NumpyEngine()
    engine.sizes = FixedSizes(BUILT, 8, "run 'build'")
    return engine


def shapes(pool: CachePool) -> list[tuple[int, int, int]]:
    """Lanes, slots, and lanes in use, of each cache."""
    return [(shelf.cache.batch, shelf.cache.capacity, len(shelf.lanes)) for shelf in pool.shelves]


def test_a_new_cache_is_for_those_that_are_expected_too(engine: NumpyEngine) -> None:
    pool = CachePool(engine, max_batch=4)
    first = pool.take(20, bound=False, expected=[24, 16])
    assert shapes(pool) == [(3, 24, 1)]
    assert pool.take(24, bound=False).cache is first.cache
    # Less than half of the slots would be of use to one of 12; one of 40 finds too few.
    assert {pool.take(slots, bound=False).cache.capacity for slots in (12, 40)} == {12, 40}


def test_expected_ones_of_twice_the_slots_are_not_waited_for(engine: NumpyEngine) -> None:
    pool = CachePool(engine, max_batch=4)
    pool.take(10, bound=False, expected=[19, 20])
    assert shapes(pool) == [(2, 19, 1)]


@pytest.mark.parametrize(("slots", "lanes"), [(24, 2), (48, 1)])
def test_where_the_engine_has_no_cache_for_all_there_is_one_for_each(built: NumpyEngine, slots: int, lanes: int) -> None:
    pool = CachePool(built, max_batch=4)
    pool.take(slots, bound=False, expected=[slots] * (lanes - 1))
    assert shapes(pool) == [(lanes, slots, 1)]
    alone = CachePool(built, max_batch=4)
    alone.take(slots, bound=False, expected=[slots] * 2)
    assert shapes(alone) == [(1, slots, 1)]


def test_what_the_engine_has_no_cache_for_is_refused(built: NumpyEngine) -> None:
    pool = CachePool(built, max_batch=4)
    with pytest.raises(DllmEdgeError, match="needs a cache of 49 slots; the engine was built for 24, 48: run 'build'"):
        pool.take(49, bound=False)
    assert shapes(pool) == []


def test_a_full_cache_grows_to_twice_its_lanes_and_keeps_what_is_in_them(engine: NumpyEngine) -> None:
    pool = CachePool(engine, max_batch=8)
    first, second = pool.take(8, bound=False, expected=[8]), pool.take(8, bound=False)
    for value, lane in enumerate((first, second), start=1):
        for tensor in lane_tensors(lane.lanes):
            tensor[:] = value
    pool.take(8, bound=False)
    assert shapes(pool) == [(4, 8, 3)]
    assert all((tensor == value).all() for value, lane in ((1, first), (2, second)) for tensor in lane_tensors(lane.lanes))


def test_no_cache_grows_beyond_the_batch(engine: NumpyEngine) -> None:
    pool = CachePool(engine, max_batch=3)
    for _ in range(4):
        pool.take(8, bound=False)
    assert shapes(pool) == [(3, 8, 3), (1, 8, 1)]


def test_where_the_engine_has_no_larger_cache_for_all_it_grows_by_one(built: NumpyEngine) -> None:
    pool = CachePool(built, max_batch=4)
    pool.take(24, bound=False)
    pool.take(24, bound=False, expected=[24] * 2)
    assert shapes(pool) == [(2, 24, 2)]


def test_gaps_are_closed_and_half_empty_caches_shrink_when_nobody_is_expected(engine: NumpyEngine) -> None:
    pool = CachePool(engine, max_batch=4)
    lanes = [pool.take(8, bound=False, expected=[8] * 3) for _ in range(4)]
    for tensor in lane_tensors(lanes[3].lanes):
        tensor[:] = 7
    pool.release(lanes[0])
    pool.release(lanes[1])
    pool.settle(expected=[8])
    assert shapes(pool) == [(4, 8, 2)]
    pool.settle()
    assert shapes(pool) == [(2, 8, 2)]
    assert sorted(lane.index for lane in lanes[2:]) == [0, 1]
    assert all((tensor == 7).all() for tensor in lane_tensors(lanes[3].lanes))
    pool.release(lanes[2])
    pool.release(lanes[3])
    pool.settle(expected=[3])
    assert shapes(pool) == []


def test_an_empty_cache_stays_for_those_that_will_want_it(engine: NumpyEngine) -> None:
    pool = CachePool(engine, max_batch=2)
    pool.release(pool.take(8, bound=True))
    pool.settle(expected=[5])
    assert shapes(pool) == [(1, 8, 0)]
