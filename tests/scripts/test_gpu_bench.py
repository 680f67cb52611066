"""What `gpu_bench` plans, keeps going through, and prints; nothing here needs a GPU."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.scripts import gpu_bench
from dllm_edge.scripts.benchmarks.gpu import bundles, processes
from dllm_edge.scripts.benchmarks.gpu.findings import findings
from dllm_edge.scripts.benchmarks.gpu.job import Job
from dllm_edge.scripts.gpu_bench import PARTS, main, plan_jobs

from .conftest import parsed

BANDWIDTH = 3e12


GPU = {"gpu": "a GPU", "compute_capability": "sm90", "driver": "580.159.04", "cuda_driver": 13000}


def step_rows(seconds: float) -> list[dict[str, Any]]:
    shared = {"context": 512, "bytes": 3_000_000_000, "engine_host_seconds": 2e-5, "rounds": 100}
    return [{"cuda_graph": graph, "seconds": seconds * (1 if graph else 2), **shared} for graph in (False, True)]


def result_of(job: Job) -> Any:
    return {
        "device": GPU,
        "bandwidth": {"copy_bandwidth": BANDWIDTH},
        "copies": [{"bytes": 65536, "seconds": {"upload": 1e-5, "within": 5e-6, "download": 1e-5}}],
        "recording": {"replays": 100, "replay_seconds": 2e-5, "launched_seconds": 3e-5},
        "parity": {"levels": [{"name": "layers", "passed": True, "data": {}}, {"name": "task", "passed": False, "data": {}}]},
        "step": step_rows(0.00125),
        "host": {"host_seconds": 8e-5},
        "torch": [{"context": 512, "seconds": 0.005 if job.engine == "torch" else 0.002}],
        "attention": [{"heads": "h", "slots": 2048, "seconds": {"keys and values": 3e-5, "scores": 2e-5}, "ratio": 1.5}],
    }[job.part]


def run_job(job: Job, limit: float) -> dict[str, Any]:
    """Everything runs but TensorRT."""
    if job.engine == "tensorrt":
        return {"job": job.to_json(), "seconds": 0.0, "error": "TensorRT is not installed: install it"}
    return {"job": job.to_json(), "seconds": 1.0, "result": result_of(job)}


@pytest.fixture
def bench(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., tuple[Any, str, str]]:
    monkeypatch.setattr(processes, "run_job", run_job)
    monkeypatch.setattr(bundles, "bundle_of", lambda folder, shape, compute, report: folder / f"{shape}-{compute}")

    def run(*options: str) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["gpu_bench", *options])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run


def test_numbers_and_goals(bench: Callable[..., tuple[Any, str, str]], tmp_path: Path) -> None:
    kept = tmp_path / "gpu.json"
    code, out, _ = bench("--shapes", "1.5b", "--types", "float16", "--contexts", "512", "--output", str(kept), "--json")
    data = parsed(out)
    assert not code
    assert parsed(kept.read_text()) == data
    assert set(data) == {"date", "machine", "gpu", "versions", "findings", "outcomes"}
    numbers = {finding["name"]: finding for finding in data["findings"]}
    label = "tensorrt-rtx, 1.5b, float16"
    # 3 GB in 1.25 ms are 2.4 TB/s, of 3.
    share = numbers[f"{label}: step over 512, CUDA graph: share of the copies' bandwidth"]
    assert (share["value"], share["met"]) == (pytest.approx(80.0), True)
    assert numbers[f"{label}: over 512, faster than torch"]["value"] == pytest.approx(4.0)
    assert numbers[f"{label}: over 512, faster than torch"]["met"] is True
    assert numbers[f"{label}: over 512, faster than torch.compile"]["met"] is None
    assert numbers[f"{label}: host, a block step"]["value"] == pytest.approx(80.0)
    assert numbers["onnxruntime, demo, float32: parity, task"]["met"] is False
    assert numbers["onnxruntime, float16: attention, h, 2048 slots"]["text"] == "keys and values 30 us, scores 20 us: 1.50x"


def test_what_did_not_run_is_said(bench: Callable[..., tuple[Any, str, str]]) -> None:
    code, out, _ = bench("--shapes", "135m", "--types", "bfloat16", "--contexts", "512", "--parts", "step")
    assert not code
    assert "not measured: step, tensorrt, 135m, bfloat16: TensorRT is not installed: install it" in out
    assert "2.500 ms" in out


def test_large_shapes_are_announced(bench: Callable[..., tuple[Any, str, str]]) -> None:
    assert "16 GB" not in bench("--parts", "step", "--json")[2]
    assert "8B shape: 16 GB" in bench("--parts", "step", "--shapes", "8b", "--json")[2]


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    gone = {"job": Job("device").to_json(), "seconds": 0.1, "error": "there is no CUDA device here: run 'dllm-edge doctor'"}
    monkeypatch.setattr(processes, "run_job", lambda job, limit: gone)
    monkeypatch.setattr(sys, "argv", ["gpu_bench"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr() == ("", "error: there is no CUDA device here: run 'dllm-edge doctor'\n")


def test_jobs() -> None:
    jobs = plan_jobs(("step", "torch"), ("135m",), ("tensorrt", "onnxruntime"), ("float16",), (512,))
    assert [job.label for job in jobs] == [
        "torch, torch, 135m, float16",
        "torch, torch.compile, 135m, float16",
        "step, tensorrt, 135m, float16",
        "step, onnxruntime, 135m, float16",
    ]
    parity = plan_jobs(("parity",), (), ("onnxruntime",), ("float16",), (512,))
    assert [job.compute for job in parity] == ["float32", "float16"]
    assert {job.part for job in plan_jobs(PARTS, ("tiny",), ("onnxruntime",), ("float16",), (512,))} == set(PARTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shapes", "9b"), "unknown shape '9b': choose one of tiny, 135m, 1.5b, 8b"),
        (("--shapes", ""), "--shapes '' names no shape"),
        (("--parts", "luck"), "unknown part 'luck': choose one of bandwidth"),
        (("--engines", "abacus"), "unknown engine 'abacus': choose one of tensorrt"),
        (("--types", "int3"), "unknown type 'int3': choose one of float32"),
        (("--contexts", "many"), "--contexts many: must be numbers from 256 to"),
        (("--contexts", "128"), "--contexts 128: must be numbers from 256 to"),
    ],
)
def test_bad_options_get_one_line(bench: Callable[..., tuple[Any, str, str]], options: tuple[str, str], message: str) -> None:
    code, out, err = bench(*options)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")


def test_a_model_that_cannot_be_made_is_an_outcome(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> Path:
        raise DllmEdgeError("no space left: free 16 GB")

    monkeypatch.setattr(bundles, "bundle_of", refuse)
    jobs = [Job("step", "onnxruntime", "8b", "float16"), Job("attention", "onnxruntime", "", "float16")]
    first, second = gpu_bench.run_all(jobs, tmp_path, lambda _stage, _share: None, lambda job: run_job(job, 1))
    assert first["error"] == "no space left: free 16 GB"
    assert "result" in second
    assert len(findings([first, second])) == 1


def test_a_full_disk_is_an_outcome(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fill(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bundles, "bundle_of", fill)
    jobs = [Job("step", "onnxruntime", "8b", "float16"), Job("attention", "onnxruntime", "", "float16")]
    first, second = gpu_bench.run_all(jobs, tmp_path, lambda _stage, _share: None, lambda job: run_job(job, 1))
    assert first["error"] == (
        f"step, onnxruntime, 8b, float16 failed in {tmp_path} ([Errno 28] No space left on device): "
        "free space there, or give another path with --folder"
    )
    assert "result" in second


def test_results_are_shown_where_they_cannot_be_kept(bench: Callable[..., tuple[Any, str, str]], tmp_path: Path) -> None:
    code, out, error = bench("--parts", "step", "--shapes", "135m", "--output", str(tmp_path), "--json")
    assert code == 2
    assert parsed(out)["outcomes"]
    assert error.endswith(f"error: {tmp_path}: Is a directory\n")


SMALL = ("--shapes", "135m,1.5b", "--types", "float16", "--contexts", "512", "--engines", "onnxruntime")
FIRST = ("--first-hour", *SMALL, "--json")


def labels(data: dict[str, Any]) -> list[str]:
    return [Job(**outcome["job"]).label for outcome in data["outcomes"]]


def test_a_first_hour_goes_from_part_to_part(bench: Callable[..., tuple[Any, str, str]]) -> None:
    code, out, _ = bench(*FIRST)
    assert not code
    assert labels(parsed(out)) == [
        "bandwidth",
        "copies",
        "recording",
        "parity, onnxruntime, demo, float32",
        "parity, onnxruntime, demo, float16",
        "step, onnxruntime, 135m, float16",
        "step, onnxruntime, 1.5b, float16",
        "host, onnxruntime, 135m, float16",
        "host, onnxruntime, 1.5b, float16",
    ]
    numbers = {finding["name"]: finding["text"] for finding in parsed(out)["findings"]}
    assert numbers["copy of 64 KiB, within"] == "5 us, 13.1 GB/s"
    assert numbers["three copies recorded, 100 replays all right"] == "20 us, launched one by one 30 us"


@pytest.fixture
def ran(bench: Callable[..., tuple[Any, str, str]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels of the jobs that were run; the process itself is interrupted in the fourth."""
    done: list[str] = []

    def run(job: Job, limit: float) -> dict[str, Any]:
        done.append(job.label)
        if len(done) == 4:
            raise KeyboardInterrupt
        return run_job(job, limit)

    monkeypatch.setattr(processes, "run_job", run)
    return done


def test_what_is_measured_is_kept_and_not_measured_again(
    bench: Callable[..., tuple[Any, str, str]], ran: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "gpu.json"
    assert bench(*FIRST, "--output", str(kept))[0] == 130
    data = parsed(kept.read_text())
    assert labels(data) == ["bandwidth", "copies"]
    assert data["gpu"]["driver"] == "580.159.04"
    assert data["date"][:2] == "20"
    ran[:] = ["before"] * 4
    assert not bench(*FIRST, "--output", str(kept))[0]
    assert ran[4:7] == ["device", "recording", "parity, onnxruntime, demo, float32"]
    assert len(labels(parsed(kept.read_text()))) == 9
    ran[:] = ["before"] * 4
    assert not bench(*FIRST, "--output", str(kept))[0]
    assert ran[4:] == ["device"]
    ran[:] = ["before"] * 4
    assert not bench(*FIRST, "--output", str(kept), "--again")[0]
    assert len(ran[4:]) == 10


def test_what_failed_is_measured_again(bench: Callable[..., tuple[Any, str, str]], ran: list[str], tmp_path: Path) -> None:
    ran[:] = ["before"] * 4
    for _ in range(2):
        bench("--parts", "step", "--shapes", "135m", "--types", "float16", "--output", str(tmp_path / "gpu.json"))
    assert ran[-2:] == ["device", "step, tensorrt, 135m, float16"]


@pytest.mark.parametrize("other", ["gpu", "versions", "text"])
def test_a_file_of_something_else_is_not_overwritten(
    other: str, bench: Callable[..., tuple[Any, str, str]], tmp_path: Path
) -> None:
    kept = tmp_path / "gpu.json"
    bench("--parts", "bandwidth", "--output", str(kept))
    data = parsed(kept.read_text())
    kept.write_text("my diary" if other == "text" else json.dumps(data | {other: {}}))
    before = kept.read_text()
    code, out, err = bench("--parts", "bandwidth", "--output", str(kept))
    assert (code, out, kept.read_text()) == (2, "", before)
    reason = "is no result of this benchmark" if other == "text" else "holds results of another GPU, driver or version"
    assert err == f"error: {kept}: {reason}: give another --output, or --again to measure all of it anew\n"
    assert not bench("--parts", "bandwidth", "--output", str(kept), "--again")[0]
