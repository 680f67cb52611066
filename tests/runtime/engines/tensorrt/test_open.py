"""The TensorRT engine over host memory: the same code, with TensorRT's and CUDA's names over ONNX Runtime and the host."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dllm_edge.graphs.contract import Profile
from dllm_edge.graphs.errors import DllmEdgeError
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.engines.base import Lanes, StepOutputs
from dllm_edge.runtime.engines.onnxruntime.cpu import OnnxRuntimeEngine
from dllm_edge.runtime.engines.tensorrt import open as tensorrt
from dllm_edge.runtime.engines.tensorrt.executor import TensorRTExecutor
from dllm_edge.runtime.engines.tensorrt.library import library_of
from dllm_edge.runtime.engines.tensorrt.open import open_tensorrt, try_engine
from dllm_edge.runtime.generate import Model
from dllm_edge.runtime.scheduler.rehearsal import check_served, derive_workload, rehearse
from dllm_edge.runtime.systems import SYSTEMS

from ...host_cuda import HostCuda
from ...host_tensorrt import SKIPPED, HostTensorRT, Runtime, build_on_host
from ..device.test_engine import CONTEXTS, alone, decode, requests, same, settings_of

pytest.importorskip("cuda.bindings.runtime", reason="its types are what the device hands to CUDA")


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, cuda: HostCuda) -> HostTensorRT:
    module = HostTensorRT(cuda)
    monkeypatch.setattr(tensorrt, "find_library", lambda name: library_of("tensorrt", module))
    return module


@pytest.fixture
def bundle(lively_bundle: Callable[[str], Path], tmp_path: Path) -> Bundle:
    pytest.importorskip("torch", reason="weights by which the systems differ are drawn with torch")
    return Bundle.open(shutil.copytree(lively_bundle("dream"), tmp_path / "bundle"))


def build(bundle: Bundle, systems: tuple[str, ...] = tuple(SYSTEMS), batch: int = 1, target: str = "sm87") -> Path:
    uses = [(SYSTEMS[name], settings_of("quota")) for name in systems]
    return build_on_host(bundle, derive_workload(bundle.config, uses, CONTEXTS, batch), target=target)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_decodes_as_on_the_cpu(bundle: Bundle, library: HostTensorRT, cuda: HostCuda, system: str) -> None:
    build(bundle, (system,), batch=3)
    engine, reference = open_tensorrt(bundle), OnnxRuntimeEngine(bundle, threads=1)
    expected = alone(reference, system, "threshold")
    assert same(alone(engine, system, "threshold"), expected)
    assert same(decode(engine, system, "threshold", max_batch=3), expected)
    cached = rehearse(bundle.config, (SYSTEMS[system], settings_of("quota")), CONTEXTS[0]).steady_slots > 0
    assert (cuda.launched > 0) == cached


def test_where_memory_is_shared_nothing_is_copied(
    bundle: Bundle, library: HostTensorRT, cuda: HostCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(bundle, ("sparse-dllm",))
    cuda.integrated, cuda.patience = True, 1

    def refuse(*_: object) -> None:
        raise AssertionError("copied between host and device")

    monkeypatch.setattr(cuda, "cudaMemcpyAsync", refuse)
    found = alone(open_tensorrt(bundle), "sparse-dllm", "threshold")
    assert same(found, alone(OnnxRuntimeEngine(bundle, threads=1), "sparse-dllm", "threshold"))


def test_plans_are_loaded_when_a_step_is_wanted_and_once(bundle: Bundle, library: HostTensorRT) -> None:
    build(bundle, ("fast-dllm-dual",))
    engine = open_tensorrt(bundle)
    with pytest.raises(DllmEdgeError, match="the engine was built for none: run 'dllm-edge build"):
        check_served(engine, requests(engine, "sparse-dllm", "quota", [5]))
    check_served(engine, requests(engine, "fast-dllm-dual", "quota", [5]))
    assert library.loads == 0
    alone(engine, "fast-dllm-dual", "quota")
    assert library.loads == 1


def test_the_engine_that_runs_the_step_is_shown(bundle: Bundle, library: HostTensorRT) -> None:
    build(bundle, ("vanilla",))
    engine = open_tensorrt(bundle)
    assert engine.versions == {"tensorrt": "10.16.1"}
    loaded = engine.loaded_step()
    assert loaded.library == "tensorrt"
    assert engine.sizes.profiles
    assert loaded.handle.num_optimization_profiles == len(engine.sizes.profiles)
    assert engine.loaded_step().handle is loaded.handle
    assert library.loads == 1


def test_memory_goes_back(bundle: Bundle, library: HostTensorRT, cuda: HostCuda) -> None:
    build(bundle, ("sparse-dllm",))
    engine = open_tensorrt(bundle)
    decode(engine, "sparse-dllm", "quota", [5])
    held = len(cuda.allocated)
    decode(engine, "sparse-dllm", "quota", [6])
    assert len(cuda.allocated) == held
    del engine
    assert not cuda.allocated


def test_steps_that_cannot_be_recorded_are_run(bundle: Bundle, library: HostTensorRT, cuda: HostCuda) -> None:
    build(bundle, ("fast-dllm-prefix",))
    cuda.captures = False
    with pytest.warns(UserWarning, match="could not be recorded as a CUDA graph"):
        found = alone(open_tensorrt(bundle), "fast-dllm-prefix", "quota")
    assert same(found, alone(OnnxRuntimeEngine(bundle, threads=1), "fast-dllm-prefix", "quota"))
    assert not cuda.launched


def test_a_new_engine_is_tried_at_each_profile(bundle: Bundle, library: HostTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    build(bundle, ("fast-dllm-prefix",), batch=2)
    engine = open_tensorrt(bundle)
    ran: list[Profile] = []
    run = engine.run

    def noted(profile: Profile, cache: Lanes | None) -> StepOutputs:
        ran.append(profile)
        return run(profile, cache)

    monkeypatch.setattr(engine, "run", noted)
    try_engine(engine)
    assert engine.sizes.profiles
    assert ran == list(engine.sizes.profiles)
    outputs = engine.workspace(ran[0]).step_outputs
    monkeypatch.setattr(engine, "run", lambda profile, *lanes: replace(outputs, entropy=np.full(1, np.nan, np.float32)))
    with pytest.raises(DllmEdgeError, match="gives no finite numbers: export with --dtype bfloat16"):
        try_engine(engine)


def test_out_of_memory(bundle: Bundle, library: HostTensorRT, cuda: HostCuda) -> None:
    build(bundle, ("vanilla",))
    cuda.memory = 10_000
    with pytest.raises(DllmEdgeError, match=r"the GPU has no memory left \(taking 0 MB of memory\): 'dllm-edge plan BUNDLE"):
        alone(open_tensorrt(bundle), "vanilla", "quota")


def test_an_engine_for_another_gpu(bundle: Bundle, library: HostTensorRT) -> None:
    build(bundle, ("vanilla",), target="sm80")
    with pytest.raises(DllmEdgeError, match="for sm_80; this machine has sm_87: run 'dllm-edge build"):
        open_tensorrt(bundle)


def test_an_engine_of_another_version(bundle: Bundle, library: HostTensorRT) -> None:
    build(bundle, ("vanilla",))
    library.__version__ = "10.3.0"
    with pytest.raises(
        DllmEdgeError, match=r"built by TensorRT 10\.16\.1 for sm_87; this machine has 10\.3\.0: run 'dllm-edge"
    ):
        open_tensorrt(bundle)


def test_a_step_that_fails(bundle: Bundle, library: HostTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    build(bundle, ("vanilla",))
    engine = open_tensorrt(bundle)
    monkeypatch.setattr(engine.executor, "_context", lambda *place: Refusing())
    with pytest.raises(DllmEdgeError, match=r"TensorRT 10\.16\.1 failed running step \(it gave no reason\)"):
        alone(engine, "vanilla", "quota")


def test_what_is_logged_in_a_call_that_succeeds_fails_nothing(bundle: Bundle, library: HostTensorRT) -> None:
    build(bundle, ("fast-dllm-dual",))
    engine = open_tensorrt(bundle)
    alone(engine, "fast-dllm-dual", "quota")
    assert SKIPPED in library.logged
    assert not library.logger.messages


def test_a_profile_that_is_refused(bundle: Bundle, library: HostTensorRT) -> None:
    build(bundle, ("vanilla",))
    engine = open_tensorrt(bundle)
    assert isinstance(engine.executor, TensorRTExecutor)
    engine.executor.engine("step").num_optimization_profiles = 0
    with pytest.raises(DllmEdgeError, match=r"failed making ready for profile \d of step \(.*Profile index is out of range\)"):
        alone(engine, "vanilla", "quota")


def test_an_engine_file_that_cannot_be_read(bundle: Bundle, library: HostTensorRT) -> None:
    folder = build(bundle, ("vanilla",))
    engine = open_tensorrt(bundle)
    (folder / "step.plan").write_text("no engine")
    with pytest.raises(DllmEdgeError, match=r"failed loading .*step.plan \(IRuntime::deserializeCudaEngine: .*magicTag\)"):
        alone(engine, "vanilla", "quota")


class Refusing:
    addresses = None
    context = property(lambda self: self)

    def bind(self, addresses: dict[str, int]) -> bool:
        return True

    def execute_async_v3(self, stream: int) -> bool:
        return False


def test_a_plan_of_something_else(bundle: Bundle, library: HostTensorRT, monkeypatch: pytest.MonkeyPatch) -> None:
    build(bundle, ("vanilla",))
    monkeypatch.setattr(Runtime, "deserialize_cuda_engine", lambda *_: Foreign())
    with pytest.raises(DllmEdgeError, match=r"step.plan: is not what was built \(.*topk_ids.*\): run 'dllm-edge build' again"):
        alone(open_tensorrt(bundle), "vanilla", "quota")


class Foreign:
    num_io_tensors, num_optimization_profiles = 1, 1

    def get_tensor_name(self, place: int) -> str:
        return "pixels"


def test_a_stream_is_rehearsed_too(bundle: Bundle, library: HostTensorRT) -> None:
    build(bundle, ("fast-dllm-dual",))
    model = Model(bundle, open_tensorrt(bundle))
    with pytest.raises(DllmEdgeError, match="the engine was built for none"):
        model.stream([5, 6, 7], system="sparse-dllm", gen_length=16, block_length=8)
    assert library.loads == 0
