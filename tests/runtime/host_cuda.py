"""CUDA's runtime over host memory: cuda-python's own types and constants, and functions that do their work at once.

Arguments are those of cuda-python, so that what the device does with them is what is tested, not whether CUDA works.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from .host_device import aligned, at


class HostCuda:
    """`memory`: bytes that it has; `captures`: whether it can record; `allocated`: live allocations by address."""

    def __init__(self, memory: int = 1 << 40, captures: bool = True) -> None:
        from cuda.bindings import runtime

        self.real, self.memory, self.captures = runtime, memory, captures
        self.allocated: dict[int, Any] = {}
        self.recording: list[Callable[[], None]] | None = None
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.launched = self.instantiated = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def answer(self, *values: Any) -> tuple[Any, ...]:
        return (self.real.cudaError_t.cudaSuccess, *values)

    def do(self, work: Callable[[], None]) -> tuple[Any, ...]:
        if self.recording is None:
            work()
        else:
            self.recording.append(work)
        return self.answer()

    def cudaSetDevice(self, index: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(SimpleNamespace(name=b"host", major=8, minor=7))

    def cudaSetDeviceFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(77)

    def cudaMalloc(self, nbytes: int) -> tuple[Any, ...]:  # noqa: N802
        if nbytes + sum(block.nbytes for block in self.allocated.values()) > self.memory:
            return (self.real.cudaError_t.cudaErrorMemoryAllocation, None)
        block = aligned(nbytes)
        block[:] = 0xFF  # no number, whatever its type
        self.allocated[block.ctypes.data] = block
        return self.answer(block.ctypes.data)

    def cudaHostAlloc(self, nbytes: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.cudaMalloc(nbytes)

    def cudaFree(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        del self.allocated[address]
        return self.answer()

    cudaFreeHost = cudaFree  # noqa: N815

    def cudaMemsetAsync(self, address: int, value: int, count: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return self.do(lambda: at(address, count).fill(value))

    def cudaMemcpyAsync(self, target: int, source: int, count: int, kind: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert isinstance(kind, self.real.cudaMemcpyKind)
        return self.do(lambda: np.copyto(at(target, count), at(source, count)))

    def cudaMemcpy3DAsync(self, work: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        extent, places = work.extent, []
        for pointer, position in ((work.dstPtr, work.dstPos), (work.srcPtr, work.srcPos)):
            assert pointer.pitch * pointer.ysize * extent.depth <= self.allocated[int(pointer.ptr)].nbytes
            assert position.x + extent.width <= pointer.pitch
            assert position.y + extent.height <= pointer.ysize
            first = int(pointer.ptr) + position.y * pointer.pitch + position.x
            places.append((first, pointer.pitch, pointer.pitch * pointer.ysize))
        for plane in range(extent.depth):
            for row in range(extent.height):
                target, source = (first + plane * apart + row * pitch for first, pitch, apart in places)
                at(target, extent.width)[:] = at(source, extent.width)
        return self.answer()

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:  # noqa: N802
        self.recording = []
        return self.answer()

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        recorded, self.recording = self.recording, None
        if not self.captures:
            return (self.real.cudaError_t.cudaErrorStreamCaptureInvalidated, None)
        return self.answer(recorded)

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:  # noqa: N802
        self.instantiated += 1
        self.graphs[self.instantiated] = list(graph)
        return self.answer(self.instantiated)

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaGraphExecDestroy(self, graph: int) -> tuple[Any, ...]:  # noqa: N802
        del self.graphs[graph]
        return self.answer()

    def cudaGraphLaunch(self, graph: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        self.launched += 1
        for work in self.graphs[graph]:
            work()
        return self.answer()

    def cudaGetLastError(self) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()
