"""Caches on a device and the operations on them: what all engines share that run there."""

from __future__ import annotations

import weakref
from itertools import pairwise

import numpy as np

from ....graphs import contract
from ....graphs.config import ModelConfig
from ....graphs.contract import Profile, TensorSpec
from ....graphs.dtypes import DType
from ...arrays import FloatArray, IntArray
from ..base import Lanes
from ..host import REUSE_LIMIT
from ..recently_used import RecentlyUsed
from ..sizes import Sizes
from .base import Device, Executor
from .memory import DeviceCache, MemoryPool, PinnedBuffers, device_cache


class DeviceCaches:
    """Everything of the `Engine` protocol but running a step. `kept_rows` are lanes that hold the last step's new rows."""

    def __init__(self, config: ModelConfig, cache_dtype: DType, device: Device, executor: Executor, sizes: Sizes) -> None:
        self.config, self.cache_dtype = config, cache_dtype
        self.device, self.executor, self.sizes = device, executor, sizes
        self.pool = MemoryPool(device)
        self.buffers: RecentlyUsed[tuple[str, int], PinnedBuffers] = RecentlyUsed(REUSE_LIMIT)
        self.kept_rows: Lanes | None = None

    def profile(self, wanted: Profile) -> Profile:
        return self.sizes.profile(wanted)

    def allocate(self, batch: int, capacity: int, bound: bool, read: bool) -> DeviceCache:
        return self.new_cache(*self.sizes.cache(batch, capacity, bound, read))

    def new_cache(self, batch: int, capacity: int) -> DeviceCache:
        """Make a cache of exactly these sizes, its contents zeros."""
        memory = self.pool.take(contract.cache_bytes(self.config, self.cache_dtype, batch * capacity))
        cache = DeviceCache(memory, self.config, self.cache_dtype, batch, capacity)
        weakref.finalize(cache, self.pool.give_back, memory).atexit = False
        return cache

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        assert self.kept_rows, "the last step kept no rows"
        source, target = device_cache(self.kept_rows), device_cache(cache)
        for start, count in _runs(slots, rows):
            self.device.copy(
                target.slot_region(cache.first, int(slots[start])),
                source.slot_region(self.kept_rows.first + row, int(rows[start])),
                count * target.slot_bytes,
                self.config.kv_heads,
                2 * self.config.layers,
            )

    def copy(self, source: Lanes, target: Lanes) -> None:
        assert source.size == target.size
        old, new = device_cache(source), device_cache(target)
        regions = new.lane_region(target.first), old.lane_region(source.first)
        self.device.copy(*regions, new.lane_bytes, target.count, 2 * self.config.layers)

    def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
        capacity = cache.cache.capacity
        self.sizes.check_saliency(capacity)
        slots, means = contract.saliency_inputs(self.config, self.cache_dtype)
        sizes, source = {"C": capacity}, self._as_one_lane(cache)
        inputs = self._buffers("queries", 0, [means], sizes)
        outputs = self._buffers("scores", capacity, contract.saliency_outputs(self.config), sizes)
        inputs.arrays[0][:] = queries
        addresses = {slots.name: source.memory.address} | inputs.addresses | outputs.addresses
        inputs.upload()
        self.executor.prepare("saliency", _shapes([slots, means], sizes), addresses)()
        outputs.download()
        self.device.synchronise()
        scores: FloatArray = outputs.arrays[0].copy()
        return scores

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        self.sizes.check_select(source.cache.capacity, target.cache.capacity)
        old, new = self._as_one_lane(source), device_cache(target)
        rows, indices = contract.select_inputs(self.config, self.cache_dtype)
        sizes = contract.select_sizes(self.config, old.capacity, new.capacity)
        inputs = self._buffers("indices", new.capacity, [indices], sizes)
        inputs.arrays[0][:] = self._row_indices(keep, old.capacity, new.capacity)
        # What is gathered must not lie over what it is gathered from.
        result = new if new.batch == 1 and new is not old else self.new_cache(1, new.capacity)
        addresses = {rows.name: old.memory.address, "kept": result.memory.address} | inputs.addresses
        inputs.upload()
        self.executor.prepare("select", _shapes([rows, indices], sizes), addresses)()
        if result is not new:
            self.copy(Lanes(result, 0, 1), target)
        # The next call fills the buffers again.
        self.device.synchronise()

    def _row_indices(self, keep: IntArray, old: int, new: int) -> IntArray:
        """Return the row of each slot to keep among all rows of a lane, `[2 * layers * Hkv * new]`.

        What a target's other slots get is hidden, so that they get any.
        """
        tensors = 2 * self.config.layers
        padded = np.zeros((self.config.layers, new), dtype=np.int64)
        padded[:, : keep.shape[1]] = keep
        heads = np.arange(tensors * self.config.kv_heads).reshape(tensors, -1, 1)
        return (heads * old + padded.repeat(2, 0)[:, None]).reshape(-1)

    def _as_one_lane(self, lanes: Lanes) -> DeviceCache:
        """Return one lane as a cache of its own: its cache, or a copy where it has neighbours."""
        cache = device_cache(lanes)
        if cache.batch == 1:
            return cache
        single = self.new_cache(1, cache.capacity)
        self.copy(lanes, Lanes(single, 0, 1))
        return single

    def _buffers(self, name: str, capacity: int, specs: list[TensorSpec], sizes: dict[str, int]) -> PinnedBuffers:
        return self.buffers.get_or_make((name, capacity), lambda: PinnedBuffers(self.device, specs, sizes))


def _shapes(specs: list[TensorSpec], sizes: dict[str, int]) -> dict[str, tuple[int, ...]]:
    return {spec.name: spec.sized(sizes) for spec in specs}


def _runs(slots: IntArray, rows: IntArray) -> list[tuple[int, int]]:
    """Return the first index and the length of each run in which both go up by one."""
    breaks = np.flatnonzero((np.diff(slots) != 1) | (np.diff(rows) != 1)) + 1
    return [(start, stop - start) for start, stop in pairwise([0, *breaks.tolist(), slots.size])] if slots.size else []
