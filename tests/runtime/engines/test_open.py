from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines import open as registry
from dllm_edge.runtime.engines.backend import Backend
from dllm_edge.runtime.engines.open import BACKENDS, choose_device, open_engine

from ..numpy_engine import ENDLESS, NumpyEngine


@pytest.fixture
def bundle(handed_down: Callable[[str], Path]) -> Bundle:
    return Bundle.open(handed_down("llada"))


@pytest.mark.parametrize(
    ("name", "device", "chosen"),
    [
        ("onnxruntime", None, "cpu"),
        ("onnxruntime", "cuda", "cuda"),
        ("tensorrt", None, "cuda"),
        ("tensorrt-rtx", "cuda", "cuda"),
    ],
)
def test_the_preferred_device_unless_another_is_asked_for(name: str, device: str | None, chosen: str) -> None:
    assert choose_device(name, device) == chosen


@pytest.mark.parametrize(
    ("name", "device", "message"),
    [
        ("openvino", None, "unknown engine 'openvino': choose one of onnxruntime, tensorrt, tensorrt-rtx"),
        ("onnxruntime", "npu", "onnxruntime does not run on device 'npu': use cpu or cuda"),
        ("tensorrt-rtx", "cpu", "tensorrt-rtx does not run on device 'cpu': use cuda"),
    ],
)
def test_what_it_does_not_know(name: str, device: str | None, message: str, bundle: Bundle) -> None:
    with pytest.raises(DllmEdgeError, match=message):
        open_engine(bundle, name, device)


def test_onnxruntime_on_a_cpu(bundle: Bundle) -> None:
    engine = open_engine(bundle, "onnxruntime", threads=2)
    assert (engine.name, engine.cache_dtype, engine.sizes.profiles) == ("onnxruntime", "float32", None)
    assert engine.versions == {"onnxruntime": onnxruntime.__version__}
    loaded = engine.loaded_step()
    assert loaded
    assert loaded.library == "onnxruntime"
    assert "input_ids" in [value.name for value in loaded.handle.get_inputs()]
    assert loaded.handle.get_session_options().intra_op_num_threads == 2


def test_onnxruntime_in_another_dtype(tiny_bundle: Callable[..., Path]) -> None:
    pytest.importorskip("torch", reason="a float16 bundle is exported with torch")
    half = Bundle.open(tiny_bundle("llada", "float16"))
    assert open_engine(half, "onnxruntime", "cpu", 1, "float16").cache_dtype == "float16"
    assert open_engine(half, "onnxruntime", "cpu", 1).cache_dtype == "float32"


def test_a_backend_gets_what_was_asked_for(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def opener(bundle: Bundle, name: str, device: str, threads: int, compute_dtype: str | None) -> NumpyEngine:
        asked.append((bundle, name, device, threads, compute_dtype))
        return NumpyEngine(ENDLESS)

    monkeypatch.setitem(registry.BACKENDS, "numpy", Backend(("numpy",), ("cpu", "npu"), opener))
    engine = open_engine(bundle, "numpy", threads=3, compute_dtype="float64")
    assert asked == [(bundle, "numpy", "cpu", 3, "float64")]
    assert engine.loaded_step() is None


def test_a_gpu_gets_the_bundle_and_the_dtype(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def open_cuda(bundle: Bundle, compute_dtype: str | None = None) -> NumpyEngine:
        asked.append((bundle, compute_dtype))
        return NumpyEngine(ENDLESS)

    monkeypatch.setattr("dllm_edge.runtime.engines.onnxruntime.backend.require_onnxruntime", lambda _: None)
    monkeypatch.setattr("dllm_edge.runtime.engines.onnxruntime.cuda.open_cuda", open_cuda)
    open_engine(bundle, "onnxruntime", "cuda", compute_dtype="float16")
    assert asked == [(bundle, "float16")]


def test_names_are_their_backends() -> None:
    assert all(name in backend.names and backend.devices for name, backend in BACKENDS.items())


def test_a_library_is_imported_when_its_engine_is_opened(tmp_path: Path) -> None:
    code = "import sys, dllm_edge.runtime.engines.open; print({'onnxruntime', 'tensorrt', 'cuda'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("threads", ["2", -1, 1.5, True, None, 10**6])
def test_threads_are_a_whole_number(threads: Any, bundle: Bundle) -> None:
    with pytest.raises(DllmEdgeError, match="threads is"):
        open_engine(bundle, "onnxruntime", threads=threads)


def test_compute_is_a_name(bundle: Bundle) -> None:
    unnamed: Any = 5
    with pytest.raises(DllmEdgeError, match="compute is 5; it must be text"):
        open_engine(bundle, "onnxruntime", compute_dtype=unnamed)
