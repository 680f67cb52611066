from __future__ import annotations

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.scripts.benchmarks.gpu.eager import time_torch


def test_the_torch_module_in_eager_mode(tiny: Bundle) -> None:
    rows = time_torch(tiny.config, "float32", (64,), compiled=False, device="cpu", warm_up=1, rounds=3)
    assert [(row["context"], row["compiled"], row["rounds"]) for row in rows] == [(64, False, 3)]
    assert 0 < rows[0]["seconds"] < 10
