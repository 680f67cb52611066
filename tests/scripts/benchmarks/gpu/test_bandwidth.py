from __future__ import annotations

import pytest

from dllm_edge.graphs.config import ModelConfig
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import family_of
from dllm_edge.runtime.engines.device.cuda import CudaDevice
from dllm_edge.scripts.benchmarks.gpu.bandwidth import copy_bandwidth, measure_bandwidth, share, step_bytes

from ....runtime.host_cuda import HostCuda
from ....tiny import HEAD_DIM, HEADS, HIDDEN, INTERMEDIATE, LAYERS, VOCABULARY, config_json

LAYER = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * INTERMEDIATE + 2 * HIDDEN
HEAD = VOCABULARY * HIDDEN + HIDDEN


def config(tie: bool) -> ModelConfig:
    data = config_json("llada", tie=tie)
    return family_of(data).config(data)


@pytest.mark.parametrize("tie", [False, True])
@pytest.mark.parametrize(("compute", "item"), [("float16", 2), ("float32", 4)])
def test_what_a_step_reads_and_writes(tie: bool, compute: str, item: int) -> None:
    """Every weight; of the embedding, unless it is the LM head as well, the rows of the 32 tokens; keys and values of cache and
    step are read and written where they are put together, and read by attention."""
    cache = 3 * 2 * LAYERS * HEADS * HEAD_DIM * (512 + 32)
    rows = 0 if tie else 32 * HIDDEN
    expected = item * (LAYERS * LAYER + HEAD + rows + cache)
    assert step_bytes(config(tie), compute, Profile(1, 32, 512, 32)) == expected  # type: ignore[arg-type]


def test_share_of_the_bandwidth() -> None:
    """3 GB in 2 ms are 1.5 TB/s: half of 3 TB/s."""
    assert share(3_000_000_000, 0.002, 3e12) == pytest.approx(0.5)


def test_copies_count_what_is_read_and_written(cuda: HostCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    device, clock = CudaDevice(), iter(range(100))
    monkeypatch.setattr("dllm_edge.scripts.benchmarks.gpu.bandwidth.time.perf_counter", lambda: float(next(clock)))
    # A second between any two looks at the clock: 4 copies of 1,000 bytes, each read and written.
    assert copy_bandwidth(device, nbytes=1000, copies=4, rounds=3) == 8000


def test_a_copy_that_fails_is_an_error(cuda: HostCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = (cuda.cudaError_t.cudaErrorInvalidValue,)
    monkeypatch.setattr(cuda, "cudaMemcpyAsync", lambda *_: refused)
    with pytest.raises(DllmEdgeError, match="copying within the GPU failed with cudaErrorInvalidValue"):
        copy_bandwidth(CudaDevice(), nbytes=1000, copies=1, rounds=1)


def test_the_gpu_that_is_there(cuda: HostCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dllm_edge.scripts.benchmarks.gpu.bandwidth.copy_bandwidth", lambda _device: 3e12)
    assert measure_bandwidth() == {"copy_bandwidth": 3e12}
