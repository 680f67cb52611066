"""A device whose memory is the host's: the device loop runs on it with ONNX Runtime's CPU provider as the executor."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import ByteArray
from dllm_edge.runtime.engines.device.base import Launch, Memory, RecordingError, Region
from dllm_edge.runtime.engines.sizes import ALIGNMENT


@dataclass(eq=False)
class HostMemory:
    block: ByteArray

    @property
    def address(self) -> int:
        return int(self.block.ctypes.data)

    @property
    def nbytes(self) -> int:
        return self.block.nbytes


def aligned(nbytes: int) -> ByteArray:
    """Zeros that begin where CUDA's memory would."""
    block = np.zeros(nbytes + ALIGNMENT, dtype=np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + nbytes]


def at(address: int, nbytes: int) -> ByteArray:
    """The bytes at an address."""
    found: ByteArray = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
    return found


def run_of(block: Region, plane: int, row: int) -> int:
    return block.address + (plane * block.height + block.y + row) * block.pitch + block.x


class HostDevice:
    """Counts what it is asked for. `limit`: bytes that it has; `records`: whether it can record work."""

    name = "host memory"

    def __init__(self, limit: int | None = None, records: bool = True) -> None:
        self.limit, self.records = limit, records
        self.uploads = self.downloads = self.copies = self.waits = self.zeroed = self.recorded = self.replayed = 0
        self.allocated: list[int] = []

    def allocate(self, nbytes: int) -> HostMemory:
        if self.limit is not None and sum(self.allocated) + nbytes > self.limit:
            raise DllmEdgeError(f"out of memory for {nbytes} bytes")
        self.allocated.append(nbytes)
        return HostMemory(aligned(nbytes))

    def pinned(self, nbytes: int) -> ByteArray:
        return np.zeros(nbytes, dtype=np.uint8)

    def upload(self, target: int, source: ByteArray) -> None:
        self.uploads += 1
        at(target, source.nbytes)[:] = source

    def download(self, target: ByteArray, source: int) -> None:
        self.downloads += 1
        target[:] = at(source, target.nbytes)

    def copy(self, target: Region, source: Region, width: int, rows: int, planes: int) -> None:
        self.copies += 1
        for plane in range(planes):
            for row in range(rows):
                at(run_of(target, plane, row), width)[:] = at(run_of(source, plane, row), width)

    def synchronise(self) -> None:
        self.waits += 1

    def zero(self, memory: Memory) -> None:
        self.zeroed += 1
        at(memory.address, memory.nbytes)[:] = 0

    def record(self, work: Launch) -> Launch:
        if not self.records:
            raise RecordingError("host memory does not record")
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay
