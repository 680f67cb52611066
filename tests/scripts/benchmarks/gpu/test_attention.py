"""Both forms of attention give the same numbers; TensorRT-RTX builds them."""

from __future__ import annotations

import json
from importlib.util import find_spec
from math import prod
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
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

ATTENTION = Attention(heads=4, kv_heads=2, head_dim=8, queries=3, compute="float32")


def arrays(slots: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {spec.name: generator.standard_normal(spec.sized({"C": slots}), dtype=np.float32) for spec in ATTENTION.specs()[0]}


def by_hand(given: dict[str, np.ndarray]) -> np.ndarray:
    key, value = (np.concatenate([given[f"past_{name}"], given[f"new_{name}"]], 2) for name in ("key", "value"))
    scores = given["query"] @ key.swapaxes(2, 3) / np.sqrt(8)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    found: np.ndarray = weights / weights.sum(-1, keepdims=True) @ value
    return found


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_attention(form: str) -> None:
    graph = ATTENTION.graph(form)
    onnx.checker.check_model(graph, full_check=True)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    given = arrays(16)
    (found,) = session.run(None, given)
    assert np.allclose(found, by_hand(given), atol=1e-5)
    assert [node.op_type for node in graph.graph.node].count("Concat") == (1 if form == "scores" else 2)


def test_forms_are_timed() -> None:
    found = time_forms(HostDevice(), on_onnxruntime(["CPUExecutionProvider"], "cpu"), ATTENTION, 64, rounds=3)
    assert set(found) == set(FORMS)
    assert all(0 < seconds < 1 for seconds in found.values())


@pytest.mark.parametrize("form", FORMS)
def test_forms_run_on_tensorrt(form: str, cuda: HostCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With all that TensorRT wants to be given, scratch memory too, as long as a launch is kept."""

    def build(_library: Library, graph: bytes, shapes: Shapes, _target: str) -> bytes:
        (tmp_path / form).write_bytes(graph)
        return json.dumps({"graph": str(tmp_path / form), "profiles": [shapes]}).encode()

    monkeypatch.setattr(attention_engines, "build_plan", build)
    device, given = CudaDevice(), arrays(16)
    specs = ATTENTION.specs()
    memory = {spec.name: device.allocate(prod(spec.sized({"C": 16})) * 4) for spec in (*specs[0], *specs[1])}
    for name, array in given.items():
        device.upload(memory[name].address, array.reshape(-1).view(np.uint8))
    shapes = {name: array.shape for name, array in given.items()}
    prepare = on_tensorrt(device, library_of("tensorrt", HostTensorRT(cuda)))
    held = len(cuda.allocated)
    launch = prepare(
        ATTENTION.graph(form).SerializeToString(), ATTENTION, shapes, {name: m.address for name, m in memory.items()}
    )
    assert len(cuda.allocated) == held + 1
    launch()
    device.synchronise()
    found = at(memory["attended"].address, memory["attended"].nbytes).view(np.float32)
    assert np.allclose(found, by_hand(given).reshape(-1), atol=1e-5)


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx")
@pytest.mark.parametrize("form", FORMS)
def test_forms_build(form: str) -> None:
    attention = Attention(heads=4, kv_heads=2, head_dim=64, queries=32, compute="float16")
    shapes = {spec.name: spec.sized({"C": 128}) for spec in attention.specs()[0]}
    library = find_library("tensorrt-rtx")
    assert build_plan(library, attention.graph(form).SerializeToString(), shapes, "sm86").nbytes > 0
    with pytest.raises(DllmEdgeError, match="could not build one layer's attention"):
        build_plan(library, b"no graph", shapes, "sm86")
