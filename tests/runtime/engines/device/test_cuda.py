"""The CUDA device over host memory: what it asks CUDA for, and in which order."""

from __future__ import annotations

import gc
import sys
import weakref

import numpy as np
import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import ByteArray
from dllm_edge.runtime.engines.device.base import RecordingError, Region
from dllm_edge.runtime.engines.device.cuda import CudaDevice

from ...host_cuda import HostCuda

pytest.importorskip("cuda.bindings.runtime", reason="its types are what the device hands to CUDA")


@pytest.fixture
def device(cuda: HostCuda) -> CudaDevice:
    return CudaDevice()


def counted(device: CudaDevice, nbytes: int) -> ByteArray:
    pinned = device.pinned(nbytes)
    assert not pinned.any()
    pinned[:] = np.arange(nbytes)
    return pinned


def read(device: CudaDevice, address: int, nbytes: int) -> list[int]:
    pinned = device.pinned(nbytes)
    device.download(pinned, address)
    assert not pinned.any(), "it is not there before it was waited for"
    device.synchronise()
    return [int(value) for value in pinned]


def test_memory_is_zeros(device: CudaDevice) -> None:
    memory = device.allocate(10)
    assert read(device, memory.address, 10) == [0] * 10
    device.upload(memory.address, counted(device, 10))
    assert read(device, memory.address, 10) == list(range(10))
    device.zero(memory)
    assert read(device, memory.address, 10) == [0] * 10


def test_memory_goes_back_with_its_last_reference(device: CudaDevice, cuda: HostCuda) -> None:
    memory, pinned = device.allocate(10), device.pinned(10)
    part = pinned[2:4].view(np.int16)
    device.synchronise()
    assert (len(cuda.allocated), len(cuda.pinned)) == (2, 1)
    del memory, pinned
    assert (len(cuda.allocated), len(cuda.pinned)) == (1, 1)
    del part
    assert (len(cuda.allocated), len(cuda.pinned)) == (0, 0)


def test_runs_in_planes_are_copied_between_regions(device: CudaDevice) -> None:
    source, target = device.allocate(2 * 3 * 4), device.allocate(2 * 4 * 5)
    device.upload(source.address, counted(device, 24))
    device.copy(Region(target.address, 5, 4, x=3, y=2), Region(source.address, 4, 3, x=1, y=1), width=2, rows=2, planes=2)
    found = np.array(read(device, target.address, 40)).reshape(2, 4, 5)
    expected = np.zeros((2, 4, 5))
    expected[:, 2:4, 3:5] = np.arange(24).reshape(2, 3, 4)[:, 1:3, 1:3]
    assert (found == expected).all()


def test_what_is_recorded_is_done_when_it_is_launched(device: CudaDevice, cuda: HostCuda) -> None:
    source, memory = counted(device, 4), device.allocate(4)
    launch = device.record(lambda: device.upload(memory.address, source))
    assert read(device, memory.address, 4) == [0] * 4
    source[:] = 5
    launch()
    assert read(device, memory.address, 4) == [5] * 4
    assert cuda.launched == 1
    del launch
    assert not cuda.graphs


def test_a_recording_holds_what_it_was_recorded_from(device: CudaDevice) -> None:
    """It runs in the memory of that: of an execution context, say."""

    class Work:
        def __call__(self) -> None: ...

    work = Work()
    alive = weakref.ref(work)
    launch = device.record(work)
    del work
    assert alive()
    del launch
    assert not alive()


def test_nothing_is_collected_while_a_recording_runs(device: CudaDevice) -> None:
    """It might free memory of the device, which breaks a recording off."""
    collecting: list[bool] = []
    device.record(lambda: collecting.append(gc.isenabled()))
    assert (collecting, gc.isenabled()) == ([False], True)


@pytest.fixture(params=["in the work", "by CUDA"])
def refused(request: pytest.FixtureRequest, cuda: HostCuda) -> str:
    cuda.captures = request.param != "by CUDA"
    return "no such step" if cuda.captures else "cudaErrorStreamCaptureInvalidated"


def test_what_cannot_be_recorded_leaves_the_stream_usable(device: CudaDevice, refused: str) -> None:
    memory, source = device.allocate(4), counted(device, 4)

    def work() -> None:
        device.upload(memory.address, source)
        if refused == "no such step":
            raise ValueError(refused)

    with pytest.raises(RecordingError, match=refused):
        device.record(work)
    assert gc.isenabled()
    assert read(device, memory.address, 4) == [0] * 4


def test_copies_from_host_memory_of_a_library_are_not_recorded(device: CudaDevice, cuda: HostCuda) -> None:
    """They would be replayed from an address where the library has something else by then."""
    memory, own, foreign = device.allocate(4), counted(device, 4), counted(device, 4)
    kind = cuda.cudaMemcpyKind.cudaMemcpyHostToDevice

    def work() -> None:
        device.upload(memory.address, own)
        cuda.cudaMemcpyAsync(memory.address, foreign.ctypes.data, 4, kind, device.stream)

    with pytest.raises(RecordingError, match="copies 1 times from host memory of its own"):
        device.record(work)
    assert not cuda.graphs
    device.record(lambda: device.upload(memory.address, own))()
    assert read(device, memory.address, 4) == [0, 1, 2, 3]


def test_out_of_memory_says_what_would_fit(device: CudaDevice, cuda: HostCuda) -> None:
    cuda.memory = 1000
    with pytest.raises(DllmEdgeError, match=r"no memory left \(taking 2 MB of memory\): 'dllm-edge plan"):
        device.allocate(2_000_000)


def test_other_errors_are_one_line(device: CudaDevice, cuda: HostCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "cudaStreamSynchronize", lambda _: (cuda.cudaError_t.cudaErrorIllegalAddress,))
    with pytest.raises(DllmEdgeError, match="CUDA: cudaStreamSynchronize failed with cudaErrorIllegalAddress: run 'dllm-edge"):
        device.synchronise()


@pytest.fixture
def jetson(cuda: HostCuda) -> CudaDevice:
    cuda.integrated = True
    return CudaDevice()


def test_an_integrated_gpu_sees_pinned_memory_where_it_lies(device: CudaDevice, cuda: HostCuda) -> None:
    cuda.integrated = True
    jetson = CudaDevice()
    assert (jetson.shares_memory, device.shares_memory) == (True, False)
    pinned = jetson.pinned(8)
    assert jetson.shared_address(pinned) == pinned.ctypes.data
    with pytest.raises(DllmEdgeError, match="cudaHostGetDevicePointer failed with cudaErrorInvalidValue"):
        device.shared_address(device.pinned(8))


@pytest.mark.parametrize(("patience", "slept"), [(1 << 40, 1), (3, 0)], ids=["long", "short"])
def test_there_a_long_wait_sleeps(jetson: CudaDevice, cuda: HostCuda, patience: int, slept: int) -> None:
    pinned, memory = jetson.pinned(4), jetson.allocate(4)
    pinned[:] = 7
    jetson.download(pinned, memory.address)
    cuda.patience = patience
    jetson.synchronise()
    assert not pinned.any()
    assert cuda.slept == slept
    assert cuda.cudaGetLastError() == (cuda.cudaError_t.cudaSuccess,), "what runs next would take it for its own"


def test_elsewhere_no_wait_sleeps(device: CudaDevice, cuda: HostCuda) -> None:
    device.allocate(4)
    device.synchronise()
    assert not cuda.work.queue
    assert cuda.slept == 0


def test_without_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(DllmEdgeError, match="needs cuda-python, which is not installed"):
        CudaDevice()
