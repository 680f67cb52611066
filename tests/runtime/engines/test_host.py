"""The operations on caches in host memory, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile, cache_bytes
from dllm_edge.runtime.engines.base import Lanes
from dllm_edge.runtime.engines.device.memory import DeviceCache
from dllm_edge.runtime.engines.host import REUSE_LIMIT, HostCache, lane_tensors

from ..host_device import HostMemory
from ..numpy_engine import CONFIG, NumpyEngine

LAYERS, HEADS, WIDTH = CONFIG.layers, CONFIG.kv_heads, CONFIG.head_dim


def ran(engine: NumpyEngine, batch: int, queries: int) -> NumpyEngine:
    """After a step with `keep_rows` over random tokens."""
    profile, random = Profile(batch, queries, 0, 1), np.random.default_rng(1)
    inputs = engine.inputs(profile)
    inputs.input_ids[:] = random.integers(0, CONFIG.vocab_size, inputs.input_ids.shape)
    inputs.position_ids[:] = np.arange(queries)
    inputs.attention_mask[:] = True
    engine.run(profile, None, keep_rows=True)
    return engine


def test_store_copies_rows_of_one_sequence_to_slots_of_one_lane() -> None:
    engine = ran(NumpyEngine(), 2, 5)
    cache = engine.allocate(3, 6)
    before = cache.tensors.copy()
    slots, rows = np.array([4, 0, 1]), np.array([2, 4, 0])
    engine.store(Lanes(cache, 1, 1), slots, 1, rows)
    for tensor in range(2 * LAYERS):
        for slot, row in zip(slots, rows, strict=True):
            assert (cache.tensors[tensor, 1, :, slot] == engine.kept_rows[tensor][1, :, row]).all()
            before[tensor, 1, :, slot] = cache.tensors[tensor, 1, :, slot]
    assert (cache.tensors == before).all()


def test_store_of_nothing() -> None:
    engine = ran(NumpyEngine(), 1, 2)
    cache = engine.allocate(1, 4)
    before = cache.tensors.copy()
    engine.store(Lanes(cache, 0, 1), np.zeros(0, dtype=np.int64), 0, np.zeros(0, dtype=np.int64))
    assert (cache.tensors == before).all()


def test_saliency_is_the_mean_over_heads_of_query_times_key() -> None:
    engine = NumpyEngine()
    cache, queries = engine.allocate(2, 5), np.random.default_rng(2).standard_normal((LAYERS, HEADS, WIDTH)).astype(np.float32)
    scores = engine.saliency(Lanes(cache, 1, 1), queries)
    assert scores.shape == (LAYERS, 5)
    assert scores.dtype == np.float32
    for layer in range(LAYERS):
        for slot in range(5):
            products = [queries[layer, head] @ cache.tensors[2 * layer, 1, head, slot] for head in range(HEADS)]
            np.testing.assert_allclose(scores[layer, slot], np.mean(products), rtol=1e-4, atol=1e-4)


def test_select_moves_each_layers_own_slots_to_the_front() -> None:
    engine = NumpyEngine()
    source, target = engine.allocate(1, 6), engine.allocate(2, 4)
    before, keep = target.tensors.copy(), np.array([[0, 2, 5], [1, 2, 3], [3, 4, 5]])
    engine.select(Lanes(source, 0, 1), keep, Lanes(target, 1, 1))
    for layer in range(LAYERS):
        for place, slot in enumerate(keep[layer]):
            for tensor in (2 * layer, 2 * layer + 1):
                assert (target.tensors[tensor, 1, :, place] == source.tensors[tensor, 0, :, slot]).all()
    assert (target.tensors[:, 1, :, 3] == before[:, 1, :, 3]).all()
    assert (target.tensors[:, 0] == before[:, 0]).all()


def test_select_within_one_lane() -> None:
    """What is read is read before anything is written."""
    engine = NumpyEngine()
    cache = engine.allocate(1, 4)
    before = cache.tensors.copy()
    engine.select(Lanes(cache, 0, 1), np.array([[3, 0]] * LAYERS), Lanes(cache, 0, 1))
    assert (cache.tensors[:, 0, :, 0] == before[:, 0, :, 3]).all()
    assert (cache.tensors[:, 0, :, 1] == before[:, 0, :, 0]).all()


def test_lanes_are_views_of_a_contiguous_part() -> None:
    cache = NumpyEngine().allocate(4, 5)
    parts = lane_tensors(Lanes(cache, 1, 2))
    assert len(parts) == 2 * LAYERS
    for tensor, part in zip(cache.tensors, parts, strict=True):
        assert (part.shape, part.flags.c_contiguous) == ((2, HEADS, 5, WIDTH), True)
        assert np.shares_memory(part, tensor)
        assert (part == tensor[1:3]).all()


def test_a_caches_bytes() -> None:
    cache = NumpyEngine().allocate(3, 7)
    assert isinstance(cache, HostCache)
    assert (cache.batch, cache.capacity) == (3, 7)
    assert cache.nbytes == cache.tensors.nbytes == cache_bytes(CONFIG, "float32", 3 * 7)


def test_a_profile_that_is_in_use_keeps_its_buffers() -> None:
    """However many others come by: a long run meets a new length with every prompt."""
    engine, used = NumpyEngine(), Profile(1, 4, 8, 4)
    first = engine.inputs(used)
    for length in range(3 * REUSE_LIMIT):
        engine.inputs(Profile(1, length + 10, 0, 4))
        assert engine.inputs(used) is first
    assert len(engine.workspaces) <= REUSE_LIMIT


@pytest.mark.parametrize(("batch", "first", "count"), [(2, 0, 2), (4, 1, 2), (1, 0, 1), (3, 0, 3)])
def test_copy_takes_whole_lanes_to_another_cache_and_touches_no_other(batch: int, first: int, count: int) -> None:
    engine = NumpyEngine()
    source, target = engine.allocate(4, 4), engine.allocate(batch, 4)
    before, expected = source.tensors.copy(), target.tensors.copy()
    engine.copy(Lanes(source, 1, count), Lanes(target, first, count))
    expected[:, first : first + count] = before[:, 1 : 1 + count]
    assert (target.tensors == expected).all()
    assert (source.tensors == before).all()


@pytest.mark.parametrize(("capacity", "count"), [(5, 1), (4, 2), (1, 1)])
def test_copy_between_other_capacities_and_of_other_numbers_is_refused(capacity: int, count: int) -> None:
    """One lane or slot would be taken for all of them."""
    engine = NumpyEngine()
    source, target = engine.allocate(2, capacity), engine.allocate(2, 4)
    with pytest.raises(AssertionError):
        engine.copy(Lanes(source, 0, count), Lanes(target, 0, 1))
    with pytest.raises(AssertionError):
        engine.copy(Lanes(target, 0, 1), Lanes(source, 0, count))


def test_a_cache_of_another_engine_is_refused() -> None:
    engine = NumpyEngine()
    foreign = DeviceCache(HostMemory(0, 0), CONFIG, "float32", 1, 4)
    with pytest.raises(AssertionError, match="a cache of another engine"):
        engine.copy(Lanes(foreign, 0, 1), Lanes(engine.allocate(1, 4), 0, 1))
