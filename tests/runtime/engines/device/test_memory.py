from __future__ import annotations

import numpy as np
import pytest

from dllm_edge.graphs.contract import TensorSpec, cache_bytes
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.base import Lanes
from dllm_edge.runtime.engines.device.base import Region
from dllm_edge.runtime.engines.device.memory import (
    DeviceCache,
    MemoryPool,
    PinnedBuffers,
    lane_addresses,
    launch_key,
    side_by_side,
)
from dllm_edge.runtime.engines.sizes import ALIGNMENT

from ...host_device import HostDevice, HostMemory
from ...numpy_engine import CONFIG

SPECS = [TensorSpec("ids", "int64", ("B", 3)), TensorSpec("mask", "bool", ("B",)), TensorSpec("scores", "float32", ("B", 40))]


def test_where_a_caches_parts_lie() -> None:
    """Three layers, two heads of eight numbers: slots of 32 bytes, lanes of 2 x 10 slots."""
    cache = DeviceCache(HostMemory(1000, 0), CONFIG, "float32", batch=4, capacity=10)
    assert (cache.slot_bytes, cache.lane_bytes, cache.nbytes) == (32, 640, 6 * 4 * 640)
    assert cache.nbytes == cache_bytes(CONFIG, "float32", 40)
    assert lane_addresses(Lanes(cache, 1, 2)) == [1000 + (tensor * 4 + 1) * 640 for tensor in range(6)]
    assert cache.lane_region(2) == Region(1000, pitch=640, height=4, x=0, y=2)
    assert cache.slot_region(2, 7) == Region(1000, pitch=320, height=8, x=224, y=4)


def test_launches_are_told_apart_by_where_their_lanes_lie() -> None:
    memory = HostMemory(1000, 0)
    caches = [DeviceCache(memory, CONFIG, "float32", batch, capacity) for batch, capacity in ((4, 10), (2, 20), (4, 20))]
    lanes = [Lanes(cache, first, 1) for cache in caches for first in (0, 1)]
    lanes.append(Lanes(DeviceCache(HostMemory(2000, 0), CONFIG, "float32", 4, 10), 0, 1))
    assert len({launch_key(each) for each in [*lanes, None]}) == 8
    again = DeviceCache(HostMemory(1000, 0), CONFIG, "float32", 4, 10)
    assert launch_key(Lanes(again, 1, 1)) == launch_key(lanes[1])


def test_memory_that_came_back_serves_the_next_of_its_size() -> None:
    device = HostDevice()
    pool = MemoryPool(device)
    first, other = pool.take(100), pool.take(200)
    device.memory.view(first.address, 100)[:] = 7
    pool.give_back(first)
    assert pool.take(200).address not in (first.address, other.address)
    assert pool.take(100) is first
    device.synchronise()
    assert not device.memory.view(first.address, 100).any()
    assert pool.take(100) is not first


def test_memory_that_came_back_makes_room() -> None:
    device = HostDevice(limit=300)
    pool = MemoryPool(device)
    for _ in range(3):
        pool.give_back(pool.take(100))
    pool.give_back(pool.take(200))
    held = pool.take(300)
    with pytest.raises(DllmEdgeError, match="out of memory for 100 bytes"):
        pool.take(100)
    assert held.nbytes == device.memory.nbytes == 300


def test_tensors_begin_aligned_side_by_side() -> None:
    assert side_by_side(SPECS, {"B": 11}) == ([0, 512, 768], 2560)
    assert side_by_side([], {}) == ([], 0)


def test_buffers_cross_in_one_copy_each_way() -> None:
    device = HostDevice()
    buffers = PinnedBuffers(device, SPECS, {"B": 2})
    shapes = [(array.shape, array.dtype.name) for array in buffers.arrays]
    assert shapes == [((2, 3), "int64"), ((2,), "bool"), ((2, 40), "float32")]
    assert all(address % ALIGNMENT == 0 for address in buffers.addresses.values())
    for array in buffers.arrays:
        assert not array.any()
        array[:] = np.arange(array.size).reshape(array.shape)
    expected = [array.copy() for array in buffers.arrays]
    buffers.upload()
    device.synchronise()
    for spec, array in zip(SPECS, expected, strict=True):
        on_device = device.memory.view(buffers.addresses[spec.name], array.nbytes)
        assert (on_device.view(array.dtype).reshape(array.shape) == array).all()
    buffers.host[:] = 0
    buffers.download()
    assert not buffers.host.any()
    device.synchronise()
    assert all((array == wanted).all() for array, wanted in zip(buffers.arrays, expected, strict=True))
    assert (device.uploads, device.downloads) == (1, 1)


def test_where_memory_is_shared_nothing_crosses() -> None:
    device = HostDevice(shares_memory=True)
    buffers = PinnedBuffers(device, SPECS, {"B": 2})
    assert [array.ctypes.data for array in buffers.arrays] == list(buffers.addresses.values())
    assert all(address % ALIGNMENT == 0 for address in buffers.addresses.values())
    buffers.upload()
    buffers.download()
    device.synchronise()
    assert (device.uploads, device.downloads, len(device.memory), len(device.pinned_memory)) == (0, 0, 0, 1)
