"""The device loop: steps and cache operations on a device, with caches that never leave it.

Only ids, masks and head outputs cross between host and device, each way in one copy through pinned memory. A refresh
writes straight into the cache that it is bound to. A block step's copies and kernels are recorded once, and replayed.
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from ....graphs import contract
from ....graphs.config import ModelConfig
from ....graphs.contract import Profile
from ....graphs.dtypes import DType
from ...arrays import FloatArray, IntArray
from ..base import Lanes, StepInputs, StepOutputs
from ..host import HEAD, REMEMBERED
from ..lru_cache import LRUCache
from ..sizes import Sizes
from .base import Block, Device, Executor, Launch, Memory, RecordingError
from .memory import DeviceCache, MemoryPool, PinnedBuffers, lane_addresses

# Launches that a profile keeps, by the caches that they are over: each that is recorded holds a context of its own.
LAUNCHES = 8


@dataclass
class _Workspace:
    """What the steps of one profile share. `blank` is a cache that nobody sees; `rows` holds what no lane keeps."""

    given: PinnedBuffers
    found: PinnedBuffers
    inputs: StepInputs
    outputs: StepOutputs
    launches: LRUCache[tuple[object, ...], Launch]
    memory: dict[str, DeviceCache] = field(default_factory=dict)


class DeviceEngine:
    """An `Engine` over a `Device` and an `Executor`. `cache` is the type of cached keys and values."""

    def __init__(
        self, name: str, config: ModelConfig, cache: DType, candidates: int, device: Device, executor: Executor, sizes: Sizes
    ) -> None:
        self.name, self.config, self.cache_dtype = name, config, cache
        self.device, self.executor, self.sizes = device, executor, sizes
        self.input_specs, self.output_specs = contract.inputs(config, cache), contract.outputs(config, cache, candidates)
        self.pool = MemoryPool(device)
        self.workspaces: LRUCache[Profile, _Workspace] = LRUCache(REMEMBERED)
        self.mirrors: LRUCache[tuple[object, ...], PinnedBuffers] = LRUCache(REMEMBERED)
        self.records = executor.recordable
        self.kept: Lanes | None = None

    def profile(self, wanted: Profile) -> Profile:
        return self.sizes.profile(wanted)

    def allocate(self, batch: int, capacity: int, bound: bool, read: bool) -> DeviceCache:
        return self._cache(*self.sizes.cache(batch, capacity, bound, read))

    def inputs(self, profile: Profile) -> StepInputs:
        return self._workspace(profile).inputs

    def run(self, profile: Profile, cache: Lanes | None, bind: Lanes | None = None, keep_rows: bool = False) -> StepOutputs:
        workspace = self._workspace(profile)
        kept = bind or (Lanes(self._own(workspace, "rows", profile.batch, profile.queries), 0, 1) if keep_rows else None)
        key = (_place(cache), _place(kept))
        launch = workspace.launches.get(key)
        if launch is None:
            record = self.records and cache is not None and bind is None
            step = self._step(profile, workspace, cache, kept, record)
            step()
            workspace.launches.of(key, lambda: self._recorded(step) if record else step)
        else:
            workspace.launches.move_to_end(key)
            launch()
        self.device.synchronise()
        self.kept = kept if keep_rows else None
        return workspace.outputs

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        target, kept = cache.cache, self.kept
        assert isinstance(target, DeviceCache)
        assert kept
        assert isinstance(kept.cache, DeviceCache)
        for first, count in _runs(slots, rows):
            places = target.slot(cache.first, int(slots[first])), kept.cache.slot(kept.first + row, int(rows[first]))
            self.device.copy(*places, count * target.row, self.config.kv_heads, 2 * self.config.layers)

    def copy(self, source: Lanes, target: Lanes) -> None:
        old, new = source.cache, target.cache
        assert isinstance(old, DeviceCache)
        assert isinstance(new, DeviceCache)
        assert (old.capacity, source.count) == (new.capacity, target.count)
        self.device.copy(new.whole(target.first), old.whole(source.first), new.lane, target.count, 2 * self.config.layers)

    def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
        self.sizes.check_saliency(cache.cache.capacity)
        source, axes = self._alone(cache), {"C": cache.cache.capacity}
        slots, asked = contract.saliency_inputs(self.config, self.cache_dtype)
        given = self.mirrors.of(("queries",), lambda: PinnedBuffers(self.device, [asked], axes))
        found = self.mirrors.of(
            ("scores", axes["C"]), lambda: PinnedBuffers(self.device, contract.saliency_outputs(self.config), axes)
        )
        given.arrays[0][:] = queries
        addresses = {slots.name: source.memory.address} | given.addresses | found.addresses
        self.device.upload(given.memory.address, given.host)
        self.executor.prepare("saliency", {spec.name: spec.sized(axes) for spec in (slots, asked)}, addresses)()
        self.device.download(found.host, found.memory.address)
        self.device.synchronise()
        scores: FloatArray = found.arrays[0].copy()
        return scores

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        self.sizes.check_select(source.cache.capacity, target.cache.capacity)
        old, new = self._alone(source), target.cache
        assert isinstance(new, DeviceCache)
        axes = contract.select_sizes(self.config, old.capacity, new.capacity)
        rows, asked = contract.select_inputs(self.config, self.cache_dtype)
        given = self.mirrors.of(("places", axes["M"]), lambda: PinnedBuffers(self.device, [asked], axes))
        given.arrays[0][:] = self._places(keep, old.capacity, new.capacity)
        alone = new if new.batch == 1 else self._cache(1, new.capacity)
        addresses = {rows.name: old.memory.address, "kept": alone.memory.address} | given.addresses
        self.device.upload(given.memory.address, given.host)
        self.executor.prepare("select", {spec.name: spec.sized(axes) for spec in (rows, asked)}, addresses)()
        self._move(alone, 0, new, target.first)
        # The next call fills the places again.
        self.device.synchronise()

    def _places(self, keep: IntArray, old: int, new: int) -> IntArray:
        """Row of each slot to keep in a lane's rows, flat; what a target's other slots get is hidden, so they get any."""
        tensors = 2 * self.config.layers
        padded = np.zeros((self.config.layers, new), dtype=np.int64)
        padded[:, : keep.shape[1]] = keep
        heads = np.arange(tensors * self.config.kv_heads).reshape(tensors, -1, 1)
        return (heads * old + padded.repeat(2, 0)[:, None]).reshape(-1)

    def _step(self, profile: Profile, workspace: _Workspace, cache: Lanes | None, kept: Lanes | None, recorded: bool) -> Launch:
        given, found, device = workspace.given, workspace.found, self.device
        past = cache or Lanes(self._own(workspace, "blank", profile.batch, profile.capacity), 0, profile.batch)
        addresses = given.addresses | found.addresses
        addresses |= zip((spec.name for spec in self.input_specs[HEAD:]), lane_addresses(past), strict=True)
        if kept:
            addresses |= zip((spec.name for spec in self.output_specs[HEAD:]), lane_addresses(kept), strict=True)
        shapes = {spec.name: spec.shape(profile) for spec in self.input_specs}
        execute = self.executor.prepare("step", shapes, addresses, recorded)

        def step() -> None:
            device.upload(given.memory.address, given.host)
            execute()
            device.download(found.host, found.memory.address)

        return step

    def _recorded(self, step: Launch) -> Launch:
        try:
            return self.device.record(step)
        except RecordingError as reason:
            self.records = False
            warnings.warn(
                f"{self.device.name}: a step could not be recorded as a CUDA graph ({reason}), so each step launches its "
                "kernels one by one: results are the same, host time is longer",
                stacklevel=3,
            )
        return step

    def _workspace(self, profile: Profile) -> _Workspace:
        return self.workspaces.of(profile, lambda: self._new_workspace(profile))

    def _new_workspace(self, profile: Profile) -> _Workspace:
        given, found = (
            PinnedBuffers(self.device, specs[:HEAD], profile.sizes()) for specs in (self.input_specs, self.output_specs)
        )
        return _Workspace(given, found, StepInputs(*given.arrays), StepOutputs(*found.arrays), LRUCache(LAUNCHES))

    def _own(self, workspace: _Workspace, name: str, batch: int, slots: int) -> DeviceCache:
        if name not in workspace.memory:
            workspace.memory[name] = self._cache(batch, slots)
        return workspace.memory[name]

    def _cache(self, batch: int, capacity: int) -> DeviceCache:
        memory: Memory = self.pool.take(contract.cache_bytes(self.config, self.cache_dtype, batch * capacity))
        cache = DeviceCache(memory, self.config, self.cache_dtype, batch, capacity)
        weakref.finalize(cache, self.pool.give_back, memory).atexit = False
        return cache

    def _alone(self, lanes: Lanes) -> DeviceCache:
        """One lane as a cache of its own: itself, or a copy where it has neighbours."""
        cache = lanes.cache
        assert isinstance(cache, DeviceCache)
        if cache.batch == 1:
            return cache
        alone = self._cache(1, cache.capacity)
        self._move(cache, lanes.first, alone, 0)
        return alone

    def _move(self, source: DeviceCache, source_lane: int, target: DeviceCache, target_lane: int) -> None:
        if source is not target:
            places: tuple[Block, Block] = target.whole(target_lane), source.whole(source_lane)
            self.device.copy(*places, source.lane, 1, 2 * self.config.layers)


def _runs(slots: IntArray, rows: IntArray) -> list[tuple[int, int]]:
    """Where both go up by one: first index and length of each such run."""
    breaks = np.flatnonzero((np.diff(slots) != 1) | (np.diff(rows) != 1)) + 1
    return [(start, stop - start) for start, stop in pairwise([0, *breaks.tolist(), slots.size])] if slots.size else []


def _place(lanes: Lanes | None) -> tuple[int, ...]:
    """Where all the lanes' tensors lie: a cache that took a freed one's place fits what was made for that one."""
    if lanes is None:
        return ()
    cache = lanes.cache
    assert isinstance(cache, DeviceCache)
    return (cache.memory.address, cache.batch, cache.capacity, lanes.first)
