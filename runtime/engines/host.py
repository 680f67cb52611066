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
from .base import Lanes, StepInputs, StepOutputs
from .lru_cache import LRUCache
from .sizes import AnySizes, Sizes

# Profiles whose buffers are kept for their next step.
REMEMBERED = 24
# Inputs, and outputs, that are not caches.
HEAD = 6


@dataclass(frozen=True)
class HostCache:
    """A `Cache` in host memory: one block `[2 * layers, batch, Hkv, capacity, D]`; a layer's keys, then its values."""

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
    def place(self) -> tuple[int, ...]:
        """Address and shape: a cache of equal place holds all its tensors where this one does."""
        return (self.tensors.ctypes.data, *self.tensors.shape)


def lane_tensors(lanes: Lanes) -> list[Array]:
    """The lanes' part of each tensor, as views."""
    assert isinstance(lanes.cache, HostCache)
    return [tensor[lanes.first : lanes.first + lanes.count] for tensor in lanes.cache.tensors]


def arrays(buffers: StepInputs | StepOutputs) -> list[Array]:
    """The buffers in the contract's order."""
    return [getattr(buffers, part.name) for part in fields(buffers)]


@dataclass(frozen=True)
class Workspace:
    """Buffers of one profile, and what an engine remembers beside them."""

    inputs: StepInputs
    outputs: StepOutputs
    memory: LRUCache[Any, Any]


class HostCaches:
    """Everything of the `Engine` protocol but running a step. `cache_dtype` is the type of cached keys and values."""

    def __init__(self, config: ModelConfig, cache_dtype: DType, candidates: int) -> None:
        self.config, self.cache_dtype = config, cache_dtype
        self.input_specs = contract.inputs(config, cache_dtype)
        self.output_specs = contract.outputs(config, cache_dtype, candidates)
        self.workspaces: LRUCache[Profile, Workspace] = LRUCache(REMEMBERED)
        self.kept: list[Array] = []
        self.sizes: Sizes = AnySizes()

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
        for tensor, kept in zip(lane_tensors(cache), self.kept, strict=True):
            tensor[0][:, slots] = kept[row][:, rows]

    def copy(self, source: Lanes, target: Lanes) -> None:
        for old, new in zip(lane_tensors(source), lane_tensors(target), strict=True):
            new[:] = old

    def saliency(self, cache: Lanes, queries: FloatArray) -> FloatArray:
        keys = [key.astype(np.float32, copy=False) for key in lane_tensors(cache)[::2]]
        return np.stack([(key[0] @ query[:, :, None])[..., 0].mean(0) for key, query in zip(keys, queries, strict=True)])

    def select(self, source: Lanes, keep: IntArray, target: Lanes) -> None:
        for index, (old, new) in enumerate(zip(lane_tensors(source), lane_tensors(target), strict=True)):
            new[0, :, : keep.shape[1]] = old[0][:, keep[index // 2]]

    def workspace(self, profile: Profile) -> Workspace:
        return self.workspaces.of(profile, lambda: self._new_workspace(profile))

    def _new_workspace(self, profile: Profile) -> Workspace:
        inputs, outputs = (self.buffers(specs[:HEAD], profile) for specs in (self.input_specs, self.output_specs))
        return Workspace(StepInputs(*inputs), StepOutputs(*outputs), LRUCache(REMEMBERED))

    @staticmethod
    def buffers(specs: list[TensorSpec], profile: Profile) -> list[Array]:
        return [np.zeros(spec.shape(profile), DTYPES[spec.dtype].numpy) for spec in specs]
