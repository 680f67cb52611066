"""TensorRT's Python names over host memory: an engine file names an ONNX graph, which ONNX Runtime runs at the bound addresses.

It holds its caller to TensorRT's rules: a profile, all input shapes, scratch memory and every tensor's address, before a run.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime

from dllm_edge.graphs.dtypes import DTYPES
from dllm_edge.runtime.bundle.bundle import Bundle
from dllm_edge.runtime.bundle.manifest import FileRecord
from dllm_edge.runtime.bundle.verified import sha256_of
from dllm_edge.runtime.engines.profiles import Workload
from dllm_edge.runtime.engines.sizes import ALIGNMENT
from dllm_edge.runtime.engines.tensorrt.engine_folder import engine_file_name, engine_folder_path
from dllm_edge.runtime.engines.tensorrt.fingerprint import Flags, fingerprint_of, write_fingerprint

from .host_cuda import HostCuda

SCRATCH = 4096
TYPES = {dtype.onnxruntime: dtype.onnx for dtype in DTYPES.values()}


def build_on_host(bundle: Bundle, workload: Workload, version: str = "10.16.1", target: str = "sm87") -> Path:
    """Write an engine folder whose engine files are for `HostTensorRT`."""
    config = bundle.config
    shapes = workload.shapes(config, "float32")
    graphs = {name: bundle.graph(["fused", "portable"], "float32", name) for name in shapes}
    built = fingerprint_of(bundle, "tensorrt", version, (target,), graphs, workload, Flags())
    folder = engine_folder_path(bundle, built)
    folder.mkdir(parents=True)
    plans = {}
    for name, graph in graphs.items():
        file = folder / engine_file_name(name)
        file.write_text(json.dumps({"graph": str(bundle.path / graph.file), "profiles": shapes[name]}))
        plans[file.name] = FileRecord(sha256_of(file), file.stat().st_size)
    write_fingerprint(folder, type(built)(**{**vars(built), "plans": plans}))
    return folder


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.addresses, self.shapes = engine, dict[str, int](), dict[str, tuple[int, ...]]()
        self.profile: int | None = None
        self.recorded = False
        self.scratch: tuple[int, int] | None = None

    def set_optimization_profile_async(self, profile: int, stream: int) -> bool:
        self.profile = profile
        return 0 <= profile < self.engine.num_optimization_profiles

    def set_device_memory(self, address: int, size: int) -> None:
        self.scratch = (address, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self.profile is not None, "shapes are set after the profile"
        self.shapes[name] = shape
        wanted: list[int] = self.engine.profiles[self.profile][name]
        return list(shape) == wanted

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return address % ALIGNMENT == 0

    def execute_async_v3(self, stream: int) -> bool:
        assert self.scratch
        assert self.scratch[1] >= SCRATCH
        assert not self.recorded, "what was recorded from a context is undefined once that context is used again"
        self.recorded = self.engine.cuda.capturing
        assert len(set(self.addresses.values())) == len(self.addresses)
        assert set(self.shapes) == {value.name for value in self.engine.session.get_inputs()}
        addresses = dict(self.addresses)
        # A recording does not hold its context: whoever replays it has to.
        self.engine.cuda.do(partial(run_in, weakref.ref(self), addresses), stream)
        return True

    def run(self, addresses: dict[str, int]) -> None:
        assert self.scratch
        assert all(map(self.engine.cuda.allocated.holds, [*addresses.values(), self.scratch[0]])), "memory was freed"
        session = self.engine.session
        binding = session.io_binding()
        for value in session.get_inputs():
            shape = list(self.shapes[value.name])
            binding.bind_input(value.name, "cpu", 0, TYPES[value.type], shape, addresses[value.name])
        sizes = {
            axis: size
            for value in session.get_inputs()
            for axis, size in zip(value.shape, self.shapes[value.name], strict=True)
            if isinstance(axis, str)
        }
        for value in session.get_outputs():
            shape = [sizes[axis] if isinstance(axis, str) else axis for axis in value.shape]
            binding.bind_output(value.name, "cpu", 0, TYPES[value.type], shape, addresses[value.name])
        session.run_with_iobinding(binding)


def run_in(context: Callable[[], Context | None], addresses: dict[str, int]) -> None:
    alive = context()
    assert alive, "what was recorded from a context runs in its memory, which is gone"
    alive.run(addresses)


class Engine:
    def __init__(self, contents: dict[str, Any], cuda: HostCuda) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = onnxruntime.InferenceSession(contents["graph"], options, providers=["CPUExecutionProvider"])
        self.profiles, self.cuda = contents["profiles"], cuda
        self.num_optimization_profiles = len(self.profiles)

        self.names = [value.name for value in (*self.session.get_inputs(), *self.session.get_outputs())]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        name: str = self.names[index]
        return name

    def get_device_memory_size_for_profile_v2(self, profile: int) -> int:
        return SCRATCH - profile

    def create_execution_context(self, strategy: Any) -> Context:
        assert strategy == "user managed"
        return Context(self)


class HostTensorRT:
    """The module. `loads` counts deserialised engines."""

    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")

    def __init__(self, cuda: HostCuda, version: str = "10.16.1") -> None:
        self.cuda, self.__version__, self.loads = cuda, version, 0

        class ILogger:
            pass

        self.ILogger = ILogger

    def Runtime(self, logger: Any) -> HostTensorRT:  # noqa: N802
        return self

    def deserialize_cuda_engine(self, serialised: Any) -> Engine:
        self.loads += 1
        return Engine(json.loads(bytes(serialised)), self.cuda)
