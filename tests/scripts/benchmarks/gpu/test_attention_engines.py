from __future__ import annotations

import json
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np
import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.engines.device.cuda import CudaDevice
from dllm_edge.runtime.engines.profiles import Shapes
from dllm_edge.runtime.engines.tensorrt.library import Library, find_library, library_of
from dllm_edge.scripts.benchmarks.gpu import attention_engines
from dllm_edge.scripts.benchmarks.gpu.attention import FORMS, Attention
from dllm_edge.scripts.benchmarks.gpu.attention_engines import build_plan, on_onnxruntime, on_tensorrt, time_forms

from ....runtime.host_cuda import HostCuda
from ....runtime.host_device import HostDevice
from ....runtime.host_memory import at
from ....runtime.host_tensorrt import HostTensorRT
from .attention_inputs import ATTENTION, arrays, by_hand


def test_forms_are_timed() -> None:
    seconds = time_forms(HostDevice(), on_onnxruntime(["CPUExecutionProvider"], "cpu"), ATTENTION, 64, rounds=3)
    assert set(seconds) == set(FORMS)
    assert all(0 < median < 1 for median in seconds.values())


@pytest.mark.parametrize("form", FORMS)
def test_forms_run_on_tensorrt(form: str, cuda: HostCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With all that TensorRT wants to be set, scratch memory too, as long as a launch is kept."""

    def build(_library: Library, graph: bytes, shapes: Shapes, _target: str) -> bytearray:
        (tmp_path / form).write_bytes(graph)
        return bytearray(json.dumps({"graph": str(tmp_path / form), "profiles": [shapes]}).encode())

    monkeypatch.setattr(attention_engines, "build_plan", build)
    device, inputs = CudaDevice(), arrays(16)
    specs = ATTENTION.specs()
    memory = {spec.name: device.allocate(prod(spec.sized({"C": 16})) * 4) for spec in (*specs[0], *specs[1])}
    for name, array in inputs.items():
        device.upload(memory[name].address, array.reshape(-1).view(np.uint8))
    shapes = {name: array.shape for name, array in inputs.items()}
    prepare = on_tensorrt(device, library_of("tensorrt", HostTensorRT(cuda)))
    held = len(cuda.allocated)
    launch = prepare(
        ATTENTION.graph(form).SerializeToString(), ATTENTION, shapes, {name: m.address for name, m in memory.items()}
    )
    assert len(cuda.allocated) == held + 1
    launch()
    device.synchronise()
    attended = at(memory["attended"].address, memory["attended"].nbytes).view(np.float32)
    assert np.allclose(attended, by_hand(inputs).reshape(-1), atol=1e-5)


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx")
@pytest.mark.parametrize("form", FORMS)
def test_forms_build(form: str) -> None:
    attention = Attention(heads=4, kv_heads=2, head_dim=64, queries=32, compute="float16")
    shapes = {spec.name: spec.sized({"C": 128}) for spec in attention.specs()[0]}
    library = find_library("tensorrt-rtx")
    assert build_plan(library, attention.graph(form).SerializeToString(), shapes, "sm86")
    with pytest.raises(DllmEdgeError, match="could not build one layer's attention"):
        build_plan(library, b"no graph", shapes, "sm86")
