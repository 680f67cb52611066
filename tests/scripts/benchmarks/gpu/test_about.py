from __future__ import annotations

from pathlib import Path

import pytest

from dllm_edge.scripts.benchmarks.gpu import about
from dllm_edge.scripts.benchmarks.gpu.about import about_device
from dllm_edge.scripts.cli.doctor.hardware import probe

from ....runtime.host_cuda import HostCuda
from ...cli.doctor.machines import DESKTOP


def test_what_the_gpu_is(cuda: HostCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cuda, "cudaDriverGetVersion", lambda: (0, 12060), raising=False)
    monkeypatch.setattr(about, "probe", lambda: probe(DESKTOP.write(tmp_path), DESKTOP.ask))
    expected = {"gpu": "host", "compute_capability": "sm87", "shares_memory": False, "driver": "580.95.05"}
    assert about_device() == {**expected, "cuda_driver": 12060}
