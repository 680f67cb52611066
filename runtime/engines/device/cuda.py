"""A CUDA device through cuda-python: memory, one stream, and graphs of recorded work."""

from __future__ import annotations

import ctypes
import gc
import time
import weakref
from ctypes.util import find_library
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....graphs.errors import DllmEdgeError
from ...arrays import ByteArray
from .base import Launch, Memory, RecordingError, Region
from .recording import foreign_host_work

INSTALL = "install cuda-python with pip install 'cuda-python<13' for a CUDA 12 driver, pip install cuda-python for CUDA 13"
# What a wait spins for before it sleeps, where the GPU shares the host's memory and so its power: waking up takes 0.05 ms.
SPIN_SECONDS = 1e-3
NO_GPU = "run 'dllm-edge doctor' to see what is missing"


@dataclass(eq=False)
class CudaMemory:
    address: int
    nbytes: int


class CudaDevice:
    """The GPU of number `index`. Raises `DllmEdgeError` without cuda-python, a driver or such a GPU."""

    def __init__(self, index: int = 0) -> None:
        self.cuda, self.uploads = _bindings(), 0
        # Where waits sleep is `_wait_asleep`'s choice, not that of a Jetson in its low power modes.
        self.cuda.cudaSetDeviceFlags(self.cuda.cudaDeviceScheduleSpin)
        self._check("cudaSetDevice", index)
        properties = self._check("cudaGetDeviceProperties", index)
        self.name = properties.name.decode()
        self.compute_capability = f"sm{properties.major}{properties.minor}"
        self.shares_memory = bool(properties.integrated)
        self.stream = int(self._check("cudaStreamCreateWithFlags", self.cuda.cudaStreamNonBlocking))
        sleeping = self.cuda.cudaEventBlockingSync | self.cuda.cudaEventDisableTiming
        self.event = self._check("cudaEventCreateWithFlags", sleeping) if self.shares_memory else None

    def allocate(self, nbytes: int) -> CudaMemory:
        """Take memory, not from CUDA's pool of asynchronous memory, which on Jetson has less than the device."""
        address = int(self._check("cudaMalloc", max(1, nbytes), doing=f"taking {nbytes / 1e6:.0f} MB of memory"))
        memory = CudaMemory(address, nbytes)
        weakref.finalize(memory, self.cuda.cudaFree, address).atexit = False
        self.zero(memory)
        return memory

    def zero(self, memory: Memory) -> None:
        self._check("cudaMemsetAsync", memory.address, 0, memory.nbytes, self.stream)

    def pinned(self, nbytes: int) -> ByteArray:
        flags = self.cuda.cudaHostAllocMapped if self.shares_memory else self.cuda.cudaHostAllocDefault
        address = int(self._check("cudaHostAlloc", max(1, nbytes), flags))
        buffer = (ctypes.c_uint8 * nbytes).from_address(address)
        weakref.finalize(buffer, self.cuda.cudaFreeHost, address).atexit = False
        array: ByteArray = np.ctypeslib.as_array(buffer)
        array[:] = 0
        return array

    def shared_address(self, host: ByteArray) -> int:
        return int(self._check("cudaHostGetDevicePointer", host.ctypes.data, 0))

    def upload(self, target: int, source: ByteArray) -> None:
        self.uploads += 1
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._check("cudaMemcpyAsync", target, source.ctypes.data, source.nbytes, kind, self.stream)

    def download(self, target: ByteArray, source: int) -> None:
        kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._check("cudaMemcpyAsync", target.ctypes.data, source, target.nbytes, kind, self.stream)

    def copy(self, target: Region, source: Region, width: int, rows: int, planes: int) -> None:
        work = self.cuda.cudaMemcpy3DParms()
        work.dstPtr = self.cuda.make_cudaPitchedPtr(target.address, target.pitch, target.pitch, target.height)
        work.dstPos = self.cuda.make_cudaPos(target.x, target.y, 0)
        work.srcPtr = self.cuda.make_cudaPitchedPtr(source.address, source.pitch, source.pitch, source.height)
        work.srcPos = self.cuda.make_cudaPos(source.x, source.y, 0)
        work.extent = self.cuda.make_cudaExtent(width, rows, planes)
        work.kind = self.cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self._check("cudaMemcpy3DAsync", work, self.stream)

    def synchronise(self) -> None:
        if self.event is None:
            self._check("cudaStreamSynchronize", self.stream)
        else:
            self._wait_asleep()

    def _wait_asleep(self) -> None:
        """Wait by asking for `SPIN_SECONDS`, and by sleeping from then on: a large model's step takes a hundred times that."""
        self._check("cudaEventRecord", self.event, self.stream)
        asleep_from, not_ready = time.perf_counter() + SPIN_SECONDS, (self.cuda.cudaError_t.cudaErrorNotReady,)
        while self.cuda.cudaEventQuery(self.event) == not_ready and time.perf_counter() < asleep_from:
            pass
        # "Not ready" counts as an error, which a library would find after its next launch.
        self.cuda.cudaGetLastError()
        self._check("cudaEventSynchronize", self.event)

    def record(self, work: Launch) -> Launch:
        cuda, stream, collecting = self.cuda, self.stream, gc.isenabled()
        self._check("cudaStreamBeginCapture", stream, cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        reason: object = None
        uploads = self.uploads
        gc.disable()  # what is collected may free memory of the device, which breaks off a recording
        try:
            work()
        except Exception as error:  # whatever it was, the stream has to be given back first
            reason = error
        finally:
            if collecting:
                gc.enable()
        status, graph = cuda.cudaStreamEndCapture(stream)
        if reason is None and status == cuda.cudaError_t.cudaSuccess:
            reason = foreign_host_work(cuda, graph, self.uploads - uploads)
        if reason is None and status == cuda.cudaError_t.cudaSuccess:
            status, recorded = cuda.cudaGraphInstantiate(graph, 0)
            cuda.cudaGraphDestroy(graph)
            if status == cuda.cudaError_t.cudaSuccess:
                return _Replay(self, recorded, work)
        elif status == cuda.cudaError_t.cudaSuccess:
            cuda.cudaGraphDestroy(graph)
        cuda.cudaGetLastError()
        raise RecordingError(str(reason or status.name))

    def _check(self, function: str, *arguments: Any, doing: str = "") -> Any:
        """Call a function of CUDA's runtime and return its answer; an error is raised as one line."""
        error, *answer = getattr(self.cuda, function)(*arguments)
        if error == self.cuda.cudaError_t.cudaSuccess:
            return answer[0] if answer else None
        self.cuda.cudaGetLastError()
        if error == self.cuda.cudaError_t.cudaErrorMemoryAllocation:
            raise DllmEdgeError(
                f"the GPU has no memory left ({doing or function}): 'dllm-edge plan BUNDLE --device NAME' says what would fit: "
                "a shorter context, a smaller batch, sparse-dllm, or a bundle exported with --weights"
            )
        raise DllmEdgeError(f"CUDA: {function} failed with {error.name}: {NO_GPU}")


class _Replay:
    """Recorded work, as a launch. What it was recorded from stays: the recording runs in its memory."""

    def __init__(self, device: CudaDevice, recorded: Any, work: Launch) -> None:
        self.device, self.recorded, self.work = device, recorded, work
        weakref.finalize(self, device.cuda.cudaGraphExecDestroy, recorded).atexit = False

    def __call__(self) -> None:
        self.device._check("cudaGraphLaunch", self.recorded, self.device.stream)


def _bindings() -> Any:
    """Import cuda-python's module of the CUDA runtime, where there is a driver and a GPU."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise DllmEdgeError(f"running on a GPU needs cuda-python, which is not installed ({error}): {INSTALL}") from error
    status, count = runtime.cudaGetDeviceCount()
    if status == runtime.cudaError_t.cudaErrorInsufficientDriver and find_library("cuda"):
        raise DllmEdgeError(f"the NVIDIA driver here is older than the CUDA of cuda-python: update it, or {INSTALL}")
    if status != runtime.cudaError_t.cudaSuccess or not count:
        raise DllmEdgeError(f"there is no GPU here that CUDA can use ({status.name}): {NO_GPU}")
    return runtime
