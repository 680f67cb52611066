"""What an engine keeps on its device: caches, and a step's buffers with their mirror in pinned host memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from ....graphs.config import ModelConfig
from ....graphs.contract import TensorSpec, cache_bytes
from ....graphs.dtypes import DTYPES, DType
from ....graphs.errors import DllmEdgeError
from ...arrays import Array, ByteArray
from ..base import Lanes
from ..sizes import ALIGNMENT
from .base import Block, Device, Memory


@dataclass(frozen=True)
class DeviceCache:
    """A `Cache` on a device: one block `[2 * layers, batch, Hkv, capacity, D]`; a layer's keys, then its values."""

    memory: Memory
    config: ModelConfig
    type: DType
    batch: int
    capacity: int

    @cached_property
    def nbytes(self) -> int:
        return cache_bytes(self.config, self.type, self.batch * self.capacity)

    @cached_property
    def row(self) -> int:
        """Bytes of one slot of one head."""
        return self.config.head_dim * DTYPES[self.type].itemsize

    @cached_property
    def lane(self) -> int:
        """Bytes of one lane of one tensor."""
        return self.config.kv_heads * self.capacity * self.row

    def address(self, tensor: int, lane: int) -> int:
        return self.memory.address + (tensor * self.batch + lane) * self.lane

    def slot(self, lane: int, slot: int) -> Block:
        """Where `slot` of a lane lies, by head and by tensor."""
        heads = self.config.kv_heads
        return Block(self.memory.address, self.capacity * self.row, self.batch * heads, slot * self.row, lane * heads)

    def whole(self, lane: int) -> Block:
        """Where a lane lies, by tensor."""
        return Block(self.memory.address, self.lane, self.batch, y=lane)


class MemoryPool:
    """Memory for caches: what one leaves behind serves the next of its size, since asking a device for memory waits for it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.free: dict[int, list[Memory]] = {}

    def take(self, nbytes: int) -> Memory:
        if self.free.get(nbytes):
            # What an overflow has left there would reach hidden slots: no weight makes a NaN vanish.
            self.device.zero(self.free[nbytes][-1])
            return self.free[nbytes].pop()
        try:
            return self.device.allocate(nbytes)
        except DllmEdgeError:
            if not any(self.free.values()):
                raise
            self.free.clear()
            return self.device.allocate(nbytes)

    def give_back(self, memory: Memory) -> None:
        self.free.setdefault(memory.nbytes, []).append(memory)


def lane_addresses(lanes: Lanes) -> list[int]:
    """The lanes' part of each tensor."""
    cache = lanes.cache
    assert isinstance(cache, DeviceCache)
    return [cache.address(tensor, lanes.first) for tensor in range(2 * cache.config.layers)]


def side_by_side(specs: list[TensorSpec], axes: Mapping[str, int]) -> tuple[list[int], int]:
    """Where tensors begin in one piece of memory, aligned, and the bytes of the piece."""
    *offsets, size = accumulate((-(-spec.nbytes(axes) // ALIGNMENT) * ALIGNMENT for spec in specs), initial=0)
    return offsets, size


class PinnedBuffers:
    """Arrays in one piece of pinned host memory, and room for them in one piece of the device's: each way is one copy."""

    def __init__(self, device: Device, specs: list[TensorSpec], axes: Mapping[str, int]) -> None:
        offsets, size = side_by_side(specs, axes)
        self.host: ByteArray = device.pinned(size)
        self.memory = device.allocate(size)
        self.arrays: list[Array] = [
            self.host[offset : offset + spec.nbytes(axes)].view(DTYPES[spec.dtype].numpy).reshape(spec.sized(axes))
            for spec, offset in zip(specs, offsets, strict=True)
        ]
        self.addresses = {spec.name: self.memory.address + offset for spec, offset in zip(specs, offsets, strict=True)}
