from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle

from ....runtime.host_cuda import HostCuda


@pytest.fixture
def tiny(tiny_bundle: Callable[..., Path]) -> Bundle:
    return Bundle.open(tiny_bundle("llada"))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> HostCuda:
    pytest.importorskip("cuda.bindings.runtime", reason="its types are what the device hands to CUDA")
    runtime = HostCuda()
    monkeypatch.setattr("dllm_edge.runtime.engines.device.cuda._bindings", lambda: runtime)
    return runtime
