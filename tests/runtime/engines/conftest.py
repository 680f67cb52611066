from __future__ import annotations

import pytest

from ..host_cuda import HostCuda


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> HostCuda:
    """CUDA's runtime over host memory, in the place of the real bindings."""
    runtime = HostCuda()
    monkeypatch.setattr("dllm_edge.runtime.engines.device.cuda._bindings", lambda: runtime)
    return runtime
