"""TensorRT's Python names over host memory: an engine file names an ONNX graph, which ONNX Runtime runs at the bound addresses.

It holds its caller to TensorRT's rules: a profile, all input shapes, scratch memory and every tensor's address, before a run.
"""

from __future__ import annotations

import json
import mmap
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
# What TensorRT 10 logs as an error in calls that succeed, and its bindings' own words where a profile is refused.
SKIPPED = "Error Code 9: Skipping tactic 0x0000000000000000 due to exception Assertion failed"
PROFILE_REFUSED = "Error in set optimization profile async."
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

    def refused(self, problem: str) -> bool:
        """Log the problem, as what answers False does."""
        self.engine.library.log("ERROR", f"[executionContext.cpp::{problem}::1] Error Code 3: API Usage Error ({problem})")
        return False

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        """Raise where the profile is refused: this one never answers False."""
        as_integers(profile_index, stream_handle)
        if not 0 <= profile_index < self.engine.num_optimization_profiles:
            self.refused("Profile index is out of range")
            raise RuntimeError(PROFILE_REFUSED)
        self.profile = profile_index
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        as_integers(memory, size)
        self.scratch = (memory, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self.profile is not None, "shapes are set after the profile"
        wanted = self.engine.profiles[self.profile].get(name)
        if wanted is None or list(shape) != wanted:
            return self.refused(f"Static or optimization profile dimensions of {name} are {wanted}, set are {shape}")
        self.shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        as_integers(memory)
        if name not in self.engine.names:
            return self.refused(f"Given invalid tensor name: {name}")
        self.addresses[name] = memory
        return memory % ALIGNMENT == 0 or self.refused(f"Address of {name} is not aligned")

    def execute_async_v3(self, stream_handle: int) -> bool:
        as_integers(stream_handle)
        if set(self.addresses) != set(self.engine.names):
            return self.refused("Address is not set for some tensor")
        assert self.scratch
        assert self.scratch[1] >= SCRATCH
        assert not self.recorded, "what was recorded from a context is undefined once that context is used again"
        self.recorded = self.engine.cuda.capturing
        assert len(set(self.addresses.values())) == len(self.addresses)
        assert set(self.shapes) == {value.name for value in self.engine.session.get_inputs()}
        addresses = dict(self.addresses)
        # A recording does not hold its context: whoever replays it has to.
        self.engine.cuda.do(partial(run_in, weakref.ref(self), addresses), stream_handle)
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


def as_integers(*arguments: Any) -> None:
    """Raise for what the bindings do not convert to an integer."""
    if not all(hasattr(argument, "__int__") for argument in arguments):
        raise TypeError("incompatible function arguments. The following argument types are supported: typing.SupportsInt")


class Engine:
    def __init__(self, contents: dict[str, Any], library: HostTensorRT) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 3, 1
        self.session = onnxruntime.InferenceSession(contents["graph"], options, providers=["CPUExecutionProvider"])
        self.profiles, self.library, self.cuda = contents["profiles"], library, library.cuda
        self.num_optimization_profiles = len(self.profiles)
        self.names = [value.name for value in (*self.session.get_inputs(), *self.session.get_outputs())]
        self.num_io_tensors = len(self.names)

    def get_tensor_name(self, index: int) -> str:
        name: str = self.names[index]
        return name

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return SCRATCH - profile_index

    def create_execution_context(self, strategy: Any) -> Context:
        assert strategy == "user managed"
        self.library.log("ERROR", SKIPPED)
        return Context(self)


class Runtime:
    def __init__(self, library: HostTensorRT) -> None:
        self.library = library

    def deserialize_cuda_engine(self, serialized_engine: Any) -> Engine | None:
        """Take hold of the buffer as the bindings of 10.3 do: without the interpreter's lock."""
        assert type(serialized_engine) in (mmap.mmap, bytearray), "a buffer that others know, or that allocates"
        self.library.loads += 1
        try:
            return Engine(json.loads(bytes(serialized_engine)), self.library)
        except ValueError:
            self.library.log("ERROR", "IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magicTag)")
            return None


class HostTensorRT:
    """The module. `loads` counts deserialised engines. It logs an error in calls that succeed, too, as the real one does."""

    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="user managed")

    def __init__(self, cuda: HostCuda, version: str = "10.16.1") -> None:
        self.cuda, self.__version__, self.loads = cuda, version, 0
        self.logger: Any = None
        self.logged: list[str] = []

        class ILogger:
            pass

        self.ILogger = ILogger

    def log(self, severity: str, message: str) -> None:
        self.logged.append(message)
        if self.logger is not None:
            self.logger.log(SimpleNamespace(name=severity), message)

    def Runtime(self, logger: Any) -> Runtime:  # noqa: N802
        self.logger = logger
        return Runtime(self)
