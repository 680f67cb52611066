from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from dllm_edge.graphs.modules.log1p import log1p

X = np.concatenate((np.geomspace(1e-45, 2e5, 4000), 1 / 6 + np.linspace(-1e-6, 1e-6, 101), [0.0])).astype(np.float32)


def relative_error(actual: NDArray[np.float32]) -> float:
    exact = np.log1p(X.astype(np.float64))
    # Of numbers so small that float32 has no 24 bits for them, the difference in its last place.
    return float((np.abs(actual - exact) / np.maximum(exact, 1e-38)).max())


def test_log1p_in_torch() -> None:
    assert relative_error(log1p(torch.from_numpy(X)).numpy()) < 5e-7


class Log1p(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return log1p(x)


@pytest.mark.parametrize("opset", [18, 23])
def test_log1p_in_onnx_runtime(tmp_path: Path, opset: int) -> None:
    """With all of its optimisations."""
    program = torch.onnx.export(Log1p().eval(), (torch.zeros(len(X)),), input_names=["x"], opset_version=opset, dynamo=True)
    assert program is not None
    program.save(tmp_path / "log1p.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "log1p.onnx", providers=["CPUExecutionProvider"])
    (actual,) = session.run(None, {"x": X})
    assert relative_error(actual) < 5e-7
