"""CUDA's runtime over host memory: cuda-python's own types and constants, and functions that do their work when waited for.

Arguments are those of cuda-python, so that what the device does with them is what is tested, not whether CUDA works.
"""

from __future__ import annotations

import weakref
from functools import partial
from types import SimpleNamespace
from typing import Any

from dllm_edge.runtime.arrays import ByteArray

from .host_memory import HostStream, LiveMemory, Work, at

Pitched = tuple[int, int, int]
"""Where a copy's first run begins, and how far apart runs and planes are."""


class HostCuda:
    """`memory`: bytes that it has; `captures`: whether it can record; `allocated`: what is allocated, pinned memory too."""

    def __init__(self, memory: int = 1 << 40, captures: bool = True) -> None:
        from cuda.bindings import runtime

        self.real, self.memory, self.captures = runtime, memory, captures
        self.allocated, self.work = LiveMemory(), HostStream()
        self.graphs: dict[int, list[Work]] = {}
        self.kinds: weakref.WeakKeyDictionary[Work, Any] = weakref.WeakKeyDictionary()
        self.launched = self.instantiated = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def answer(self, *values: Any) -> tuple[Any, ...]:
        return (self.real.cudaError_t.cudaSuccess, *values)

    def do(self, work: Work) -> tuple[Any, ...]:
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
        return self.answer(77)

    def cudaMalloc(self, nbytes: int) -> tuple[Any, ...]:  # noqa: N802
        if nbytes + self.allocated.nbytes > self.memory:
            # What was freed is there once the work is done that may use it: CUDA waits for that when it frees.
            self.work.synchronise()
        if nbytes + self.allocated.nbytes > self.memory:
            return (self.real.cudaError_t.cudaErrorMemoryAllocation, None)
        return self.answer(self.allocated.take(nbytes))

    def cudaHostAlloc(self, nbytes: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.cudaMalloc(nbytes)

    def cudaFree(self, address: int) -> tuple[Any, ...]:  # noqa: N802
        self.work.free(partial(self.allocated.free, address))
        return self.answer()

    cudaFreeHost = cudaFree  # noqa: N815

    def cudaMemsetAsync(self, address: int, value: int, count: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        return self.do(lambda: self.allocated.view(address, count).fill(value))

    def cudaMemcpyAsync(self, target: int, source: int, count: int, kind: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert isinstance(kind, self.real.cudaMemcpyKind)
        if kind == self.real.cudaMemcpyKind.cudaMemcpyHostToDevice and not self.allocated.holds(source, count):
            # Memory that is not pinned is read at once.
            staged = at(source, count).copy()
            return self._do_copy(lambda: self._copy(target, staged), kind)
        return self._do_copy(lambda: self._copy(target, self.allocated.view(source, count)), kind)

    def _do_copy(self, work: Work, kind: Any) -> tuple[Any, ...]:
        self.kinds[work] = kind
        return self.do(work)

    def _copy(self, target: int, source: ByteArray) -> None:
        self.allocated.view(target, source.nbytes)[:] = source

    def cudaMemcpy3DAsync(self, work: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        extent, regions = work.extent, list[Pitched]()
        for pointer, position in ((work.dstPtr, work.dstPos), (work.srcPtr, work.srcPos)):
            assert self.allocated.holds(int(pointer.ptr), pointer.pitch * pointer.ysize * extent.depth)
            assert position.x + extent.width <= pointer.pitch
            assert position.y + extent.height <= pointer.ysize
            first = int(pointer.ptr) + position.y * pointer.pitch + position.x
            regions.append((first, pointer.pitch, pointer.pitch * pointer.ysize))
        target, source = regions
        copy = partial(self._copy_runs, target, source, extent.width, extent.height, extent.depth)
        return self._do_copy(copy, work.kind)

    def _copy_runs(self, target: Pitched, source: Pitched, width: int, rows: int, planes: int) -> None:
        for plane in range(planes):
            for row in range(rows):
                new, old = (first + plane * apart + row * pitch for first, pitch, apart in (target, source))
                self._copy(new, self.allocated.view(old, width))

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        self.work.synchronise()
        return self.answer()

    def cudaStreamBeginCapture(self, stream: int, mode: Any) -> tuple[Any, ...]:  # noqa: N802
        self.work.begin_recording()
        return self.answer()

    def cudaStreamEndCapture(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        recorded = self.work.end_recording()
        if not self.captures:
            return (self.real.cudaError_t.cudaErrorStreamCaptureInvalidated, None)
        return self.answer(recorded)

    def cudaGraphGetNodes(self, graph: Any, count: int = 0) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(list(graph)[:count], len(graph))

    def cudaGraphNodeGetType(self, node: Work) -> tuple[Any, ...]:  # noqa: N802
        types = self.real.cudaGraphNodeType
        return self.answer(types.cudaGraphNodeTypeMemcpy if node in self.kinds else types.cudaGraphNodeTypeMemset)

    def cudaGraphMemcpyNodeGetParams(self, node: Work) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(SimpleNamespace(kind=self.kinds[node]))

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
            self.work.do(work)
        return self.answer()

    def cudaGetLastError(self) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()
