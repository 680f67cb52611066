"""A device whose memory is the host's: the device loop runs on it with ONNX Runtime's CPU provider as the executor."""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from functools import partial

import numpy as np

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import ByteArray
from dllm_edge.runtime.engines.device.base import Launch, Memory, RecordingError, Region

from .host_memory import HostStream, LiveMemory


@dataclass(eq=False)
class HostMemory:
    address: int
    nbytes: int


def run_address(region: Region, plane: int, row: int) -> int:
    return region.address + (plane * region.height + region.y + row) * region.pitch + region.x


class HostDevice:
    """Counts the work that it has done. `limit`: bytes that it has; `records`: whether it can record work.

    `memory` is the device's, `pinned_memory` the host's that copies may read and write; where it `shares_memory`, graphs, too.
    """

    name = "host memory"

    def __init__(self, limit: int | None = None, records: bool = True, shares_memory: bool = False) -> None:
        self.limit, self.records, self.shares_memory = limit, records, shares_memory
        self.uploads = self.downloads = self.copies = self.waits = self.zeroed = self.recorded = self.replayed = 0
        self.memory, self.pinned_memory, self.stream = LiveMemory(), LiveMemory(), HostStream()

    def allocate(self, nbytes: int) -> HostMemory:
        if self._lacks(nbytes):
            # What was freed is there once the work is done that may use it: CUDA waits for that when it frees.
            self.stream.synchronise()
        if self._lacks(nbytes):
            raise DllmEdgeError(f"out of memory for {nbytes} bytes")
        memory = HostMemory(self.memory.take(nbytes, value=0), nbytes)
        weakref.finalize(memory, self.stream.free, partial(self.memory.free, memory.address)).atexit = False
        return memory

    def _lacks(self, nbytes: int) -> bool:
        return self.limit is not None and self.memory.nbytes + nbytes > self.limit

    def pinned(self, nbytes: int) -> ByteArray:
        address = self.pinned_memory.take(nbytes, value=0)
        buffer = (ctypes.c_uint8 * nbytes).from_address(address)
        weakref.finalize(buffer, self.stream.free, partial(self.pinned_memory.free, address)).atexit = False
        array: ByteArray = np.ctypeslib.as_array(buffer)
        return array

    def shared_address(self, host: ByteArray) -> int:
        assert self.shares_memory
        return int(host.ctypes.data)

    def holds(self, address: int) -> bool:
        """Return whether a graph may read and write there."""
        return self.memory.holds(address) or (self.shares_memory and self.pinned_memory.holds(address))

    def upload(self, target: int, source: ByteArray) -> None:
        address, nbytes = source.ctypes.data, source.nbytes

        def work() -> None:
            self.uploads += 1
            self.memory.view(target, nbytes)[:] = self.pinned_memory.view(address, nbytes)

        self.stream.do(work)

    def download(self, target: ByteArray, source: int) -> None:
        address, nbytes = target.ctypes.data, target.nbytes

        def work() -> None:
            self.downloads += 1
            self.pinned_memory.view(address, nbytes)[:] = self.memory.view(source, nbytes)

        self.stream.do(work)

    def copy(self, target: Region, source: Region, width: int, rows: int, planes: int) -> None:
        def work() -> None:
            self.copies += 1
            for plane in range(planes):
                for row in range(rows):
                    old = self.memory.view(run_address(source, plane, row), width)
                    self.memory.view(run_address(target, plane, row), width)[:] = old

        self.stream.do(work)

    def synchronise(self) -> None:
        self.waits += 1
        self.stream.synchronise()

    def zero(self, memory: Memory) -> None:
        address, nbytes = memory.address, memory.nbytes

        def work() -> None:
            self.zeroed += 1
            self.memory.view(address, nbytes)[:] = 0

        self.stream.do(work)

    def record(self, work: Launch) -> Launch:
        if not self.records:
            raise RecordingError("host memory does not record")
        self.stream.begin_recording()
        work()
        steps = self.stream.end_recording()
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            for step in steps:
                self.stream.do(step)

        return replay
