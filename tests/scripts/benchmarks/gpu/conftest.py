from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.scripts.benchmarks.gpu import once
from dllm_edge.scripts.benchmarks.gpu.job import Job

from ....runtime.device_engines import on_host
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


@pytest.fixture
def workloads(monkeypatch: pytest.MonkeyPatch) -> list[Workload]:
    """Have engines over host memory instead of the GPU's; the workloads that they were asked to serve."""
    asked: list[Workload] = []

    def build(bundle: Bundle, name: str, compute: str, workload: Workload) -> Any:
        asked.append(workload)
        return on_host(bundle, workload)

    monkeypatch.setattr(once, "open_engine", build)
    return asked


@pytest.fixture
def result_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[Job], Any]:
    """Run a job as its own process would, in this one: its result."""

    def run(job: Job) -> Any:
        monkeypatch.setattr(sys, "argv", ["once", json.dumps(job.to_json())])
        once.main()
        return json.loads(capsys.readouterr().out)

    return run
