from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.scripts.benchmarks.gpu.job import Job
from dllm_edge.scripts.benchmarks.gpu.processes import run_job


def test_a_job_comes_back_with_its_error(tiny: Bundle) -> None:
    """In a process of its own, which finds no bundle."""
    job = Job("step", "onnxruntime", "tiny", "float16", "nowhere", (256,))
    outcome = run_job(job, 120)
    assert outcome["job"] == job.to_json()
    assert outcome["error"] == "nowhere: there is no such bundle: make one with 'dllm-edge export CHECKPOINT nowhere'"
    assert Job.from_text(json.dumps(outcome["job"])) == job


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
