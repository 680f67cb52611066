from __future__ import annotations

import json
import platform
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import MANIFEST
from dllm_edge.runtime.engines.tensorrt.engine_folder import EngineFolder, engines_of, find_engine
from dllm_edge.runtime.engines.tensorrt.fingerprint import FINGERPRINT

from .engine_files import add_engine, record, small_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return small_bundle(tmp_path / "llada.bundle")


def refused(bundle: Bundle, runtime: str = "tensorrt", version: str = "10.3.0", sm: str = "sm87") -> str:
    with pytest.raises(DllmEdgeError) as raised:
        find_engine(bundle, runtime, version, sm)
    message = str(raised.value)
    assert "\n" not in message
    assert f"run 'dllm-edge build {bundle.path} --runtime {runtime}" in message
    return message


def test_the_engine_that_fits_is_found(bundle: Bundle) -> None:
    add_engine(bundle, version="10.3.0", sm="sm86")
    engine = add_engine(bundle, version="10.3.0")
    add_engine(bundle, version="10.16.1")
    add_engine(bundle, runtime="tensorrt-rtx", version="1.7.1")
    add_engine(bundle, version="10.3.0", compute="float32")
    assert len(engines_of(bundle)) == 5
    assert find_engine(bundle, "tensorrt", "10.3.0", "sm87") == engine
    assert find_engine(bundle, "tensorrt", "10.3.0", "sm87", "float32").fingerprint.compute == "float32"
    assert engine.path.name == "tensorrt-10.3.0-sm87"
    assert engine.engine_file("step").read_bytes() == b"step"


def test_an_engine_for_several_gpus_serves_each(bundle: Bundle) -> None:
    engine = add_engine(bundle, "tensorrt-rtx", "1.7.1", compute_capabilities=("sm86", "sm89"))
    assert engine.path.name == "tensorrt-rtx-1.7.1-sm86+sm89"
    for sm in ("sm86", "sm89"):
        assert find_engine(bundle, "tensorrt-rtx", "1.7.1", sm) == engine


def test_no_engine(bundle: Bundle) -> None:
    add_engine(bundle, "tensorrt-rtx", "1.7.1")
    assert refused(bundle) == (
        f"{bundle.path}: there is no engine for TensorRT: run 'dllm-edge build {bundle.path} --runtime tensorrt'"
    )


def test_another_version(bundle: Bundle) -> None:
    engine = add_engine(bundle)
    assert refused(bundle) == (
        f"{engine.path}: engine was built by TensorRT 10.16.1 for sm_87; this machine has 10.3.0: "
        f"run 'dllm-edge build {bundle.path} --runtime tensorrt'"
    )


def test_another_compute_capability(bundle: Bundle) -> None:
    add_engine(bundle, "tensorrt-rtx", "1.7.1", "sm89")
    message = refused(bundle, "tensorrt-rtx", "1.7.1", "sm86")
    assert "built by TensorRT-RTX 1.7.1 for sm_89; this machine has sm_86" in message
    assert "--runtime tensorrt-rtx --target sm86'" in message


def test_another_processor(bundle: Bundle) -> None:
    add_engine(bundle, version="10.3.0", machine="riscv64")
    assert f"built on riscv64; this machine is {platform.machine()}" in refused(bundle)


def test_another_type(bundle: Bundle) -> None:
    add_engine(bundle, version="10.3.0", compute="float32")
    assert "engine computes in float32, not in float16" in refused(bundle)


def test_an_engine_from_before_tf32_was_off(bundle: Bundle) -> None:
    """Its fingerprint does not speak of it, and TensorRT's default was on."""
    engine = add_engine(bundle, version="10.3.0")
    fingerprint = engine.path / FINGERPRINT
    data = json.loads(fingerprint.read_text())
    del data["flags"]["tf32"]
    fingerprint.write_text(json.dumps(data))
    (older,) = engines_of(bundle)
    assert not older.fingerprint.same_build(engine.fingerprint)
    assert refused(bundle) == (
        f"{engine.path}: engine was built with TF32, which rounds float32 to 10 bits: it cannot agree with the CPU's: "
        f"run 'dllm-edge build {bundle.path} --runtime tensorrt'"
    )


@pytest.mark.parametrize("file", ["step.onnx", "saliency.onnx", "weights/model.safetensors"])
def test_a_changed_bundle(bundle: Bundle, file: str) -> None:
    add_engine(bundle, version="10.3.0")
    (bundle.path / file).write_bytes(b"other")
    files = bundle.manifest.files | {file: record(b"other")}
    (bundle.path / MANIFEST).write_text(json.dumps(replace(bundle.manifest, files=files).to_json()))
    what = "weights" if file.startswith("weights") else file
    assert f"the bundle's {what} changed since this engine was built" in refused(Bundle.open(bundle.path))


Damage = Callable[[EngineFolder], object]
DAMAGES: list[tuple[Damage, str]] = [
    (lambda engine: engine.engine_file("select").unlink(), "select.plan is missing"),
    (lambda engine: engine.engine_file("step").write_bytes(b""), "step.plan has 0 bytes, 4 were built"),
    (lambda engine: engine.engine_file("step").write_bytes(b"ste"), "step.plan has 3 bytes, 4 were built"),
    (lambda engine: engine.engine_file("step").write_bytes(b"stop"), "step.plan changed since it was built (SHA-256 differs)"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_damaged_plan(bundle: Bundle, damage: Damage, message: str) -> None:
    engine = add_engine(bundle, version="10.3.0")
    assert find_engine(bundle, "tensorrt", "10.3.0", "sm87") == engine
    damage(engine)
    assert message in refused(bundle)


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"schema_version": 2}'])
def test_a_fingerprint_that_cannot_be_read(bundle: Bundle, content: bytes | None) -> None:
    fingerprint = add_engine(bundle, version="10.3.0").path / FINGERPRINT
    fingerprint.unlink()
    if content is not None:
        fingerprint.write_bytes(content)
    assert f"{fingerprint}: missing, damaged or of another version of dllm-edge" in refused(bundle)


def test_what_is_being_written_is_no_engine(bundle: Bundle) -> None:
    engine = add_engine(bundle, version="10.3.0")
    engine.path.rename(engine.path.with_name(f".{engine.path.name}.partial-1"))
    assert engines_of(bundle) == []
    assert "there is no engine" in refused(bundle)


def test_of_several_that_fit_a_whole_one_is_taken_and_one_for_this_gpu_first(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path)
    both = add_engine(bundle, compute_capabilities=("sm80", "sm87"))
    alone = add_engine(bundle)
    assert find_engine(bundle, "tensorrt", "10.16.1", "sm87").path == alone.path
    alone.engine_file("step").write_bytes(b"")
    assert find_engine(bundle, "tensorrt", "10.16.1", "sm87").path == both.path
    both.engine_file("step").unlink()
    with pytest.raises(DllmEdgeError, match=r"step.plan has 0 bytes, 4 were built: run 'dllm-edge build"):
        find_engine(bundle, "tensorrt", "10.16.1", "sm87")
