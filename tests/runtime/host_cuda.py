"""CUDA's runtime over host memory: cuda-python's own types and constants, and functions that do their work when waited for.

Arguments are those of cuda-python, so that what the device does with them is what is tested, not whether CUDA works.
"""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

from dllm_edge.runtime.arrays import ByteArray

from .host_memory import HostStream, LiveMemory, Work, at

Pitched = tuple[int, int, int]
"""Where a copy's first run begins, and how far apart runs and planes are."""
STREAM = 77


class HostCuda:
    """`memory`: bytes that it has; `captures`: whether it can record; `allocated`, `pinned`: memory of the device, of the host.

    All work belongs to the one stream that was made: any other, as the default one, would not wait for it.
    """

    def __init__(self, memory: int = 1 << 40, captures: bool = True) -> None:
        from cuda.bindings import runtime

        self.real, self.memory, self.captures = runtime, memory, captures
        self.allocated, self.pinned, self.work = LiveMemory(), LiveMemory(), HostStream()
        self.graphs: dict[int, list[Work]] = {}
        self.launched = self.instantiated = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def answer(self, *values: Any) -> tuple[Any, ...]:
        return (self.real.cudaError_t.cudaSuccess, *values)

    def do(self, work: Work, stream: int) -> tuple[Any, ...]:
        assert stream == STREAM
        self.work.do(work)
        return self.answer()

    @property
    def capturing(self) -> bool:
        return self.work.recording is not None and self.captures

    def cudaSetDevice(self, index: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaGetDeviceProperties(self, index: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(SimpleNamespace(name=b"host", major=8, minor=7))

    def cudaSetDeviceFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(STREAM)

    def cudaMalloc(self, nbytes: int) -> tuple[Any, ...]:  # noqa: N802
        if nbytes + self.allocated.nbytes > self.memory:
            # What was freed is there once the work is done that may use it: CUDA waits for that when it frees.
            self.work.synchronise()
        if nbytes + self.allocated.nbytes > self.memory:
            return (self.real.cudaError_t.cudaErrorMemoryAllocation, None)
        return self.answer(self.allocated.take(nbytes))

    def cudaHostAlloc(self, nbytes: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(self.pinned.take(nbytes))

    def cudaFree(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        self.work.free(partial(self.allocated.free, address))
        return self.answer()

    def cudaFreeHost(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        self.work.free(partial(self.pinned.free, address))
        return self.answer()

    def cudaMemsetAsync(self, address: int, value: int, count: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return self.do(lambda: self.allocated.view(address, count).fill(value), stream)

    def cudaMemcpyAsync(self, target: int, source: int, count: int, kind: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        kinds = self.real.cudaMemcpyKind
        if kind == kinds.cudaMemcpyHostToDevice and not self.pinned.holds(source, count):
            assert not self.allocated.holds(source), "memory of the device as the host's"
            # Memory that is not pinned is read at once.
            staged = at(source, count).copy()
            return self.do(lambda: _copy(self.allocated, target, staged), stream)
        new, old = {
            kinds.cudaMemcpyHostToDevice: (self.allocated, self.pinned),
            kinds.cudaMemcpyDeviceToHost: (self.pinned, self.allocated),
            kinds.cudaMemcpyDeviceToDevice: (self.allocated, self.allocated),
        }[kind]
        return self.do(lambda: _copy(new, target, old.view(source, count)), stream)

    def cudaMemcpy3DAsync(self, work: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert work.kind == self.real.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        extent, regions = work.extent, list[Pitched]()
        for pointer, position in ((work.dstPtr, work.dstPos), (work.srcPtr, work.srcPos)):
            assert self.allocated.holds(int(pointer.ptr), pointer.pitch * pointer.ysize * extent.depth)
            assert position.x + extent.width <= pointer.pitch
            assert position.y + extent.height <= pointer.ysize
            first = int(pointer.ptr) + position.y * pointer.pitch + position.x
            regions.append((first, pointer.pitch, pointer.pitch * pointer.ysize))
        target, source = regions
        return self.do(partial(self._copy_runs, target, source, extent.width, extent.height, extent.depth), stream)

    def _copy_runs(self, target: Pitched, source: Pitched, width: int, rows: int, planes: int) -> None:
        for plane in range(planes):
            for row in range(rows):
                new, old = (first + plane * apart + row * pitch for first, pitch, apart in (target, source))
                _copy(self.allocated, new, self.allocated.view(old, width))

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert stream == STREAM
        self.work.synchronise()
        return self.answer()

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:  # noqa: N802
        assert stream == STREAM
        self.work.begin_recording()
        return self.answer()

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert stream == STREAM
        recorded = self.work.end_recording()
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
            self.do(work, stream)
        return self.answer()

    def cudaGetLastError(self) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()


def _copy(memory: LiveMemory, target: int, source: ByteArray) -> None:
    memory.view(target, source.nbytes)[:] = source
