"""Opening on the real CUDA provider over stubs: missing libraries, memory, dtypes; and what is recorded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest

from dllm_edge.export.bundle import export_bundle
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import WEIGHTS, Bundle
from dllm_edge.runtime.engines.onnxruntime import cuda as onnxruntime_cuda
from dllm_edge.runtime.engines.onnxruntime.cuda import WEIGHTS_OUTSIDE_ARENA, cuda_provider, open_cuda
from dllm_edge.runtime.engines.onnxruntime.executor import OnnxRuntimeExecutor

from ..... import tiny
from .libraries import STUBS
from .steps import BLOCK, OTHER, counted, lanes
from .stub_cuda import StubCuda

pytestmark = pytest.mark.cuda_host
WITHOUT_CUDNN = """
import sys
from pathlib import Path
import dllm_edge.runtime.engines.device.cuda as device
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.onnxruntime import cuda as onnxruntime_cuda
from dllm_edge.runtime.engines.onnxruntime.cuda import WEIGHTS_OUTSIDE_ARENA, cuda_provider, open_cuda
from dllm_edge.scripts.cli.doctor.gpu_checks import cudnn_check
from tests.runtime.engines.onnxruntime.cuda_host.stub_cuda import StubCuda

stub = StubCuda(Path(sys.argv[1]), cudnn=False)
device._bindings = lambda: stub
print(cudnn_check().ok)
try:
    open_cuda(Bundle.open(Path(sys.argv[2])))
except DllmEdgeError as error:
    print(error)
"""


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Path]) -> Bundle:
    return Bundle.open(tiny_bundle("llada"))


def test_a_missing_cudnn_is_found_at_opening(bundle: Bundle, site: Path, cuda: StubCuda) -> None:
    command = [sys.executable, "-c", WITHOUT_CUDNN, str(site / STUBS), str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *_, found, error = done.stdout.splitlines()
    assert found == "False"
    assert error.startswith("ONNX Runtime's CUDA provider does not find cuDNN 9: pip install 'nvidia-cudnn-cu13==9.*'")
    open_cuda(bundle)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of some megabytes, more than an arena's least piece."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"HIDDEN": 512, "INTERMEDIATE": 1280, "HEADS": 32}.items():
            patch.setattr(tiny, name, value)
        checkpoint = tiny.write_tiny(folder / "checkpoint", "llada")
    return export_bundle(checkpoint, folder / "bundle", flavour="fused", dtype="float32")


def without(left_out: str, name: str, options: dict[str, str]) -> tuple[str, dict[str, str]]:
    return name, {option: value for option, value in options.items() if option != left_out}


@pytest.mark.parametrize("left_out", ["nothing", "arena_extend_strategy", WEIGHTS_OUTSIDE_ARENA])
def test_weights_are_held_once(large: Bundle, cuda: StubCuda, monkeypatch: pytest.MonkeyPatch, left_out: str) -> None:
    """Either option is enough for the weights; without both the arena grows to 1.8 times their bytes."""
    provider, entry = cuda_provider, onnxruntime.SessionOptions.add_session_config_entry
    entries = {"add_session_config_entry": lambda own, name, value: name == left_out or entry(own, name, value)}
    chosen = type("SessionOptions", (onnxruntime.SessionOptions,), entries)
    monkeypatch.setattr(onnxruntime, "SessionOptions", chosen)
    monkeypatch.setattr(onnxruntime_cuda, "cuda_provider", lambda device: without(left_out, *provider(device)))
    before = cuda.held_bytes
    engine = open_cuda(large)
    weights = sum(record.size for name, record in large.manifest.files.items() if name.startswith(WEIGHTS))
    assert weights > 30e6
    assert weights <= cuda.peak_bytes - before <= 1.1 * weights
    assert engine.kept_rows is None


def test_each_recording_is_captured_once_and_replayed_whatever_runs_between(bundle: Bundle, cuda: StubCuda) -> None:
    engine = open_cuda(bundle)
    caches = [(BLOCK, lanes(engine, BLOCK)), (OTHER, lanes(engine, OTHER)), (BLOCK, lanes(engine, BLOCK))]
    for profile, cache in caches:
        (first,) = counted(cuda, engine, profile, cache, 1)
        assert (first["recording"], first["instantiate"]) == (1, 1)
    for profile, cache in caches * 2:
        (step,) = counted(cuda, engine, profile, cache, 1)
        assert step == {"replay": 1, "synchronise": 1}


def test_a_recording_needs_both_warm_ups(large: Bundle, cuda: StubCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one, the run takes memory, which CUDA refuses while it records; the steps then run as they are."""
    monkeypatch.setattr(OnnxRuntimeExecutor, "warm_ups", 1)
    engine = open_cuda(large)
    cache = lanes(engine, OTHER)
    with pytest.warns(UserWarning, match="could not be recorded as a CUDA graph"):
        engine.run(engine.profile(OTHER), cache)
    *_, step = counted(cuda, engine, OTHER, cache, 3)
    assert (step["upload"], step["download"], step["synchronise"]) == (1, 1, 1)
    assert step["launch"] > 10


def test_bfloat16_over_integers(tmp_path: Path, cuda: StubCuda) -> None:
    checkpoint = tiny.write_tiny(tmp_path / "checkpoint", "dream", dtype="bfloat16")
    bundle = export_bundle(checkpoint, tmp_path / "bundle", flavour="fused", dtype="bfloat16", weights="int4", group=32)
    with pytest.raises(DllmEdgeError, match="does not compute in bfloat16 over weights of integers: use --compute float32"):
        open_cuda(bundle, "bfloat16")
    assert open_cuda(bundle, "float32").cache_dtype == "float32"
    with pytest.warns(UserWarning, match="computing in float32, with caches of twice the size"):
        assert open_cuda(bundle).cache_dtype == "float32"


def test_what_fails_in_a_step_is_one_line(bundle: Bundle, cuda: StubCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_cuda(bundle)
    cache = lanes(engine, BLOCK)
    for session in engine.executor.sessions.values():  # type: ignore[attr-defined]
        monkeypatch.setattr(type(session), "run_with_iobinding", refuse)
    with pytest.raises(DllmEdgeError, match=r"ONNX Runtime [\d.]+ failed running step \(no kernel\): 'dllm-edge doctor'"):
        engine.run(engine.profile(BLOCK), cache)


def refuse(*_: object) -> None:
    raise RuntimeError("no kernel\nand a page of C++")
