"""All levels of an engine against the CPU; levels that it was not built for are said to be so."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dllm_edge.export.parity import engine_runner
from dllm_edge.export.parity.decodes import short_use, whole_decodes
from dllm_edge.export.parity.engine_pair import EnginePair, loaded_step
from dllm_edge.export.parity.layers import check_layers
from dllm_edge.export.parity.validate import validate
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.arrays import Array
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.base import LoadedGraph
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.engines.onnxruntime.executor import Specs
from dllm_edge.runtime.engines.tensorrt import open as tensorrt
from dllm_edge.runtime.engines.tensorrt.library import library_of
from dllm_edge.runtime.generate import Model, load
from dllm_edge.runtime.scheduler.rehearsal import Use, derive_workload
from dllm_edge.runtime.systems import SYSTEMS, fitting_systems

from ...runtime.device_engines import on_host
from ...runtime.host_cuda import HostCuda
from ...runtime.host_tensorrt import HostTensorRT, build_on_host
from ...tiny import write_tiny


@pytest.fixture
def bundle(tmp_path: Path, tiny_bundle: Callable[..., Path]) -> Bundle:
    """One with a task of its own, whose texts are short."""
    from dllm_edge.export.bundle import export_bundle

    checkpoint = write_tiny(tmp_path / "checkpoint", "llada", dtype="float16")
    decoding = {"defaults": {"gen_length": 16, "block_length": 8}, "task": "arithmetic"}
    (checkpoint / "decoding.json").write_text(json.dumps(decoding))
    return export_bundle(checkpoint, tmp_path / "bundle")


def default_uses(bundle: Bundle) -> list[Use]:
    model = load(bundle.path)
    return [(system, model.settings(system.name)) for system in fitting_systems(bundle.config)]


def levels(model: Model, level: str | None = None) -> dict[str, list[str]]:
    report = validate(EnginePair(model, threads=1), level, samples=2)
    assert report.passed, report.levels
    return {level.name: level.lines for level in report.levels}


def test_float16_on_the_cpu(bundle: Bundle) -> None:
    pair = EnginePair(load(bundle.path, compute="float16"), threads=1)
    report = validate(pair, samples=2)
    assert report.passed
    assert loaded_step(pair.reference.engine).handle.get_session_options().intra_op_num_threads == 1
    assert [level.name for level in report.levels] == ["structure", "layers", "trajectory", "task"]
    assert (report.subject, report.reference) == ("onnxruntime in float16", "ONNX Runtime on a CPU in float32")
    kept = bundle.path / "reports" / "validate-onnxruntime-float16.json"
    assert json.loads(kept.read_text()) == json.loads(json.dumps(report.to_json()))
    assert len(report.levels[2].data["runs"]) == len(whole_decodes(pair.subject))
    assert report.levels[3].data["engine"]["samples"] == 2


def test_a_device_of_any_size_runs_every_decode(bundle: Bundle) -> None:
    found = levels(Model(bundle, on_host(bundle, None)))
    assert all("3 of 3 decodes equal" in line for line in found["trajectory"])
    assert "difference +0.0%" in found["task"][-1]


def test_an_engine_built_with_the_default_lengths_serves_all_levels(bundle: Bundle) -> None:
    model = Model(bundle, on_host(bundle, derive_workload(bundle.config, default_uses(bundle), [320])))
    found = levels(model)
    assert len(found["trajectory"]) == len(whole_decodes(model))
    assert not any("not applicable" in line for lines in found.values() for line in lines)


def test_what_an_engine_was_not_built_for_is_not_applicable(bundle: Bundle) -> None:
    uses = [(SYSTEMS["vanilla"], load(bundle.path).settings("vanilla"))]
    model = Model(bundle, on_host(bundle, derive_workload(bundle.config, uses, [320])))
    found = levels(model)
    assert sum("3 of 3 decodes equal" in line for line in found["trajectory"]) == 1
    others = [line for line in found["trajectory"] if "not applicable: " in line and "run 'dllm-edge build" in line]
    assert len(others) == len(whole_decodes(model)) - 1
    assert found["task"][0].startswith("not applicable: fast-dllm-dual: ")


def test_a_longer_prompt_than_any_profile_skips_the_level(bundle: Bundle) -> None:
    uses = [(SYSTEMS["vanilla"], load(bundle.path).settings("vanilla"))]
    model = Model(bundle, on_host(bundle, derive_workload(bundle.config, uses, [24])))
    report = validate(EnginePair(model, threads=1), "trajectory")
    assert report.passed
    assert report.levels[-1].data == {"skipped": True}
    assert "not applicable: vanilla, quota: no profile of the engine holds a step of" in report.levels[-1].lines[0]


def test_short_decodes_fit_the_bundles_blocks(bundle: Bundle) -> None:
    model = load(bundle.path)
    systems = [system for system in fitting_systems(bundle.config) if "block_length" not in system.defaults]
    settings = [short_use(model, system)[1] for system in systems]
    assert {(one.gen_length, one.block_length) for one in settings} == {(32, 8)}


def test_damaged_weights_are_found_before_any_level(bundle: Bundle) -> None:
    model = Model(bundle, OnnxRuntimeEngine(bundle, threads=1, compute_dtype="float16"))
    file = next((bundle.path / "weights").iterdir())
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.unlink()
    file.write_bytes(data)
    with pytest.raises(DllmEdgeError, match="SHA-256"):
        validate(EnginePair(model))


def test_tensorrt_over_host_memory(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the way but for Polygraphy's own runner of plans: its place takes the session that a plan here is."""
    pytest.importorskip("cuda.bindings.runtime", reason="its types are what the device hands to CUDA")
    from polygraphy.backend.onnxrt import OnnxrtRunner

    cuda, asked, off = HostCuda(), list[int](), set[int]()
    monkeypatch.setattr("dllm_edge.runtime.engines.device.cuda._bindings", lambda: cuda)
    monkeypatch.setattr(tensorrt, "find_library", lambda _name: library_of("tensorrt", HostTensorRT(cuda)))

    class AtProfile(engine_runner.ContractSession):
        """Takes the sizes of one profile; those of `off` answer wrongly."""

        def __init__(self, session: Any, specs: Specs, profile: int) -> None:
            super().__init__(session, specs)
            self.profile = profile

        def run(self, wanted: None, feed: Mapping[str, Array]) -> list[Array]:
            assert engine_runner.profile_of(feed) == profiles[self.profile]
            answers = super().run(wanted, feed)
            return [answer * 1.1 for answer in answers] if self.profile in off else answers

    def plan_runner(loaded: LoadedGraph, profile: int, specs: Specs) -> Any:
        asked.append(profile)
        return OnnxrtRunner(AtProfile(loaded.handle.session, specs, profile))

    monkeypatch.setitem(engine_runner.RUNNERS, "tensorrt", plan_runner)
    build_on_host(bundle, derive_workload(bundle.config, default_uses(bundle), [320]))
    model = load(bundle.path, engine="tensorrt", compute="float32")
    profiles = list(model.engine.sizes.profiles or ())
    report = validate(EnginePair(model, threads=1), samples=2)
    assert report.passed
    assert asked == list(range(len(report.levels[1].data["profiles"]))) == list(range(len(profiles)))
    assert report.subject == "tensorrt in float32"
    assert report.versions["tensorrt"] == "10.16.1"
    assert all("3 of 3 decodes equal" in line for line in report.levels[2].lines)
    off.add(len(profiles) - 2)
    level = check_layers(EnginePair(model, threads=1), lambda _share: None)
    assert not level.passed
    assert [index for index, record in enumerate(level.data["profiles"]) if record["first_bad"]] == [*off]
