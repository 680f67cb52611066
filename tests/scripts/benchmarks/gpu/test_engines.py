from __future__ import annotations

import sys

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.scripts.benchmarks.gpu.engines import open_engine


def test_an_engine_that_is_not_there_is_an_error(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DllmEdgeError, match="TensorRT"):
        open_engine(tiny, "tensorrt", "float32", Workload(()))
