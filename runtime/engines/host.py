"""Caches in host memory, the operations on them, and the buffers of a step: what engines that run on the CPU share."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from ...graphs import contract
from ...graphs.config import ModelConfig
from ...graphs.contract import Profile, TensorSpec
from ...graphs.dtypes import DTYPES, DType
from ..arrays import Array, FloatArray, IntArray
from .base import Lanes, LoadedGraph, StepInputs, StepOutputs
from .recently_used import RecentlyUsed
from .sizes import AnySizes, Sizes

# How many profiles keep their buffers for their next step, and how many bindings each of them keeps.
REUSE_LIMIT = 24
# Index of the first tensor of keys or values among a step's inputs, and among its outputs.
FIRST_PAST, FIRST_NEW = len(fields(StepInputs)), len(fields(StepOutputs))


@dataclass(frozen=True)
class HostCache:
    """A `Cache` in host memory: one array `[2 * layers, batch, Hkv, capacity, D]`; a layer's keys, then its values."""

    tensors: Array

    @property
    def batch(self) -> int:
        return int(self.tensors.shape[1])

    @property
    def capacity(self) -> int:
        return int(self.tensors.shape[3])

    @property
    def nbytes(self) -> int:
        return self.tensors.nbytes

    @cached_property
    def address_and_shape(self) -> tuple[int, ...]:
        """Where all tensors of the cache lie: those of another cache of equal address and shape lie at the same addresses."""
        return (self.tensors.ctypes.data, *self.tensors.shape)


def host_cache(lanes: Lanes) -> HostCache:
    """Return the cache that the lanes are of."""
    assert isinstance(lanes.cache, HostCache), "a cache of another engine"
    return lanes.cache


def lane_tensors(lanes: Lanes) -> list[Array]:
    """Return the lanes' part of each tensor, as views."""
    return [tensor[lanes.first : lanes.first + lanes.count] for tensor in host_cache(lanes).tensors]


def binding_key(lanes: Lanes | None) -> tuple[int, ...]:
    """Return where the lanes' tensors lie: a cache at a freed one's address fits the binding that was made for that one."""
    return (*host_cache(lanes).address_and_shape, lanes.first) if lanes else ()


def arrays(buffers: StepInputs | StepOutputs) -> list[Array]:
    """Return the buffers in the contract's order."""
    return [getattr(buffers, part.name) for part in fields(buffers)]


@dataclass(frozen=True)
class Workspace:
    """Buffers of one profile, and the bindings of its steps, by the lanes that they are over."""

    inputs: StepInputs
    outputs: StepOutputs
    bindings: RecentlyUsed[Any, Any]


class HostCaches:
    """Everything of the `Engine` protocol but running a step. `cache_dtype` is that of cached keys and values.

    `kept_rows` are the new keys and values of the last step, if it was run with `keep_rows`: a tensor each, `[B, Hkv, Q, D]`.
    """

    def __init__(self, config: ModelConfig, cache_dtype: DType, candidates: int) -> None:
        self.config, self.cache_dtype = config, cache_dtype
        self.input_specs = contract.inputs(config, cache_dtype)
        self.output_specs = contract.outputs(config, cache_dtype, candidates)
        self.workspaces: RecentlyUsed[Profile, Workspace] = RecentlyUsed(REUSE_LIMIT)
        self.kept_rows: list[Array] = []
        self.sizes: Sizes = AnySizes()
        self.versions: dict[str, str] = {}

    def profile(self, wanted: Profile) -> Profile:
        return self.sizes.profile(wanted)

    def allocate(self, batch: int, capacity: int, bound: bool = True, read: bool = True) -> HostCache:
        config = self.config
        batch, capacity = self.sizes.cache(batch, capacity, bound, read)
        shape = (2 * config.layers, batch, config.kv_heads, capacity, config.head_dim)
        # Zeros, not empty memory: a hidden slot's weight is zero, but zero times a stray NaN is not.
        return HostCache(np.zeros(shape, DTYPES[self.cache_dtype].numpy))

    def inputs(self, profile: Profile) -> StepInputs:
        return self.workspace(profile).inputs

    def store(self, cache: Lanes, slots: IntArray, row: int, rows: IntArray) -> None:
        for tensor, new in zip(lane_tensors(cache), self.kept_rows, strict=True):
            tensor[0][:, slots] = new[row][:, rows]

    def copy(self, source: Lanes, target: Lanes) -> None:
        assert source.size == target.size
        for old, new in zip(lane_tensors(source), lane_tensors(target), strict=True):
            new[:] = old

    def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
        keys = [key.astype(np.float32, copy=False) for key in lane_tensors(cache)[::2]]
        return np.stack([(key[0] @ query[:, :, None])[..., 0].mean(0) for key, query in zip(keys, queries, strict=True)])

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        for index, (old, new) in enumerate(zip(lane_tensors(source), lane_tensors(target), strict=True)):
            new[0, :, : keep.shape[1]] = old[0][:, keep[index // 2]]

    def loaded_step(self) -> LoadedGraph | None:
        return None

    def workspace(self, profile: Profile) -> Workspace:
        return self.workspaces.get_or_make(profile, lambda: self._new_workspace(profile))

    def _new_workspace(self, profile: Profile) -> Workspace:
        inputs = self.buffers(self.input_specs[:FIRST_PAST], profile)
        outputs = self.buffers(self.output_specs[:FIRST_NEW], profile)
        return Workspace(StepInputs(*inputs), StepOutputs(*outputs), RecentlyUsed(REUSE_LIMIT))

    @staticmethod
    def buffers(specs: list[TensorSpec], profile: Profile) -> list[Array]:
        return [np.zeros(spec.shape(profile), DTYPES[spec.dtype].numpy) for spec in specs]
