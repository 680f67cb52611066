"""ONNX Runtime on CUDA, as far as a machine without a GPU can tell: what stays on the host, and what is missing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import onnxruntime
import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.device.cuda import CudaDevice
from dllm_edge.runtime.engines.onnxruntime import cuda as onnxruntime_cuda
from dllm_edge.runtime.engines.onnxruntime.cpu import open_session
from dllm_edge.runtime.engines.onnxruntime.cuda import (
    PROVIDER,
    RECORD_ASSIGNMENT,
    _compute_dtype,
    cuda_provider,
    left_on_host,
    open_cuda,
)

from ...host_cuda import HostCuda


@pytest.fixture
def bundle(handed_down: Callable[[str], Path]) -> Bundle:
    return Bundle.open(handed_down("llada"))


def test_without_the_provider(bundle: Bundle) -> None:
    if PROVIDER in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(DllmEdgeError, match="has no CUDA provider: 'pip uninstall onnxruntime', then"):
        open_cuda(bundle)


@pytest.mark.parametrize(
    ("compute", "quantised", "wanted", "found"),
    [
        ("bfloat16", True, None, "float32"),
        ("bfloat16", False, None, "bfloat16"),
        ("float16", True, None, "float16"),
        ("bfloat16", True, "float16", "float16"),
    ],
)
def test_integers_are_not_dequantised_to_bfloat16(compute: str, quantised: bool, wanted: str | None, found: str) -> None:
    bundle = SimpleNamespace(
        path="b",
        manifest=SimpleNamespace(compute=compute, weights=SimpleNamespace(quantised=quantised)),
        graph=lambda _, dtype: SimpleNamespace(compute=dtype),
    )
    with pytest.warns(UserWarning, match="computing in float32") if found == "float32" else nullcontext():
        assert _compute_dtype(bundle, wanted) == found  # type: ignore[arg-type]
    if quantised:
        with pytest.raises(DllmEdgeError, match="over weights of integers: use --compute float32"):
            _compute_dtype(bundle, "bfloat16")  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"), reason="since 1.24")
def test_operators_that_stay_on_the_host_are_named(bundle: Bundle) -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(RECORD_ASSIGNMENT, "1")
    session = open_session(bundle, bundle.graph(["portable"], "float32"), options, ["CPUExecutionProvider"])
    left = left_on_host(session.get_provider_graph_assignment_info())
    # Of keys and values, too, are there Concats; those of shapes alone are no loss.
    assert {"Concat", "MatMul", "Mul", "Softmax", "TopK"} <= set(left)
    assert "Shape" not in left


def test_the_portable_flavour_is_tried_where_the_fused_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Bundle, graph: object, __: object) -> str:
        if getattr(graph, "flavour", "") == "fused":
            raise DllmEdgeError("step.onnx: no CUDA kernel for Attention")
        return "session"

    monkeypatch.setattr(onnxruntime_cuda, "_open", refuse)
    with pytest.warns(UserWarning, match="no CUDA kernel for Attention; trying the portable flavour"):
        assert onnxruntime_cuda._first_that_fits(bundle, "float32", ["fused", "portable"], None) == "session"
    with pytest.raises(DllmEdgeError, match="no CUDA kernel for Attention"):
        onnxruntime_cuda._first_that_fits(bundle, "float32", ["fused"], None)


def test_float32_is_computed_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the provider computes its products in TF32, of 10 bits."""
    pytest.importorskip("cuda.bindings.runtime", reason="its types are what the device hands to CUDA")
    monkeypatch.setattr("dllm_edge.runtime.engines.device.cuda._bindings", HostCuda)
    name, options = cuda_provider(CudaDevice())
    assert (name, options["use_tf32"], options["user_compute_stream"]) == (PROVIDER, "0", "77")
