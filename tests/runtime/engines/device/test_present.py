from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from dllm_edge.runtime.engines.device.present import present_compute_capability


def runtime(error: str) -> Any:
    """CUDA's runtime of a machine with a GPU of compute capability 8.7, whose answers come with `error`."""
    attributes = SimpleNamespace(cudaDevAttrComputeCapabilityMajor=8, cudaDevAttrComputeCapabilityMinor=7)
    return SimpleNamespace(
        cudaDeviceAttr=attributes,
        cudaError_t=SimpleNamespace(cudaSuccess="success"),
        cudaDeviceGetAttribute=lambda attribute, device: (error, attribute),
    )


@pytest.mark.parametrize(("error", "seen"), [("success", "sm87"), ("cudaErrorNoDevice", None)])
def test_the_gpu_that_is_there(error: str, seen: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=runtime(error)))
    assert present_compute_capability() == seen


def test_without_cuda_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert present_compute_capability() is None
