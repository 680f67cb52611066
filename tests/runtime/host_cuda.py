"""CUDA's runtime over host memory: cuda-python's own types and constants, and functions that do their work when waited for.

Arguments are those of cuda-python, so that what the device does with them is what is tested, not whether CUDA works.
"""

from __future__ import annotations

import weakref
from functools import partial
from typing import Any

from dllm_edge.runtime.arrays import ByteArray

from .host_memory import HostStream, LiveMemory, Work, at

Pitched = tuple[int, int, int]
"""Where a copy's first run begins, and how far apart runs and planes are."""
STREAM, EVENT = 77, 78


class HostCuda:
    """`memory`: bytes that it has; `captures`: whether it can record; `integrated`: whether it shares the host's memory.

    `allocated`: what is allocated, pinned memory too, and `pinned` where that begins; `patience`: how often an event is asked
    for before its work is done; `slept`: the waits for an event that found it not done. All work belongs to the one stream
    that was made: any other, as the default one, would not wait for it.
    """

    def __init__(self, memory: int = 1 << 40, captures: bool = True, integrated: bool = False) -> None:
        from cuda.bindings import runtime

        self.real, self.memory, self.captures = runtime, memory, captures
        self.allocated, self.work, self.last_error = LiveMemory(), HostStream(), runtime.cudaError_t.cudaSuccess
        self.graphs: dict[int, list[Work]] = {}
        self.kinds: weakref.WeakKeyDictionary[Work, Any] = weakref.WeakKeyDictionary()
        self.integrated, self.patience, self.slept, self.mapped = integrated, 1 << 40, 0, set[int]()
        self.pinned = set[int]()
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

    def cudaSetDevice(self, device: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaGetDeviceProperties(self, device: int) -> tuple[Any, ...]:  # noqa: N802
        properties = self.real.cudaDeviceProp()
        properties.name, properties.major, properties.minor = b"host".ljust(256, b"\0"), 8, 7
        properties.integrated = int(self.integrated)
        return self.answer(properties)

    def cudaSetDeviceFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        return self.answer(STREAM)

    def cudaMalloc(self, size: int) -> tuple[Any, ...]:  # noqa: N802
        if size + self.allocated.nbytes > self.memory:
            # What was freed is there once the work is done that may use it: CUDA waits for that when it frees.
            self.work.synchronise()
        if size + self.allocated.nbytes > self.memory:
            return (self.real.cudaError_t.cudaErrorMemoryAllocation, None)
        return self.answer(self.allocated.take(size))

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[Any, ...]:  # noqa: N802
        status, address = self.cudaMalloc(size)
        self.pinned.add(address)
        if flags & self.real.cudaHostAllocMapped:
            self.mapped.add(address)
        return (status, address)

    def cudaHostGetDevicePointer(self, pHost: int, flags: int) -> tuple[Any, ...]:  # noqa: N802, N803
        if flags or pHost not in self.mapped:
            return (self.real.cudaError_t.cudaErrorInvalidValue, None)
        return self.answer(pHost)

    def cudaFree(self, devPtr: int) -> tuple[Any, ...]:  # noqa: N802, N803
        assert devPtr not in self.pinned, "pinned memory is freed as what it is"
        self.work.free(partial(self.allocated.free, devPtr))
        return self.answer()

    def cudaFreeHost(self, ptr: int) -> tuple[Any, ...]:  # noqa: N802
        self.pinned.remove(ptr)
        return self.cudaFree(ptr)

    def cudaMemsetAsync(self, devPtr: int, value: int, count: int, stream: int) -> tuple[Any, ...]:  # noqa: N802, N803
        return self.do(lambda: self.allocated.view(devPtr, count).fill(value), stream)

    def cudaMemcpyAsync(self, dst: int, src: int, count: int, kind: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        kinds = self.real.cudaMemcpyKind
        of_host = {
            kinds.cudaMemcpyHostToDevice: (False, True),
            kinds.cudaMemcpyDeviceToHost: (True, False),
            kinds.cudaMemcpyDeviceToDevice: (False, False),
        }
        assert (self.of_host(dst), self.of_host(src)) == of_host[kind]
        if not self.allocated.holds(src, count):
            # Memory that is not pinned is read at once.
            staged = at(src, count).copy()
            return self._do_copy(lambda: self._copy(dst, staged), kind, stream)
        return self._do_copy(lambda: self._copy(dst, self.allocated.view(src, count)), kind, stream)

    def _do_copy(self, work: Work, kind: Any, stream: int) -> tuple[Any, ...]:
        self.kinds[work] = kind
        return self.do(work, stream)

    def of_host(self, address: int) -> bool:
        """Whether memory is the host's, pinned or not."""
        pieces = self.allocated.pieces.items()
        piece = next((start for start, piece in pieces if start <= address < start + piece.nbytes), None)
        return piece is None or piece in self.pinned

    def _copy(self, target: int, source: ByteArray) -> None:
        self.allocated.view(target, source.nbytes)[:] = source

    def cudaMemcpy3DAsync(self, p: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert p.kind == self.real.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        extent, regions = p.extent, list[Pitched]()
        for pointer, position in ((p.dstPtr, p.dstPos), (p.srcPtr, p.srcPos)):
            assert self.allocated.holds(int(pointer.ptr), pointer.pitch * pointer.ysize * extent.depth)
            assert position.x + extent.width <= pointer.pitch
            assert position.y + extent.height <= pointer.ysize
            first = int(pointer.ptr) + position.y * pointer.pitch + position.x
            regions.append((first, pointer.pitch, pointer.pitch * pointer.ysize))
        target, source = regions
        copy = partial(self._copy_runs, target, source, extent.width, extent.height, extent.depth)
        return self._do_copy(copy, p.kind, stream)

    def _copy_runs(self, target: Pitched, source: Pitched, width: int, rows: int, planes: int) -> None:
        for plane in range(planes):
            for row in range(rows):
                new, old = (first + plane * apart + row * pitch for first, pitch, apart in (target, source))
                self._copy(new, self.allocated.view(old, width))

    def cudaStreamSynchronize(self, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert stream == STREAM
        self.work.synchronise()
        return self.answer()

    def cudaEventCreateWithFlags(self, flags: int) -> tuple[Any, ...]:  # noqa: N802
        assert flags == self.real.cudaEventBlockingSync | self.real.cudaEventDisableTiming
        return self.answer(EVENT)

    def cudaEventRecord(self, event: int, stream: int) -> tuple[Any, ...]:  # noqa: N802
        assert (event, stream) == (EVENT, STREAM)
        return self.answer()

    def cudaEventQuery(self, event: int) -> tuple[Any, ...]:  # noqa: N802
        """Say that it is done once it was asked for `patience` times; until then that is an error, which stays the last."""
        self.patience -= 1
        if self.work.queue and self.patience > 0:
            self.last_error = self.real.cudaError_t.cudaErrorNotReady
            return (self.last_error,)
        self.work.synchronise()
        return self.answer()

    def cudaEventSynchronize(self, event: int) -> tuple[Any, ...]:  # noqa: N802
        self.slept += bool(self.work.queue)
        assert event == EVENT
        return self.cudaStreamSynchronize(STREAM)

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

    def cudaGraphGetNodes(self, graph: Any, numNodes: int = 0) -> tuple[Any, ...]:  # noqa: N802, N803
        return self.answer(list(graph)[:numNodes], len(graph))

    def cudaGraphNodeGetType(self, node: Work) -> tuple[Any, ...]:  # noqa: N802
        types = self.real.cudaGraphNodeType
        return self.answer(types.cudaGraphNodeTypeMemcpy if node in self.kinds else types.cudaGraphNodeTypeMemset)

    def cudaGraphMemcpyNodeGetParams(self, node: Work) -> tuple[Any, ...]:  # noqa: N802
        parameters = self.real.cudaMemcpy3DParms()
        parameters.kind = self.kinds[node]
        return self.answer(parameters)

    def cudaGraphInstantiate(self, graph: Any, flags: int) -> tuple[Any, ...]:  # noqa: N802
        self.instantiated += 1
        self.graphs[self.instantiated] = list(graph)
        return self.answer(self.instantiated)

    def cudaGraphDestroy(self, graph: Any) -> tuple[Any, ...]:  # noqa: N802
        return self.answer()

    def cudaGraphExecDestroy(self, graphExec: int) -> tuple[Any, ...]:  # noqa: N802, N803
        del self.graphs[graphExec]
        return self.answer()

    def cudaGraphLaunch(self, graphExec: Any, stream: int) -> tuple[Any, ...]:  # noqa: N802, N803
        self.launched += 1
        for work in self.graphs[graphExec]:
            self.do(work, stream)
        return self.answer()

    def cudaGetLastError(self) -> tuple[Any, ...]:  # noqa: N802
        """Return the last error, once."""
        error, self.last_error = self.last_error, self.real.cudaError_t.cudaSuccess
        return (error,)
