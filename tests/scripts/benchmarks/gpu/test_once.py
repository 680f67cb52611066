"""Each job, on the device loop over host memory, as its own process would run it; and the processes themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dllm_edge.export.bundle import export_bundle
from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.graphs.families import family_of
from dllm_edge.graphs.parameters import parameter_shapes
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.scripts.benchmarks.engine import SHAPE
from dllm_edge.scripts.benchmarks.gpu import bundles, once
from dllm_edge.scripts.benchmarks.gpu.bandwidth import measure_bandwidth
from dllm_edge.scripts.benchmarks.gpu.eager import time_torch
from dllm_edge.scripts.benchmarks.gpu.engines import open_engine
from dllm_edge.scripts.benchmarks.gpu.job import Job
from dllm_edge.scripts.benchmarks.gpu.processes import run_job
from dllm_edge.scripts.checkpoints.random_llada import SCALES
from dllm_edge.scripts.gpu_bench import PARTS, SHAPES

from ....runtime.device_engines import on_host
from ....runtime.host_cuda import HostCuda
from ....tiny import write_tiny

TINY = {
    "bos_token_id": 1021,
    "eos_token_id": 1022,
    "mask_token_id": 1023,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 1024,
}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Workload]:
    """Engines over host memory in the place of the GPU's, and what they were asked to serve."""
    asked: list[Workload] = []

    def build(bundle: Bundle, name: str, compute: str, workload: Workload) -> Any:
        asked.append(workload)
        return on_host(bundle, workload)

    monkeypatch.setattr(once, "open_engine", build)
    return asked


def test_every_part_has_a_measure() -> None:
    assert {"bandwidth", *PARTS} == set(once.MEASURES)


def run(job: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.setattr(sys, "argv", ["once", json.dumps(job.to_json())])
    once.main()
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("part", ["step", "host"])
def test_timed_parts_share_an_engine(
    part: str, tiny: Bundle, built: list[Workload], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(part, "tensorrt", "tiny", "float32", str(tiny.path), (256, 320))
    found = run(job, monkeypatch, capsys)
    assert {Profile(1, 32, 256, 32), Profile(1, 32, 320, 32)} < set(built[0].profiles)
    assert max(profile.queries for profile in built[0].profiles) == 256
    assert [row["context"] for row in found] == [256, 256, 320, 320] if part == "step" else found["context"] == 256


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_of_a_family_that_is_timed(
    shape: str, tmp_path: Path, built: list[Workload], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is written for a shape, at tiny sizes."""
    monkeypatch.setattr("dllm_edge.scripts.benchmarks.gpu.bundles.SCALES", dict.fromkeys(SCALES, SCALES["tiny"]))
    monkeypatch.setattr(bundles, "DREAM", bundles.DREAM | TINY)
    path = bundles.bundle_of(tmp_path, shape, "float32", lambda _stage, _share: None)
    for part in ("step", "host"):
        assert run(Job(part, "tensorrt", shape, "float32", str(path), (256,)), monkeypatch, capsys)
    assert len(built) == 2


def test_the_1_5b_shape_has_the_published_sizes() -> None:
    config, published = (family_of(data).config(data) for data in (bundles.DREAM, SHAPE))
    assert (config.attention, published.attention) == ("bidirectional", "block-causal")
    assert parameter_shapes(config) == parameter_shapes(published)


def test_parity_runs_every_level(
    tmp_path: Path, built: list[Workload], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    decoding = {"defaults": {"gen_length": 16, "block_length": 8}, "task": "arithmetic"}
    (checkpoint / "decoding.json").write_text(json.dumps(decoding))
    export_bundle(checkpoint, tmp_path / "bundle")
    monkeypatch.setattr(once, "SAMPLES", 3)
    report = run(Job("parity", "tensorrt", "demo", "float32", str(tmp_path / "bundle")), monkeypatch, capsys)
    assert report["passed"] is True
    assert [level["name"] for level in report["levels"]] == ["structure", "layers", "trajectory", "task"]
    assert not any("not applicable" in line for level in report["levels"] for line in level["lines"])


def test_the_torch_module_in_eager_mode(tiny: Bundle) -> None:
    rows = time_torch(tiny.config, "float32", (64,), compiled=False, device="cpu", warm_up=1, rounds=3)
    assert [(row["context"], row["compiled"], row["rounds"]) for row in rows] == [(64, False, 3)]
    assert 0 < rows[0]["seconds"] < 10


def test_the_gpu_itself(cuda: HostCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dllm_edge.scripts.benchmarks.gpu.bandwidth.copy_bandwidth", lambda _device: 3e12)
    monkeypatch.setattr(cuda, "cudaDriverGetVersion", lambda: (0, 12060), raising=False)
    about = {"gpu": "host", "compute_capability": "sm87", "cuda_driver": 12060}
    assert measure_bandwidth() == {**about, "copy_bandwidth": 3e12}


def test_an_engine_that_is_not_there_is_an_error(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(DllmEdgeError, match="TensorRT"):
        open_engine(tiny, "tensorrt", "float32", Workload(()))


def test_a_job_comes_back_with_its_error(tiny: Bundle) -> None:
    """In a process of its own, which finds no bundle."""
    job = Job("step", "onnxruntime", "tiny", "float16", "nowhere", (256,))
    found = run_job(job, 120)
    assert found["job"] == job.to_json()
    assert found["error"] == "nowhere: there is no such bundle: make one with 'dllm-edge export CHECKPOINT nowhere'"
    assert Job.from_text(json.dumps(found["job"])) == job


def test_a_job_has_a_limit() -> None:
    assert run_job(Job("bandwidth"), 0.01)["error"] == "took longer than 0 s: give more with --limit"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("", "ended without a result (it wrote nothing): send this line"),
        ("print('done')", "ended without a result (its last line is 'done'): send this line"),
        ("raise SystemExit(3)", "ended with exit code 3"),
    ],
)
def test_a_process_without_a_result_is_an_error(code: str, error: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr("dllm_edge.scripts.benchmarks.gpu.processes.once", SimpleNamespace(__name__="silent"))
    assert run_job(Job("bandwidth"), 60)["error"] == error
