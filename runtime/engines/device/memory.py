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
from .base import Device, Memory, Region


@dataclass(frozen=True)
class DeviceCache:
    """A `Cache` on a device: one piece of memory `[2 * layers, batch, Hkv, capacity, D]`; a layer's keys, then its values."""

    memory: Memory
    config: ModelConfig
    dtype: DType
    batch: int
    capacity: int

    @cached_property
    def nbytes(self) -> int:
        return cache_bytes(self.config, self.dtype, self.batch * self.capacity)

    @cached_property
    def slot_bytes(self) -> int:
        """Bytes of one slot of one head of one tensor."""
        return self.config.head_dim * DTYPES[self.dtype].itemsize

    @cached_property
    def lane_bytes(self) -> int:
        """Bytes of one lane of one tensor."""
        return self.config.kv_heads * self.capacity * self.slot_bytes

    def address(self, tensor: int, lane: int) -> int:
        return self.memory.address + (tensor * self.batch + lane) * self.lane_bytes

    def slot_region(self, lane: int, slot: int) -> Region:
        """Return where `slot` of a lane lies: a run for each head, a plane for each tensor."""
        heads, pitch = self.config.kv_heads, self.capacity * self.slot_bytes
        return Region(self.memory.address, pitch, self.batch * heads, x=slot * self.slot_bytes, y=lane * heads)

    def lane_region(self, lane: int) -> Region:
        """Return where a lane lies: one run for each lane, a plane for each tensor."""
        return Region(self.memory.address, self.lane_bytes, self.batch, x=0, y=lane)


def device_cache(lanes: Lanes) -> DeviceCache:
    """Return the cache that the lanes are of."""
    assert isinstance(lanes.cache, DeviceCache), "a cache of another engine"
    return lanes.cache


def lane_addresses(lanes: Lanes) -> list[int]:
    """Return where the lanes' part of each tensor begins."""
    cache = device_cache(lanes)
    return [cache.address(tensor, lanes.first) for tensor in range(2 * cache.config.layers)]


def launch_key(lanes: Lanes | None) -> tuple[int, ...]:
    """Return where the lanes' tensors lie: a cache at a freed one's address fits the launch that was made for that one."""
    if lanes is None:
        return ()
    cache = device_cache(lanes)
    return (cache.memory.address, cache.batch, cache.capacity, lanes.first)


class MemoryPool:
    """Memory for caches: what one leaves behind serves the next of its size, since asking a device for memory waits for it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.free: dict[int, list[Memory]] = {}

    def take(self, nbytes: int) -> Memory:
        """Return memory of zeros; raises `DllmEdgeError` where there is not enough, once all that is free has gone back."""
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


def side_by_side(specs: list[TensorSpec], sizes: Mapping[str, int]) -> tuple[list[int], int]:
    """Return where tensors begin in one piece of memory, aligned, and the bytes of the piece; `sizes` are by axis."""
    *offsets, size = accumulate((-(-spec.nbytes(sizes) // ALIGNMENT) * ALIGNMENT for spec in specs), initial=0)
    return offsets, size


class PinnedBuffers:
    """Arrays in one piece of pinned host memory, and room for them in one piece of the device's: each way is one copy.

    A device that shares memory with the host reads and writes the arrays themselves, and nothing is copied.
    """

    def __init__(self, device: Device, specs: list[TensorSpec], sizes: Mapping[str, int]) -> None:
        offsets, size = side_by_side(specs, sizes)
        self.device = device
        self.host: ByteArray = device.pinned(size)
        self.memory = None if device.shares_memory else device.allocate(size)
        start = device.shared_address(self.host) if self.memory is None else self.memory.address
        self.arrays: list[Array] = [
            self.host[offset : offset + spec.nbytes(sizes)].view(DTYPES[spec.dtype].numpy).reshape(spec.sized(sizes))
            for spec, offset in zip(specs, offsets, strict=True)
        ]
        self.addresses = {spec.name: start + offset for spec, offset in zip(specs, offsets, strict=True)}

    def upload(self) -> None:
        """Have the device see what is in the arrays, which must stay as they are until its work is waited for."""
        if self.memory is not None:
            self.device.upload(self.memory.address, self.host)

    def download(self) -> None:
        """Have what the device wrote in the arrays once its work is waited for."""
        if self.memory is not None:
            self.device.download(self.host, self.memory.address)
