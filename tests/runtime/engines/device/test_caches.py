"""Caches on a device, over host memory: each operation against plain numpy, and what no operation may touch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dllm_edge.runtime.arrays import Array, FloatArray
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.base import Lanes
from dllm_edge.runtime.engines.device.engine import DeviceEngine
from dllm_edge.runtime.engines.device.memory import DeviceCache
from dllm_edge.runtime.engines.host import HostCache

from ...device_engines import on_host
from ...host_device import HostDevice

CAPACITY = 16


@pytest.fixture(scope="module")
def bundle(handed_down: Callable[[str], Path]) -> Bundle:
    return Bundle.open(handed_down("dream"))


@pytest.fixture
def device() -> HostDevice:
    return HostDevice()


@pytest.fixture
def engine(bundle: Bundle, device: HostDevice) -> DeviceEngine:
    return on_host(bundle, None, device)


def contents(device: HostDevice, cache: DeviceCache) -> FloatArray:
    """A copy of all tensors, `[2 * layers, batch, Hkv, capacity, D]`, once all work is done."""
    device.synchronise()
    return np.array(view(device, cache))


def view(device: HostDevice, cache: DeviceCache) -> FloatArray:
    config = cache.config
    shape = (2 * config.layers, cache.batch, config.kv_heads, cache.capacity, config.head_dim)
    tensors: FloatArray = device.memory.view(cache.memory.address, cache.nbytes).view(np.float32).reshape(shape)
    return tensors


def noisy(engine: DeviceEngine, device: HostDevice, batch: int, capacity: int = CAPACITY) -> DeviceCache:
    cache = engine.allocate(batch, capacity, True, True)
    assert (cache.batch, cache.capacity) == (batch, capacity)
    device.synchronise()
    tensors = view(device, cache)
    tensors[:] = np.random.default_rng(cache.memory.address).standard_normal(tensors.shape)
    return cache


@pytest.mark.parametrize(
    ("source", "target", "count"), [((1, 0), (1, 0), 1), ((3, 2), (4, 1), 1), ((3, 1), (2, 0), 2), ((4, 0), (5, 1), 4)]
)
def test_copy_takes_whole_lanes_and_touches_no_other(
    engine: DeviceEngine, device: HostDevice, source: tuple[int, int], target: tuple[int, int], count: int
) -> None:
    """`source` and `target` are the lanes of a cache, and the first of those that are copied."""
    (old_batch, old_first), (new_batch, new_first) = source, target
    old, new = noisy(engine, device, old_batch), noisy(engine, device, new_batch)
    before, expected = contents(device, old), contents(device, new)
    engine.copy(Lanes(old, old_first, count), Lanes(new, new_first, count))
    expected[:, new_first : new_first + count] = before[:, old_first : old_first + count]
    np.testing.assert_array_equal(contents(device, new), expected)
    np.testing.assert_array_equal(contents(device, old), before)


@pytest.mark.parametrize(("capacity", "count"), [(2 * CAPACITY, 1), (CAPACITY, 2)])
def test_copy_between_other_capacities_and_of_other_numbers_is_refused(
    engine: DeviceEngine, device: HostDevice, capacity: int, count: int
) -> None:
    old, new = noisy(engine, device, 2), noisy(engine, device, 2, capacity)
    with pytest.raises(AssertionError):
        engine.copy(Lanes(old, 0, count), Lanes(new, 0, 1))


@pytest.mark.parametrize(
    ("slots", "rows", "copies"),
    [
        ([4, 5, 6, 0, 15, 9], [2, 3, 4, 8, 0, 15], 4),  # out of order, and the first and last of both
        ([4, 5, 6, 7], [2, 3, 9, 10], 2),  # a gap between rows alone
        ([4, 5, 9, 10], [2, 3, 4, 5], 2),  # and between slots alone
        ([4, 5, 6, 7], [3, 2, 1, 0], 4),
        ([3], [5], 1),
    ],
)
def test_store_copies_rows_of_one_sequence_to_slots_of_one_lane(
    engine: DeviceEngine, device: HostDevice, slots: list[int], rows: list[int], copies: int
) -> None:
    """Each run of both in one copy."""
    kept, cache = noisy(engine, device, 3), noisy(engine, device, 4)
    engine.kept_rows = Lanes(kept, 1, 2)
    expected = contents(device, cache)
    engine.store(Lanes(cache, 2, 1), np.array(slots), 1, np.array(rows))
    expected[:, 2][:, :, slots] = contents(device, kept)[:, 2][:, :, rows]
    np.testing.assert_array_equal(contents(device, cache), expected)
    assert device.copies == copies


def test_store_of_nothing_and_of_rows_that_were_not_kept(engine: DeviceEngine, device: HostDevice) -> None:
    cache, none = noisy(engine, device, 1), np.zeros(0, dtype=np.int64)
    with pytest.raises(AssertionError, match="kept no rows"):
        engine.store(Lanes(cache, 0, 1), none, 0, none)
    engine.kept_rows = Lanes(cache, 0, 1)
    engine.store(Lanes(cache, 0, 1), none, 0, none)
    device.synchronise()
    assert device.copies == 0


def scores(tensors: Array, queries: FloatArray) -> Array:
    """Mean over key heads of query times key, `[layers, capacity]`, of one lane's tensors `[2 * layers, Hkv, capacity, D]`."""
    return np.asarray(np.einsum("lhsd,lhd->ls", tensors[::2], queries) / queries.shape[1])


@pytest.mark.parametrize(("batch", "lane"), [(1, 0), (3, 0), (3, 2)])
def test_saliency_of_one_lane(engine: DeviceEngine, device: HostDevice, batch: int, lane: int) -> None:
    cache, config = noisy(engine, device, batch), engine.config
    shape = (config.layers, config.kv_heads, config.head_dim)
    before = contents(device, cache)
    queries = [np.random.default_rng(seed).standard_normal(shape).astype(np.float32) for seed in range(2)]
    # Both before either is looked at: a result must not lie in what the next call writes.
    results = [engine.saliency(Lanes(cache, lane, 1), each) for each in queries]
    for result, each in zip(results, queries, strict=True):
        np.testing.assert_allclose(result, scores(before[:, lane], each), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(contents(device, cache), before)


@pytest.mark.parametrize(("source", "target"), [((1, 0), (1, 0)), ((2, 1), (1, 0)), ((1, 0), (3, 1)), ((2, 1), (3, 2))])
def test_select_moves_each_layers_own_slots_to_the_front(
    engine: DeviceEngine, device: HostDevice, source: tuple[int, int], target: tuple[int, int]
) -> None:
    """Twice in a row, so that the second call meets what the first has not yet done."""
    old = noisy(engine, device, source[0], 2 * CAPACITY)
    new = [noisy(engine, device, target[0]) for _ in range(2)]
    generator = np.random.default_rng(5)
    keeps = [np.sort(generator.permuted(np.tile(np.arange(32), (engine.config.layers, 1)), axis=1)[:, :11]) for _ in new]
    before, expected = contents(device, old), [contents(device, cache) for cache in new]
    for cache, keep in zip(new, keeps, strict=True):
        engine.select(Lanes(old, source[1], 1), keep, Lanes(cache, target[1], 1))
    for cache, keep, tensors in zip(new, keeps, expected, strict=True):
        for tensor in range(2 * engine.config.layers):
            tensors[tensor, target[1], :, :11] = before[tensor, source[1]][:, keep[tensor // 2]]
        result = contents(device, cache)
        # Slots beyond those that were kept are hidden: they may hold anything.
        result[:, target[1], :, 11:] = tensors[:, target[1], :, 11:]
        np.testing.assert_array_equal(result, tensors)
    np.testing.assert_array_equal(contents(device, old), before)


def test_select_within_one_lane(engine: DeviceEngine, device: HostDevice) -> None:
    """What is read is read before anything is written."""
    cache = noisy(engine, device, 1)
    before, keep = contents(device, cache), np.array([[3, 0]] * engine.config.layers)
    engine.select(Lanes(cache, 0, 1), keep, Lanes(cache, 0, 1))
    np.testing.assert_array_equal(contents(device, cache)[:, :, :, :2], before[:, :, :, [3, 0]])


def test_a_new_cache_holds_zeros_whatever_was_in_its_memory(engine: DeviceEngine, device: HostDevice) -> None:
    cache = noisy(engine, device, 2)
    address = cache.memory.address
    view(device, cache)[:] = np.nan
    del cache
    again = engine.allocate(2, CAPACITY, True, True)
    assert again.memory.address == address
    assert (contents(device, again) == 0).all()


def test_a_cache_of_another_engine_is_refused(engine: DeviceEngine, device: HostDevice) -> None:
    cache = noisy(engine, device, 1)
    shape = (2 * engine.config.layers, 1, engine.config.kv_heads, CAPACITY, engine.config.head_dim)
    foreign = HostCache(np.zeros(shape, np.float32))
    for source, target in ((cache, foreign), (foreign, cache)):
        with pytest.raises(AssertionError, match="a cache of another engine"):
            engine.copy(Lanes(source, 0, 1), Lanes(target, 0, 1))
