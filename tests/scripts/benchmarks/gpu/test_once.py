"""Each job, on the device loop over host memory, as its own process would run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.bundle import export_bundle
from dllm_edge.graphs.contract import Profile
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.scripts.benchmarks.gpu import once
from dllm_edge.scripts.benchmarks.gpu.job import Job
from dllm_edge.scripts.gpu_bench import PARTS

from ....tiny import write_tiny


def test_every_part_has_a_measure() -> None:
    assert {"device", *PARTS} == set(once.MEASURES)


@pytest.mark.parametrize("part", ["step", "host"])
def test_timed_parts_share_an_engine(
    part: str, tiny: Bundle, workloads: list[Workload], result_of: Callable[[Job], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(part, "tensorrt", "tiny", "float32", str(tiny.path), (256, 320))
    result = result_of(job)
    assert {Profile(1, 32, 256, 32), Profile(1, 32, 320, 32)} < set(workloads[0].profiles)
    assert max(profile.queries for profile in workloads[0].profiles) == 256
    assert [row["context"] for row in result] == [256, 256, 320, 320] if part == "step" else result["context"] == 256


def test_parity_runs_every_level(
    tmp_path: Path, workloads: list[Workload], result_of: Callable[[Job], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint", "llada")
    decoding = {"defaults": {"gen_length": 16, "block_length": 8}, "task": "arithmetic"}
    (checkpoint / "decoding.json").write_text(json.dumps(decoding))
    export_bundle(checkpoint, tmp_path / "bundle")
    monkeypatch.setattr(once, "SAMPLES", 3)
    report = result_of(Job("parity", "tensorrt", "demo", "float32", str(tmp_path / "bundle")))
    assert report["passed"] is True
    assert [level["name"] for level in report["levels"]] == ["structure", "layers", "trajectory", "task"]
    assert not any("not applicable" in line for level in report["levels"] for line in level["lines"])
